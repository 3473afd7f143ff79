# SPDX-License-Identifier: Apache-2.0
"""A recording as one file that can be sent to somebody: a tar, sparse as its files are, compressed with zstd.

The window is long enough that what is there several times (the system in both slots and in the log, the artifact in
each state of the server) is held once.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import tarfile
from pathlib import Path
from typing import Final

import zstandard

from harness.errors import HostProblem, UsageError
from harness.explore.recording import Recording
from images.errors import ImageError, ToolFailed
from images.run import run

LEVEL: Final = 9
WINDOW_LOG: Final = 28
UNPACKED: Final = "recording"


def packed_name(identity: str) -> str:
    """What the file of a recording is called."""
    return f"{UNPACKED}-{identity}.tar.zst"


def pack(recording: Recording) -> Path:
    """Put a recording into one file beside its folder, if it is in none yet, and remove the folder; returns the file.

    Raises:
        HostProblem: it cannot be written; the folder is still there.
    """
    folder = recording.folder
    packed = folder.parent / packed_name(recording.identity)
    if not _is_sound(packed):
        _pack(folder, packed)
    _remove(folder)
    return packed


def unpack(packed: Path) -> Recording:
    """The recording of a packed file, in a folder beside it; one that is there already is taken if it is whole.

    Raises:
        UsageError: the file is damaged, or holds no recording, or another recording is where it belongs.
        HostProblem: there is no room for it.
    """
    folder = packed.parent / UNPACKED
    with contextlib.suppress(UsageError):
        there = Recording(folder).whole()
        if packed_name(there.identity) == packed.name:
            return there
        said = f"{folder} and {packed.name} are two recordings, and a run folder holds one."
        raise HostProblem(said, "Move one of them elsewhere.")
    try:
        _unpack(packed, folder)
    except (zstandard.ZstdError, ToolFailed) as error:
        raise UsageError(f"{packed} is damaged, and cannot be unpacked.", "Have it sent again.") from error
    except OSError as error:
        said = f"{packed} cannot be unpacked beside it: {error.strerror}."
        if error.errno == errno.ENOSPC:
            raise HostProblem(said, "Free some space there.") from error
        raise UsageError(said, "Copy it to where you may write.") from error
    return Recording(folder).whole()


def found(folder: Path) -> Recording:
    """The recording of a run folder, packed or not.

    Raises:
        UsageError: there is none, or it is damaged.
        HostProblem: there is no room for it.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", "Name a run folder of 'bootproof explore'.")
    packed = sorted(folder.glob(packed_name("*")))
    return unpack(packed[0]) if packed else Recording(folder / UNPACKED).whole()


def _pack(folder: Path, packed: Path) -> None:
    plain, beside = packed.with_suffix(".new"), packed.with_suffix(".part")
    options = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, window_log=WINDOW_LOG, enable_ldm=True, write_checksum=True
    )
    try:
        run(["tar", "-cSf", plain, "-C", folder.parent, folder.name], cwd=folder.parent)
        with plain.open("rb") as source, beside.open("wb") as target:
            zstandard.ZstdCompressor(compression_params=options).copy_stream(source, target)
        beside.replace(packed)
    except (OSError, ImageError) as error:
        raise HostProblem(f"The recording cannot be packed: {error}", "Free some space.") from error
    finally:
        _forget(plain, beside)


def _is_sound(packed: Path) -> bool:
    """Whether there is such a file, and all of it can be read; where zstd ends early only tar notices."""
    try:
        with (
            packed.open("rb") as source,
            _decompressor().stream_reader(source) as plain,
            tarfile.open(fileobj=plain, mode="r|") as tar,
        ):
            return sum(1 for _ in tar) > 0
    except (OSError, tarfile.TarError, zstandard.ZstdError):
        return False


def _unpack(packed: Path, folder: Path) -> None:
    """What is interrupted leaves no folder of that name."""
    plain, beside = packed.with_suffix(".new"), packed.with_suffix(".part")
    try:
        with packed.open("rb") as source, plain.open("wb") as target:
            _decompressor().copy_stream(source, target)
        _forget(beside)
        beside.mkdir()
        run(["tar", "-xSf", plain, "-C", beside, UNPACKED], cwd=packed.parent)
        _remove(folder)
        (beside / UNPACKED).replace(folder)
    finally:
        _forget(plain, beside)


def _decompressor() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG)


def _remove(folder: Path) -> None:
    """A folder of that name is whole, or it is not there."""
    if folder.exists():
        away = folder.with_name(f"{folder.name}.old")
        _forget(away)
        folder.replace(away)
        shutil.rmtree(away)


def _forget(*paths: Path) -> None:
    """Whatever they are, and as far as that is possible."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.unlink()
