# SPDX-License-Identifier: Apache-2.0
"""Every rule on an application update has a violation that makes it fail, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.judge.application import (
    ApplicationEvidence,
    ApplicationExpectation,
    Installed,
    judge_application,
    torn,
)
from harness.judge.bootenv import Environment, EnvironmentCopy, Slot
from harness.judge.evidence import Evidence, ServerRecord
from harness.judge.verdict import Outcome
from images.nodes import Node, Nodes

DEFAULTS = {
    "bootcmd": "run mender_setup",
    "bootlimit": "1",
    "mender_boot_part": "1",
    "mender_boot_part_hex": "1",
    "upgrade_available": "0",
}
BROKEN = EnvironmentCopy(False, 0)
NO_ENVIRONMENT = Environment((BROKEN, BROKEN), None)


def env(slot: Slot, **changes: str) -> Environment:
    part = {"a": "1", "b": "2"}[slot]
    variables = DEFAULTS | {"mender_boot_part": part, "mender_boot_part_hex": part} | changes
    return Environment((BROKEN, EnvironmentCopy(True, 9, variables)), 1)


def program(content: bytes) -> Nodes:
    return {
        "apps": Node.directory(),
        "apps/tool": Node.directory(),
        "apps/tool/program": Node.file(content, 0o755),
        "apps/tool/link": Node.link("program"),
    }


ONE, TWO = program(b"one"), program(b"two")
DOWNLOADED = ("downloading", "installing")
BOARD = Evidence(
    environment=env("a"),
    defaults=DEFAULTS,
    slots={"a": "v1", "b": None},
    partition_complaints=(),
    data_complaints=(),
    alarms=(),
    server=ServerRecord("success", (*DOWNLOADED, "installing", "success"), artifact_name="tool-two"),
    running="a",
    faults_fired=True,
    settled=True,
    old="v1",
    new="v1",
    has_flushes=True,
)
DIGESTS: dict[Slot, str] = {"a": "aa", "b": "bb"}
NEW = ApplicationEvidence(
    board=BOARD,
    ran="a",
    slots_before=DIGESTS,
    slots=DIGESTS,
    old=Installed(ONE, "tool-one", "1"),
    new=Installed(TWO, "tool-two", "2"),
    rolls_back=True,
    nodes=TWO,
    remains=(),
    version="2",
)


def told(evidence: ApplicationEvidence, **changes: Any) -> ApplicationEvidence:
    """With another record of the server's."""
    assert evidence.board.server is not None
    return board(evidence, server=replace(evidence.board.server, **changes))


def board(evidence: ApplicationEvidence, **changes: Any) -> ApplicationEvidence:
    return replace(evidence, board=replace(evidence.board, **changes))


FAILED = {"status": "failure", "history": (*DOWNLOADED, "failure")}
OLD = told(replace(NEW, nodes=ONE, version="1"), artifact_name="tool-one", **FAILED)
FIRST = told(
    replace(NEW, old=Installed({}, "release-a", None), nodes={}, version=None), artifact_name="release-a", **FAILED
)
LOST = told(
    replace(NEW, rolls_back=False, nodes=program(b"half"), version="1"), artifact_name="tool-two_INCONSISTENT", **FAILED
)


def failed(evidence: ApplicationEvidence, expect: ApplicationExpectation) -> list[str]:
    verdict = judge_application(evidence, expect=expect)
    assert (verdict.outcome is Outcome.VIOLATED) == bool(verdict.violations)
    assert len({finding.rule for finding in verdict.findings}) == len(verdict.findings)
    return [finding.rule for finding in verdict.violations]


@pytest.mark.parametrize(
    ("evidence", "expects"),
    [
        (NEW, ("new", "either")),
        (OLD, ("old", "either")),
        (FIRST, ("old", "either")),
        (LOST, ("inconsistent", "either")),
        (replace(LOST, nodes=ONE), ("inconsistent",)),  # by chance, which the device cannot know
        (replace(LOST, nodes=TWO), ("inconsistent",)),
        (replace(OLD, rolls_back=False), ("old",)),  # it failed before anything was begun
        (told(NEW, status="already-installed"), ("new",)),
        (told(OLD, status="aborted"), ("old",)),
    ],
)
def test_a_whole_board_holds(evidence: ApplicationEvidence, expects: tuple[ApplicationExpectation, ...]) -> None:
    for expect in expects:
        verdict = judge_application(evidence, expect=expect)
        assert verdict.outcome is Outcome.HELD
        assert [finding.rule for finding in verdict.findings] == [
            *("settled", "environment", "trial", "slot", "running", "system", "slots", "content", "expected"),
            *("version", "server", "told-once", "name", "remains", "partitions", "data", "console"),
        ]


