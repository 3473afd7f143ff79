# SPDX-License-Identifier: Apache-2.0
"""The device as the steps of an update see it, and what every step knows of the update's record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from updater.install.installer import Installer
from updater.machine.reports import Reports
from updater.machine.steps import Event
from updater.machine.tables import CPP, Dialect
from updater.ports import Clock, Marks, Runner
from updater.scripts import StateScripts
from updater.store import Device, Store, Update

Done = tuple[Device, Event]
MakeInstaller = Callable[[Device], Installer]


@dataclass(frozen=True)
class World:
    """Everything an action may touch."""

    make_installer: MakeInstaller
    reports: Reports
    scripts: StateScripts
    runner: Runner
    clock: Clock
    marks: Marks
    verify_keys: tuple[Path, ...]
    device_type: str
    store: Store | None = None  # where the progress of a download is kept, if it is to be
    dialect: Dialect = CPP


def update_of(device: Device) -> Update:
    """The record of the update that is under way."""
    assert device.update is not None, "an action runs only while an update is under way"
    return device.update
