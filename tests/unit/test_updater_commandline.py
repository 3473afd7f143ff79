# SPDX-License-Identifier: Apache-2.0
"""`mender-update` where the surroundings are not as they should be: places, streams, missing files."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.small_device import ROOT, SmallDevice
from updater.artifact import write_rootfs_artifact

YES = "echo Yes"


@pytest.fixture
def device(tmp_path: Path) -> SmallDevice:
    return SmallDevice(tmp_path).make(SupportsRollback=YES)


def shell(device: SmallDevice, line: str) -> subprocess.CompletedProcess[bytes]:
    """A line of shell in the device's folder, in which `$update` is the command."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MENDER_CONF_DIR": "conf",
        "MENDER_DATASTORE_DIR": "data",
        "MENDER_DATA_DIR": "share",
        "update": f"{sys.executable} -m updater --log-level error --time-scale 0.01",
    }
    done = subprocess.run(["sh", "-c", line], cwd=device.folder, env=env, capture_output=True, timeout=120, check=False)
    assert b"Traceback" not in done.stderr, done.stderr
    return done


def test_places_may_be_given_as_they_are_seen_from_here(device: SmallDevice) -> None:
    """The module works in its own directory, and must find everything all the same."""
    device.module(SupportsRollback=YES, ArtifactInstall='test -d "$2/files" && test -f "$2/header/type-info"')
    artifact = device.artifact().name
    assert shell(device, f"$update install {artifact} && $update -d ./data commit").returncode == 0
    assert device.installed == "new"


def test_what_was_done_is_done_also_if_nobody_can_be_told(device: SmallDevice) -> None:
    assert shell(device, f"$update install {device.artifact().name} >/dev/full").returncode == 0
    done = shell(device, "$update commit >/dev/full")
    assert (done.returncode, device.installed) == (0, "new")
    assert b"Committed.; and standard output cannot be written" in done.stderr
    assert shell(device, "$update show-artifact >/dev/full").returncode == 1
    assert shell(device, "$update show-artifact >&-").returncode == 0
    assert b"Standard input is closed" in shell(device, "$update install - <&-").stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-L", "nowhere/x.log", "show-artifact"], b"nowhere/x.log cannot be used: No such file or directory."),
        (["-c", "nowhere.conf", "show-artifact"], b"nowhere.conf was given as the configuration"),
        (["-b", "nowhere.conf", "show-artifact"], b"nowhere.conf was given as the configuration"),
        (["-c", "data", "show-artifact"], b"data cannot be read as JSON: Is a directory."),
        (["install", "ftp://server/x.mender"], b"Artifacts cannot be fetched over ftp; give an http or https address"),
        (["install", "HTTP://"], b"it must begin with http:// or https://"),
        (["install", "http://127.0.0.1:1/x.mender"], b"Connection refused"),
    ],
)
def test_a_mistake_is_one_sentence_at_once(device: SmallDevice, words: list[str], says: bytes) -> None:
    done = shell(device, f"$update {' '.join(words)}")
    assert (done.returncode, says in done.stderr) == (1, True), done.stderr


def test_what_ends_the_program_is_in_its_log_too(device: SmallDevice) -> None:
    assert shell(device, "$update -L log daemon").returncode == 1
    assert "No ServerURL is configured" in (device.folder / "log").read_text()


def test_menders_options_are_taken(device: SmallDevice) -> None:
    (device.folder / "other.conf").write_text('{"UpdateLogPath": "/x"}')
    for words in ("-l trace show-artifact", "-l fatal show-artifact", "-b other.conf show-artifact", "bootstrap -F"):
        assert shell(device, f"$update {words}").returncode == 0, words


def test_what_the_factory_installed_is_known_from_the_first_question_on(device: SmallDevice) -> None:
    assert device.installed == "old"
    device.empty_artifact(device.data / "bootstrap.mender", "factory")
    assert shell(device, "$update -F show-artifact").stdout == b"factory\n"
    assert shell(device, "$update -F show-artifact").stdout == b"old\n", "it was taken once"


def test_whoever_may_only_read_is_told_what_is_known(device: SmallDevice) -> None:
    assert shell(device, "$update -d /proc/nowhere show-artifact").stdout == b"unknown\n"


def test_a_bootstrap_artifact_that_is_none_changes_nothing(device: SmallDevice) -> None:
    assert device.installed == "old"
    wrong = device.data / "bootstrap.mender"
    wrong.write_bytes(device.artifact().read_bytes())
    done = shell(device, "$update bootstrap -F")
    assert (done.returncode, b"bootstrap.mender" in done.stderr) == (1, True)
    assert (wrong.exists(), device.installed) == (True, "old")
    (device.data / "bootproof-store").unlink()
    assert shell(device, "$update show-artifact").stdout == b"old\n", "a device that starts goes on without it"
    assert wrong.exists()


def test_a_record_that_is_damaged_is_set_aside_by_whoever_can_do_without(device: SmallDevice) -> None:
    record = device.data / "bootproof-store"
    record.write_bytes(b"junk" * 1000)
    done = shell(device, "$update show-artifact")
    assert (done.returncode, b"`mender-update bootstrap` sets it aside" in done.stderr) == (1, True)
    assert shell(device, "$update bootstrap").returncode == 0
    assert (device.installed, record.with_suffix(".damaged").read_bytes()) == ("old", b"junk" * 1000)
    record.write_bytes(b"junk" * 1000)
    assert shell(device, f"$update install {device.artifact().name}").returncode == 0
    assert record.stat().st_mode & 0o777 == 0o600


