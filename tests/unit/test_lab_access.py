# SPDX-License-Identifier: Apache-2.0
"""What comes to a board: files over HTTP, a stick that can be pulled, another configuration."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.board import HOST_FOR_GUESTS
from harness.board.stick import Stick
from harness.errors import HostProblem
from harness.lab import Lab
from harness.lab.fileserver import FileServer
from images.errors import ImageError
from images.run import run
from tests.unit.written_lab import begin, factory, lab

__all__ = ["factory", "lab"]  # fixtures


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files, one of which has a name that the other has, too, elsewhere."""
    made = [tmp_path / "one" / "update.mender", tmp_path / "two" / "update.mender"]
    for number, file in enumerate(made):
        file.parent.mkdir()
        file.write_bytes(bytes([number]) * 300_000)
    return made


@pytest.fixture
def server() -> Iterator[FileServer]:
    with closing(FileServer()) as made:
        yield made


def get(address: str) -> bytes:
    """What a board would get."""
    assert address.startswith(f"http://{HOST_FOR_GUESTS}:")
    with urllib.request.urlopen(address.replace(HOST_FOR_GUESTS, "127.0.0.1"), timeout=10) as reply:
        content: bytes = reply.read()
        assert reply.headers["Content-Length"] == str(len(content))
        return content


def test_what_is_offered_can_be_fetched_and_nothing_else(server: FileServer, files: list[Path]) -> None:
    addresses = [server.offer(file) for file in files]
    assert [get(address) for address in addresses] == [file.read_bytes() for file in files]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(addresses[0].replace("update", "other"))


def test_a_stick_holds_its_files_until_it_is_pulled(files: list[Path], tmp_path: Path) -> None:
    stick = Stick(files[:1], tmp_path / "stick.log")
    address = f"nbd+unix:///?socket={stick.socket}"
    try:
        run(["qemu-img", "convert", "-f", "raw", "-O", "raw", address, tmp_path / "copy.img"])
        run(["debugfs", "-R", f"dump /update.mender {tmp_path / 'read'}", tmp_path / "copy.img"])
        assert (tmp_path / "read").read_bytes() == files[0].read_bytes()
    finally:
        stick.pull()
    with pytest.raises(ImageError):
        run(["qemu-img", "info", address])
    assert not stick.socket.parent.exists()
    stick.pull()


def test_a_stick_that_cannot_be_served_leaves_nothing(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("harness.board.stick.PROGRAM", "no-such-program")
    with pytest.raises(HostProblem, match="missing"):
        Stick(files[:1], tmp_path / "stick.log")
    assert not list(tmp_path.glob("bootproof-*"))


def test_a_configuration_is_changed_key_by_key(lab: Lab) -> None:
    begin(lab)
    commands: list[str] = []
    known = {"ServerURL": "https://x", "Bootproof": {"BootLimit": 2, "ParkAfterFailures": 3}}

    def answer(command: str) -> str:
        commands.append(command)
        return json.dumps(known) if command.startswith("cat /data/mender/mender.conf") else ""

    lab.run = answer  # type: ignore[method-assign]
    lab.configure(RetryPollCount=9, Bootproof={"ParkAfterFailures": 1000})
    written = json.loads(commands[1].partition("\n")[2].removesuffix("END"))
    assert written == {
        "ServerURL": "https://x",
        "RetryPollCount": 9,
        "Bootproof": {"BootLimit": 2, "ParkAfterFailures": 1000},
    }
    assert commands[2] == "kill $(cat /data/mender/daemon.pid)", "so that it is read"
