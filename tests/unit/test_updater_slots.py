# SPDX-License-Identifier: Apache-2.0
"""Writing a slot, the marks, running programs, and what the updater may import."""

import ast
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.storage import Mark, decode
from images.stage import HERE
from updater.artifact import Compression, read_artifact, write_rootfs_artifact
from updater.errors import InstallRefused, ServerError, UpdaterError
from updater.install import rootfs
from updater.install.rootfs import write_image
from updater.ports import MarkStrip, NoMarks, find_marks
from updater.process import ProgramRunner
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


@pytest.mark.parametrize("start", [0, 1, 511, CHUNK, CHUNK + 70_000, 2 * CHUNK, 3 * CHUNK + 512])
@pytest.mark.parametrize("skip_unchanged", [False, True])
def test_a_slot_is_written_on_from_anywhere(start: int, skip_unchanged: bool, slot: Path) -> None:
    content = os.urandom(3 * CHUNK + 512)
    slot.write_bytes(content[:start] + b"\xff" * (len(content) - start))
    with Slots({"a": slot}).writer("a", start, skip_unchanged=skip_unchanged) as writer:
        assert writer.written == start - start % CHUNK
        writer.write(content[start:])
        writer.flush()
        writer.read_back()
        assert writer.written == len(content)
        whole = writer.fingerprint(2 * CHUNK)
        # What was there before is looked at again, too.
        with slot.open("r+b") as other:
            other.write(bytes([content[0] ^ 1]))
        with pytest.raises(UpdaterError, match="block 0"):
            writer.read_back()
        writer.go_on_at(2 * CHUNK)
        assert writer.fingerprint(2 * CHUNK + 7) != whole
    assert slot.read_bytes()[1:] == content[1:]


def test_a_checkpoint_counts_whole_blocks_and_flushes(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: flushed.append(slot.read_bytes()))
    content = os.urandom(2 * CHUNK + 5)
    with SlotWriter(slot) as writer:
        assert writer.checkpoint() == 0
        writer.write(content)
        assert writer.checkpoint() == 2 * CHUNK
        assert writer.content(CHUNK - 1, CHUNK) == content[CHUNK - 1 : 2 * CHUNK - 1]
    assert len(flushed) == 2
    assert flushed[1][: 2 * CHUNK + 1] == content[: 2 * CHUNK] + b"\xff"


def test_what_the_slot_cannot_hold_is_not_read(slot: Path) -> None:
    size = slot.stat().st_size
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(UpdaterError, match=f"ends at byte {size}"):
        SlotWriter(slot, size + 1)
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
    with SlotWriter(slot) as writer, pytest.raises(UpdaterError, match=f"ends at byte {size}"):
        writer.content(size - 1, 2)


