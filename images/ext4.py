# SPDX-License-Identifier: Apache-2.0
"""ext4 file systems in plain files: made, edited, read and checked without mounting and without root."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.errors import ToolLate
from images.run import run

EPOCH = 1_700_000_000  # every time stamp in every image, so that the same inputs give the same bytes
FAKE_TIME = {"E2FSPROGS_FAKE_TIME": str(EPOCH)}
PLAIN = "^has_journal,^metadata_csum,^64bit,^resize_inode,^orphan_file"
# No checksums where power fails: a superblock of two sectors that is torn between them, or a torn commit block, is
# harmless without them, and with them cannot be mounted (ADR 12).
JOURNALLED = "has_journal,^metadata_csum,^resize_inode,^orphan_file"
FIRST_INODE = 11
# e2fsck asks after each problem, on the same line or on the next.
QUESTION = re.compile(r"\w+\? no\b.*")
LAZY_COUNT = re.compile(r"Free (blocks|inodes) count wrong \(")
INODES = 4096
FOUND = range(16)  # e2fsck's status, a sum: 1 corrected, 2 that needs a new start, 4 left as it was, 8 went wrong on it
CHECK_SECONDS = 120.0  # a thousand times what it takes


@dataclass(frozen=True)
class Edit:
    """Put `content` at `path` (absolute); None removes the file.

    Its directory must exist, unless the edit `makes_directory`.
    """

    path: str
    content: bytes | None
    mode: int = 0o644
    makes_directory: bool = False


def make(tree: Path, image: Path, *, size: int, uuid: str, label: str, journal: bool) -> None:
    """Fill a new file system of `size` bytes in `image` from `tree`; everything belongs to root.

    The bytes depend on the tree's names, contents and modes alone.
    """
    image.unlink(missing_ok=True)
    options = [
        "-b",
        "4096",
        "-m",
        "0",
        "-N",
        str(INODES),
        "-U",
        uuid,
        "-L",
        label,
        "-O",
        JOURNALLED if journal else PLAIN,
    ]
    options += ["-E", f"hash_seed={uuid},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"]
    if journal:
        options += ["-J", "size=4"]
    run(
        ["fakeroot", "--", "mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", tree, image, f"{size // 1024}k"],
        env=FAKE_TIME,
    )
    freeze_times(image)


def freeze_times(image: Path) -> None:
    """Set the times that are taken from the building machine's clock to `EPOCH`."""
    stats = run(["debugfs", "-R", "stats", image])
    total = int(_number(stats, r"Inode count:\s+(\d+)"))
    free = int(_number(stats, r"Free inodes:\s+(\d+)"))
    inodes = [2, *range(FIRST_INODE, total - free + 1)]
    fields = ("ctime", "atime", "mtime", "crtime")
    _debugfs(image, [f"sif <{inode}> {field} @{EPOCH}" for inode in inodes for field in fields])


def edit(image: Path, edits: Sequence[Edit]) -> None:
    """Apply `edits` to the file system in `image`, in order."""
    with tempfile.TemporaryDirectory() as scratch:
        commands = _new_directories(image, edits)
        for number, change in enumerate(edits):
            commands.append(f"rm {change.path}")
            if change.content is None:
                continue
            source = Path(scratch, str(number))
            source.write_bytes(change.content)
            source.chmod(change.mode)
            commands += [f"write {source} {change.path}", f"sif {change.path} mode {0o100000 | change.mode:#o}"]
            commands += _as_made(change.path)
        said = _debugfs(image, commands)
    missing = [line for line in said.splitlines() if "write:" in line or ("not found" in line and "rm" not in line)]
    if missing:
        raise ValueError(f"{image} could not be edited: {missing[0]}")


def _new_directories(image: Path, edits: Sequence[Edit]) -> list[str]:
    """The commands that make the directories which `edits` make and the image has not."""
    commands = []
    for directory in sorted({str(Path(one.path).parent) for one in edits if one.makes_directory}):
        if "Inode:" not in run(["debugfs", "-R", f"stat {directory}", image]):
            commands += [f"mkdir {directory}", f"sif {directory} mode {0o40755:#o}", *_as_made(directory)]
    return commands


def _as_made(path: str) -> list[str]:
    """The commands that give something new root as its owner, and the times that everything has."""
    times = [f"sif {path} {field} @{EPOCH}" for field in ("ctime", "atime", "mtime", "crtime")]
    return [*(f"sif {path} {field} 0" for field in ("uid", "gid")), *times]


def read(image: Path, path: str) -> bytes | None:
    """The content of a file in the file system, or None if there is no such file."""
    return read_all(image, [path])[path]


def read_all(image: Path, paths: Sequence[str]) -> dict[str, bytes | None]:
    """The same for several files, by path."""
    with tempfile.TemporaryDirectory() as scratch:
        targets = {path: Path(scratch, str(number)) for number, path in enumerate(paths)}
        script = Path(scratch, "script")
        script.write_text("".join(f"dump /{path.lstrip('/')} {target}\n" for path, target in targets.items()))
        run(["debugfs", "-f", script, image])
        return {path: target.read_bytes() if target.exists() else None for path, target in targets.items()}


def replay(image: Path) -> str:
    """Bring what is in the journal to its place, as mounting would; changes `image`, returns what e2fsck said."""
    return _e2fsck("-p", "-E", "journal_only", image)


def complaints(image: Path) -> list[str]:
    """What e2fsck finds wrong once the journal has been replayed; changes `image`, empty when all is well.

    The counts of free blocks and inodes in the superblock are not complained of: ext4 writes them when it is unmounted,
    and every kernel counts anew after a cut.
    """
    said = replay(image)
    check = _e2fsck("-f", "-n", image)
    wrong = re.compile(r"(corrupt|invalid|error|Bad magic|could not|did not end)", re.IGNORECASE)
    found = [line for line in said.splitlines() if wrong.search(line)]
    before = ""
    for line in filter(None, check.splitlines()):
        problem = f"{before} {line}" if QUESTION.fullmatch(line) else line
        if (QUESTION.search(line) or wrong.search(line)) and not LAZY_COUNT.match(problem):
            found.append(problem.strip())
        before = line
    return found


def _e2fsck(*words: str | Path) -> str:
    """Whatever it finds, it has done its work; a superblock of garbage keeps it busy for ever."""
    try:
        return run(["e2fsck", *words], ok=FOUND, timeout=CHECK_SECONDS)
    except ToolLate as late:
        return late.message


def _debugfs(image: Path, commands: Sequence[str]) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".debugfs") as script:
        script.write("\n".join(commands) + "\n")
        script.flush()
        return run(["debugfs", "-w", "-f", script.name, image], env=FAKE_TIME)


def _number(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise ValueError(f"debugfs did not answer as expected: {os.linesep.join(text.splitlines()[:3])}")
    return found.group(1)
