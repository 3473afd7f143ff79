# SPDX-License-Identifier: Apache-2.0
"""Planted faults: updaters and boards that are wrong in one known way, to prove that a verdict can fail.

A mutant replaces a piece of a program's text that must be there exactly once, so that a mutant that no
longer fits its program is an error and not a silent pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.bytecode import CACHE_TAG, compile_source
from images.errors import ImageError
from images.ext4 import Edit
from images.rootfs import OVERLAY, SITE, UPDATER


@dataclass(frozen=True)
class Change:
    """In the file `path` (of the updater, or of the overlay if it begins with a slash) `old` becomes `new`."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """One planted fault, and the scenario that must catch it (file and test below `scenarios/`), by which rule."""

    name: str
    plants: str
    caught_by: str
    rule: str  # of the verdict, which must be violated
    changes: tuple[Change, ...] = ()
    redundant_environment: bool = True

    def edits(self) -> Sequence[Edit]:
        """What the fault changes in a root file system.

        Raises:
            ImageError: a change does not fit its file.
        """
        texts: dict[str, str] = {}
        for change in self.changes:
            text = texts.get(change.path) or _original(change.path).read_text()
            if text.count(change.old) != 1:
                raise ImageError(f"Mutant '{self.name}' no longer fits {change.path}.", "Bring it up to date.")
            texts[change.path] = text.replace(change.old, change.new)
        return [edit for path, text in texts.items() for edit in _edits_of(path, text)]


def _original(path: str) -> Path:
    return OVERLAY / path.lstrip("/") if path.startswith("/") else UPDATER / path


def _edits_of(path: str, text: str) -> Sequence[Edit]:
    if path.startswith("/"):
        mode = 0o755 if _original(path).stat().st_mode & 0o100 else 0o644
        return [Edit(path, text.encode(), mode)]
    module = Path("/", SITE, "updater", path)
    compiled = module.parent / "__pycache__" / f"{module.stem}.{CACHE_TAG}.pyc"
    return [Edit(str(module), text.encode()), Edit(str(compiled), compile_source(text, seen_as=str(module)))]


MUTANTS: dict[str, Mutant] = {
    one.name: one
    for one in (
        Mutant(
            "no-flush",
            "the slot is neither flushed, read back nor closed before the flip",
            caught_by="test_cut_inside_flip.py::test_cut_inside_flip_whole",
            rule="slot",
            changes=(
                Change("slots.py", "        os.fsync(self._fd)\n", ""),
                # Reading back and closing push everything to the medium, too.
                Change("install/rootfs.py", "    slot.read_back()\n", ""),
                Change(
                    "install/rootfs.py",
                    "        with self.slots.writer(self.update.target, skip_unchanged=self.skip_unchanged) as slot:\n"
                    "            write_image(artifact, slot, self.marks, progress)\n",
                    "        slot = self.slots.writer(self.update.target)\n"
                    "        for _ in [1]:\n"
                    "            write_image(artifact, slot, self.marks)\n",
                ),
            ),
        ),
        Mutant(
            "two-step-flip",
            "the flip is made in two environment writes",
            caught_by="test_cut_inside_flip.py::test_cut_inside_flip_whole",
            rule="commit",
            changes=(
                Change(
                    "bootenv.py",
                    'self._write({"upgrade_available": "1", **_part(target), "bootcount": "0", **limit})',
                    "self._write(_part(target))\n"
                    '        self._write({"upgrade_available": "1", "bootcount": "0", **limit})',
                ),
            ),
        ),
        Mutant(
            "commit-unheard",
            "the commit is made before the server has heard from the new system",
            caught_by="test_cut_around_commit.py::test_cut_after_commit",
            rule="commit",
            changes=(
                Change(
                    "machine/tables.py",
                    "(S.REBOOT_LEAVE,            E.DONE):    S.COMMIT_REPORT,",
                    "(S.REBOOT_LEAVE,            E.DONE):    S.COMMIT_ENTER,",
                ),
                # Only once the commit is stored, so that a cut right after its write comes well before the report.
                Change(
                    "machine/tables.py",
                    "(S.AFTER_COMMIT,            E.DONE):    S.COMMIT_LEAVE,",
                    "(S.AFTER_COMMIT,            E.DONE):    S.COMMIT_REPORT,\n"
                    "    (S.COMMIT_REPORT,           E.DONE):    S.COMMIT_LEAVE,",
                ),
                Change(
                    "machine/tables.py",
                    "    (S.COMMIT_REPORT,           E.DONE):    S.COMMIT_ENTER,\n",
                    "",
                ),
            ),
        ),
        Mutant(
            "success-without-reboot",
            "success is reported as soon as the slot is written, and nothing is rebooted",
            caught_by="test_clean_update.py::test_clean_update",
            rule="trial",
            changes=(
                Change(
                    "machine/tables.py",
                    "(S.INSTALL,                 E.DONE):    S.INSTALL_LEAVE,",
                    "(S.INSTALL,                 E.DONE):    S.AFTER_COMMIT,",
                ),
            ),
        ),
        Mutant(
            "name-forgotten",
            "the new system is kept, and the device goes on under the old name",
            caught_by="test_clean_update.py::test_clean_update",
            rule="name",
            changes=(
                Change(
                    "machine/actions.py",
                    "kept = replace(device, provides=dict(update.provides), ",
                    "kept = replace(device, ",
                ),
            ),
        ),
        Mutant(
            "single-environment",
            "the environment has one copy only",
            caught_by="test_cut_inside_flip.py::test_cut_inside_flip_torn",
            rule="environment",
            changes=(Change("/etc/fw_env.config", "/dev/mmcblk0    0x800000  0x10000\n", ""),),
            redundant_environment=False,
        ),
        Mutant(
            "failed-in-the-clean-up",
            "as in Mender's client, an update that is committed has failed if the power fails before its last report",
            caught_by="test_kept_is_kept.py::test_kept_is_kept",
            rule="server",
            changes=(
                Change(
                    "machine/tables.py",
                    '"cleanup":                  Resume(S.CLEANUP),',
                    '"cleanup":                  Resume(S.CLEANUP, Outcome.ROLLED_BACK),',
                ),
            ),
        ),
        Mutant(
            "failed-in-the-commit",
            "as in Mender's client 3.4, an update has failed if the power fails between its commit and the note of it",
            caught_by="test_cut_around_commit.py::test_cut_after_commit",
            rule="server",
            changes=(
                Change(
                    "machine/tables.py",
                    '"update-commit":            Resume(S.CHECK_COMMIT),',
                    '"update-commit":            Resume(S.ROLLED_BACK, Outcome.FAILED),',
                ),
            ),
        ),
        Mutant(
            "stale-slot-unnoticed",
            "as in Mender's client, nobody notices that another system runs than the one that was kept",
            caught_by="test_lost_environment.py::test_both_copies_lost",
            rule="slot",
            changes=(Change("keeper.py", "            self._go_back(device, running)\n", "            pass\n"),),
        ),
        Mutant(
            "any-key",
            "signatures are not looked at",
            caught_by="test_wrong_key.py::test_wrong_key",
            rule="expected",
            changes=(Change("install/intake.py", "    return keys\n", "    return []\n"),),
        ),
        Mutant(
            "tree-removed-first",
            "a directory is removed before the new one takes its place, and nothing is kept to go back to",
            caught_by="test_application_cuts.py::test_cut_around_the_commit_of_an_application[directory]",
            rule="server",
            changes=(
                Change(
                    "modules/directory.py",
                    "        _swap(disk, _new(path), path, _old(path))\n",
                    "        remove_tree(disk, path)\n        disk.rename(_new(path), path)\n",
                ),
            ),
        ),
    )
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
