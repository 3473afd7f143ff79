# SPDX-License-Identifier: Apache-2.0
"""Every rule of the verdict has a violation that makes it fail, and nothing else; a whole board passes all."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.judge.bootenv import Environment, EnvironmentCopy, Slot
from harness.judge.evidence import Evidence, ServerRecord
from harness.judge.verdict import Outcome, Verdict, judge_cut, judge_settled

DEFAULTS = {
    "bootcmd": "run mender_setup",
    "bootlimit": "1",
    "mender_boot_part": "1",
    "mender_boot_part_hex": "1",
    "mender_rootfs_a": "1",
    "mender_rootfs_a_hex": "1",
    "mender_rootfs_b": "2",
    "mender_rootfs_b_hex": "2",
    "upgrade_available": "0",
}
BROKEN = EnvironmentCopy(False, 0)
NO_ENVIRONMENT = Environment((BROKEN, BROKEN), None)
DOWNLOADED = ("downloading", "installing")
REPORTED = (*DOWNLOADED, "rebooting", "installing")


def env(slot: Slot, **changes: str) -> Environment:
    part = {"a": "1", "b": "2"}[slot]
    variables = DEFAULTS | {"mender_boot_part": part, "mender_boot_part_hex": part} | changes
    return Environment((BROKEN, EnvironmentCopy(True, 9, variables)), 1)


TRIAL = env("b", upgrade_available="1", bootcount="0")
SETTLED = Evidence(
    environment=env("b"),
    defaults=DEFAULTS,
    slots={"a": "v1", "b": "v2"},
    partition_complaints=(),
    data_complaints=(),
    alarms=(),
    server=ServerRecord("success", (*REPORTED, "success")),
    running="b",
    faults_fired=True,
    settled=True,
    old="v1",
    new="v2",
    has_flushes=True,
)
# A script failed after the commit: NEW is kept, the server is told failure, and the name says that not all is well.
INCONSISTENT = replace(
    SETTLED,
    server=ServerRecord("failure", (*REPORTED, "failure"), artifact_name="release-2_INCONSISTENT"),
    artifact_names={"v1": "release-1", "v2": "release-2"},
)
BACK = replace(
    SETTLED, environment=env("a"), running="a", server=ServerRecord("failure", (*DOWNLOADED, "rebooting", "failure"))
)
CUT = replace(SETTLED, environment=TRIAL, server=ServerRecord("rebooting", (*DOWNLOADED, "rebooting")), running=None)
FINAL = replace(CUT, environment=env("b"), server=ServerRecord("installing", REPORTED))


def failed(verdict: Verdict) -> list[str]:
    assert (verdict.outcome is Outcome.VIOLATED) == bool(verdict.violations)
    assert len({finding.rule for finding in verdict.findings}) == len(verdict.findings)
    return [finding.rule for finding in verdict.violations]


class TestCut:
    @pytest.mark.parametrize(
        ("evidence", "rules"),
        [
            (CUT, ["environment", "slot", "fallback", "commit", "partitions", "console"]),
            (FINAL, ["environment", "slot", "commit", "partitions", "console"]),
            (replace(CUT, environment=env("a")), ["environment", "slot", "commit", "partitions", "console"]),
            (replace(CUT, environment=env("a"), slots={"a": "v1", "b": None}), None),
            (replace(CUT, environment=env("a"), server=ServerRecord(None)), None),
            (replace(CUT, server=None), ["environment", "slot", "fallback", "partitions", "console"]),
            (replace(FINAL, server=SETTLED.server), ["environment", "slot", "commit", "kept", "partitions", "console"]),
            (replace(CUT, environment=env("b", upgrade_available="1", bootcount="1")), None),
            (replace(FINAL, new="v1", slots={"a": "v1", "b": "v1"}, server=ServerRecord(None)), None),
        ],
    )
    def test_a_whole_medium_holds(self, evidence: Evidence, rules: list[str] | None) -> None:
        verdict = judge_cut(evidence)

        assert verdict.outcome is Outcome.HELD
        assert rules is None or [finding.rule for finding in verdict.findings] == rules
        assert verdict.sentence == f"Held: {len(verdict.findings)} rules were checked."

    @pytest.mark.parametrize(
        ("rule", "evidence"),
        [
            ("environment", replace(CUT, environment=NO_ENVIRONMENT)),
            ("slot", replace(CUT, slots={"a": "v1", "b": None})),
            ("slot", replace(CUT, slots={"a": "v1", "b": "v3"})),
            ("slot", replace(CUT, environment=env("a"), slots={"a": None, "b": "v2"})),
            ("slot", replace(CUT, slots={"a": "v1"})),
            ("slot", replace(CUT, environment=env("a", mender_boot_part_hex="2"))),
            ("slot", replace(CUT, environment=env("a", bootcmd="false"))),
            ("slot", replace(CUT, environment=env("b", upgrade_available="1", bootcount="1"), slots={"b": "v2"})),
            ("fallback", replace(CUT, slots={"a": None, "b": "v2"})),
            ("fallback", replace(CUT, environment=env("b", upgrade_available="1", bootlimit="0"))),
            ("commit", replace(FINAL, server=CUT.server)),
            ("commit", replace(FINAL, server=ServerRecord(None))),
            ("commit", replace(CUT, environment=env("a", upgrade_available="1", bootcount="1"))),
            ("kept", replace(CUT, environment=env("a"), server=SETTLED.server)),
            ("kept", replace(CUT, server=SETTLED.server)),
            ("fallback", replace(CUT, slots={"a": "v2", "b": "v2"})),
            ("partitions", replace(CUT, partition_complaints=("The primary partition table is broken.",))),
            ("console", replace(CUT, alarms=("kernel-oops",))),
        ],
    )
    def test_a_violation_fails_its_rule_alone(self, rule: str, evidence: Evidence) -> None:
        assert failed(judge_cut(evidence)) == [rule]

    def test_the_caller_may_know_what_was_reported(self) -> None:
        assert failed(judge_cut(FINAL, commit_reported=False)) == ["commit"]
        assert judge_cut(replace(FINAL, server=None), commit_reported=True).outcome is Outcome.HELD
        assert failed(judge_cut(replace(FINAL, server=None), commit_reported=False)) == ["commit"]

    def test_a_stale_default_that_boots_new_is_not_a_commit(self) -> None:
        swapped = replace(CUT, environment=NO_ENVIRONMENT, slots={"a": "v2", "b": "v1"})

        assert failed(judge_cut(swapped)) == ["environment", "commit"]


class TestSettled:
    RULES = ("settled", "environment", "trial", "slot", "running")
    AGREED = ("expected", "server", "told-once")
    LAST = ("partitions", "data", "console")

    @pytest.mark.parametrize(
        ("evidence", "expect"),
        [
            (SETTLED, "new"),
            (SETTLED, "either"),
            (BACK, "old"),
            (BACK, "either"),
            (replace(SETTLED, server=ServerRecord("already-installed")), "new"),
            (replace(BACK, server=ServerRecord("aborted")), "old"),
            (replace(BACK, slots={"a": "v1", "b": None}), "old"),
        ],
    )
    def test_a_whole_board_holds(self, evidence: Evidence, expect: Any) -> None:
        verdict = judge_settled(evidence, expect=expect)

        assert verdict.outcome is Outcome.HELD
        beside = ("beside",) if evidence.slots["b"] == "v2" and evidence.running == "b" else ()
        rules = self.RULES + self.AGREED + beside + self.LAST
        assert tuple(finding.rule for finding in verdict.findings) == rules

    def test_the_device_must_say_what_it_runs(self) -> None:
        names = {"v1": "release-1", "v2": "release-2"}
        for evidence, right, wrong in (
            (SETTLED, "release-2", "release-1"),
            (BACK, "release-1", "release-1_INCONSISTENT"),
        ):
            assert evidence.server is not None
            for said, rules in ((right, []), (wrong, ["name"]), (evidence.new, ["name"])):
                server = replace(evidence.server, artifact_name=said)
                expect = "new" if evidence is SETTLED else "old"
                verdict = judge_settled(replace(evidence, server=server, artifact_names=names), expect=expect)
                assert failed(verdict) == rules
        verdict = judge_settled(replace(SETTLED, server=replace(SETTLED.server, artifact_name="v2")), expect="new")
        assert "name" in {finding.rule for finding in verdict.findings}, "images may be called as their artifacts are"

    def test_without_a_server_what_it_has_stored_must_say_it(self) -> None:
        by_hand = replace(SETTLED, server=None, artifact_names={"v1": "release-1", "v2": "release-2"})
        for stored, rules in ((None, []), ("release-2", []), ("release-1", ["name"])):
            assert failed(judge_settled(replace(by_hand, stored_name=stored), expect="new")) == rules

    def test_what_failed_after_the_commit_is_kept_under_a_name_that_says_so(self) -> None:
        assert judge_settled(INCONSISTENT, expect="inconsistent").outcome is Outcome.HELD
        assert failed(judge_settled(INCONSISTENT, expect="new")) == ["server", "name"]

    @pytest.mark.parametrize(
        ("rule", "changes"),
        [
            ("name", {"artifact_name": "release-2"}),
            ("name", {"artifact_name": "release-1"}),
            ("name", {"artifact_name": "release-1_INCONSISTENT"}),
            ("name", {"artifact_name": "release-2_INCONSISTENT_INCONSISTENT"}),
            ("server", {"status": "success", "history": (*REPORTED, "success")}),
            ("told-once", {"history": (*REPORTED, "success", "failure")}),
        ],
    )
    def test_what_is_inconsistent_must_be_told_so(self, rule: str, changes: dict[str, Any]) -> None:
        assert INCONSISTENT.server is not None
        evidence = replace(INCONSISTENT, server=replace(INCONSISTENT.server, **changes))
        assert failed(judge_settled(evidence, expect="inconsistent")) == [rule]

    def test_what_was_rolled_back_is_not_inconsistent(self) -> None:
        assert failed(judge_settled(BACK, expect="inconsistent")) == ["expected"]

    @pytest.mark.parametrize(
        ("history", "rules"),
        [
            ((*REPORTED, "aborted"), []),
            ((*DOWNLOADED, "installing", "aborted"), []),
            ((*DOWNLOADED, "rebooting", "aborted"), ["server"]),
            ((*DOWNLOADED, "aborted"), ["server"]),
            (("aborted",), ["server"]),
        ],
    )
    def test_what_is_taken_back_is_kept_only_if_the_commit_had_been_told(
        self, history: tuple[str, ...], rules: list[str]
    ) -> None:
        assert failed(judge_settled(replace(SETTLED, server=ServerRecord("aborted", history)), expect="new")) == rules
        assert failed(judge_settled(replace(BACK, server=ServerRecord("aborted", history)), expect="old")) == []

    def test_without_a_server_there_is_nothing_to_agree_with(self) -> None:
        verdict = judge_settled(replace(SETTLED, server=None), expect="new")

        assert verdict.outcome is Outcome.HELD
        assert "server" not in {finding.rule for finding in verdict.findings}

    @pytest.mark.parametrize(
        ("rule", "evidence"),
        [
            ("settled", replace(SETTLED, settled=False)),
            ("environment", replace(SETTLED, environment=NO_ENVIRONMENT, slots={"a": "v2", "b": "v1"}, running="a")),
            ("trial", replace(SETTLED, environment=env("b", upgrade_available="1", bootcount="0"))),
            ("trial", replace(SETTLED, environment=env("b", upgrade_available="1", bootcount="1"))),
            ("slot", replace(SETTLED, slots={"a": "v1", "b": None})),
            ("slot", replace(SETTLED, slots={"a": "v1", "b": "v3"})),
            ("slot", replace(SETTLED, environment=env("b", mender_boot_part_hex="1"))),
            ("slot", replace(SETTLED, environment=env("b", bootcmd="false"))),
            ("running", replace(SETTLED, running=None)),
            ("running", replace(SETTLED, running="a", slots={"a": "v2", "b": "v1"})),
            ("expected", replace(BACK, slots={"a": "v1", "b": "v2"})),
            ("server", replace(SETTLED, server=ServerRecord(None))),
            ("server", replace(SETTLED, server=ServerRecord("installing", REPORTED))),
            ("server", replace(SETTLED, server=ServerRecord("failure"))),
            ("server", replace(SETTLED, server=ServerRecord("aborted"))),
            ("told-once", replace(SETTLED, server=ServerRecord("success", (*REPORTED, "failure", "success")))),
            ("told-once", replace(SETTLED, server=ServerRecord("success", (*REPORTED, "success", "failure")))),
            ("beside", replace(SETTLED, slots={"a": None, "b": "v2"})),
            ("beside", replace(SETTLED, slots={"a": "v2", "b": "v2"})),
            ("partitions", replace(SETTLED, partition_complaints=("The protective MBR is broken.",))),
            ("data", replace(SETTLED, data_complaints=("The file /canary is gone from the data partition.",))),
            ("console", replace(SETTLED, alarms=("kernel-panic", "io-error"))),
        ],
    )
    def test_a_violation_fails_its_rule_alone(self, rule: str, evidence: Evidence) -> None:
        assert failed(judge_settled(evidence, expect="new")) == [rule]

    def test_success_must_not_be_told_while_old_runs(self) -> None:
        for status in ("success", "already-installed"):
            assert failed(judge_settled(replace(BACK, server=ServerRecord(status)), expect="old")) == ["server"]

    def test_a_dead_board_is_a_violation(self) -> None:
        dead = replace(SETTLED, environment=NO_ENVIRONMENT, slots={}, running=None, settled=False)

        assert failed(judge_settled(dead, expect="either")) == ["settled", "environment", "slot", "running"]

    def test_what_was_not_expected_of_the_other_image(self) -> None:
        assert failed(judge_settled(SETTLED, expect="old")) == ["expected"]


class TestDoubts:
    @pytest.mark.parametrize(
        ("doubt", "says"),
        [
            ({"faults_fired": False}, "The fault did not fire."),
            ({"has_flushes": False}, "The write log holds no flush"),
        ],
    )
    def test_without_a_test_nothing_is_held(self, doubt: dict[str, Any], says: str) -> None:
        for verdict in (
            judge_cut(replace(CUT, **doubt)),
            judge_settled(replace(SETTLED, **doubt), expect="new"),
        ):
            assert verdict.outcome is Outcome.INCONCLUSIVE
            assert all(finding.holds for finding in verdict.findings)
            assert verdict.sentence.startswith(f"Inconclusive: {says}")

    def test_a_violation_is_one_however_it_came_about(self) -> None:
        doubtful = replace(SETTLED, faults_fired=False, has_flushes=False, settled=False)
        verdict = judge_settled(doubtful, expect="new")

        assert verdict.outcome is Outcome.VIOLATED
        assert len(verdict.doubts) == 2


class TestReport:
    def test_the_sentence_names_the_first_violation_and_counts_the_others(self) -> None:
        one = judge_settled(replace(SETTLED, settled=False), expect="new")
        two = judge_settled(replace(SETTLED, settled=False, alarms=("io-error",)), expect="new")

        assert one.sentence == "Violated: The board went on changing until time was up."
        assert two.sentence == "Violated: The board went on changing until time was up. (and 1 more)"

    def test_a_verdict_is_json(self) -> None:
        verdict = judge_settled(replace(SETTLED, alarms=("io-error",)), expect="new")
        read = json.loads(json.dumps(verdict.as_dict()))

        assert read["outcome"] == "violated"
        assert read["sentence"] == "Violated: The console shows io-error."
        assert read["doubts"] == []
        assert {"rule": "trial", "holds": True, "says": "No update is on trial."} in read["findings"]

    @pytest.mark.parametrize(
        ("history", "reported"),
        [
            ((), False),
            (DOWNLOADED, False),
            ((*DOWNLOADED, "rebooting"), False),
            (("installing", "downloading", "installing"), False),
            (REPORTED, True),
            ((*DOWNLOADED, "installing"), True),  # the power failed after the flip, so nothing said rebooting
        ],
    )
    def test_a_commit_is_reported_by_installing_again(self, history: tuple[str, ...], reported: bool) -> None:
        assert ServerRecord("x", history).commit_reported == reported
