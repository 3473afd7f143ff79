# SPDX-License-Identifier: Apache-2.0
"""Written traces: how they are read, what names of cases say, what module and scripts do, how outcomes are compared."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.casenames import said_alone, said_beside_a_column
from tests.conformance.cases import Case, Dialect, read_cases, read_trace
from tests.conformance.conditions import Conditions, Fault, Kind, read_conditions
from tests.conformance.errors import Unusable
from tests.conformance.journal import Outcome, actual, expected
from tests.conformance.report import passed, told

ROOT = Path(__file__).parents[2]
TRACES = ROOT / "tests" / "conformance" / "traces"
V, V_FOREVER = Fault(Kind.ERR, "ArtifactVerifyReboot"), Fault(Kind.ERR, "ArtifactVerifyReboot", forever=True)
HAPPY = "Normal | - | diriS | NEW | D+ Pf D D- I+ I I- R+ R V R- C+ C C- X"


def one(line: str) -> Case:
    [case] = read_cases(line)
    return case


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("-", Conditions()),
        ("", Conditions()),
        ("err=I", Conditions((Fault(Kind.ERR, "ArtifactInstall"),))),
        ("err=V,BR+ noRB", Conditions((V, Fault(Kind.ERR, "ArtifactRollbackReboot_Enter")), rollback=False)),
        ("err=V kill=F*", Conditions((V, Fault(Kind.KILL, "ArtifactFailure", forever=True)))),
        ("hang=D", Conditions((Fault(Kind.HANG, "Download"),))),
        ("err=Idle-,Sync!", Conditions((Fault(Kind.ERR, "Idle_Leave"), Fault(Kind.ERR, "Sync_Error")))),
        ("err=SupportsRollback*", Conditions((Fault(Kind.ERR, "SupportsRollback", forever=True),))),
        ("kill=C- noReboot", Conditions((Fault(Kind.KILL, "ArtifactCommit_Leave"),), reboot=False)),
        ("2 deployments", Conditions(deployments=2)),
        ("fsr_count=3 fsr_status=Rebooting", Conditions(failing_reports=3, failing_status="rebooting")),
        (
            "fsr_count=100 fsr_status=Downloading fail_status_aborted=true",
            Conditions(failing_reports=100, failing_status="downloading", aborts=True),
        ),
        ("device_type_mismatch=true", Conditions(other_device_type=True)),
        ("broken_download=true", Conditions(broken_download=True)),
        ("empty_payload_artifact=true", Conditions(empty_payload=True)),
        ("schema_update_at=1 ro_db_after=0", Conditions(schema_update_at=1, unwritable_after=0)),
    ],
)
def test_every_condition_is_understood(text: str, meant: Conditions) -> None:
    assert read_conditions(text, Conditions()) == meant


@pytest.mark.parametrize(
    "text",
    [
        "err", "err=", "err=Q", "err=V+", "err=I,,C", "kill=I**", "stop=I", "norb", "2", "2 cats", "0 deployments",
        "fsr_count=1", "fsr_status=Installing", "fsr_count=x fsr_status=Installing", "fail_status_aborted=true",
        "fsr_count=1 fsr_status=installing", "ro_db_after=-1", "ro_db_after=", "device_type_mismatch=yes",
    ],
)  # fmt: skip
def test_any_other_condition_is_refused(text: str) -> None:
    with pytest.raises(Unusable):
        read_conditions(text, Conditions())


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("(none)", ""),
        ("D+ D!", "D+ D!"),
        ("B- (F+ F)x3 F-", "B- F+ F F+ F F+ F F-"),
        ("(BR+ BR BV BR-)x2 BR+", "BR+ BR BV BR- BR+ BR BV BR- BR+"),
        ("Idle+ Sync! D ?s I ?r Pf Ds", "Idle+ Sync! D ?s I ?r Pf Ds"),
    ],
)
def test_repetitions_in_a_trace_are_written_out(text: str, steps: str) -> None:
    assert read_trace(text) == tuple(steps.split())


@pytest.mark.parametrize(
    "text", ["", "Q", "D +", "(D+ D", "(D+ D)x", "()x2", "(D)x1001", "(D Q)x2", "D(I)x2", "(D)x2X"]
)
def test_any_other_trace_is_refused(text: str) -> None:
    with pytest.raises(Unusable):
        read_trace(text)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Normal install", Conditions()),
        ("Normal install, no reboot, no rollback", Conditions(reboot=False, rollback=False)),
        ("Normal_install__no_reboot__no_rollback", Conditions(reboot=False, rollback=False)),
        ("Error in Download state, no rollback", Conditions((Fault(Kind.ERR, "Download"),), rollback=False)),
        ("Killed in Download_Enter_00 state noRB", Conditions((Fault(Kind.KILL, "Download_Enter"),), rollback=False)),
        ("Error in ArtifactReboot", Conditions((Fault(Kind.ERR, "ArtifactReboot"),))),
        ("Error_in_ArtifactReboot_Enter_00", Conditions((Fault(Kind.ERR, "ArtifactReboot_Enter"),))),
        ("Killed in ArtifactRollback_Leave_00", Conditions((V, Fault(Kind.KILL, "ArtifactRollback_Leave")))),
        ("Error in ArtifactVerifyRollbackReboot", Conditions((V, Fault(Kind.ERR, "ArtifactVerifyRollbackReboot")))),
        ("Killed in Cleanup", Conditions((V, Fault(Kind.KILL, "Cleanup")))),
        (
            "Killed in ArtifactFailure_Enter_00",
            Conditions((Fault(Kind.ERR, "ArtifactInstall"), Fault(Kind.KILL, "ArtifactFailure_Enter"))),
        ),
        ("Hang in ArtifactInstall", Conditions((Fault(Kind.HANG, "ArtifactInstall"),))),
        (
            "Break out of error loop",
            Conditions((V_FOREVER, Fault(Kind.ERR, "ArtifactVerifyRollbackReboot", forever=True))),
        ),
        (
            "Break out of spontaneous reboot loop",
            Conditions((V, Fault(Kind.KILL, "ArtifactFailure", forever=True))),
        ),
        (
            "Temporary failure in report sending after reboot",
            Conditions(failing_reports=10, failing_status="installing"),
        ),
        (
            "Permanent failure in report sending after reboot",
            Conditions(failing_reports=100, failing_status="installing"),
        ),
        ("Broken_Download", Conditions(broken_download=True)),
        ("Normal flow DownloadWithFileSizesYes", Conditions(file_sizes="Yes")),
        ("Deployment_with_empty_Update_Control", Conditions(control_map="{}")),
    ],
)
def test_a_name_without_a_column_says_all_conditions(name: str, meant: Conditions) -> None:
    assert said_alone(name) == meant
    assert one(f"{name} | dF | OLD | (none)") == Case(name, meant, "dF", "OLD", (), Dialect.GO34)


@pytest.mark.parametrize(
    "name",
    ["Whatever", "Error in Nothing", "Error in ArtifactVerifyReboot_Enter_00", "Error in Cleanup on Tuesdays",
     "Normal install, no rollbacks", "Hang in", "no reboot", "Error in ArtifactInstall_Enter_01"],
)  # fmt: skip
def test_a_name_that_does_not_is_refused(name: str) -> None:
    with pytest.raises(Unusable):
        said_alone(name)


def test_beside_a_column_a_name_says_only_what_no_column_can() -> None:
    assert said_beside_a_column("Error_in_ArtifactInstall__no_rollback") == Conditions()
    assert said_beside_a_column("Normal_flow_DownloadWithFileSizesNo").file_sizes == "No"
    assert said_beside_a_column("Normal_flow_DownloadWithFileSizesEmpty").file_sizes == ""
    assert said_beside_a_column("Broken_Download").broken_download
    controlled = one("Deployment_with_Update_Control | kill=R | dirF | OLD | D+")
    assert controlled.conditions.control_map == '{"something": true}'
    assert controlled.conditions.faults == (Fault(Kind.KILL, "ArtifactReboot"),)


def test_cases_are_found_in_markdown_as_in_plain_lines() -> None:
    text = f"""
