# SPDX-License-Identifier: Apache-2.0
"""The update under every single power cut, kill and error, and under many pairs: it ends, and it tells the truth."""

import random
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.unit.updater_simulation import Simulation, artifact
from updater.machine.actions import Actions

PAIRS = 900
TRIPLES = 400


@pytest.fixture(autouse=True)
def _simulated_download(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(Actions, "_open", lambda *_: artifact())
    caplog.set_level("CRITICAL")


def points(**world: str) -> list[str]:
    """All points of a run in which nothing goes wrong."""
    return Simulation(**world).run().points  # type: ignore[arg-type]


def judged(world: Simulation) -> None:
    """The promises that hold however the run went."""
    disk = world.disk
    succeeded = not world.aborted and world.final == "success"
    assert not disk.trial, "a trial is never left open"
    assert disk.active == world.running, "what runs is what would boot"
    if not world.aborted:
        assert succeeded == (world.running == "b"), "the server was told the truth"
        assert succeeded == world.committed
    assert world.stored.artifact_name == ("new" if world.running == "b" else "old")
    if world.running == "b":
        assert disk.slots["b"] == "good"
    world.boot()
    assert world.running == disk.active, "another power cycle changes nothing"


def says(world: Simulation, faults: Mapping[int, str]) -> str:
    return ", ".join(
        f"{fault} at {world.points[number]} (point {number})"
        for number, fault in faults.items()
        if number < len(world.points)
    )


def checked(faults: Mapping[int, str], **options: str) -> Simulation:
    world = Simulation(faults, **options)  # type: ignore[arg-type]
    try:
        world.run()
        judged(world)
    except Exception as error:
        error.add_note(f"{options}: {says(world, faults)}; told {world.told}")
        raise
    return world


def test_without_faults_the_new_system_is_kept() -> None:
    world = checked({})
    assert world.told == ["downloading", "installing", "rebooting", "installing", "success"]
    assert (world.running, world.stored.update) == ("b", None)


def test_a_system_that_hangs_or_is_cut_off_is_given_up() -> None:
    hangs = checked({}, new="hangs")
    assert (hangs.running, hangs.told[-1], hangs.ever_committed) == ("a", "failure", False)
    alone = checked({}, new="no network")
    assert (alone.running, alone.told[-1], alone.ever_committed) == ("a", "failure", False)
    assert "restore" in " ".join(alone.points)


@pytest.mark.parametrize("status", ["downloading", "installing", "rebooting", "success"])
def test_an_abort_is_obeyed_until_the_commit(status: str) -> None:
    for fault in ("none", "cut"):
        for number in range(len(points(abort_at=status))):
            world = checked({number: fault}, abort_at=status)
            if world.aborted:
                assert world.running == ("b" if world.ever_committed else "a")


@pytest.mark.parametrize("new", ["good", "hangs", "no network"])
@pytest.mark.parametrize("fault", ["cut", "kill"])
def test_every_single_fault(new: str, fault: str) -> None:
    names = points(new=new)
    assert len(names) > 50
    for number in range(len(names)):
        world = checked({number: fault}, new=new)
        if world.ever_committed:
            assert world.final == "success", f"a committed update was reported as failed: {fault} at {names[number]}"


def test_a_cut_in_the_download_or_right_after_the_flip_or_the_commit_does_not_lose_the_update() -> None:
    names = points()
    kept = (
        "after slot begun",
        "after slot written",
        "after flip",
        "before store reboot",
        "after store reboot",
        "before tell rebooting",
        "before reboot",
    )
    for name in (
        *kept,
        "after commit",
        "before store update-after-commit",
        "after store cleanup",
        "before tell success",
    ):
        assert checked({names.index(name): "cut"}).final == "success", name
    for name in ("before flip", "after boot count", "before commit"):
        assert checked({names.index(name): "cut"}).final == "failure", name


@pytest.mark.parametrize("new", ["good", "hangs", "no network"])
def test_every_single_error(new: str) -> None:
    """A tool, the medium, the store or the network fails once."""
    for number, name in enumerate(points(new=new)):
        world = checked({number: "error"}, new=new)
        assert world.ever_committed == (world.final == "success") or name == "after commit"


def _sampled(
    seed: int, number: int, size: int, kinds: Sequence[str] = ("cut", "cut", "kill")
) -> Iterator[dict[int, str]]:
    """Combinations of points; the later ones may lie in what the earlier ones have made necessary."""
    chance = random.Random(seed)
    for _ in range(number):
        yield {place: chance.choice(kinds) for place in chance.sample(range(90), size)}


@pytest.mark.parametrize("new", ["good", "hangs", "no network"])
def test_many_pairs_and_triples_with_errors_among_them(new: str) -> None:
    """No trial stays open, and what runs is what would boot; after an error a kept update may be called failed."""
    for size in (2, 3):
        for faults in _sampled(size, PAIRS // 3, size, ("cut", "kill", "error", "error")):
            world = Simulation(faults, new=new).run()
            try:
                assert not world.disk.trial
                assert world.disk.active == world.running
                assert world.final != "success" or world.running == "b"
            except AssertionError as error:
                error.add_note(f"{new}: {says(world, faults)}; told {world.told}")
                raise


@pytest.mark.parametrize("new", ["good", "hangs", "no network"])
def test_many_pairs_of_faults(new: str) -> None:
    for faults in _sampled(1, PAIRS // 3, 2):
        world = checked(faults, new=new)
        assert not world.ever_committed or world.final == "success", says(world, faults)


def test_all_pairs_of_cuts_around_flip_reboot_and_commit() -> None:
    names = points()
    for first in range(names.index("before flip"), names.index("after store update-after-commit")):
        for second in range(first + 1, first + 40):
            faults = {first: "cut", second: "cut"}
            world = checked(faults)
            assert not world.ever_committed or world.final == "success", says(world, faults)


def test_many_triples_of_faults() -> None:
    for faults in _sampled(2, TRIPLES, 3):
        world = checked(faults)
        assert not world.ever_committed or world.final == "success", says(world, faults)


@pytest.mark.parametrize("times", [1, 20, 28, 29, 50])
def test_cuts_again_and_again_at_one_step_come_to_an_end(times: int) -> None:
    """Also past the limit of stores nothing is told that is wrong."""
    for name in dict.fromkeys(points() + points(new="no network")):
        for new in ("good", "no network"):
            world = Simulation(again=(name, times), new=new)
            try:
                judged(world.run())
                assert not world.ever_committed or world.final == "success"
            except Exception as error:
                error.add_note(f"{times} cuts at '{name}', the new system is {new}; told {world.told}")
                raise


def test_power_cycles_on_trial_cost_nothing_if_the_policy_says_so() -> None:
    names = Simulation(boot_limit=3).run().points
    for number in range(names.index("after flip"), names.index("before store idle")):
        for fault in ("cut", "kill"):
            world = Simulation({number: fault}, boot_limit=3).run()
            judged(world)
            # A process that ends without a reboot right after the flip has not started the new system.
            early = fault == "kill" and number <= names.index("before reboot")
            assert world.final == "success" or early, f"{fault} at {names[number]}"
    for number in range(names.index("after boot count"), names.index("before commit")):
        judged(Simulation({number: "cut", number + 9: "cut"}, boot_limit=3).run())


def test_a_system_that_hangs_is_given_up_under_any_policy() -> None:
    for limit in (1, 2, 3):
        world = Simulation(new="hangs", boot_limit=limit).run()
        judged(world)
        assert (world.running, world.final) == ("a", "failure")
