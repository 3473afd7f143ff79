# SPDX-License-Identifier: Apache-2.0
"""The verdict on an application update: the system is as it was, and the application is the old one or the new one.

Owns what must hold of the data partition, the server's record and the inventory once the board has settled, and of
the application's place at every moment.  A module without a way back may end in a third way: it failed after it had
begun, so nobody knows what is there, and the device says so by its name.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.judge.bootenv import Slot
from harness.judge.evidence import SAYS_NEW, SAYS_OLD, Evidence, ServerRecord, inconsistent
from harness.judge.verdict import Finding, Verdict, at_rest, conclude, decide, told_once, whole_media
from images.nodes import Node, Nodes

Ending = Literal["old", "new", "inconsistent"]
ApplicationExpectation = Literal["old", "new", "inconsistent", "either"]
BEGUN = "installing"  # the status a device reports before it installs
# What an update needs on the data partition on its way, and nothing else does.
WORKING_TREE = "mender/modules/v3/payloads/0000/tree"
STATE_SCRIPTS = "mender/scripts"
# Names that our update modules use while they work: within the application's directory and beside it.
HELPER = re.compile(r"(?:^|/)\.(?:[^/]+\.)?bootproof-[a-z]+(?:/|$)")


@dataclass(frozen=True)
class Installed:
    """One of the two states an application may be in.

    `nodes` are all applications' files, by their paths on the data partition.  `artifact_name` is what the device calls
    itself then, and `version` what it says that it has of this kind of application, None if nothing.
    """

    nodes: Nodes
    artifact_name: str
    version: str | None


@dataclass(frozen=True, kw_only=True)
class ApplicationEvidence:
    """A settled board; `board` has the system's version, from before, as both old and new.

    `remains` are paths on the data partition that only an update under way may have.
    """

    board: Evidence
    ran: Slot  # before the update
    slots_before: Mapping[Slot, str]  # SHA-256 of the whole partitions
    slots: Mapping[Slot, str]
    old: Installed
    new: Installed
    rolls_back: bool
    nodes: Nodes
    remains: Sequence[str]
    version: str | None

    @property
    def ending(self) -> Ending | None:
        """How the update has ended, by what the data partition holds; None if by none of the ways there are."""
        if self._admits_doubt:
            return "inconsistent"
        endings: dict[Ending, Nodes] = {"new": self.new.nodes, "old": self.old.nodes}
        return next((ending for ending, nodes in endings.items() if nodes == self.nodes), None)

    @property
    def _admits_doubt(self) -> bool:
        server = self.board.server
        if server is None or self.rolls_back or BEGUN not in server.history:
            return False
        return server.artifact_name == inconsistent(self.new.artifact_name)


def judge_application(evidence: ApplicationEvidence, *, expect: ApplicationExpectation) -> Verdict:
    """The verdict on a board that has stopped changing by itself, or that should have."""
    ending = evidence.ending
    findings = [*at_rest(evidence.board), _system(evidence), _slots(evidence), _content(evidence, ending)]
    if ending is not None:
        findings += [_expected(ending, expect), _version(evidence, ending)]
        if evidence.board.server:
            findings += [_agrees(evidence.board.server, ending), told_once(evidence.board.server)]
            findings.append(_name(evidence, evidence.board.server.artifact_name, ending))
    return conclude(evidence.board, [*findings, _remains(evidence), *whole_media(evidence.board)])


def torn(found: Nodes, place: str, old: Nodes, new: Nodes) -> str | None:
    """What is wrong in the application's place at any moment, also right after a power cut; None if nothing is.

    The names that the modules use for their work are not looked at.
    """
    seen = _within(found, place)
    if seen in (_within(old, place), _within(new, place)):
        return None
    return f"{place} is neither old nor new: {_difference(seen, _within(new, place))}"


def _within(nodes: Nodes, place: str) -> dict[str, Node]:
    """What counts there; an empty directory is nothing yet."""
    inside = (
        path for path in nodes if path.startswith(f"{place}/") or (path == place and not nodes[path].is_directory)
    )
    return {path: nodes[path] for path in inside if not HELPER.search(path)}


def _system(evidence: ApplicationEvidence) -> Finding:
    now = evidence.board.running
    held = f"The system in slot {evidence.ran.upper()} still runs."
    violated = (
        f"The system in slot {evidence.ran.upper()} ran before, {f'slot {now.upper()}' if now else 'nothing'} now."
    )
    return decide("system", now == evidence.ran, held, violated)


def _slots(evidence: ApplicationEvidence) -> Finding:
    before = evidence.slots_before
    changed = [slot.upper() for slot in before if evidence.slots.get(slot) != before[slot]]
    held, violated = "Both slots are byte for byte as before.", f"What is in slot {' and '.join(changed)} has changed."
    return decide("slots", not changed, held, violated)


def _content(evidence: ApplicationEvidence, ending: Ending | None) -> Finding:
    if ending == "inconsistent":
        return Finding("content", True, "The device says that nobody knows what the application is.")
    return decide(
        "content",
        ending is not None,
        f"The application is the {ending} one, byte for byte.",
        f"The application is neither old nor new: {_difference(evidence.nodes, evidence.new.nodes)}",
    )


def _expected(ending: Ending, expect: ApplicationExpectation) -> Finding:
    return decide(
        "expected",
        expect in (ending, "either"),
        f"The application is {ending}, as expected.",
        f"The application is {ending}, where {expect} was expected.",
    )


def _agrees(server: ServerRecord, ending: Ending) -> Finding:
    status = server.status
    if status not in SAYS_NEW + SAYS_OLD:
        told = f"was last told '{status}'" if status else "was never told anything"
        return Finding("server", False, f"The server {told}, which is no final status.")
    allowed = SAYS_NEW if ending == "new" else SAYS_OLD
    return Finding("server", status in allowed, f"The server was told '{status}', and the application is {ending}.")


def _name(evidence: ApplicationEvidence, said: str | None, ending: Ending) -> Finding:
    wanted = {
        "old": evidence.old.artifact_name,
        "new": evidence.new.artifact_name,
        "inconsistent": inconsistent(evidence.new.artifact_name),
    }[ending]
    says = f"The device calls itself {said}"
    return decide("name", said == wanted, f"{says}.", f"{says}, and should call itself {wanted}.")


def _version(evidence: ApplicationEvidence, ending: Ending) -> Finding:
    wanted = evidence.new.version if ending == "new" else evidence.old.version
    says = f"The device says that it has {evidence.version or 'no application'}"
    return decide("version", evidence.version == wanted, f"{says}.", f"{says}, and should have {wanted or 'none'}.")


def _remains(evidence: ApplicationEvidence) -> Finding:
    held, violated = "Nothing is left of the update's way.", f"There remain {', '.join(evidence.remains)}."
    return decide("remains", not evidence.remains, held, violated)


def _difference(found: Nodes, wanted: Nodes) -> str:
    """The first three of the differences, and how many there are."""
    paths = sorted(path for path in {*found, *wanted} if found.get(path) != wanted.get(path))
    said = [f"{path} {_differs(found.get(path), wanted.get(path))}" for path in paths[:3]]
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"against the new one, {'; '.join(said)}{more}."


def _differs(found: Node | None, wanted: Node | None) -> str:
    if found is None:
        return "is missing"
    if wanted is None:
        return "is there"
    if found.mode != wanted.mode:
        return f"has mode {stat.filemode(found.mode)} instead of {stat.filemode(wanted.mode)}"
    return f"has other content ({len(found.content)} bytes instead of {len(wanted.content)})"
