# SPDX-License-Identifier: Apache-2.0
"""What has been built, keyed by what it was built from, outside the checkout.

An entry is a directory `<stage>-<key>` that appears by one rename when it is whole, so that two builds at
once and an interrupted build leave either a whole entry or none.  Its `manifest.json` holds the inputs
and the SHA-256 of every file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images.errors import ImageError
from images.run import no_space

VARIABLE = "BOOTPROOF_CACHE"
MANIFEST = "manifest.json"
UNFINISHED = ".unfinished-"
LOCKS = ".locks"
NEEDED_BYTES = 512 * 1024 * 1024


def default_root() -> Path:
    """The cache of this user: `$BOOTPROOF_CACHE`, else `~/.cache/bootproof`; absolute."""
    named = os.environ.get(VARIABLE)
    return Path(named).absolute() if named else Path.home() / ".cache" / "bootproof"


def nearest(place: Path) -> Path:
    """The place, or the nearest directory above it that is there; what may not be looked at counts as not there."""
    return next(path for path in (place, *place.parents) if os.path.exists(path))  # noqa: PTH110


def unusable(obstacle: str) -> ImageError:
    """The sentence for a cache that cannot be one."""
    return ImageError(
        f"There can be no cache of images: {obstacle}.", f"Set {VARIABLE} to a directory that you may write to."
    )


def digest(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_of(inputs: Mapping[str, Any]) -> str:
    """The key of an entry: 16 hexadecimal digits over its inputs, whatever their order."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Entry:
    """One whole thing in the cache; `label` tells it from others of its stage."""

    path: Path
    stage: str
    key: str
    bytes: int
    label: str = ""


