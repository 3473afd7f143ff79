# SPDX-License-Identifier: Apache-2.0
"""Which rule a request meets, and what is left of the rules afterwards: no server, no bytes."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from server_stub.lab.faults import (
    Answer,
    Asked,
    Certificate,
    Clock,
    ContentRange,
    Corrupt,
    Cut,
    Fault,
    InForce,
    KeyCompromise,
    Length,
    MixAndMatch,
    Place,
    Replay,
    Rule,
    Slow,
    SlowRetrieval,
    Stall,
    Unsatisfiable,
    WrongSoftware,
    applies,
    artifacts_of,
    decide,
    fire,
    flaw,
    give_back,
    made_of,
)

NEXT = Asked(Place.NEXT, "one")
REST = Asked(Place.DOWNLOAD, "one", has_range=True)
WHOLE = Asked(Place.DOWNLOAD, "one")
ATTACKS = {
    "arbitrary_software", "rollback", "fast_forward", "indefinite_freeze", "endless_data", "slow_retrieval",
    "extraneous_dependencies", "mix_and_match", "wrong_software", "malicious_mirror", "key_compromise",
}  # fmt: skip
RULES = TypeAdapter(list[Rule])


def in_force(*rules: Rule) -> tuple[InForce, ...]:
    return tuple(InForce(number, rule) for number, rule in enumerate(rules))


def played(rules: tuple[InForce, ...], *asked: Asked) -> tuple[tuple[InForce, ...], list[str | None]]:
    """The kinds of fault that requests meet, one after the other."""
    met = []
    for one in asked:
        rules, taken = decide(rules, one)
        met.append(taken.rule.fault.kind if taken else None)
    return rules, met


def test_a_sequence_is_two_rules():
    rules = in_force(Rule(Answer(503), times=2), Rule(Stall()))
    left, met = played(rules, NEXT, NEXT, NEXT, NEXT)
    assert met == ["answer", "answer", "stall", "stall"]
    assert [(one.met, one.used, one.fired) for one in left] == [(4, 2, 0), (2, 2, 0)]


def test_the_first_that_applies_wins_and_the_others_do_not_hear_of_it():
    left, met = played(in_force(Rule(Cut()), Rule(Answer(500))), NEXT)
    assert met == ["cut"]
    assert left[1].met == 0


def test_a_rule_that_still_skips_lets_the_next_try():
    rules = in_force(Rule(Cut(), skip=2, times=1), Rule(Answer(500)))
    assert played(rules, *[NEXT] * 4)[1] == ["answer", "answer", "cut", "answer"]


def test_one_device_and_one_place():
    rules = in_force(Rule(Cut(), where=Place.NEXT, device="one"))
    others = (Asked(Place.NEXT, "two"), Asked(Place.NEXT, None), Asked(Place.STATUS, "one"))
    left, met = played(rules, *others, NEXT)
    assert met == [None, None, None, "cut"]
    assert left[0].met == 1


def test_a_fault_of_ranges_waits_for_a_range():
    for fault in (ContentRange("garbled"), Unsatisfiable()):
        assert played(in_force(Rule(fault)), NEXT, WHOLE, REST)[1] == [None, None, fault.kind]


def test_what_had_no_effect_is_not_used_up():
    left, _ = played(in_force(Rule(Cut(after=10), times=1)), WHOLE)
    assert decide(left, WHOLE)[1] is None
    again = give_back(left, 0)
    assert decide(again, WHOLE)[1] is not None
    assert fire(left, 0)[0].fired == 1
    assert fire(left, 7) == give_back(left, 7) == left


def test_handshakes_meet_certificates_and_nothing_else():
    handshake = Asked(Place.HANDSHAKE)
    assert applies(Rule(Certificate("expired")), handshake)
    assert not applies(Rule(Certificate("expired")), NEXT)
    assert not applies(Rule(Answer(500)), handshake)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Rule(Corrupt(0), where=Place.NEXT), "only at download"),
        (Rule(Certificate("expired"), where=Place.NEXT), "only at handshake"),
        (Rule(Answer(500), where=Place.HANDSHAKE), "not possible at handshake"),
        (Rule(Answer(500), where=Place.AUTH, device="one"), "not known yet"),
        (Rule(Certificate("expired"), device="one"), "not known yet"),
        (Rule(Length(0)), "off by something"),
        (Rule(Clock(0)), "off by something"),
        (Rule(Answer(204, body="x")), "no body"),
        (Rule(Answer(200, {"Content-Length": "1"})), "server's own"),
    ],
)
def test_rules_that_cannot_be_carried_out(rule: Rule, says: str):
    said = flaw(rule)
    assert said is not None
    assert says in said
    assert said.endswith(".")


def test_what_attacks_come_to():
    assert made_of(WrongSoftware("a")) == Replay("a", "own", "promised")
    assert made_of(KeyCompromise("a")) == Replay("a")
    assert made_of(SlowRetrieval(5)) == Slow(5)
    assert made_of(Cut()) == Cut()
    rules = [Rule(MixAndMatch("a")), Rule(Cut()), Rule(Replay("b"))]
    assert artifacts_of(rules) == {"a": "mix_and_match", "b": "replay"}


def test_every_attack_of_tuf_is_there_by_its_name():
    mapping = RULES.json_schema()["$defs"]["Rule"]["properties"]["fault"]["discriminator"]["mapping"]
    assert set(mapping) >= ATTACKS
    assert all(told["description"] for told in RULES.json_schema()["$defs"].values())


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"fault": {"status": 503}},
        {"fault": {"kind": "unheard_of"}},
        {"fault": {"kind": "answer", "status": 99}},
        {"fault": {"kind": "answer", "status": "503"}},
        {"fault": {"kind": "cut", "after": -1}},
        {"fault": {"kind": "cut", "aftr": 1}},
        {"fault": {"kind": "cut"}, "tims": 1},
        {"fault": {"kind": "cut"}, "times": 0},
        {"fault": {"kind": "answer", "status": 200, "headers": {"A": "b\r\nC: d"}}},
    ],
)
def test_json_that_is_no_rule(told: dict[str, Any]):
    with pytest.raises(ValidationError):
        RULES.validate_python([told])


faults: st.SearchStrategy[Fault] = st.sampled_from(
    [Answer(500), Cut(), Cut(after=5), Corrupt(3), ContentRange("missing"), MixAndMatch("a"), Replay("b"), Stall()]
)
rules_in_force = st.lists(
    st.builds(
        Rule,
        fault=faults,
        where=st.sampled_from([Place.ANY, Place.NEXT, Place.DOWNLOAD]),
        device=st.sampled_from([None, "one"]),
        skip=st.integers(0, 3),
        times=st.none() | st.integers(1, 3),
    ),
    max_size=4,
).map(lambda rules: in_force(*rules))
requests = st.builds(
    Asked,
    place=st.sampled_from([Place.NEXT, Place.DOWNLOAD, Place.AUTH]),
    device=st.sampled_from([None, "one", "two"]),
    has_range=st.booleans(),
)


@given(rules_in_force, st.lists(requests, max_size=12))
def test_nothing_is_used_before_its_turn_or_more_often_than_it_says(rules: tuple[InForce, ...], asked: list[Asked]):
    taken_by: dict[int, int] = {}
    for one in asked:
        before = rules
        rules, taken = decide(rules, one)
        assert [left.number for left in rules] == [left.number for left in before]
        if taken is not None:
            taken_by[taken.number] = taken_by.get(taken.number, 0) + 1
            assert applies(taken.rule, one)
            # Of those before it, none would have taken it; those behind it are as they were.
            assert decide(before[: taken.number], one)[1] is None
            assert rules[taken.number + 1 :] == before[taken.number + 1 :]
    for left in rules:
        used = taken_by.get(left.number, 0)
        assert left.used == used <= max(0, left.met - left.rule.skip)
        assert left.rule.times is None or used <= left.rule.times


@given(rules_in_force, requests)
def test_taking_and_giving_back_leaves_all_but_the_count_of_meetings(rules: tuple[InForce, ...], asked: Asked):
    left, taken = decide(rules, asked)
    if taken is not None:
        left = give_back(left, taken.number)
    assert tuple(replace(one, met=0) for one in left) == rules


@given(rules_in_force)
def test_rules_survive_json(rules: tuple[InForce, ...]):
    told = [one.rule for one in rules]
    assert RULES.validate_json(RULES.dump_json(told)) == told
