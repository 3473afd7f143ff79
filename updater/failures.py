# SPDX-License-Identifier: Apache-2.0
"""Which failures an artifact is blamed for, and how often: what fails again and again is not fetched again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from updater.machine.steps import Event, Step
from updater.store import Device

FAILURES_LIMIT = 50  # artifacts whose failures are counted


def blames_artifact(history: Sequence[tuple[Step, Event]], unreachable: bool) -> bool:
    """Whether an update failed for a reason that lies in the artifact, so that it would fail again."""
    if any(event is Event.ABORTED for _, event in history):
        return False
    refused = not unreachable and any(
        step in (Step.HEADER, Step.DOWNLOAD) and event is Event.FAILED for step, event in history
    )
    return refused or any(step in (Step.CHECK_ROLLBACK, Step.LOOP) for step, _ in history)


def counted(device: Device, artifact_name: str) -> Device:
    """The device's record after one more failure of an artifact."""
    failures = {**device.failures, artifact_name: device.failures.get(artifact_name, 0) + 1}
    return replace(device, failures=dict(list(failures.items())[-FAILURES_LIMIT:]))
