# SPDX-License-Identifier: Apache-2.0
"""Some cases of both generations of Mender's client, one of each kind; `python -m tests.conformance` runs them all."""

from pathlib import Path

import pytest

from tests.conformance.cases import Case, read_cases
from tests.conformance.report import passed, told
from tests.conformance.trial import Trials
from tests.protocol.conftest import Operator

# It is about the client, which sees no database.
DATABASES = ("sqlite",)
TRACES = Path(__file__).parents[1] / "conformance" / "traces"
CASES = {case.name: case for name in ("cpp", "go34") for case in read_cases((TRACES / f"{name}.txt").read_text())}


@pytest.mark.parametrize(
    "case",
    [
        CASES[name]
        for name in (
            "Normal_flow_Idle_Sync_Idle",
            "Error_in_ArtifactInstall_state__no_rollback",
            "Killed_in_ArtifactVerifyReboot",
            "Aborted_update_before_install",
            "Error_in_ArtifactVerifyRollbackReboot",
            "Normal install",
            "Error in ArtifactVerifyRollbackReboot",
            "Error in Download_Enter_00 state noRB",
            "Error in ArtifactRollback_Enter_00",
            "Killed in ArtifactCommit_Leave_00, no reboot",
        )
    ],
    ids=lambda case: f"{case.dialect}-{case.name}",
)
def test_the_updater_goes_the_way_of_menders_client(case: Case, operator: Operator) -> None:
    outcome = Trials(operator).run(case, case.dialect)
    assert passed(case, case.dialect, outcome), told(case, case.dialect, outcome, verbose=True)
