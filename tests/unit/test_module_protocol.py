# SPDX-License-Identifier: Apache-2.0
"""What every module does for its client: the answers, the states it does not know, one sentence when it fails."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.module_client import Client
from updater.modules import NAMES, launcher
from updater.modules.problems import sentence
from updater.modules.protocol import Module
from updater.modules.workdir import Workdir

CAN_ROLL_BACK = {"single-file": "Yes", "directory": "Yes", "script": "No", "deb": "No", "docker": "Yes"}


@pytest.mark.parametrize("name", NAMES)
def test_answers_and_unknown_states(name: str, tmp_path: Path) -> None:
    client = Client(name, tmp_path / "work").bring({})
    assert client.ask("SupportsRollback") == CAN_ROLL_BACK[name]
    assert client.ask("NeedsArtifactReboot") == "No"
    assert client.ask("ProvidePayloadFileSizes") == "No"
    for state in ("ArtifactVerifyReboot", "ArtifactReboot", "SomethingOfTomorrow", "", "install"):
        assert client.call(state) == 0
        assert client.said == ""


@pytest.mark.parametrize("name", NAMES)
def test_before_anything_was_done_there_is_nothing_to_take_back(name: str, tmp_path: Path) -> None:
    """Also when the client has begun to take the working directory away, or when all of it has gone."""
    client = Client(name, tmp_path / "work").bring({})
    client.recover()
    shutil.rmtree(client.work / "tmp")
    client.recover()
    shutil.rmtree(client.work / "files")
    client.recover()
    module = subprocess.run([client.program, "Cleanup", tmp_path / "nowhere"], env=environment(), capture_output=True)
    assert (module.returncode, module.stdout, module.stderr) == (0, b"", b"")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.parametrize("name", NAMES)
def test_an_artifact_without_files(name: str, tmp_path: Path) -> None:
    client = Client(name, tmp_path / "work").bring({})
    assert client.call("ArtifactInstall") == 1
    assert client.said.startswith("The artifact")
    assert client.said.count("\n") == 1


@pytest.mark.parametrize("name", NAMES)
def test_how_it_is_called(name: str, tmp_path: Path) -> None:
    program = Client(name, tmp_path / "work").program
    for words in ([], ["Download"], ["Download", "a", "b"]):
        said = subprocess.run([program, *words], env=environment(), capture_output=True, text=True)
        assert (said.returncode, said.stderr) == (1, f"Usage: {name} STATE WORKING-DIRECTORY\n")


def test_a_launcher_is_for_a_module() -> None:
    assert launcher("single-file").splitlines()[0] == "#!/usr/bin/python3"
    with pytest.raises(ValueError, match="no update module 'rpm'"):
        launcher("rpm")


def test_a_fault_of_a_module_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def broken(_: Workdir) -> None:
        raise KeyError("x")

    assert Module("m", {"ArtifactInstall": broken}).run(["ArtifactInstall", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "The module m failed in ArtifactInstall: KeyError('x').\n"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EROFS, "x", "/a"), "/a is on a read-only file system and cannot be changed."),
        (OSError(errno.ENOSPC, "x", "/a"), "There is no room left for /a on its file system."),
        (OSError(errno.EDQUOT, "x", "/a", None, "/b"), "There is no room left for /b on its file system."),
        (OSError(errno.EIO, "Input/output error", b"/a"), "/a: Input/output error."),
        (OSError("odd"), "A file: odd."),
    ],
)
def test_what_the_system_refuses(error: OSError, says: str) -> None:
    assert sentence(error) == says


@pytest.mark.parametrize("record", [b"{", b"[]", b'{"format": 2, "facts": {}}', b'{"format": 1}', b"\xff"])
@pytest.mark.parametrize("name", ["single-file", "directory", "docker"])
def test_a_damaged_record_is_not_believed(name: str, record: bytes, tmp_path: Path) -> None:
    client = Client(name, tmp_path / "work").bring({})
    (client.work / "tmp" / "bootproof-record.json").write_bytes(record)
    for state in ("ArtifactRollback", "Cleanup"):
        assert client.call(state) == 1
        assert "bootproof-record.json" in client.said
        assert client.said.count("\n") == 1
