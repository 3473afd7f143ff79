# SPDX-License-Identifier: Apache-2.0
"""Writing a slot, the marks, running programs, and what the updater may import."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.storage import Mark, decode
from images.stage import HERE
from updater.errors import InstallRefused, UpdaterError
from updater.install.rootfs import write_image
from updater.ports import MarkStrip, NoMarks, ProgramRunner, find_marks
from updater.slots import CHUNK, Slots, SlotWriter

UPDATER = HERE.parent / "updater"


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    path = tmp_path / "slot"
    path.write_bytes(b"\xff" * (3 * CHUNK + 512))
    return path


@pytest.mark.parametrize("size", [0, 1, 511, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 512])
def test_what_is_written_is_read_back(size: int, slot: Path) -> None:
    content = os.urandom(size)
    with SlotWriter(slot) as writer:
        assert writer.capacity == 3 * CHUNK + 512
        for start in range(0, size, 70_001):
            writer.write(content[start : start + 70_001])
        writer.flush()
        assert writer.written == size
        writer.read_back()
    assert slot.read_bytes() == content + b"\xff" * (3 * CHUNK + 512 - size)


def test_reading_back_sees_what_is_there_and_not_what_was_written(slot: Path) -> None:
    with SlotWriter(slot) as writer:
        writer.write(b"x" * 1000)
        writer.flush()
        with slot.open("r+b") as other:
            other.seek(500)
            other.write(b"y")
        with pytest.raises(UpdaterError, match=r"does not hold what was written to it \(block 0\)"):
            writer.read_back()
        slot.write_bytes(b"x" * 1000)
        writer.read_back()
        os.truncate(slot, 900)
        with pytest.raises(UpdaterError, match="does not hold"):
            writer.read_back()


def test_a_byte_past_the_end_is_an_error(slot: Path) -> None:
    size = slot.stat().st_size
    with SlotWriter(slot) as writer:
        writer.write(bytes(size))
        writer.flush()
        writer.write(b"x")
        with pytest.raises(InstallRefused, match=f"ends at byte {size}"):
            writer.flush()
    assert slot.stat().st_size == size


def test_a_slot_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstallRefused, match="No such file"):
        Slots({"a": tmp_path / "a"}).writer("a")
    with pytest.raises(InstallRefused, match="set RootfsPartB"):
        Slots({"a": tmp_path / "a"}).writer("b")
    with pytest.raises(UpdaterError, match="in neither slot"):
        Slots({"a": tmp_path / "a", "b": Path("/dev/null")}).running()


def test_an_empty_image_is_refused(slot: Path) -> None:
    """Written and read back it would be at once, and the flip would go to what the slot held before."""
    empty = SimpleNamespace(files=lambda: [SimpleNamespace(size=0, read=lambda _: b"")])
    before = slot.read_bytes()
    with SlotWriter(slot) as writer, pytest.raises(InstallRefused, match="The image is empty"):
        write_image(empty, writer, NoMarks())
    assert slot.read_bytes() == before


def test_marks_are_what_the_harness_reads(tmp_path: Path) -> None:
    strip = tmp_path / "marks"
    strip.write_bytes(bytes(4 * 512))
    assert isinstance(find_marks(tmp_path / "none"), NoMarks)
    try:
        marks = MarkStrip(strip)
    except OSError:
        pytest.skip("this file system knows no unbuffered access")
    names = ["daemon.ready", "state.update-install", "install.flip", "report.success", "again ☃"]
    for name in names:
        marks.put(name)
    sectors = [strip.read_bytes()[start : start + 512] for start in range(0, 4 * 512, 512)]
    found = [decode(sector) for sector in sectors]
    assert found == [Mark(4, names[4]), *(Mark(number, names[number]) for number in (1, 2, 3))]


def test_programs_end_or_are_errors() -> None:
    runner = ProgramRunner()
    assert runner.run(["cat"], stdin="x\n") == "x\n"
    with pytest.raises(UpdaterError, match="The program no-such-program is missing"):
        runner.run(["no-such-program"])
    with pytest.raises(UpdaterError, match="sh failed with status 3: oh"):
        runner.run(["sh", "-c", "echo oh >&2; exit 3"])
    with pytest.raises(UpdaterError, match="did not end within 0 s"):
        runner.run(["sleep", "60"], timeout=0.05)


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", sorted(UPDATER.rglob("*.py")), ids=lambda path: str(path.relative_to(UPDATER)))
def test_the_updater_needs_python_cryptography_and_zstandard_alone(path: Path) -> None:
    allowed = {*sys.stdlib_module_names, "cryptography", "zstandard", "updater"}
    if path == UPDATER / "modules/engine.py":
        allowed |= {"docker", "requests"}  # only where there is a container engine
    assert imported(ast.parse(path.read_text())) <= allowed


def test_a_start_loads_neither_the_library_nor_the_artifact_format() -> None:
    """On a small board each would cost seconds at every start; -S is how the board starts it."""
    script = "import sys, updater.cli, updater.daemon; print('\\n'.join(sys.modules))"
    command = [sys.executable, "-S", "-c", script]
    done = subprocess.run(command, cwd=UPDATER.parent, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "updater.machine.actions" in loaded
    heavy = {
        "cryptography",
        "updater.artifact",
        "updater.install.intake",
        "asyncio",
        "ctypes",
        "email.mime",
        "sqlite3",
        "unittest",
    }
    assert not loaded & heavy
