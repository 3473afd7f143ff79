# SPDX-License-Identifier: Apache-2.0
"""Planted faults: updaters and boards that are wrong in one known way, to prove that a verdict can fail."""

from __future__ import annotations

from images.errors import ImageError
from images.planted import applications, board, course, flip, slot, store
from images.planted.fault import Change, Mutant

MUTANTS: dict[str, Mutant] = {
    one.name: one for area in (flip, slot, store, course, board, applications) for one in area.FAULTS
}


def mutant(name: str) -> Mutant:
    """The mutant of that name.

    Raises:
        ImageError: there is none.
    """
    try:
        return MUTANTS[name]
    except KeyError:
        raise ImageError(f"There is no mutant '{name}'.", f"There are {', '.join(MUTANTS)}.") from None


__all__ = ["MUTANTS", "Change", "Mutant", "mutant"]
