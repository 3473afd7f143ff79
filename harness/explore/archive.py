# SPDX-License-Identifier: Apache-2.0
"""A recording as one file that can be sent to somebody: a tar, sparse as its files are, compressed with zstd.

The window is long enough that what is there several times (the system in both slots and in the log, the artifact in
each state of the server) is held once.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Final

import zstandard

from harness.errors import HostProblem, UsageError
from harness.explore.recording import Recording
from images.errors import ImageError
from images.run import run

LEVEL: Final = 9
WINDOW_LOG: Final = 28
UNPACKED: Final = "recording"


def packed_name(identity: str) -> str:
    """What the file of a recording is called."""
    return f"{UNPACKED}-{identity}.tar.zst"


def pack(recording: Recording) -> Path:
    """Put a recording into one file beside its folder, and remove the folder; returns the file.

    Raises:
        HostProblem: it cannot be written; the folder is still there.
    """
    folder = recording.folder
    packed = folder.parent / packed_name(recording.identity)
    plain, beside = packed.with_suffix(".new"), packed.with_suffix(".part")
    options = zstandard.ZstdCompressionParameters.from_level(LEVEL, window_log=WINDOW_LOG, enable_ldm=True)
    try:
        run(["tar", "-cSf", plain, "-C", folder.parent, folder.name])
        with plain.open("rb") as source, beside.open("wb") as target:
            zstandard.ZstdCompressor(compression_params=options).copy_stream(source, target)
        beside.replace(packed)
    except (OSError, ImageError) as error:
        raise HostProblem(f"The recording cannot be packed: {error}", "Free some space.") from error
    finally:
        plain.unlink(missing_ok=True)
        beside.unlink(missing_ok=True)
    _remove(folder)
    return packed


def unpack(packed: Path) -> Recording:
    """The recording of a packed file, in a folder beside it.

    Raises:
        UsageError: the file is damaged, or holds no recording.
    """
    folder = packed.parent / UNPACKED
    plain, beside = packed.with_suffix(".new"), packed.with_suffix(".part")
    with contextlib.suppress(UsageError):
        there = Recording(folder)
        if packed_name(there.identity) == packed.name:
            return there
    try:
        with packed.open("rb") as source, plain.open("wb") as target:
            zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG).copy_stream(source, target)
        beside.mkdir()
        run(["tar", "-xSf", plain, "-C", beside, UNPACKED])
        _remove(folder)
        (beside / UNPACKED).replace(folder)
        return Recording(folder)
    except (zstandard.ZstdError, ImageError) as error:
        raise UsageError(f"{packed} cannot be unpacked: {error}", "Have it sent again.") from error
    except OSError as error:
        said = f"{packed} cannot be unpacked: {error.strerror}."
        raise UsageError(said, "Copy it to where you may write.") from error
    finally:
        plain.unlink(missing_ok=True)
        shutil.rmtree(beside, ignore_errors=True)


def found(folder: Path) -> Recording:
    """The recording of a run folder, packed or not.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    packed = sorted(folder.glob(packed_name("*")))
    return unpack(packed[0]) if packed and not (folder / UNPACKED).exists() else Recording(folder / UNPACKED)


def _remove(folder: Path) -> None:
    """A folder of that name is whole, or it is not there."""
    if folder.exists():
        away = folder.with_name(f"{folder.name}.old")
        shutil.rmtree(away, ignore_errors=True)
        folder.replace(away)
        shutil.rmtree(away)
