# SPDX-License-Identifier: Apache-2.0
"""Standalone mode: the commands as a person or a script gives them."""

import functools
import http.server
import threading
from pathlib import Path

import pytest

from tests.unit.small_device import SmallDevice

YES = "echo Yes"
WAITS = "Installed, but not committed.\nUse 'commit' to update, or 'rollback' to roll back the update.\n"
AT_ONCE = "Update Module doesn't support rollback. Committing immediately.\nInstalled and committed.\n"
REBOOT = "At least one payload requested a reboot of the device it updated.\n"
SCRIPTS = [
    f"Artifact{state}_{moment}_00"
    for state in ("Install", "Reboot", "Commit", "Rollback", "RollbackReboot", "Failure")
    for moment in ("Enter", "Leave", "Error")
]


@pytest.fixture
def device(tmp_path: Path) -> SmallDevice:
    return SmallDevice(tmp_path).make()


def said(device: SmallDevice, *words: str, code: int = 0, stdin: bytes = b"") -> str:
    done = device.run(*words, stdin=stdin)
    assert done.returncode == code, done
    assert b"Traceback" not in done.stderr
    return done.stdout.decode()


def install(device: SmallDevice, code: int = 0, scripts: dict[str, str] | None = None, *options: str) -> str:
    return said(device, "install", str(device.artifact(scripts=scripts)), *options, code=code)


def test_without_rollback_it_is_kept_at_once(device: SmallDevice) -> None:
    assert install(device) == f"Installing artifact...\n{AT_ONCE}"
    assert device.did == ["Download", "ArtifactInstall", "ArtifactCommit", "Cleanup"]
    assert device.installed == "new"
    assert "rootfs-image.test-module.version=new" in said(device, "show-provides")
    assert not (device.data / "modules/v3/payloads/0000/tree").exists()


def test_what_can_be_rolled_back_waits_and_is_kept(device: SmallDevice) -> None:
    device.module(SupportsRollback=YES)
    assert install(device) == f"Installing artifact...\n{WAITS}"
    assert device.installed == "old"
    done = device.run("install", str(device.artifact()))
    assert (done.returncode, b"already in progress" in done.stderr) == (1, True)
    assert said(device, "commit") == "Committed.\n"
    assert device.did == ["Download", "ArtifactInstall", "ArtifactCommit", "Cleanup"]
    assert device.installed == "new"


def test_what_can_be_rolled_back_is(device: SmallDevice) -> None:
    device.module(SupportsRollback=YES)
    install(device)
    assert said(device, "rollback") == "Rolled back.\n"
    assert device.did[2:] == ["ArtifactRollback", "ArtifactFailure", "Cleanup"]
    assert device.installed == "old"
    assert said(device, "rollback", code=2) == "No update in progress.\n"


def test_a_rollback_that_the_module_has_unlearned_is_refused(device: SmallDevice) -> None:
    device.module(SupportsRollback=YES)
    install(device)
    device.module()
    assert "does not support rollback" in said(device, "rollback", code=1)
    assert said(device, "commit") == "Committed.\n"


@pytest.mark.parametrize(
    ("answers", "ends", "did", "name"),
    [
        ({"ArtifactInstall": "exit 1", "SupportsRollback": YES}, "Installation failed.\nRolled back.\n",
         ["ArtifactRollback", "ArtifactFailure"], "old"),
        ({"ArtifactInstall": "exit 1", "ArtifactRollback": "exit 1", "SupportsRollback": YES},
         "Installation failed.\nRollback failed. System may be in an inconsistent state.\n",
         ["ArtifactRollback", "ArtifactFailure"], "new_INCONSISTENT"),
        ({"ArtifactInstall": "exit 1"},
         "Installation failed.\nUpdate Module does not support rollback. System may be in an inconsistent state.\n",
         ["ArtifactFailure"], "new_INCONSISTENT"),
    ],
)  # fmt: skip
def test_an_installation_that_fails(
    answers: dict[str, str], ends: str, did: list[str], name: str, device: SmallDevice
) -> None:
    device.module(**answers)
    assert install(device, 1) == f"Installing artifact...\n{ends}"
    assert device.did == ["Download", "ArtifactInstall", *did, "Cleanup"]
    assert device.installed == name
    device.module()
    assert install(device).endswith(AT_ONCE), "and it can be mended with another"
    assert device.installed == "new"