# A | heading
Some prose, without columns.
Statuses: d. Columns: case | conditions | statuses | final artifact | trace.
```
{HAPPY}
```
| what | when | said | left | done |
|---|---|:-:|---|---|
| In a table | err=D | dF | OLD | D+ D D! X |
Error in ArtifactInstall | diF | OLD | D+
"""
    first, second, third = read_cases(text)
    assert (first.name, first.statuses, first.final, first.dialect) == ("Normal", "diriS", "NEW", Dialect.CPP)
    assert (second.name, second.trace) == ("In a table", ("D+", "D", "D!", "X"))
    assert (third.name, third.dialect) == ("Error in ArtifactInstall", Dialect.GO34)


@pytest.mark.parametrize(
    "line",
    ["a | b", "a | - | d | OLD | D | X", "| - | dF | OLD | D", "a | - | dQ | OLD | D", "a | - | | OLD | D",
     "a | - | dF | OLDER | D", "a | - | dF | OLD |", "a | - | dF | OLD | Z", "a | wat | dF | OLD | D",
     "Unknown story | dF | OLD | D"],
)  # fmt: skip
def test_a_line_that_cannot_be_used_is_named_by_its_number(line: str) -> None:
    with pytest.raises(Unusable, match=r"^Line 2: .*\.$"):
        read_cases(f"{HAPPY}\n{line}\n")


@pytest.mark.parametrize("text", ["", "\n\n", "# Only | a heading\n", "words\n", "|---|---|\n"])
def test_a_file_without_cases_is_refused(text: str) -> None:
    with pytest.raises(Unusable):
        read_cases(text)


@pytest.mark.parametrize(("name", "least", "dialect"), [("cpp", 69, Dialect.CPP), ("go34", 69, Dialect.GO34)])
def test_the_traces_kept_here_can_be_read(name: str, least: int, dialect: Dialect) -> None:
    cases = read_cases((TRACES / f"{name}.txt").read_text())
    assert len(cases) >= least
    assert len({case.name for case in cases}) == len(cases)
    assert {case.dialect for case in cases} == {dialect}


def seen(steps: str, reports: str, artifact: str = "artifact-name") -> Outcome:
    """An outcome with these journal lines, and statuses `name:answer` after them."""
    lines = ["[next 200]", *steps.split(), *(f"[status {' '.join(one.split(':'))}]" for one in reports.split())]
    return Outcome(lines, artifact)


ALL_WELL = (
    "Idle_Enter Idle_Leave Sync_Enter Sync_Leave Download_Enter ProvidePayloadFileSizes Download Download_Leave "
    "ArtifactInstall_Enter ArtifactInstall ArtifactInstall_Leave NeedsArtifactReboot ArtifactReboot_Enter "
    "ArtifactReboot ArtifactVerifyReboot ArtifactReboot_Leave ArtifactCommit_Enter ArtifactCommit ArtifactCommit_Leave "
    "Cleanup"
)
REPORTS = "downloading:204 installing:204 rebooting:204 installing:204 success:204"


def test_an_outcome_is_compared_in_all_three_respects() -> None:
    case = one(HAPPY)
    good = seen(ALL_WELL, REPORTS)
    assert passed(case, Dialect.CPP, good)
    assert told(case, Dialect.CPP, good) == "ok Normal"
    for bad in (
        seen(ALL_WELL.replace("Cleanup", ""), REPORTS),
        seen(ALL_WELL + " SomethingElse", REPORTS),
        seen(ALL_WELL, REPORTS.replace("success", "already-installed")),
        seen(ALL_WELL, REPORTS, "old_name"),
        replace(good, trouble="it fell over"),
    ):
        assert not passed(case, Dialect.CPP, bad)
        lines = told(case, Dialect.CPP, bad).splitlines()
        assert lines[0] == "FAILED Normal"
        assert [line.split()[:2] for line in lines[1:7]] == [
            [side, what] for what in ("statuses", "artifact", "trace") for side in ("expected", "actual")
        ]


def test_waiting_is_compared_only_where_it_is_expected() -> None:
    case = one("Idle | - | dF | OLD | Idle+ Idle- Sync+ Sync- D+")
    outcome = seen("Idle_Enter Idle_Leave Sync_Enter Sync_Leave Download_Enter", "downloading:204 failure:204")
    assert actual(case, Dialect.CPP, outcome).trace == case.trace
    assert actual(one("x | - | dF | OLD | D+"), Dialect.CPP, outcome).trace == ("D+",)


def test_queries_are_shown_and_equal_statuses_joined_only_for_the_older_client() -> None:
    case = one("Normal install, no reboot | diS | NEW | D+ D ?s D- I+ I ?r I- X")
    steps = "Download_Enter Download SupportsRollback Download_Leave ArtifactInstall_Enter ArtifactInstall"
    outcome = seen(f"{steps} NeedsArtifactReboot ArtifactInstall_Leave Cleanup", REPORTS.replace(" rebooting:204", ""))
    assert passed(case, Dialect.GO34, outcome)
    assert actual(case, Dialect.CPP, outcome).trace == ("D+", "D", "D-", "I+", "I", "I-", "X")
    assert actual(case, Dialect.CPP, outcome).statuses == "diiS"


def test_of_reports_that_fail_the_number_is_not_compared_unless_they_are_refused() -> None:
    failing = one("x | fsr_count=9 fsr_status=Installing | dirF | OLD | D+")
    outcome = seen("Download_Enter", "downloading:204 installing:broken rebooting:204 installing:broken failure:204")
    assert actual(failing, Dialect.CPP, outcome).statuses == expected(failing, Dialect.CPP).statuses == "drF"
    aborted = one("x | fsr_count=9 fsr_status=Installing fail_status_aborted=true | diF | OLD | D+")
    assert actual(aborted, Dialect.CPP, outcome).statuses == "diriF"
    assert expected(aborted, Dialect.CPP).statuses == "diF"


@pytest.mark.parametrize(
    ("words", "content"),
    [
        ((), None),
        (("{file}",), ""),
        (("{file}", "--dialect", "rust"), HAPPY),
        (("{file}", "-j", "0"), HAPPY),
        (("{file}", "-k", "nothing like it"), HAPPY),
        (("{file}",), HAPPY + "\nx | wat | dF | OLD | D"),
        (("{file}.absent",), HAPPY),
        (("{folder}",), HAPPY),
        (("{file}", "--loud"), HAPPY),
    ],
)
def test_bad_input_gets_one_sentence(words: tuple[str, ...], content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "cases.txt"
    file.write_text(content or "")
    filled = [word.format(file=file, folder=tmp_path) for word in words]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.conformance", *filled], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.endswith(".\n")