class Cache:
    """Entries below `root`; every public method may be called by several processes at once."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or default_root()) / "images"

    def get(self, stage: str, inputs: Mapping[str, Any], build: Callable[[Path], None], label: str = "") -> Path:
        """The directory of this entry, built by `build(directory)` if there is none yet.

        Raises:
            ImageError: the build failed, the disk is full, or nothing can be kept here; nothing half-made is left.
        """
        path = self.root / f"{stage}-{key_of(inputs)}"
        if (path / MANIFEST).exists():
            return path
        self._make_place()
        with self._locked(path.name):
            if not (path / MANIFEST).exists():
                self._build(path, {"stage": stage, "label": label, "inputs": dict(inputs)}, build)
        return path

    def obstacle(self, *, write: bool = True) -> str:
        """Why nothing can be kept here (or read, without `write`), as the beginning of a sentence; empty if it can."""
        place = nearest(self.root)
        if not place.is_dir():
            return f"{place} is no directory"
        if os.access(place, os.R_OK | os.X_OK | (os.W_OK if write else 0)):
            return ""
        return f"{place} may not be {'written to' if write else 'read'}"

    def _make_place(self) -> None:
        obstacle = self.obstacle()
        try:
            if not obstacle:
                self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            obstacle = f"{self.root} cannot be made ({error.strerror})"
        if obstacle:
            raise unusable(obstacle)

    def _build(self, path: Path, about: Mapping[str, Any], build: Callable[[Path], None]) -> None:
        self._sweep(path.name)
        if shutil.disk_usage(self.root).free < NEEDED_BYTES:
            raise no_space(self.root)
        work = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{path.name}-", dir=self.root))
        try:
            build(work)
            files = {
                os.fspath(file.relative_to(work)): {"sha256": digest(file), "bytes": file.stat().st_size}
                for file in sorted(work.rglob("*"))
                if file.is_file() and not file.is_symlink()
            }
            (work / MANIFEST).write_text(json.dumps({**about, "files": files}, indent=1, sort_keys=True))
            work.chmod(0o755)
            flush_tree(work)
            work.rename(path)
            flush(self.root)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise no_space(self.root) from error
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _sweep(self, name: str) -> None:
        """Remove what an interrupted build or deletion of this entry left; its lock is ours, so nobody is at it."""
        shutil.rmtree(self.root / name, ignore_errors=True)
        for left in self.root.glob(f"{UNFINISHED}{name}-*"):
            shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold the lock of one entry; raises BlockingIOError if somebody else does and `wait` is false."""
        locks = self.root / LOCKS
        locks.mkdir(exist_ok=True)
        with (locks / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield

    def entries(self) -> list[Entry]:
        """Every whole entry, by name.

        Raises:
            ImageError: there cannot be any here.
        """
        obstacle = self.obstacle(write=False)
        if obstacle:
            raise unusable(obstacle)
        whole = [path for path in sorted(self.root.glob("[!.]*-*")) if (path / MANIFEST).exists()]
        return [Entry(path, *_stage_and_key(path.name), _stored(path), _label(path)) for path in whole]

    def damage(self) -> list[str]:
        """What does not agree with its manifest, one sentence each; empty when all is well."""
        return [f"{entry.path.name}: {says}" for entry in self.entries() for says in _complaints(entry)]

    def clean(self, stage: str | None = None) -> list[Entry]:
        """Delete all entries, or those of one stage; returns what was deleted.

        What was made from a deleted entry goes with it: made anew it would not be the same (new keys, newer packages).
        So does what was left half-made, unless somebody is at it.

        Raises:
            ImageError: there is no entry of that stage.
        """
        entries = self.entries()
        gone = [entry for entry in entries if stage in (None, entry.stage)]
        if stage is not None and not gone:
            raise ImageError(f"Nothing of stage '{stage}' is in the cache.", "See 'bootproof images list'.")
        gone = _with_dependents(gone, entries)
        for entry in reversed(gone):  # what was made from others goes before them
            with self._locked(entry.path.name):
                # The manifest first, so that nobody takes a half-deleted entry for whole.
                (entry.path / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(entry.path, ignore_errors=True)
        self._sweep_all()
        return gone

    def _sweep_all(self) -> None:
        """Remove what interrupted builds and deletions of any entry left behind."""
        left = (path.name.removeprefix(UNFINISHED) for path in self.root.glob(f"{UNFINISHED}*"))
        unfinished = {name.rpartition("-")[0] for name in left}
        half_deleted = {path.name for path in self.root.glob("[!.]*-*") if not (path / MANIFEST).exists()}
        for name in sorted(unfinished | half_deleted):
            with contextlib.suppress(BlockingIOError), self._locked(name, wait=False):
                if not (self.root / name / MANIFEST).exists():
                    self._sweep(name)


def _stage_and_key(name: str) -> tuple[str, str]:
    stage, _, key = name.rpartition("-")
    return stage, key


def manifest(directory: Path) -> dict[str, Any]:
    """What an entry says of itself; nothing, if it is damaged or was just deleted."""
    try:
        about = json.loads((directory / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _label(directory: Path) -> str:
    return str(manifest(directory).get("label", ""))


def _complaints(entry: Entry) -> Iterator[str]:
    """What an entry's files, and its name, have that its manifest does not say."""
    about = manifest(entry.path)
    try:
        told = (about["stage"], key_of(about["inputs"]))
        files = {name: (wanted["bytes"], wanted["sha256"]) for name, wanted in about["files"].items()}
    except (KeyError, TypeError, AttributeError):
        yield "its manifest cannot be read."
        return
    if told != (entry.stage, entry.key):
        yield "its manifest is not the one that was written."
    for name, (size, sha256) in files.items():
        path = entry.path / name
        if not path.is_file():
            yield f"{name} is missing."
        elif (path.stat().st_size, digest(path)) != (size, sha256):
            yield f"{name} is not what was built."


def _with_dependents(gone: list[Entry], entries: list[Entry]) -> list[Entry]:
    """These, and every entry whose inputs name the key of one of them, in the order in which they were made."""
    inputs = {entry: json.dumps(manifest(entry.path).get("inputs")) for entry in entries}
    found = list(gone)
    for one in found:  # grows while it is walked
        found += [entry for entry in entries if entry not in found and f'"{one.key}"' in inputs[entry]]
    return found


def flush(path: Path) -> None:
    """Return once a file, or the names in a directory, are on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def flush_tree(top: Path) -> None:
    """Flush everything below a directory, and the directory."""
    for path in [*top.rglob("*"), top]:
        if not path.is_symlink():
            flush(path)


def _stored(directory: Path) -> int:
    """The bytes that the files of a directory take on the disk; holes take none.  0 if it was just deleted."""
    with contextlib.suppress(FileNotFoundError):
        return sum(file.stat().st_blocks * 512 for file in directory.rglob("*") if file.is_file())
    return 0
