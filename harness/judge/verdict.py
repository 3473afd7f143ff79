# SPDX-License-Identifier: Apache-2.0
"""The rules, and the verdict they lead to.

Owns which rules hold for a medium right after a power cut and which for a board that has settled.  Every rule that
could be checked gives one finding.  A rule that only makes sense once another one holds (what an unknown image should
be called) is left out while that one is violated.  Refuses to call anything held that was not put to the test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal

from harness.judge.bootenv import SLOTS, Environment, Slot
from harness.judge.bootmodel import NextBoot, next_boot
from harness.judge.evidence import SAYS_NEW, SAYS_OLD, Evidence, ServerRecord, inconsistent

# "inconsistent": NEW is kept and something failed afterwards, so the server is told failure and the name says so.
Expectation = Literal["old", "new", "either", "inconsistent"]


class Outcome(Enum):
    HELD = "held"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Finding:
    """A rule that was checked, and a sentence on what was found."""

    rule: str
    holds: bool
    says: str


@dataclass(frozen=True)
class Verdict:
    """The outcome, every rule that was checked, and the doubts that keep it from being held."""

    outcome: Outcome
    findings: tuple[Finding, ...]
    doubts: tuple[str, ...] = ()

    @property
    def violations(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.holds)

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        if self.outcome is Outcome.VIOLATED:
            more = f" (and {len(self.violations) - 1} more)" if len(self.violations) > 1 else ""
            return f"Violated: {self.violations[0].says}{more}"
        if self.outcome is Outcome.INCONCLUSIVE:
            return f"Inconclusive: {' '.join(self.doubts)}"
        return f"Held: {len(self.findings)} rules were checked."

    def as_dict(self) -> dict[str, Any]:
        """The verdict in values that JSON knows."""
        return {
            "outcome": self.outcome.value,
            "sentence": self.sentence,
            "findings": [{"rule": each.rule, "holds": each.holds, "says": each.says} for each in self.findings],
            "doubts": list(self.doubts),
        }


def judge_cut(evidence: Evidence, *, commit_reported: bool | None = None, with_data: bool = False) -> Verdict:
    """The verdict on the medium as a power cut left it, before anything recovers.

    `commit_reported` says whether the server had been told by then that NEW runs; without it the record is asked.
    `with_data`: the data partition has been looked at, too.
    """
    boot = next_boot(evidence.environment, evidence.defaults)
    findings = [_environment(evidence), _whole(evidence, boot)]
    if boot.trial:
        findings.append(_fallback(evidence, boot))
    if commit_reported is None and evidence.server:
        commit_reported = evidence.server.commit_reported
    image = evidence.slots.get(boot.slot) if boot.slot else None
    if commit_reported is not None and image is not None:
        findings.append(_allowed(evidence, boot, image, commit_reported))
    if evidence.server and evidence.server.status in SAYS_NEW and image is not None:
        findings.append(_kept(evidence, boot, image))
    findings.append(_partitions(evidence))
    if with_data:
        findings.append(_data(evidence))
    return conclude(evidence, [*findings, _console(evidence)])


def judge_settled(evidence: Evidence, *, expect: Expectation) -> Verdict:
    """The verdict on a board that has stopped changing by itself, or that should have."""
    findings = at_rest(evidence)
    image = evidence.slots.get(evidence.running) if evidence.running else None
    if image in (evidence.old, evidence.new):
        findings.append(_expected(evidence, image, expect))
        if evidence.server:
            findings += [_agrees(evidence, evidence.server, image, expect), told_once(evidence.server)]
        said = evidence.server.artifact_name if evidence.server else evidence.stored_name
        if said is not None:
            findings.append(_name(evidence, said, image, expect))
    if image == evidence.new and image != evidence.old:
        findings.append(_beside(evidence))
    return conclude(evidence, [*findings, *whole_media(evidence)])


# -- what every verdict on a settled board rests on --------------------------------------------------------------------


def at_rest(evidence: Evidence) -> list[Finding]:
    """The board has stopped changing, and runs a known system that it will run again."""
    active = replace(evidence.environment, defaults=evidence.defaults)
    boot = next_boot(evidence.environment, evidence.defaults)
    return [
        decide(
            "settled", evidence.settled, "The board settled in time.", "The board went on changing until time was up."
        ),
        _environment(evidence),
        _no_trial(active),
        _whole(evidence, replace(boot, slot=active.slot) if boot.slot else boot),
        _runs(evidence, active.slot),
    ]


def whole_media(evidence: Evidence) -> list[Finding]:
    """What has nothing to do with versions: the table, the owner's files, and what the console shows."""
    return [
        _partitions(evidence),
        _data(evidence),
        _console(evidence),
    ]


def conclude(evidence: Evidence, findings: Iterable[Finding]) -> Verdict:
    checked = tuple(findings)
    if not all(finding.holds for finding in checked):
        return Verdict(Outcome.VIOLATED, checked, evidence.doubts)
    return Verdict(Outcome.INCONCLUSIVE if evidence.doubts else Outcome.HELD, checked, evidence.doubts)


def decide(rule: str, holds: bool, held: str, violated: str) -> Finding:
    return Finding(rule, holds, held if holds else violated)


def _quiet(rule: str, held: str, complaints: Sequence[str]) -> Finding:
    return Finding(rule, not complaints, " ".join(complaints) or held)


