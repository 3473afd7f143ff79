# SPDX-License-Identifier: Apache-2.0
"""Binds the rules to this device: its bootloader, slots, update modules, scripts and clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from updater.bootenv import UBootEnv
from updater.config import Config, device_type
from updater.errors import UpdaterError
from updater.install.installer import Installer
from updater.install.module import UpdateModule
from updater.install.rootfs import PAYLOAD_TYPE, RootfsImage
from updater.install.tree import PLACE, Tree
from updater.keeper import Keeper
from updater.machine.backoff import delays
from updater.machine.reports import Reports
from updater.machine.tables import CPP, Dialect
from updater.machine.world import World
from updater.ports import Clock, Marks, Runner, SystemClock, find_marks
from updater.process import ProgramRunner
from updater.scripts import Limits, StateScripts
from updater.server.credentials import Credentials
from updater.server.download import Download
from updater.server.http import Connector
from updater.server.identity import identity
from updater.server.session import Session
from updater.slots import Slots
from updater.source import Source, Stream, from_file
from updater.store import Device, Store

MODULES = Path("modules/v3")  # below the shared directory


@dataclass(frozen=True)
class Ports:
    """The outside world."""

    clock: Clock
    runner: Runner
    marks: Marks
    dialect: Dialect = CPP


def make_ports(time_scale: float = 1.0, dialect: Dialect = CPP) -> Ports:
    """The ports of this device."""
    return Ports(SystemClock(time_scale), ProgramRunner(), find_marks(), dialect)


def make_world(
    config: Config, ports: Ports, reports: Reports, store: Store | None = None, *, installs: bool = True
) -> World:
    """Everything that the steps of an update may touch on this device; `store` keeps the progress of downloads.

    Args:
        installs: something is to be installed; otherwise the device's type is not needed.

    Raises:
        UpdaterError: the configuration does not fit this device.
    """
    own_type = device_type(config) if installs else ""
    return World(
        make_installer=_installers(config, ports, own_type),
        reports=reports,
        scripts=StateScripts(
            rootfs=config.conf_directory / "scripts",
            artifact=config.data_directory / "scripts",
            clock=ports.clock,
            limits=Limits(config.script_timeout, config.script_retry_interval, config.script_retry_timeout),
            strict=ports.dialect.strict_scripts,
        ),
        runner=ports.runner,
        clock=ports.clock,
        marks=ports.marks,
        verify_keys=config.verify_keys,
        device_type=own_type,
        store=store if config.resume_downloads else None,
        dialect=ports.dialect,
    )


def _installers(config: Config, ports: Ports, own_type: str) -> Callable[[Device], Installer]:
    """A module of the payload's name does it; a root file system needs none, but may have one."""

    def make(device: Device) -> Installer:
        assert device.update is not None
        program = config.share_directory / MODULES / device.update.payload_type
        if device.update.payload_type == PAYLOAD_TYPE and not os.access(program, os.X_OK):
            return RootfsImage(
                UBootEnv(ports.runner, config.boot_limit),
                Slots(dict(config.slots)),
                ports.marks,
                device.update,
                restarts_allowed=config.boot_limit > 1,
                skip_unchanged=config.skip_unchanged,
            )
        tree = Tree(config.data_directory / PLACE)
        return UpdateModule(program, tree, ports.clock, config.module_timeout, device, own_type)

    return make


class NoKeeper:
    """A device without slots."""

    def look(self) -> None:
        pass

    def check(self) -> None:
        pass


def make_keeper(config: Config, ports: Ports, store: Store) -> Keeper | NoKeeper:
    """What looks after the slots."""
    if not config.slots:
        return NoKeeper()
    env, slots = UBootEnv(ports.runner, config.boot_limit), Slots(dict(config.slots))
    return Keeper(store, env, slots, ports.runner, ports.clock)


def artifact_source(config: Config, ports: Ports, said: str) -> Source:
    """Where a person says that an artifact is: an address, a file, or `-` for standard input.

    Raises:
        UpdaterError: it is an address of a kind that is not known.
    """
    scheme, colon, _ = said.partition("://")
    if not colon:
        return from_file(Path(said))
    if scheme.lower() not in ("http", "https"):
        raise UpdaterError(f"Artifacts cannot be fetched over {scheme}; give an http or https address, or a file.")

    def opened(_place: int = 0, _size: int | None = None, /) -> Stream:
        pauses = delays(config.retry_poll, config.download_tries)
        return Download(make_connector(config), said, ports.clock, pauses, stubborn=False)  # a person is waiting

    return Source(opened)


def make_connector(config: Config) -> Connector:
    """How this device reaches servers.

    Raises:
        ServerError: a certificate or key file cannot be used.
    """
    client = (config.client_certificate, config.client_key)
    return Connector(
        config.server_certificate,
        config.download_stall,
        exchange=config.exchange_limit,
        skip_verify=config.skip_verify,
        client=(client[0], client[1]) if client[0] and client[1] else None,
    )


def make_session(config: Config, ports: Ports) -> Session:
    """The device's side of its servers' API.

    Raises:
        UpdaterError: the keys or the identity cannot be used.
    """
    who = identity(ports.runner, config.share_directory)
    credentials = Credentials(config.data_directory, who, config.tenant_token, config.auth_key)
    return Session(config.servers, make_connector(config), credentials, v1_post=ports.dialect.posts_to_v1)