def test_a_download_that_fails_changes_nothing(device: SmallDevice) -> None:
    device.module(Download="exit 1", SupportsRollback=YES)
    assert install(device, 1) == "Installing artifact...\nStreaming failed.\nSystem not modified.\n"
    assert (device.did, device.installed) == (["Download", "Cleanup"], "old")


@pytest.mark.parametrize("words", [("commit",), ("rollback",), ("resume",)])
def test_without_an_update_there_is_nothing_to_do(words: tuple[str, ...], device: SmallDevice) -> None:
    assert said(device, *words, code=2) == "No update in progress.\n"


@pytest.mark.parametrize("answer", ["Yes", "Automatic"])
def test_a_reboot_is_asked_for_and_not_made(answer: str, device: SmallDevice) -> None:
    device.module(NeedsArtifactReboot=f"echo {answer}", SupportsRollback=YES)
    assert install(device) == f"Installing artifact...\n{WAITS}{REBOOT}"
    said(device, "rollback")
    install(device, 4, None, "--reboot-exit-code")
    said(device, "commit")
    assert not {"ArtifactReboot", "ArtifactVerifyReboot", "ArtifactRollbackReboot"} & set(device.did)
    device.module(NeedsArtifactReboot=f"echo {answer}")
    install(device, 4, None, "--reboot-exit-code")
    install(device, 0)


def test_from_standard_input_and_from_an_address(device: SmallDevice, tmp_path: Path) -> None:
    path = device.artifact()
    assert said(device, "install", "-", stdin=path.read_bytes()).endswith(AT_ONCE)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert said(device, "install", f"{address}/{path.name}").endswith(AT_ONCE)
        assert "Streaming failed" in said(device, "install", f"{address}/nothing", code=1)
        server.shutdown()


def test_what_cannot_be_read_or_is_no_artifact(device: SmallDevice, tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"junk" * 1000)
    for name in ("missing", "junk", "conf"):
        done = device.run("install", str(tmp_path / name))
        assert (done.returncode, b"refused" in done.stderr) == (1, True), done
        assert done.stdout.endswith(b"System not modified.\n")


def test_an_artifact_without_payload(device: SmallDevice, tmp_path: Path) -> None:
    path = device.empty_artifact(tmp_path / "empty.mender")
    assert "Artifact with empty payload. Committing immediately." in said(device, "install", str(path))
    assert (device.did, device.installed) == ([], "new")


def test_the_first_start_takes_the_bootstrap_artifact(device: SmallDevice) -> None:
    path = device.empty_artifact(device.data / "bootstrap.mender", "from-the-factory")
    said(device, "bootstrap")
    assert (device.installed, path.exists()) == ("from-the-factory", False)
    device.empty_artifact(path, "another")
    said(device, "bootstrap")
    assert device.installed == "from-the-factory", "only once"
    assert device.run("bootstrap", options=("--forcebootstrap",)).returncode == 0
    assert device.installed == "another"


def test_all_scripts_in_their_order(device: SmallDevice) -> None:
    device.module(SupportsRollback=YES)
    install(device, 0, dict.fromkeys(SCRIPTS, ""))
    said(device, "commit")
    assert device.did == [
        "Download", "ArtifactInstall_Enter_00", "ArtifactInstall", "ArtifactInstall_Leave_00",
        "ArtifactCommit_Enter_00", "ArtifactCommit", "ArtifactCommit_Leave_00", "Cleanup",
    ]  # fmt: skip


def test_a_script_that_fails_after_the_installation_brings_it_back(device: SmallDevice) -> None:
    device.module(SupportsRollback=YES)
    scripts = dict.fromkeys(SCRIPTS, "") | {"ArtifactInstall_Leave_00": "exit 1"}
    assert install(device, 1, scripts).endswith("Installation failed.\nRolled back.\n")
    assert device.did[3:] == [
        "ArtifactInstall_Leave_00", "ArtifactInstall_Error_00", "ArtifactRollback_Enter_00", "ArtifactRollback",
        "ArtifactRollback_Leave_00", "ArtifactFailure_Enter_00", "ArtifactFailure", "ArtifactFailure_Leave_00",
        "Cleanup",
    ]  # fmt: skip


