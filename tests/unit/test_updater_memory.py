# SPDX-License-Identifier: Apache-2.0
"""An artifact may provide no more than the device can remember, old and new together."""

import json
from pathlib import Path

import pytest

from tests.unit.updater_simulation import Simulation
from updater.artifact import Artifact
from updater.artifact.names import MAX_VALUE
from updater.machine.actions import Actions
from updater.machine.fetch import PROVIDES_LIMIT
from updater.machine.steps import Event, Step
from updater.store import Device, Store, Update

NEW = Update("update-store", "d")


def judged(artifact: Artifact, device: Device, monkeypatch: pytest.MonkeyPatch) -> tuple[Device, Event]:
    monkeypatch.setattr(Actions, "_open", lambda *_: artifact)
    return Actions(Simulation().world())(Step.HEADER, device)


def providing(size: int, clears: tuple[str, ...] | None = (), letter: str = "v") -> Artifact:
    """One after which what a device provides takes so many bytes, if it provided `old` and nothing else."""
    values: dict[str, str] = {}
    cost = len(json.dumps(letter)) - 2
    rest = size - len(json.dumps({"artifact_name": "new"}))
    while rest:
        key = str(len(values)).zfill(4)
        overhead = len(json.dumps({"": "", key: ""})) - len(json.dumps({"": ""}))
        length = min(rest - overhead, MAX_VALUE // 4 // cost * cost)
        values[key] = letter * (length // cost) + "v" * (length % cost)
        rest -= overhead + length
        if 0 < rest < 2 * overhead:  # too little for another one
            last = values[key]
            values[key] = last + "v" * rest
            rest = 0
    return Artifact("new", None, ("board",), "rootfs-image", provides=values, clears=clears)


def test_an_artifact_may_provide_as_much_as_the_record_can_hold_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = Device({"artifact_name": "old"}, NEW)
    after, event = judged(providing(PROVIDES_LIMIT), device, monkeypatch)
    assert event is Event.DONE
    assert after.update is not None
    kept = dict(after.update.provides)
    Store(tmp_path).save(Device(kept, after.update))

    after, event = judged(providing(PROVIDES_LIMIT + 1), device, monkeypatch)
    assert (event, after.update) == (Event.FAILED, device.update), "nothing is begun with it"
    assert caplog.messages == ["the artifact is refused: The artifact provides more than this device can remember."]


def test_letters_count_as_much_as_they_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = Device({"artifact_name": "old"}, NEW)
    after, event = judged(providing(PROVIDES_LIMIT, letter="\u4e2d"), device, monkeypatch)
    assert event is Event.DONE
    assert after.update is not None
    Store(tmp_path).save(Device(dict(after.update.provides), after.update))
    assert judged(providing(PROVIDES_LIMIT + 1, letter="\u4e2d"), device, monkeypatch)[1] is Event.FAILED


def test_what_is_there_already_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the artifact clears it."""
    device = Device({"artifact_name": "old", "more": ""}, NEW)
    assert judged(providing(PROVIDES_LIMIT), device, monkeypatch)[1] is Event.FAILED
    assert judged(providing(PROVIDES_LIMIT, clears=("more",)), device, monkeypatch)[1] is Event.DONE
    assert judged(providing(PROVIDES_LIMIT, clears=None), device, monkeypatch)[1] is Event.DONE
