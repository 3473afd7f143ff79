# SPDX-License-Identifier: Apache-2.0
"""Files of the command: inputs opened with a sentence when that fails, outputs that appear whole or not at all."""

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from updater.artifact import PrivateKey, PublicKey, load_private_key, load_public_key
from updater.artifacttool.exits import ExitCode, Failure

MAX_KEY = 64 * 1024
"""Bytes of a key file."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """An input file; raises Failure when it is none or cannot be opened."""
    refuse_remote(str(path))
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        yield file


def check_regular(path: Path) -> None:
    """Raise Failure unless this is a regular file that can be opened; unlike opening it, this never waits."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not regular:
        raise Failure(ExitCode.OPEN, f"{path} is not a regular file.", "Check its path.")
    with opened(path):
        pass


def read_small(path: Path, limit: int) -> bytes:
    """The whole of an input file of at most `limit` bytes; raises Failure."""
    with opened(path) as file:
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
    if len(content) > limit:
        raise Failure(ExitCode.PARAMETERS, f"The file {path} is larger than {limit} bytes.", "Give a smaller one.")
    return content


def refuse_remote(name: str) -> None:
    """Raise Failure for a source on another machine."""
    # A path has lost one of the two slashes.
    if name.startswith("ssh:/"):
        why = "Snapshots of a device over ssh are not supported."
        raise Failure(ExitCode.FEATURE, why, "Copy the image here and give its path.")


def signing_key(path: Path | None) -> PrivateKey | None:
    """The private key in a file; raises Failure and KeyRefused."""
    return None if path is None else load_private_key(read_small(path, MAX_KEY))


def verify_keys(paths: Sequence[Path]) -> list[PublicKey]:
    """The public keys in files; raises Failure and KeyRefused."""
    return [load_public_key(read_small(path, MAX_KEY)) for path in paths]


class Outputs:
    """Files that are to appear together: each is written beside its place, and all take their places in the end."""

    def __init__(self, inputs: Sequence[Path] = ()) -> None:
        self._pending: dict[Path, Path] = {}
        self._inputs = {os.path.realpath(path) for path in inputs}

    @contextmanager
    def file(self, path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
        """A new file to write to. `mode` is its mode, by default that of the file it replaces or what is usual."""
        place = Path(os.path.realpath(path))
        beside = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}.part")
        try:
            if str(place) in self._inputs:
                raise Failure(ExitCode.CREATE, f"{path} is also read, and would be lost.", "Choose another output.")
            if place in self._pending.values():
                raise Failure(ExitCode.CREATE, f"Two files would be written to {path}.", "Choose two directories.")
            if place.exists() and not stat.S_ISREG(place.stat().st_mode):
                raise Failure(ExitCode.CREATE, f"{path} is not a regular file.", "Choose another place for the output.")
            if mode is None and place.exists():
                mode = stat.S_IMODE(place.stat().st_mode)
            out = beside.open("xb")
        except OSError as error:
            raise _uncreatable(path, error) from error
        self._pending[beside] = place
        with out:
            if mode is not None:
                os.fchmod(out.fileno(), mode)
            yield out
            out.flush()
            os.fsync(out.fileno())

    def finish(self) -> None:
        """Put every file in its place; raises Failure."""
        for beside, place in list(self._pending.items()):
            try:
                beside.replace(place)
            except OSError as error:
                raise _uncreatable(place, error) from error
            del self._pending[beside]

    def abandon(self) -> None:
        """Remove what has not taken its place."""
        for beside in self._pending:
            beside.unlink(missing_ok=True)
        self._pending.clear()


@contextmanager
def outputs(inputs: Sequence[Path] = ()) -> Iterator[Outputs]:
    """Outputs that are finished on leaving, and abandoned when leaving because of an error; none of the `inputs`."""
    made = Outputs(inputs)
    try:
        yield made
        made.finish()
    finally:
        made.abandon()


def _unreadable(path: Path, error: OSError) -> Failure:
    why = f"The file {path} cannot be read ({error.strerror})."
    return Failure(ExitCode.OPEN, why, "Check its path and its rights.")


def _uncreatable(path: Path, error: OSError) -> Failure:
    why = f"The file {path} cannot be created ({error.strerror})."
    return Failure(ExitCode.CREATE, why, "Choose another place for the output.")