def test_a_script_that_fails_after_the_commit(device: SmallDevice) -> None:
    device.module(SupportsRollback=YES)
    install(device, 0, {"ArtifactCommit_Leave_00": "exit 1"})
    assert "script failed afterwards" in said(device, "commit", code=1)
    assert device.installed == "new_INCONSISTENT"


@pytest.mark.parametrize(
    ("stop", "did"),
    [
        ("ArtifactInstall_Enter", []),
        ("ArtifactCommit_Enter", ["ArtifactInstall"]),
        ("ArtifactCommit_Leave", ["ArtifactInstall", "ArtifactCommit"]),
        ("Cleanup", ["ArtifactInstall", "ArtifactCommit"]),
    ],
)
def test_it_stops_where_it_is_told_to_and_goes_on(stop: str, did: list[str], device: SmallDevice) -> None:
    assert "Stopped" in install(device, 0, None, "--stop-before", stop)
    assert device.did == ["Download", *did]
    assert "Stopped" in said(device, "resume", "--stop-before", stop), "stopping twice is stopping once"
    assert device.did == ["Download", *did]
    said(device, "resume")
    assert device.did == ["Download", "ArtifactInstall", "ArtifactCommit", "Cleanup"]
    assert device.installed == "new"


@pytest.mark.parametrize("stop", ["ArtifactRollback_Enter", "ArtifactFailure_Enter", "Cleanup"])
def test_it_stops_on_the_way_back_too(stop: str, device: SmallDevice) -> None:
    device.module(SupportsRollback=YES)
    install(device)
    said(device, "rollback", "--stop-before", stop)
    wanted = {"ArtifactRollback_Enter": 0, "ArtifactFailure_Enter": 1, "Cleanup": 2}[stop]
    assert device.did[2:] == ["ArtifactRollback", "ArtifactFailure", "Cleanup"][:wanted]
    assert device.run("commit").returncode == 1, "there is no way forward any more"
    assert "Rolled back." in said(device, "resume", code=1)
    assert device.did[2:] == ["ArtifactRollback", "ArtifactFailure", "Cleanup"]
    assert device.installed == "old"


def test_after_the_commit_a_rollback_is_still_possible_until_its_scripts_have_run(device: SmallDevice) -> None:
    device.module(SupportsRollback=YES)
    install(device)
    said(device, "commit", "--stop-before", "ArtifactCommit_Leave")
    assert said(device, "rollback") == "Rolled back.\n"
    assert device.installed == "old"


@pytest.mark.parametrize(
    ("state", "command", "did", "name"),
    [
        ("ArtifactInstall", "resume", ["ArtifactInstall", "ArtifactRollback", "ArtifactFailure", "Cleanup"], "old"),
        ("ArtifactCommit", "resume", ["ArtifactInstall", "ArtifactCommit", "ArtifactRollback", "ArtifactFailure",
                                      "Cleanup"], "old"),
        ("Cleanup", "resume", ["ArtifactInstall", "ArtifactCommit", "Cleanup", "Cleanup"], "new"),
    ],
)  # fmt: skip
def test_a_power_cut_is_resumed(
    state: str, command: str, did: list[str], name: str, device: SmallDevice, tmp_path: Path
) -> None:
    once = f"if [ ! -e {tmp_path}/cut ]; then touch {tmp_path}/cut; kill -9 $PPID; fi"
    device.module(SupportsRollback=YES, **{state: once})
    if device.run("install", str(device.artifact())).returncode == 0:
        assert device.run("commit").returncode == -9
    device.run(command)
    assert (device.did, device.installed) == (["Download", *did], name)


def test_two_at_once_do_not_get_in_each_others_way(device: SmallDevice, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    device.module(ArtifactInstall=f"mkfifo {fifo}; cat {fifo}")
    outcome: list[int] = []
    path = str(device.artifact())
    first = threading.Thread(target=lambda: outcome.append(device.run("install", path).returncode))
    first.start()
    while not fifo.exists():
        pass
    second = device.run("install", path)
    assert (second.returncode, b"at this moment" in second.stderr) == (1, True)
    fifo.write_text("go")
    first.join()
    assert outcome == [0]


def test_signals_need_a_daemon(device: SmallDevice) -> None:
    for word in ("check-update", "send-inventory"):
        done = device.run(word)
        assert (done.returncode, b"not running" in done.stderr) == (1, True)
