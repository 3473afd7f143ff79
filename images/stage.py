# SPDX-License-Identifier: Apache-2.0
"""How one thing is made from others: a stage says what goes in, and how it is built.

The key of a stage is computed from its inputs and its code alone, before anything is built, so that a plan costs
nothing.
"""

from __future__ import annotations

import hashlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from images.cache import Cache, key_of

HERE = Path(__file__).parent
Say = Callable[[str], None]


def tree_digest(paths: Iterable[Path]) -> str:
    """One SHA-256 over the names, modes and contents of files and directories, caches left out."""
    total = hashlib.sha256()
    for top in paths:
        files = [top] if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file())
        for file in files:
            if "__pycache__" in file.parts:
                continue
            name = file.name if file == top else str(file.relative_to(top))
            executable = bool(file.stat().st_mode & 0o100)
            total.update(f"{name}\0{executable}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return total.hexdigest()


class Stage(ABC):
    """A step of the build; subclasses are frozen dataclasses whose fields are its parameters."""

    name: ClassVar[str]
    says: ClassVar[str]
    code: ClassVar[tuple[str, ...]] = ()  # modules of images/ that do part of the work, besides its own

    @abstractmethod
    def inputs(self) -> dict[str, Any]:
        """What decides the result, JSON-able: parameters, digests of recipes, keys of other stages."""

    def ingredients(self) -> dict[str, Any]:
        """The inputs, and the code that makes something of them."""
        own = Path(inspect.getfile(type(self)))
        return {**self.inputs(), "code": tree_digest([own, *(HERE / name for name in self.code)])}

    @abstractmethod
    def build(self, into: Path, workshop: Workshop, /) -> None:
        """Make it, in the empty directory `into`."""

    @property
    def key(self) -> str:
        return key_of(self.ingredients())

    @property
    def label(self) -> str:
        """What distinguishes this one from others of its stage, for people."""
        return ""


class Workshop:
    """Where stages are built: a cache, and someone to tell what is going on."""

    def __init__(self, cache: Cache | None = None, say: Say = lambda _: None) -> None:
        self.cache = cache or Cache()
        self.say = say

    def get(self, stage: Stage) -> Path:
        """The directory with what `stage` makes, built if need be.

        Raises:
            ImageError: it cannot be built.
        """

        def build(into: Path) -> None:
            self.say(f"{stage.says} {stage.label}".strip())
            stage.build(into, self)

        return self.cache.get(stage.name, stage.ingredients(), build, stage.label)
