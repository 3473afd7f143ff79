# SPDX-License-Identifier: Apache-2.0
"""Faults of the update modules, which install applications."""

from __future__ import annotations

from typing import Final

from images.planted.fault import Change, Mutant

FAULTS: Final = (
    Mutant(
        "tree-removed-first",
        "a directory is removed before the new one takes its place, and nothing is kept to go back to",
        caught_by="test_application_cuts.py::test_cut_around_the_commit_of_an_application[directory]",
        rule="server",
        explored=None,
        changes=(
            Change(
                "modules/directory.py",
                "        _swap(disk, _new(path), path, _old(path))\n",
                "        remove_tree(disk, path)\n        disk.rename(_new(path), path)\n",
            ),
        ),
    ),
)
