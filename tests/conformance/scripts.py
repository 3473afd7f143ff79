# SPDX-License-Identifier: Apache-2.0
"""The update module and the state scripts of a case, as text: each says in the journal that it runs, and then does
what its case wants of it.

They are run by the updater itself, so their parent is whom they kill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from tests.conformance.conditions import Conditions, Fault, Kind
from tests.conformance.journal import HANDED_OUT
from tests.conformance.steps import ARTIFACT_SCRIPTS, MOMENTS, ROOTFS_SCRIPTS, STATES

MODULE = "test-module"
HANG_SECONDS = 60  # real ones: much longer than the updater waits in a case of this kind
KILL = "kill -9 $PPID; exit 1"


@dataclass(frozen=True)
class Places:
    """Where module and scripts write: outside of the updater's own directories, so that it cannot tidy them away."""

    folder: Path

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def over(self) -> Path:
        """Is there when the case is over."""
        return self.folder / "over"

    @property
    def done(self) -> Path:
        """One entry for each fault that has happened."""
        return self.folder / "done"

    @property
    def programs(self) -> Path:
        """The process ids of all modules and scripts."""
        return self.folder / "programs"


def module(conditions: Conditions, places: Places) -> str:
    """The update module."""
    branches = {state: _faults(conditions, state, places) for state in STATES.values()}
    # A reboot is the end of this process and a new start.  A store that cannot be written would then know of nothing.
    reboot = KILL if conditions.unwritable_after is None else ":"
    behaviour = {
        "Download": _take_files(),
        "DownloadWithFileSizes": _take_files(),
        "ProvidePayloadFileSizes": _answer(conditions.file_sizes),
        "NeedsArtifactReboot": _answer("Yes" if conditions.reboot else "No"),
        "SupportsRollback": _answer("Yes" if conditions.rollback else "No"),
        "ArtifactReboot": reboot,
        "ArtifactRollbackReboot": reboot,
    }
    cases = [f"{state})\n{faults}{behaviour.get(state, ':')}\n;;" for state, faults in branches.items()]
    return "\n".join([_head(places), f'echo "$1" >> {quote(str(places.journal))}', 'case "$1" in', *cases, "esac", ""])


def rootfs_scripts(conditions: Conditions, places: Places, store: Path) -> Mapping[str, str]:
    """File name to text of the scripts that belong to the root file system.  `store` is the updater's own file."""
    return _scripts(ROOTFS_SCRIPTS, conditions, places, store)


def artifact_scripts(conditions: Conditions, places: Places, store: Path) -> Mapping[str, str]:
    """File name to text of the scripts that the artifact carries."""
    return _scripts(ARTIFACT_SCRIPTS, conditions, places, store)


def make_unwritable(store: Path) -> str:
    """Shell that makes every further save fail, also for root, and leaves the store readable: a read-only mount."""
    file = quote(str(store))
    return f"mount --bind {file} {file} && mount -o remount,bind,ro {file} {file}"


def _scripts(states: Mapping[str, str], conditions: Conditions, places: Places, store: Path) -> dict[str, str]:
    return {
        f"{state}_{moment}_00": _script(f"{state}_{moment}", conditions, places, store)
        for state in states.values()
        for moment in MOMENTS.values()
    }


def _script(name: str, conditions: Conditions, places: Places, store: Path) -> str:
    lines = [_head(places)]
    if name == "Idle_Enter":
        lines.append(_end_here(conditions, places))
    lines.append(f"echo {name} >> {quote(str(places.journal))}")
    if name == _unwritable_from(conditions):
        lines.append(make_unwritable(store))
    return "\n".join([*lines, _faults(conditions, name, places)])


def _unwritable_from(conditions: Conditions) -> str | None:
    """The script that comes after as many records as the case allows; none of them is left for 0."""
    records = conditions.unwritable_after
    if not records:
        return None
    if records < 4:
        return "Download_Enter"
    return "Download_Leave" if records == 4 else "ArtifactInstall_Leave"


def _head(places: Places) -> str:
    return f"#!/bin/sh\necho $$ >> {quote(str(places.programs))}"


def _faults(conditions: Conditions, step: str, places: Places) -> str:
    return "".join(_fault(fault, places) + "\n" for fault in conditions.faults if fault.step == step)


def _fault(fault: Fault, places: Places) -> str:
    effect = {Kind.ERR: "exit 1", Kind.KILL: KILL, Kind.HANG: f"sleep {HANG_SECONDS}"}[fault.kind]
    if fault.forever:
        return effect
    # Making a directory works once, also where the next one to try is killed at it.
    mark = places.done / f"{fault.kind}.{fault.step}"
    return f"if mkdir {quote(str(mark))} 2> /dev/null; then {effect}; fi"


def _answer(text: str) -> str:
    return f"echo {text}" if text else ":"


def _take_files() -> str:
    return 'while read -r entry < stream-next && [ -n "$entry" ]; do cat "${entry%% *}" > /dev/null || exit 1; done'


def _end_here(conditions: Conditions, places: Places) -> str:
    """When all deployments have been handed out, the updater is kept here until it is ended."""
    handed_out = f"$(grep -cxF {quote(HANDED_OUT)} {quote(str(places.journal))})"
    wait = "while kill -0 $PPID 2> /dev/null; do sleep 0.05; done"
    return f'if [ "{handed_out}" -ge {conditions.deployments} ]; then : > {quote(str(places.over))}; {wait}; exit 0; fi'