@pytest.mark.parametrize(
    ("rule", "evidence"),
    [
        ("settled", board(NEW, settled=False)),
        ("environment", board(NEW, environment=NO_ENVIRONMENT)),
        ("trial", board(NEW, environment=env("a", upgrade_available="1", bootcount="0"))),
        ("slot", board(NEW, slots={"a": None, "b": None})),
        ("slot", board(NEW, environment=env("a", bootcmd="false"))),
        ("running", board(NEW, environment=env("b"), slots={"a": "v1", "b": "v1"})),
        ("system", board(NEW, environment=env("b"), slots={"a": "v1", "b": "v1"}, running="b")),
        ("slots", replace(NEW, slots={"a": "aa", "b": "b0"})),
        ("slots", replace(NEW, slots={"a": "a0", "b": "b0"})),
        ("content", replace(NEW, nodes=program(b"tw"))),
        ("content", replace(NEW, nodes={})),
        ("content", replace(NEW, nodes={**TWO, "apps/.tool.bootproof-old": Node.directory()})),
        ("content", replace(NEW, nodes={**TWO, "apps/tool/program": Node.file(b"two", 0o700)})),
        ("content", replace(NEW, nodes={**TWO, "apps/tool/link": Node.link("elsewhere")})),
        ("content", replace(NEW, nodes={path: node for path, node in TWO.items() if path != "apps/tool/link"})),
        ("server", told(NEW, status="failure")),
        ("server", told(NEW, status="aborted")),
        ("server", told(NEW, status="installing")),
        ("server", told(NEW, status=None)),
        ("told-once", told(NEW, history=(*DOWNLOADED, "failure", "success"))),
        ("name", told(NEW, artifact_name="tool-one")),
        ("name", told(NEW, artifact_name=None)),
        ("name", told(NEW, artifact_name="tool-two_INCONSISTENT")),
        ("version", replace(NEW, version="1")),
        ("version", replace(NEW, version=None)),
        ("remains", replace(NEW, remains=("mender/scripts",))),
        ("partitions", board(NEW, partition_complaints=("The protective MBR is broken.",))),
        ("data", board(NEW, data_complaints=("The file /letter is gone from the data partition.",))),
        ("console", board(NEW, alarms=("program-crashed",))),
    ],
)
def test_a_violation_fails_its_rule_alone(rule: str, evidence: ApplicationEvidence) -> None:
    assert failed(evidence, "new") == [rule]


@pytest.mark.parametrize(
    ("rule", "evidence"),
    [
        ("content", replace(OLD, nodes={})),
        ("server", told(OLD, status="success")),
        ("name", told(OLD, artifact_name="tool-two")),
        ("name", told(OLD, artifact_name="tool-two_INCONSISTENT")),  # the module could go back, and has
        ("version", replace(OLD, version="2")),
        ("content", replace(FIRST, nodes={"apps": Node.directory()})),
        ("version", replace(FIRST, version="2")),
        # Nothing was begun, so there is nothing to doubt.
        ("name", told(replace(OLD, rolls_back=False), artifact_name="tool-two_INCONSISTENT", history=("downloading",))),
    ],
)
def test_what_the_old_one_must_not_be(rule: str, evidence: ApplicationEvidence) -> None:
    assert failed(evidence, "old") == [rule]


@pytest.mark.parametrize(
    ("rule", "evidence"),
    [
        ("server", told(LOST, status="success")),
        ("version", replace(LOST, version="2")),
        ("content", told(LOST, artifact_name="tool-one")),  # half of it is there, and the device does not say so
        ("content", told(LOST, artifact_name="tool-one_INCONSISTENT")),
        ("content", replace(LOST, rolls_back=True)),
        ("content", told(LOST, history=("downloading", "failure"))),
    ],
)
def test_doubt_is_admitted_only_where_it_must_be(rule: str, evidence: ApplicationEvidence) -> None:
    assert failed(evidence, "inconsistent") == [rule]


@pytest.mark.parametrize(
    ("evidence", "expect"), [(NEW, "old"), (OLD, "new"), (OLD, "inconsistent"), (LOST, "old"), (LOST, "new")]
)
def test_what_was_not_expected(evidence: ApplicationEvidence, expect: ApplicationExpectation) -> None:
    assert failed(evidence, expect) == ["expected"]


def test_without_a_server_there_is_nothing_to_agree_with() -> None:
    assert failed(board(NEW, server=None), "new") == []


def test_without_a_test_nothing_is_held() -> None:
    for doubt in ({"faults_fired": False}, {"has_flushes": False}):
        assert judge_application(board(NEW, **doubt), expect="new").outcome is Outcome.INCONCLUSIVE


def test_the_sentence_says_what_differs() -> None:
    found = {**TWO, "apps/tool/program": Node.file(b"tw", 0o755), "apps/tool/more": Node.directory()}
    verdict = judge_application(replace(NEW, nodes=found), expect="new")
    assert verdict.sentence == (
        "Violated: The application is neither old nor new: against the new one, apps/tool/more is there; "
        "apps/tool/program has other content (2 bytes instead of 3)."
    )


class TestAtAnyMoment:
    PLACE = "apps/tool"

    @pytest.mark.parametrize(
        "found",
        [
            ONE,
            TWO,
            {**ONE, "apps/.tool.bootproof-tmp": Node.directory(), "apps/.tool.bootproof-tmp/half": Node.file(b"")},
            {**ONE, "apps/tool/.program.bootproof-new": Node.file(b"half")},
            {**TWO, "apps/tool/.bootproof-new": Node.file(b"")},
            {**ONE, "apps/other": Node.directory()},
        ],
    )
    def test_the_old_one_or_the_new_one_is_there(self, found: Nodes) -> None:
        assert torn(found, self.PLACE, ONE, TWO) is None

    @pytest.mark.parametrize(
        "found",
        [
            {},
            {"apps": Node.directory(), "apps/tool": Node.directory()},
            program(b""),
            {**TWO, "apps/tool/link": Node.link("old")},
            {**ONE, "apps/tool/bootproof-new": Node.file(b"")},
            {**ONE, "apps/tool/program.dpkg-new": Node.file(b"two")},
        ],
    )
    def test_and_nothing_else(self, found: Nodes) -> None:
        assert torn(found, self.PLACE, ONE, TWO)

    def test_where_there_was_nothing_an_empty_directory_is_nothing_yet(self) -> None:
        assert torn({}, self.PLACE, {}, TWO) is None
        assert torn({"apps": Node.directory(), "apps/tool": Node.directory()}, self.PLACE, {}, TWO) is None
        for path in ("apps/tool", "apps/tool/program"):
            assert torn({"apps": Node.directory(), path: Node.file(b"t")}, self.PLACE, {}, TWO)