def _environment(evidence: Evidence) -> Finding:
    return decide(
        "environment",
        evidence.environment.active is not None,
        "U-Boot finds a valid environment.",
        "No copy of U-Boot's environment is valid; it would fall back to its compiled default.",
    )


def _partitions(evidence: Evidence) -> Finding:
    return _quiet("partitions", "The partition table is whole.", evidence.partition_complaints)


def _data(evidence: Evidence) -> Finding:
    return _quiet("data", "The data partition is whole.", evidence.data_complaints)


def _whole(evidence: Evidence, boot: NextBoot) -> Finding:
    if boot.slot is None:
        return Finding("slot", False, f"U-Boot has no slot to boot. {boot.why}")
    return _image_in("slot", "boots", evidence, boot.slot)


def _fallback(evidence: Evidence, boot: NextBoot) -> Finding:
    if boot.second is None:
        return Finding("fallback", False, "The slot on trial has none to fall back to.")
    image = evidence.slots.get(boot.second)
    subject = f"Slot {boot.second.upper()}, which U-Boot falls back to,"
    held, violated = f"{subject} is {image}, byte for byte.", f"{subject} is not {evidence.old}."
    return decide("fallback", image == evidence.old, held, violated)


def _image_in(rule: str, verb: str, evidence: Evidence, slot: Slot) -> Finding:
    image = evidence.slots.get(slot)
    subject = f"Slot {slot.upper()}, which U-Boot {verb},"
    return decide(
        rule,
        image in (evidence.old, evidence.new),
        f"{subject} is {image}, byte for byte.",
        f"{subject} is neither {evidence.old} nor {evidence.new}.",
    )


def _allowed(evidence: Evidence, boot: NextBoot, image: str, commit_reported: bool) -> Finding:
    final = image == evidence.new != evidence.old and not boot.trial
    if final and commit_reported:
        return Finding("commit", True, f"{evidence.new} was made final after the server had been told that it runs.")
    return decide(
        "commit",
        not final,
        f"{evidence.new} is not final yet.",
        f"{evidence.new} was made final before the server had been told that it runs.",
    )


def _kept(evidence: Evidence, boot: NextBoot, image: str) -> Finding:
    return decide(
        "kept",
        image == evidence.new and not boot.trial,
        f"The server was told success, and {evidence.new} is final.",
        f"The server was told success, but the next boot is {image}{' on trial' if boot.trial else ''}.",
    )


def _no_trial(active: Environment) -> Finding:
    return decide("trial", not active.upgrade_available, "No update is on trial.", "An update is still on trial.")


def _runs(evidence: Evidence, active: Slot | None) -> Finding:
    running = f"slot {evidence.running.upper()}" if evidence.running else "nothing"
    name = f"slot {active.upper()}" if active else "no slot"
    return decide(
        "running",
        active is not None and evidence.running == active,
        f"The active slot runs: {running}.",
        f"The environment has {name} active, but {running} was seen to run.",
    )


def _expected(evidence: Evidence, image: str | None, expect: Expectation) -> Finding:
    wanted = {"old": (evidence.old,), "either": (evidence.old, evidence.new)}.get(expect, (evidence.new,))
    return decide(
        "expected",
        image in wanted,
        f"{image} runs, as expected.",
        f"{image} runs, where {' or '.join(wanted)} was expected.",
    )


def _agrees(evidence: Evidence, server: ServerRecord, image: str | None, expect: Expectation) -> Finding:
    status = server.status
    if status not in SAYS_NEW + SAYS_OLD:
        told = f"was last told '{status}'" if status else "was never told anything"
        return Finding("server", False, f"The server {told}, which is no final status.")
    allowed = SAYS_OLD * (image == evidence.old)
    if image == evidence.new:
        allowed += ("failure",) if expect == "inconsistent" else SAYS_NEW
        # What is taken back once the server has heard that NEW is about to be kept is taken back too late.
        allowed += ("aborted",) * server.commit_reported
    return Finding("server", status in allowed, f"The server was told '{status}', and {image} runs.")


def _name(evidence: Evidence, said: str, image: str | None, expect: Expectation) -> Finding:
    """What the device says of itself decides what it is offered next."""
    wanted = evidence.artifact_names.get(image or "", image) or ""
    if expect == "inconsistent" and image == evidence.new:
        wanted = inconsistent(wanted)
    says = f"The device says that it runs {said}"
    return decide("name", said == wanted, f"{says}.", f"{says}, and {wanted} runs.")


def told_once(server: ServerRecord) -> Finding:
    """A deployment ends once: success after failure, or failure after success, means that one of them was a lie."""
    finals = {status in SAYS_NEW for status in server.history if status in SAYS_NEW + SAYS_OLD}
    told = ", ".join(server.history)
    return decide("told-once", len(finals) < 2, "The server was told one end.", f"The server was told {told}.")


def _beside(evidence: Evidence) -> Finding:
    """Beside the new version the old one stays whole."""
    other = next(slot for slot in SLOTS if slot != evidence.running)
    subject = f"Slot {other.upper()}, beside {evidence.new},"
    held, violated = f"{subject} is {evidence.old}, byte for byte.", f"{subject} is not {evidence.old} any more."
    return decide("beside", evidence.slots.get(other) == evidence.old, held, violated)


def _console(evidence: Evidence) -> Finding:
    shown = [f"The console shows {', '.join(evidence.alarms)}."] if evidence.alarms else ()
    return _quiet("console", "The console shows no alarm.", shown)
