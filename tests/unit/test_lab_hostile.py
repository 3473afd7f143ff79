# SPDX-License-Identifier: Apache-2.0
"""A server that does wrong for as long as a block lasts, and what a fault that never came is worth."""

import pytest

from harness.errors import ClaimViolated, HarnessBug, Inconclusive
from harness.faults.server import fault
from harness.lab import Lab
from tests.unit.written_lab import ToldServer, begin, factory, lab

__all__ = ["factory", "lab"]  # fixtures

OVERLOADED = fault("answer", status=503).at("next").twice()
CUT = fault("cut", after=5).once().after(1)


@pytest.fixture
def server(lab: Lab) -> ToldServer:
    return lab.server  # type: ignore[return-value]


def test_rules_are_there_for_as_long_as_the_block_lasts(lab: Lab, server: ToldServer) -> None:
    server.fires = (2, 1)
    with lab.server_does(OVERLOADED, CUT):
        assert server.rules == [
            {"fault": {"kind": "answer", "status": 503}, "where": "next", "times": 2, "skip": 0},
            {"fault": {"kind": "cut", "after": 5}, "where": "any", "times": 1, "skip": 1},
        ]
    assert server.rules == []
    assert "answer status 503 at next" in (lab.folder / "server-faults.json").read_text()


def test_a_fault_that_never_came_makes_the_run_inconclusive(lab: Lab, server: ToldServer) -> None:
    server.fires = (2, 0)
    with pytest.raises(Inconclusive, match="never did this wrong: cut after 5"), lab.server_does(OVERLOADED, CUT):
        pass
    assert server.rules == []


def test_what_was_violated_is_not_excused_by_a_fault_that_never_came(lab: Lab, server: ToldServer) -> None:
    server.fires = (0,)
    with pytest.raises(ClaimViolated), lab.server_does(CUT):
        raise ClaimViolated("It does not hold.")
    assert server.rules == []
    assert '"fired": 0' in (lab.folder / "server-faults.json").read_text()


def test_what_was_brought_to_be_misused_can_be_deployed_later(lab: Lab, server: ToldServer) -> None:
    assert lab.brings("b") == "id of b-release.mender"
    begin(lab)
    assert [one.name for one in server.uploads] == ["b-release.mender"]
    with pytest.raises(HarnessBug, match="signed by release already"):
        lab.deploy("b", signer="stranger")
