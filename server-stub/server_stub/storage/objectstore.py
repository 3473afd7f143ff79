# SPDX-License-Identifier: Apache-2.0
"""Artifact files in an object store: S3 and what speaks like it, Google's, Azure's (the obstore library).

An object that no row names is not an artifact yet, so it may be written under its last name and taken back.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from server_stub.errors import BadInput, HostProblem
from server_stub.storage.store import CHUNK, SUFFIX, Draft

# Objects without a row are younger than this while some server still writes them.
LONGEST_UPLOAD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Objects:
    """Files as objects below one URL."""

    store: Any

    @contextmanager
    def draft(self, file: str) -> Iterator[Draft]:
        draft = _ObjectDraft(self.store, file + SUFFIX, obstore.open_writer(self.store, file + SUFFIX))
        try:
            yield draft
        except BaseException:
            draft.discard()
            raise
        if not draft.kept:
            draft.discard()

    async def read(self, file: str, first: int, length: int) -> AsyncIterator[bytes]:
        wanted = {"range": (first, first + length)}
        found = await obstore.get_async(self.store, file + SUFFIX, options=wanted)  # type: ignore[arg-type]
        async for piece in found.stream(min_chunk_size=CHUNK):
            yield bytes(piece)

    def remove(self, file: str) -> None:
        with suppress(FileNotFoundError):
            obstore.delete(self.store, file + SUFFIX)

    def sweep(self, known: Callable[[], Collection[str]]) -> None:
        kept = known()
        oldest = datetime.now(UTC) - LONGEST_UPLOAD
        for page in obstore.list(self.store):
            for one in page:
                name = one["path"]
                if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) not in kept and one["last_modified"] < oldest:
                    obstore.delete(self.store, name)


@dataclass(slots=True)
class _ObjectDraft:
    store: Any
    name: str
    out: Any
    kept: bool = False

    def write(self, data: bytes) -> object:
        try:
            return self.out.write(data)
        except BaseError as problem:
            raise OSError(0, str(problem)) from problem

    def keep(self) -> None:
        try:
            self.out.close()
        except BaseError as problem:
            raise OSError(0, str(problem)) from problem
        self.kept = True

    def discard(self) -> None:
        with suppress(BaseError, FileNotFoundError):
            if not self.kept:
                self.out.close()
            obstore.delete(self.store, self.name)


def open_objects(url: str) -> Objects:
    """The store a URL names; the keys to it come from the environment, as for every program that uses it.

    Raises BadInput: it names none. HostProblem: the store does not answer.
    """
    try:
        store = from_url(url)
    except (BaseError, ValueError) as problem:
        raise BadInput(
            f"{url!r} is no object store ({_first_line(problem)}): give --artifacts as s3://bucket/prefix."
        ) from None
    try:
        next(iter(obstore.list(store)), None)
    except (BaseError, FileNotFoundError) as problem:
        raise HostProblem(f"The object store {url} cannot be used ({_first_line(problem)}).") from None
    return Objects(store)


def _first_line(problem: BaseException) -> str:
    return str(problem).strip().splitlines()[0]