def test_a_trial_can_be_ended_without_the_devices_type(device: SmallDevice) -> None:
    kind = device.data / "device_type"
    artifact = device.artifact().name
    for command, name in (("rollback", "old"), ("commit", "new")):
        kind.write_text("device_type=board\n")
        assert shell(device, f"$update install {artifact}").returncode == 0
        kind.unlink()
        assert shell(device, f"$update {command}").returncode == 0
        assert device.installed == name
        assert shell(device, f"$update {command}").returncode == 2
    done = shell(device, f"$update install {artifact}")
    assert (done.returncode, b"device's type, cannot be read: No such file" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "begin", [lambda raw: raw[:-1024], lambda raw: raw[:-1024] + b"\xff" * 3000], ids=["cut", "junk"]
)
def test_an_artifact_without_payload_must_end_as_it_should(
    device: SmallDevice, begin: Callable[[bytes], bytes]
) -> None:
    path = device.empty_artifact(device.folder / "empty.mender")
    path.write_bytes(begin(path.read_bytes()))
    assert shell(device, "$update install empty.mender").returncode == 1
    assert device.installed == "old"


def test_a_system_needs_slots(device: SmallDevice) -> None:
    image = device.folder / "image"
    image.write_bytes(b"image" * 1000)
    with (device.folder / "system.mender").open("wb") as out:
        write_rootfs_artifact(out, image=image, name="new", device_types=["board"])
    done = shell(device, "$update install system.mender")
    assert (done.returncode, b"set RootfsPartA and RootfsPartB" in done.stderr) == (1, True), done.stderr


# -- updates that are stopped or interrupted ----------------------------------------------------------------------


def test_a_stop_on_the_way_back_is_no_success(device: SmallDevice) -> None:
    device.module(SupportsRollback=YES, ArtifactInstall="exit 1")
    done = device.run("install", str(device.artifact()), "--stop-before", "ArtifactRollback_Enter")
    assert (done.returncode, b"The update failed." in done.stdout) == (1, True)
    assert device.run("resume").returncode == 1
    assert device.installed == "old"


def test_what_has_only_been_stored_can_be_given_up(device: SmallDevice) -> None:
    """Also by a module that cannot roll back: it has not been asked to install anything."""
    device.module()
    done = device.run("install", str(device.artifact()), "--stop-before", "ArtifactInstall_Enter")
    assert done.returncode == 0
    done = device.run("rollback")
    assert (done.returncode, done.stdout) == (0, b"Rolled back.\n")
    assert (device.did, device.installed) == (["Download", "Cleanup"], "old")


def test_after_an_interruption_every_command_names_the_one_that_helps(device: SmallDevice) -> None:
    artifact = str(device.artifact())
    device.module(ArtifactInstall="kill -9 $PPID; sleep 60")
    assert device.run("install", artifact).returncode == -signal.SIGKILL
    device.module()
    for words in (["install", artifact], ["commit"], ["rollback"]):
        done = device.run(*words)
        assert (done.returncode, b"use `resume` to complete it" in (done.stdout + done.stderr).lower()) == (1, True)
    assert device.run("resume").returncode == 1
    assert device.run("resume").returncode == 2


def test_ctrl_c_is_a_sentence_and_the_update_is_still_known(device: SmallDevice) -> None:
    ready = device.folder / "ready"
    device.module(SupportsRollback=YES, ArtifactInstall=f"touch {ready}; sleep 60")
    artifact = device.artifact().name
    done = shell(
        device,
        f"(while ! [ -e {ready} ]; do sleep 0.05; done; kill -INT $(cat pid)) & "
        "exec python3 -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        f'open("pid", "w").write(str(os.getpid())); '
        f"os.execv(sys.argv[1], sys.argv[1:])' $update install {artifact}",
    )
    assert (done.returncode, b"Interrupted." in done.stderr) == (130, True), done.stderr
    device.module(SupportsRollback=YES)
    assert b"Rolled back." in device.run("resume").stdout


def test_what_a_module_said_when_it_failed_is_seen_at_every_level(device: SmallDevice) -> None:
    device.module(ArtifactInstall="echo the reason >&2; exit 3")
    done = device.run("install", str(device.artifact()))
    assert b"test-module: the reason" in done.stderr


def test_a_module_that_is_fed_drop_by_drop_keeps_to_its_time(device: SmallDevice) -> None:
    """Its pipe is never full, so nobody waits for it."""
    (device.folder / "conf/mender.conf").write_text('{"ModuleTimeoutSeconds": 100}')
    device.module(Download='exec cat "$2/$(cut -d\' \' -f1 "$2/stream-next")" >/dev/null')
    artifact = device.artifact()
    whole, begun = artifact.read_bytes(), time.monotonic()
    feed = f"import sys, time; raw = open('{artifact}', 'rb').read(); w = sys.stdout.buffer\n"
    feed += "for at in range(0, len(raw), 16):\n w.write(raw[at:at + 16]); w.flush(); time.sleep(0.05)\n"
    (device.folder / "feed.py").write_text(feed)
    done = shell(device, "python3 feed.py 2>/dev/null | $update install -")
    assert (done.returncode, b"did not end within 100 s" in done.stderr) == (1, True), done.stderr
    assert time.monotonic() - begun < len(whole) / 16 * 0.05
