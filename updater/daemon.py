# SPDX-License-Identifier: Apache-2.0
"""Managed mode: finishes what a power cut interrupted, then asks the server for work, for ever."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from updater.config import Config
from updater.deploymentlog import DeploymentLog
from updater.errors import ServerError, StoreBusy, UpdaterError
from updater.machine.actions import Actions, World
from updater.machine.backoff import delays
from updater.machine.engine import Engine
from updater.machine.reports import ServerReports
from updater.machine.steps import Event, Outcome
from updater.scripts import ScriptFailed
from updater.server.download import Download
from updater.server.identity import inventory
from updater.server.session import Deployment, Session
from updater.source import Source
from updater.store import Device, Store, Update
from updater.wakeup import CHECK_UPDATE, SEND_INVENTORY, Wakeup
from updater.wiring import Ports, make_keeper, make_session, make_world

CLIENT = "bootproof-updater"
FAILURES_LIMIT = 50  # artifacts whose failures are counted
PID_FILE = "daemon.pid"
log = logging.getLogger(__name__)


class Timer:
    """When something is due next, and how soon it is tried again after it failed; all in seconds of the clock.

    `longest` bounds what a server may ask to wait.
    """

    def __init__(self, interval: float, retries: Callable[[], Iterator[float]], longest: float = float("inf")) -> None:
        self.due = 0.0
        self._interval, self._retries, self._longest = interval, retries, longest
        self._pauses = retries()

    def succeeded(self, now: float) -> None:
        self._pauses = self._retries()
        self.due = now + self._interval

    def failed(self, now: float, wait: float | None = None) -> None:
        """Try again after the next pause, or after what the server asked for; when those are used up, as usual."""
        if wait is None:
            wait = next(self._pauses, None)
        if wait is None:
            self._pauses = self._retries()
            wait = self._interval
        self.due = now + min(wait, max(self._interval, self._longest))


class Daemon:
    """The main loop."""

    def __init__(
        self,
        config: Config,
        world: World,
        store: Store,
        session: Session,
        reports: ServerReports,
        log_of: DeploymentLog,
        wait: Callable[[float], set[signal.Signals]],
        keep: Callable[[], None] = lambda: None,
    ) -> None:
        self.config, self.world, self.store = config, world, store
        self.session, self.reports, self.log_of = session, reports, log_of
        self._wait, self.keep = wait, keep
        self._over: set[str] = set()  # deployments that this process has seen to their end

        longest = config.longest_pause

        def retries() -> Iterator[float]:
            return delays(min(config.retry_poll, longest), config.retry_count)

        self.inventory = Timer(config.inventory_poll, retries, longest)
        self.update = Timer(min(config.update_poll, longest), retries, longest)

    def run(self) -> NoReturn:
        """Never returns; a signal ends the process."""
        self.world.marks.put("daemon.ready")
        self.finish_interrupted()
        self._look_after()
        while True:
            self.turn()

    def finish_interrupted(self) -> None:
        """Go on with an update that was under way when this process was last ended."""
        device = self.store.load()
        if device.update is None or not device.update.deployment:
            return  # a standalone update is whoever's it is that began it
        with self.store.writing():
            self.log_of.start(device.update.deployment)
            update = device.update
            known = Deployment(update.deployment, update.artifact_name, update.uri, ())
            actions = Actions(self.world, self._source(known) if update.uri and self.config.resume_downloads else None)
            engine = self._engine(actions)
            try:
                self._count(engine, update.artifact_name, engine.resume(device))
            finally:
                actions.close()
        self._ended(device.update.deployment)

    def _look_after(self) -> None:
        try:
            self.keep()
        except UpdaterError as error:
            log.error("%s", error)

    def turn(self) -> None:
        """Wait until something is due, and do it."""
        self._scripts("Idle", "Enter")
        now = self.world.clock.now()
        for asked in self._wait(min(self.inventory.due, self.update.due) - now):
            timer = {CHECK_UPDATE: self.update, SEND_INVENTORY: self.inventory}[asked]
            timer.due = 0.0
        self._scripts("Idle", "Leave")
        if self.inventory.due <= self.world.clock.now():
            self._synchronise(self.inventory, self._send_inventory)
        elif self.update.due <= self.world.clock.now():
            self._synchronise(self.update, self._check_for_update)

    def _synchronise(self, timer: Timer, work: Callable[[], Deployment | None]) -> None:
        """One talk with the server between its scripts."""
        deployment = None
        timer.failed(self.world.clock.now())
        try:
            self.world.scripts.run("Sync", "Enter")
            deployment = work()
            timer.succeeded(self.world.clock.now())
            self.world.scripts.run("Sync", "Leave")
        except ServerError as error:
            log.warning("%s", error)
            if error.retry_after is not None:
                timer.failed(self.world.clock.now(), error.retry_after)
            self._scripts("Sync", "Error")
            return
        except UpdaterError as error:
            log.error("%s", error)
            self._scripts("Sync", "Error")
            if deployment is not None:
                self._ended(deployment.id)
            return
        if deployment is not None:
            self._install(deployment)

    def _send_inventory(self) -> None:
        device = self.store.load()
        attributes = {
            **inventory(self.world.runner, self.config.share_directory),
            **device.provides,
            "device_type": self.world.device_type,
            "mender_client_version": CLIENT,
            **{f"incident_{name}": str(count) for name, count in device.incidents.items()},
            "parked_artifacts": [name for name, count in device.failures.items() if count >= self.config.park_after],
        }
        self.session.send_inventory(attributes)

    def _check_for_update(self) -> Deployment | None:
        device = self.store.load()
        if device.update is not None and device.update.deployment in self._over:
            device = self.store.save(replace(device, update=None))  # the medium could not be written at the time
        if device.update is not None:
            raise UpdaterError("An update that was begun by hand is not finished; commit it or roll it back.")
        self._tell_what_is_untold(device)
        deployment = self.session.next_deployment(device.provides, self.world.device_type)
        if deployment and device.failures.get(deployment.artifact_name, 0) >= self.config.park_after:
            self._park(deployment)
            return None
        return deployment

    def _tell_what_is_untold(self, device: Device) -> None:
        for deployment, final in device.untold.items():
            error = self.reports.tell_once(deployment, final)
            if error is not None:
                raise error
            rest = {name: end for name, end in self.store.load().untold.items() if name != deployment}
            self.store.save(replace(self.store.load(), untold=rest))

    def _park(self, deployment: Deployment) -> None:
        """Refuse what has failed often enough, without fetching it."""
        self.log_of.start(deployment.id)
        log.error(
            "%s has failed %d times on this device, so it is not fetched again until another update has succeeded",
            deployment.artifact_name,
            self.config.park_after,
        )
        self.reports.tell_the_end(deployment.id, "failure")
        self._ended(deployment.id)

    def _count(self, engine: Engine, artifact_name: str, device: Device) -> None:
        """Remember what fails again and again; what the server has taken back has not failed."""
        if engine.outcome is Outcome.GOOD or any(event is Event.ABORTED for _, event in engine.history):
            return
        failures = {**device.failures, artifact_name: device.failures.get(artifact_name, 0) + 1}
        try:
            self.store.save(replace(device, failures=dict(list(failures.items())[-FAILURES_LIMIT:])))
        except UpdaterError as error:
            log.error("%s", error)

    def _install(self, deployment: Deployment) -> None:
        self.log_of.start(deployment.id)
        log.info("deployment %s asks for %s", deployment.id, deployment.artifact_name)
        try:
            with self.store.writing():
                update = Update(
                    "update-store", deployment.id, artifact_name=deployment.artifact_name, uri=deployment.uri
                )
                device = replace(self.store.load(), update=update)
                actions = Actions(self.world, self._source(deployment))
                engine = self._engine(actions)
                try:
                    self._count(engine, deployment.artifact_name, engine.run(device, self.world.dialect.first))
                finally:
                    actions.close()
        except StoreBusy as error:
            log.warning("%s", error)
        self._ended(deployment.id)

    def _source(self, deployment: Deployment) -> Source:
        def opened(place: int = 0, size: int | None = None, /) -> Download:
            longest = min(self.config.retry_poll, self.config.longest_pause)
            pauses = delays(longest, self.config.download_tries)
            return Download(
                self.session.connector,
                deployment.uri,
                self.world.clock,
                pauses,
                start=place,
                size=size,
                relink=lambda: self._relink(deployment),
            )

        return Source(opened, deployment.artifact_name)

    def _relink(self, deployment: Deployment) -> str:
        """A fresh address for an artifact whose address is not valid any more."""
        device = self.store.load()
        again = self.session.next_deployment(device.provides, self.world.device_type)
        if again is None or (again.id, again.artifact_name) != (deployment.id, deployment.artifact_name):
            raise ServerError("The server has another deployment by now.")
        return again.uri

    def _engine(self, actions: Actions) -> Engine:
        return Engine(actions, self.store, self.world.marks, self.world.dialect)

    def _ended(self, deployment: str) -> None:
        self._over.add(deployment)
        self.log_of.stop()
        self.inventory.due = 0.0

    def _scripts(self, state: str, moment: str) -> None:
        """Scripts whose failure changes nothing."""
        try:
            self.world.scripts.run(state, moment)
        except ScriptFailed as error:
            log.error("%s", error)


def hold_pid(directory: Path) -> int:
    """Write this process's number where others find it, and hold it as long as the process lives.

    Raises:
        UpdaterError: another daemon is running.
    """
    fd = os.open(directory / PID_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UpdaterError("The daemon is already running on this device.") from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def running_daemon(directory: Path) -> int:
    """The number of the daemon's process.

    Raises:
        UpdaterError: it is not running.
    """
    try:
        fd = os.open(directory / PID_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UpdaterError("The daemon is not running on this device; start it first.") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(fd, 32, 0))
    finally:
        os.close(fd)
    raise UpdaterError("The daemon is not running on this device; start it first.")


def run(config: Config, ports: Ports) -> NoReturn:
    """Start the daemon on this device.

    Raises:
        UpdaterError: it cannot start; the message says why.
    """
    if not config.server_url:
        raise UpdaterError("No ServerURL is configured, so there is no server to ask.")
    config.data_directory.mkdir(parents=True, exist_ok=True)
    hold_pid(config.data_directory)
    log_of = DeploymentLog(config.log_directory)
    logging.getLogger().addHandler(log_of)
    session = make_session(config, ports)
    longest = min(config.retry_poll, config.longest_pause)
    reports = ServerReports(session, ports.clock, ports.marks, longest, config.retry_count, log_of.messages)
    log.info("%s, device %s", CLIENT, session.credentials.identity)
    store = Store(config.data_directory)
    world = make_world(config, ports, reports, store)
    wait, keep = Wakeup(ports.clock).wait, make_keeper(config, ports, store)
    Daemon(config, world, store, session, reports, log_of, wait, keep).run()
