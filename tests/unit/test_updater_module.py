# SPDX-License-Identifier: Apache-2.0
"""The update module protocol, version 3, as a module sees it."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.processes import ended
from tests.unit.small_device import DEVICE_TYPE, MODULE, ROOT, SmallDevice
from updater.artifact import Artifact, ArtifactError, read_artifact
from updater.errors import UpdaterError
from updater.install.installer import Reboot
from updater.install.module import UpdateModule
from updater.install.tree import Tree
from updater.ports import SystemClock
from updater.process import OUTPUT_LIMIT, ProgramHung
from updater.store import Device, Update

PROVIDES = {"artifact_name": "old", "artifact_group": "blue"}
READ_ALL = """
while true; do
  line=$(cat stream-next)
  [ -n "$line" ] || break
  set -- $line
  echo "$@" >>{folder}/lines
  cat $1 >{folder}/got-$(basename $1)
done
"""


@pytest.fixture
def device(tmp_path: Path) -> SmallDevice:
    return SmallDevice(tmp_path).make()


def installer(device: SmallDevice, timeout: float = 60, scale: float = 1.0) -> UpdateModule:
    program = device.folder / "share/modules/v3" / MODULE
    tree = Tree(device.data / "modules/v3/payloads/0000/tree")
    return UpdateModule(program, tree, SystemClock(scale), timeout, Device(PROVIDES), DEVICE_TYPE)


def opened(path: Path) -> Artifact:
    return read_artifact(io.BytesIO(path.read_bytes()))


def reads_all(device: SmallDevice) -> str:
    return READ_ALL.format(folder=device.folder)


def download(device: SmallDevice, sizes: bool = True, **options: object) -> UpdateModule:
    module = installer(device)
    module.download(opened(device.artifact(**options)), sizes)  # type: ignore[arg-type]
    return module


def test_a_module_that_opens_nothing_gets_its_files_stored(device: SmallDevice) -> None:
    tree = download(device).tree.path
    assert (tree / "files/one").read_bytes() == b"one" * 5000
    assert (tree / "files/two").read_bytes() == b"two" * 5000
    assert device.did == ["Download"]


@pytest.mark.parametrize(("answer", "state"), [("", "Download"), ("No", "Download"), ("Yes", "DownloadWithFileSizes")])
def test_streams_come_one_after_the_other(answer: str, state: str, device: SmallDevice) -> None:
    device.module(ProvidePayloadFileSizes=f"echo {answer}", **{state: reads_all(device)})
    tree = download(device).tree.path
    size = " 15000" if answer == "Yes" else ""
    assert (device.folder / "lines").read_text() == f"streams/one{size}\nstreams/two{size}\n"
    assert (device.folder / "got-one").read_bytes() == b"one" * 5000
    assert (device.folder / "got-two").read_bytes() == b"two" * 5000
    assert (device.did, (tree / "files").exists()) == ([state], False)


def test_a_client_of_the_older_kind_does_not_ask_for_sizes(device: SmallDevice) -> None:
    device.module(ProvidePayloadFileSizes="echo Yes")
    download(device, sizes=False)
    assert device.did == ["Download"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("exit 1", "failed with status 1"),
        ("kill -9 $$", "failed with status -9"),
        ("cat stream-next >/dev/null", "without reading one"),
        ("cat $(cat stream-next) >/dev/null", "before it had taken all files"),
        ("head -c 10 $(cat stream-next) >/dev/null", "before it had taken all files|stopped reading"),
        ("cat $(cat stream-next) >/dev/null; kill -9 $$", "before it had taken all files"),
        ("{all} exit 3", "failed with status 3"),
    ],
)
def test_a_module_that_does_not_keep_to_the_protocol_fails(lines: str, says: str, device: SmallDevice) -> None:
    device.module(Download=lines.replace("{all}", reads_all(device)))
    with pytest.raises(UpdaterError, match=says):
        download(device)


def test_a_large_file_that_is_not_read_to_its_end(device: SmallDevice) -> None:
    """More than a pipe holds."""
    device.module(Download="head -c 10 $(cat stream-next) >/dev/null")
    module, path = installer(device), device.artifact()
    device.folder.joinpath("one").write_bytes(bytes(1 << 20))
    from updater.artifact import write_module_artifact

    with path.open("wb") as out:
        write_module_artifact(out, payload_type=MODULE, files=[device.folder / "one"], name="n", device_types=["board"])
    with pytest.raises(UpdaterError, match="stopped reading"):
        module.download(opened(path), False)


@pytest.mark.parametrize("lines", ["", "{all}"])
def test_a_damaged_payload_is_refused_whoever_reads_it(lines: str, device: SmallDevice) -> None:
    device.module(Download=lines.replace("{all}", reads_all(device)))
    path = device.artifact(compression=compression_none())
    raw = path.read_bytes()
    assert raw.count(b"two" * 5000) == 1
    path.write_bytes(raw.replace(b"two" * 5000, b"two" * 4999 + b"tvo"))
    with pytest.raises(ArtifactError, match="checksum"):
        installer(device).download(opened(path), False)


def compression_none() -> object:
    from updater.artifact import Compression

    return Compression.NONE


@pytest.mark.parametrize("where", ["Download", "ArtifactInstall", "SupportsRollback", "in a stream"])
def test_a_module_that_hangs_is_ended_with_everything_it_started(where: str, device: SmallDevice) -> None:
    lines = f"sleep 1000 & echo $! >{device.folder}/pid; wait"
    if where == "in a stream":
        device.module(Download=f"exec 3<stream-next; read line <&3; exec 4<$line; {lines}")
    else:
        device.module(**{where: lines})
    module = installer(device, timeout=100, scale=0.01)
    calls: dict[str, Callable[[], object]] = {
        "ArtifactInstall": lambda: module.call("ArtifactInstall"),
        "SupportsRollback": module.can_roll_back,
    }
    call = calls.get(where, lambda: module.download(opened(device.artifact()), False))
    with pytest.raises(ProgramHung, match="did not end within 100 s"):
        call()
    assert ended(int((device.folder / "pid").read_text()))


def test_what_the_module_may_know(device: SmallDevice) -> None:
    device.module(Download=f"cp -r . {device.folder}/seen; pwd >{device.folder}/cwd; echo $2 >{device.folder}/two-two")
    meta = {"x": {"y": 1}}
    tree = download(device, group="green", meta_data=meta).tree.path
    seen = device.folder / "seen"
    assert {path.name: path.read_text() for path in seen.iterdir() if path.is_file()} == {
        "version": "3\n",
        "current_artifact_name": "old\n",
        "current_artifact_group": "blue\n",
        "current_device_type": "board\n",
    }
    header = {path.name: path.read_text() for path in (seen / "header").iterdir()}
    assert (header["artifact_name"], header["artifact_group"], header["payload_type"]) == (
        "new\n",
        "green\n",
        f"{MODULE}\n",
    )
    assert json.loads(header["header-info"])["artifact_provides"]["artifact_name"] == "new"
    assert json.loads(header["type-info"])["type"] == MODULE
    assert json.loads(header["meta-data"]) == {"x": {"y": 1}}
    assert (seen / "tmp").is_dir()
    assert (device.folder / "cwd").read_text() == f"{tree}\n" == (device.folder / "two-two").read_text()


@pytest.mark.parametrize(
    ("printed", "reboot"),
    [("", Reboot.NO), ("No", Reboot.NO), ("Yes", Reboot.CUSTOM), ("Automatic", Reboot.AUTOMATIC)],
)
def test_answers(printed: str, reboot: Reboot, device: SmallDevice) -> None:
    device.module(NeedsArtifactReboot=f"printf '%s\\n' '{printed}'", SupportsRollback="printf Yes")
    module = installer(device)
    assert module.reboot() is reboot
    assert module.can_roll_back() is True
    device.module()
    assert installer(device).can_roll_back() is False


@pytest.mark.parametrize(
    "lines",
    [
        "echo yes",
        "echo Yes; echo Yes",
        "echo ' Yes'",
        "echo Yes; exit 1",
        "exit 1",
        "printf 'Yes\\n\\n'",
        "echo 'Yes sir'",
    ],
)
def test_an_answer_that_is_none_fails(lines: str, device: SmallDevice) -> None:
    device.module(SupportsRollback=lines)
    with pytest.raises(UpdaterError, match="SupportsRollback"):
        installer(device).can_roll_back()


def test_what_is_said_on_the_side_is_no_part_of_an_answer(device: SmallDevice) -> None:
    device.module(SupportsRollback="echo thinking >&2; echo Yes")
    assert installer(device).can_roll_back() is True


def test_what_a_failing_module_says_is_logged_and_bounded(
    device: SmallDevice, caplog: pytest.LogCaptureFixture
) -> None:
    device.module(ArtifactInstall="echo out; echo err >&2; yes | head -c 200000; exit 5")
    caplog.set_level(logging.INFO)
    with pytest.raises(UpdaterError, match="failed in ArtifactInstall with status 5"):
        installer(device).call("ArtifactInstall")
    assert "out" in caplog.text
    assert "err" in caplog.text
    assert len(caplog.text) < 60 * OUTPUT_LIMIT


def test_the_tree_lives_until_the_cleanup_even_if_that_fails(device: SmallDevice) -> None:
    device.module(Download="echo kept >tmp/note", ArtifactInstall="grep -q kept tmp/note", Cleanup="exit 1")
    module = download(device)
    module.call("ArtifactInstall")
    with pytest.raises(UpdaterError, match="Cleanup"):
        module.call("Cleanup")
    assert not module.tree.path.exists()


def test_a_device_without_the_module_refuses(device: SmallDevice) -> None:
    artifact, module = opened(device.artifact()), installer(device)
    module.program.chmod(0o644)
    with pytest.raises(UpdaterError, match="not executable"):
        module.planned(Update(""), artifact)
    module.program.unlink()
    with pytest.raises(UpdaterError, match="no update module for payloads of type 'test-module'"):
        module.planned(Update(""), artifact)


def test_leftovers_of_an_older_update_are_gone(device: SmallDevice) -> None:
    tree = installer(device).tree.path
    (tree / "files").mkdir(parents=True)
    (tree / "files/stale").write_text("x")
    (tree / "tmp").mkdir()
    (tree / "tmp/stale").write_text("x")
    download(device)
    assert not (tree / "files/stale").exists()
    assert list((tree / "tmp").iterdir()) == []


def test_our_modules_can_be_put_where_a_client_looks(tmp_path: Path) -> None:
    place = tmp_path / "share/modules/v3"
    argv = [sys.executable, "-m", "updater.modules"]
    assert subprocess.run([*argv, str(place)], cwd=ROOT, check=False).returncode == 0
    assert sorted(one.name for one in place.iterdir()) == ["deb", "directory", "docker", "script", "single-file"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    asked = subprocess.run([place / "script", "SupportsRollback", "."], env=env, capture_output=True, check=False)
    assert (asked.returncode, asked.stdout) == (0, b"No\n")
    done = subprocess.run([*argv, "/proc/nowhere"], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, b"cannot be written" in done.stderr) == (1, True)
