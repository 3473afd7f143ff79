# SPDX-License-Identifier: Apache-2.0
"""Managed mode: finishes what a power cut interrupted, then asks the server for work, for ever."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from types import FrameType
from typing import NoReturn

from updater.bootenv import UBootEnv
from updater.config import Config, device_type
from updater.deploymentlog import DeploymentLog
from updater.errors import ServerError, UpdaterError
from updater.machine.actions import Actions, World
from updater.machine.engine import Engine
from updater.machine.tables import State, resume
from updater.ports import ProgramRunner, SystemClock, find_marks
from updater.server.credentials import Credentials
from updater.server.http import Connector
from updater.server.identity import identity, inventory
from updater.server.session import UNAUTHORIZED, Deployment, Session
from updater.slots import Slots
from updater.store import Device, Store, Update

ARTIFACT_INFO = Path("/etc/mender/artifact_info")
CLIENT = "bootproof-updater"
log = logging.getLogger(__name__)


def make_world(config: Config, log_of: DeploymentLog) -> World:
    """Bind the ports to this device.

    Raises:
        UpdaterError: the configuration, the keys or the identity cannot be used.
    """
    runner = ProgramRunner()
    credentials = Credentials(config.data_directory, identity(runner), config.tenant_token)
    session = Session(config.server_url, Connector(config.server_certificate), credentials)
    return World(
        session=session,
        env=UBootEnv(runner),
        slots=Slots(dict(config.slots)),
        runner=runner,
        clock=SystemClock(),
        marks=find_marks(),
        verify_keys=config.verify_keys,
        device_type=device_type(config),
        retry_poll=config.retry_poll,
        retry_count=config.retry_count,
        download_tries=config.download_tries,
        deployment_log=log_of.messages,
    )


class Daemon:
    """The main loop."""

    def __init__(self, config: Config, world: World, store: Store, log_of: DeploymentLog) -> None:
        self.config, self.world, self.store, self.log_of = config, world, store, log_of
        self._inventory_due = 0.0

    def run(self) -> NoReturn:
        """Never returns; a signal ends the process."""
        signal.signal(signal.SIGTERM, _end)
        self.world.marks.put("daemon.ready")
        self._bootstrap()
        self.finish_interrupted()
        while True:
            self.poll_once()
            self.world.clock.sleep(self.config.update_poll)

    def _bootstrap(self) -> None:
        """On a new device, take the name of what is installed from the image."""
        if self.store.exists():
            return
        lines = ARTIFACT_INFO.read_text().splitlines() if ARTIFACT_INFO.exists() else []
        names = [line.partition("=")[2] for line in lines if line.startswith("artifact_name=")]
        self.store.save(Device(provides={"artifact_name": name}) if (name := next(iter(names), "")) else Device())

    def finish_interrupted(self) -> None:
        """Go on with an update that was under way when this process was last ended."""
        device = self.store.load()
        if device.update is None:
            return
        self.log_of.start(device.update.deployment)
        state = resume(device.update.state)
        log.info("an update was in '%s' when the device stopped; going on at '%s'", device.update.state, state)
        self._walk(Actions(self.world), device, state)

    def poll_once(self) -> None:
        """Send the inventory if it is due, ask for a deployment, and install it if there is one."""
        device = self.store.load()
        try:
            self._inventory_if_due()
            deployment = self.world.session.next_deployment(device.provides, self.world.device_type)
        except ServerError as error:
            log.warning("%s", error)
            return
        if deployment is not None:
            self._install(deployment)

    def _install(self, deployment: Deployment) -> None:
        self.log_of.start(deployment.id)
        log.info("deployment %s asks for %s", deployment.id, deployment.artifact_name)
        device = self.store.load()
        update = Update(str(State.DOWNLOAD), deployment.id, artifact_name=deployment.artifact_name)
        begun = Device(provides=device.provides, update=update)
        self._walk(Actions(self.world, deployment), begun, State.DOWNLOAD)

    def _walk(self, actions: Actions, device: Device, state: State) -> None:
        Engine(actions.table(), self.store, self.world.marks).run(device, state)
        self.log_of.stop()
        self._inventory_due = 0.0

    def _inventory_if_due(self) -> None:
        if self.world.clock.now() < self._inventory_due:
            return
        try:
            self._send_inventory()
        except ServerError as error:
            if error.status in (None, UNAUTHORIZED):
                raise
            log.warning("%s", error)  # what a script prints must not stand in the way of an update

    def _send_inventory(self) -> None:
        device = self.store.load()
        self.world.session.send_inventory(
            {
                **inventory(self.world.runner),
                **device.provides,
                "device_type": self.world.device_type,
                "mender_client_version": CLIENT,
            }
        )
        self._inventory_due = self.world.clock.now() + self.config.inventory_poll


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def run(config: Config) -> NoReturn:
    """Start the daemon on this device.

    Raises:
        UpdaterError: it cannot start; the message says why.
    """
    if not config.server_url:
        raise UpdaterError("No ServerURL is configured, so there is no server to ask.")
    config.data_directory.mkdir(parents=True, exist_ok=True)
    log_of = DeploymentLog(config.data_directory)
    logging.getLogger().addHandler(log_of)
    world = make_world(config, log_of)
    log.info("%s, device %s", CLIENT, world.session.credentials.identity)
    Daemon(config, world, Store(config.data_directory), log_of).run()