def test_what_is_there_already_is_not_written(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(2 * CHUNK + 5)
    slot.write_bytes(content[:CHUNK] + bytes(CHUNK) + content[2 * CHUNK :] + bytes(9))
    places = []
    pwrite = os.pwrite

    def noted(fd: int, data: bytes, place: int) -> int:
        places.append(place)
        return pwrite(fd, data, place)

    monkeypatch.setattr(os, "pwrite", noted)
    with SlotWriter(slot, skip_unchanged=True) as writer:
        writer.write(content)
        writer.flush()
        writer.read_back()
        assert (writer.written, writer.skipped, places) == (len(content), 2, [CHUNK])
    assert slot.read_bytes() == content + bytes(9)


IMAGE = random.Random(41).randbytes(4 * CHUNK) + bytes(2 * CHUNK) + random.Random(42).randbytes(3 * CHUNK + 12_345)
ALL = ["slot.write", "slot.written", "slot.flushed", "slot.verified"]


class PowerCut(BaseException):
    """Nothing of this life goes on."""


class Marks:
    def __init__(self) -> None:
        self.names: list[str] = []

    def put(self, name: str) -> None:
        self.names.append(name)


class Stream:
    """An artifact from a byte on, until the power fails or the line breaks."""

    def __init__(self, raw: bytes, place: int, end: int, error: BaseException) -> None:
        self._inner, self._left, self._error = io.BytesIO(raw[place:]), end - place, error

    def read(self, n: int, /) -> bytes:
        if self._left <= 0:
            raise self._error
        data = self._inner.read(min(n, self._left))
        self._left -= len(data)
        return data


class World:
    """A slot of which only what was flushed survives, and what is stored and remembered between the lives."""

    def __init__(self, raw: bytes, slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.raw, self.slot = raw, slot
        slot.write_bytes(bytes(len(IMAGE) + 777))
        self.durable = slot.read_bytes()
        self.end, self.broken, self.believed = len(raw) + 1, b"", True
        self.error: BaseException = PowerCut()
        self.saved: dict[str, Any] | None = None
        self.reopened: list[int] = []
        self.marks = Marks()
        self.flushes = 0
        monkeypatch.setattr(os, "fsync", self._fsync)
        monkeypatch.setattr(rootfs, "CHECKPOINT", 2 * CHUNK)

    def _fsync(self, _: int) -> None:
        self.flushes += 1
        self.durable = self.slot.read_bytes()

    def save(self, point: Mapping[str, Any]) -> None:
        if self.believed:
            assert self.durable[: point["done"]] == IMAGE[: point["done"]], "a point before its content"
        self.saved = json.loads(json.dumps(point))

    def reopen(self, place: int) -> Stream:
        self.reopened.append(place)
        return Stream(self.broken or self.raw, place, self.end, self.error)

    def live(self, progress: bool = True) -> None:
        """Install, from whatever is there."""
        self.marks.names.clear()
        self.reopened.clear()
        artifact = read_artifact(Stream(self.raw, 0, self.end, self.error), restart_every=CHUNK // 2)
        with SlotWriter(self.slot) as slot:
            write_image(artifact, slot, self.marks, self if progress else None)

    def live_until(self, end: int, keep: Callable[[int], bool] = lambda _: False) -> None:
        """Install until so much of the artifact has come; of the blocks since the last flush, those survive."""
        self.end = end
        with pytest.raises(PowerCut):
            self.live()
        written, after = self.slot.read_bytes(), bytearray(self.durable)
        for at in range(0, len(after), 4096):
            if keep(at):
                after[at : at + 4096] = written[at : at + 4096]
        self.durable = bytes(after)
        self.slot.write_bytes(after)
        self.end = len(self.raw) + 1


def made(folder: Path, compression: Compression) -> bytes:
    image, out = folder / "image", io.BytesIO()
    image.write_bytes(IMAGE)
    apart = 700_000 if compression in (Compression.GZIP, Compression.ZSTD) else None
    level = None if compression is Compression.NONE else 1 if apart else 0
    write_rootfs_artifact(
        out, image=image, name="r", device_types=["q"], compression=compression, compress_level=level,
        restart_every=apart,
    )  # fmt: skip
    return out.getvalue()


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("artifacts")
    return {one.name: made(folder, one) for one in Compression if one is not Compression.XZ}


@pytest.fixture(params=["NONE", "GZIP", "ZSTD"])
def world(
    request: pytest.FixtureRequest, artifacts: dict[str, bytes], slot: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    return World(artifacts[request.param], slot, monkeypatch)


def test_without_progress_nothing_is_different(world: World) -> None:
    world.live(progress=False)
    assert world.marks.names == ALL
    assert (world.flushes, world.saved, world.reopened) == (1, None, [])
    assert world.slot.read_bytes() == IMAGE + bytes(777)


def test_a_download_goes_on_after_a_power_cut(world: World) -> None:
    world.live_until(len(world.raw) * 6 // 10)
    assert world.marks.names == ["slot.write", *["slot.checkpoint"] * (len(world.marks.names) - 1)]
    assert world.saved is not None
    done, place = world.saved["done"], world.saved["place"]
    assert done >= 2 * CHUNK
    world.live_until(len(world.raw) * 9 // 10)
    assert world.marks.names[:2] == ["slot.resumed", "slot.write"]
    assert world.reopened == [place]
    assert world.saved["done"] > done
    world.live()
    assert world.marks.names[:2] == ["slot.resumed", "slot.write"]
    assert world.marks.names[-3:] == ALL[1:]
    assert world.slot.read_bytes() == IMAGE + bytes(777)


@pytest.mark.parametrize("kind", ["NONE", "GZIP", "ZSTD"])
def test_cut_anywhere_the_image_is_whole_in_the_end(
    artifacts: dict[str, bytes], kind: str, slot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = artifacts[kind]

    @settings(derandomize=True, deadline=None, max_examples=12)
    @given(ends=st.lists(st.integers(3000, len(raw) - 1500), max_size=3), seed=st.integers(0, 9))
    def check(ends: list[int], seed: int) -> None:
        world, chance = World(raw, slot, monkeypatch), random.Random(seed)
        for end in ends:
            if world.saved is None or end > world.saved["place"]:
                world.live_until(end, lambda _: chance.random() < seed / 9)
        world.live()
        assert ("slot.resumed" in world.marks.names) == (world.reopened != [])
        assert world.slot.read_bytes() == IMAGE + bytes(777)

    check()


def test_xz_costs_no_flush_and_begins_anew(tmp_path: Path, slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(made(tmp_path, Compression.XZ), slot, monkeypatch)
    world.live_until(len(world.raw) * 6 // 10)
    assert (world.flushes, world.saved, world.marks.names) == (0, None, ["slot.write"])
    world.live()
    assert world.marks.names == ALL
    assert world.slot.read_bytes() == IMAGE + bytes(777)


def test_a_changed_slot_is_seen_before_anything_is_fetched(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.live_until(len(world.raw) * 6 // 10)
    assert world.saved is not None
    changed = bytearray(world.durable)
    changed[world.saved["done"] // 2] ^= 1
    world.slot.write_bytes(changed)
    world.live()
    assert world.reopened == []
    assert "begins anew: the slot does not hold" in caplog.text
    assert [name for name in world.marks.names if name != "slot.checkpoint"] == ALL
    assert world.slot.read_bytes() == IMAGE + bytes(777)


@pytest.mark.parametrize(
    "change",
    [
        {"manifest": "0" * 64},
        {"manifest": 7},
        {"place": 0},
        {"place": -1},
        {"done": 1 << 41},
        {"done": 3 * CHUNK + 1},
        {"blocks": 0},
        {"blocks": None},
    ],
    ids=str,
)
def test_what_is_no_point_begins_anew_once(world: World, change: dict[str, Any]) -> None:
    world.live_until(len(world.raw) * 6 // 10)
    assert world.saved is not None
    world.saved |= change
    world.believed = False
    world.live()
    assert world.marks.names[-4:].count("slot.verified") == 1
    assert world.slot.read_bytes() == IMAGE + bytes(777)
    world.saved = {}
    world.live()
    assert world.reopened == []
    assert world.slot.read_bytes() == IMAGE + bytes(777)


def test_a_rest_that_is_damaged_begins_anew(world: World) -> None:
    world.live_until(len(world.raw) * 6 // 10)
    broken = bytearray(world.raw)
    broken[len(broken) * 9 // 10] ^= 1
    world.broken = bytes(broken)
    world.live()
    assert [name for name in world.marks.names if name != "slot.checkpoint"] == ["slot.resumed", "slot.write", *ALL]
    assert world.slot.read_bytes() == IMAGE + bytes(777)


def test_a_line_that_breaks_leaves_the_point(world: World) -> None:
    world.live_until(len(world.raw) * 6 // 10)
    assert world.saved is not None
    world.end, world.error = world.saved["place"] + 1000, ServerError("gone")
    with pytest.raises(ServerError):
        world.live()
    assert world.marks.names == ["slot.resumed", "slot.write"]
    world.end = len(world.raw) + 1
    world.live()
    assert world.marks.names[0] == "slot.resumed"
    assert world.slot.read_bytes() == IMAGE + bytes(777)


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
    with pytest.raises(UpdaterError, match="no-such-program cannot be run: No such file or directory"):
        runner.run(["no-such-program"])
    with pytest.raises(UpdaterError, match="sh failed with status 3: oh"):
        runner.run(["sh", "-c", "echo oh >&2; exit 3"])
    with pytest.raises(UpdaterError, match="did not end within 0 s"):
        runner.run(["sleep", "60"], timeout=0.05)
    assert len(runner.run(["head", "-c", "200000", "/dev/zero"])) == 200000
    with pytest.raises(UpdaterError, match="head printed more than 256 KiB"):
        runner.run(["head", "-c", "30000000", "/dev/zero"])


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
