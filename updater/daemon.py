# SPDX-License-Identifier: Apache-2.0
"""Managed mode: finishes what a power cut interrupted, then asks the server for work, for ever."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NoReturn

from updater.byhand import close_by_hand
from updater.config import Config
from updater.deploymentlog import DeploymentLog
from updater.errors import ServerError, StoreBusy, UpdaterError
from updater.failures import blames_artifact, counted
from updater.machine.actions import Actions
from updater.machine.backoff import delays
from updater.machine.engine import Engine
from updater.machine.reports import ServerReports
from updater.machine.standalone import way_on
from updater.machine.world import World
from updater.pidfile import hold_pid
from updater.process import end_leftovers
from updater.scripts import ScriptFailed
from updater.server.download import Download
from updater.server.identity import inventory
from updater.server.session import Deployment, Session
from updater.source import Source
from updater.store import Device, Store, Update
from updater.timer import Timer
from updater.wakeup import CHECK_UPDATE, SEND_INVENTORY, Wakeup
from updater.wiring import Ports, make_keeper, make_session, make_world

CLIENT = "bootproof-updater"
log = logging.getLogger(__name__)


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
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.config, self.world, self.store = config, world, store
        self.session, self.reports, self.log_of = session, reports, log_of
        self._wait, self.keep, self.ready = wait, keep, ready
        self._over: dict[str, Device] = {}  # deployments that this process has seen to their end, and how it was then

        longest = config.longest_pause

        def retries() -> Iterator[float]:
            return delays(config.longest_retry, config.retry_count)

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
            end_leftovers(str(self.config.data_directory))
            self.log_of.start(device.update.deployment)
            update = device.update
            known = Deployment(update.deployment, update.artifact_name, update.uri, ())
            able = bool(update.uri) and self.config.resume_downloads
            actions = Actions(self.world, self._source(known, earlier=True) if able else None)
            engine = self._engine(actions)
            try:
                self._finish(engine, actions, update, engine.resume(device))
            finally:
                actions.close()
        self._ended()

    def _look_after(self) -> None:
        """See that the device runs what was kept, and that a trial by hand that is over does not block it."""
        try:
            with self.store.writing():
                self.keep()
            close_by_hand(self.store, self.world)
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
        try:
            self.world.scripts.run("Sync", "Enter")
            deployment = work()
            timer.succeeded(self.world.clock.now())
            self.world.scripts.run("Sync", "Leave")
        except UpdaterError as error:
            log.warning("%s", error)
            if deployment is None:
                timer.failed(self.world.clock.now(), error.retry_after if isinstance(error, ServerError) else None)
            self._scripts("Sync", "Error")
            if deployment is not None:
                self._ended()
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
            with self.store.writing():  # the medium could not be written at the time
                device = self.store.save(self._over[device.update.deployment])
        if device.update is not None:
            close_by_hand(self.store, self.world)
            device = self.store.load()
        if device.update is not None:
            raise UpdaterError(f"An update that was begun by hand is not finished. {way_on(device.update.state)}")
        self.ready()
        self._tell_what_is_untold(device)
        deployment = self.session.next_deployment(device.provides, self.world.device_type)
        if deployment and device.failures.get(deployment.artifact_name, 0) >= self.config.park_after:
            self._park(deployment)
            return None
        return deployment

    def _tell_what_is_untold(self, device: Device) -> None:
        for deployment, final in device.untold.items():
            error = self.reports.tell_once(deployment, final)
            if error is not None:  # it must not stand in the way of another deployment
                log.warning("the server still does not hear of deployment %s: %s", deployment, error)
                continue
            with self.store.writing():
                now = self.store.load()
                rest = {name: end for name, end in now.untold.items() if name != deployment}
                self.store.save(replace(now, untold=rest))

    def _park(self, deployment: Deployment) -> None:
        """Refuse what has failed often enough, without fetching it."""
        self.log_of.start(deployment.id)
        log.error(
            "%s has failed %d times on this device, so it is not fetched again until another update has succeeded",
            deployment.artifact_name,
            self.config.park_after,
        )
        self.reports.tell_the_end(deployment.id, "failure")
        self._ended()

    def _finish(self, engine: Engine, actions: Actions, update: Update, device: Device) -> None:
        """Remember the end, and what fails again and again."""
        self._over[update.deployment] = device
        if not blames_artifact(engine.history, actions.unreachable):
            return
        self._over[update.deployment] = device = counted(device, update.artifact_name)
        try:
            self.store.save(device)
        except UpdaterError as error:
            log.error("%s", error)

    def _install(self, deployment: Deployment) -> None:
        try:
            with self.store.writing():
                device = self.store.load()
                if device.update is not None:  # begun by hand in the meantime
                    raise StoreBusy("Another update has been begun; the deployment waits for its end.")
                self.log_of.start(deployment.id)
                log.info("deployment %s asks for %s", deployment.id, deployment.artifact_name)
                update = Update(
                    "update-store", deployment.id, artifact_name=deployment.artifact_name, uri=deployment.uri
                )
                actions = Actions(self.world, self._source(deployment))
                engine = self._engine(actions)
                try:
                    ended = engine.run(replace(device, update=update), self.world.dialect.first)
                    self._finish(engine, actions, update, ended)
                finally:
                    actions.close()
        except StoreBusy as error:
            log.warning("%s", error)
        self._ended()

    def _source(self, deployment: Deployment, *, earlier: bool = False) -> Source:
        """`earlier`: the deployment's address is one from an earlier life of this device."""

        def opened(place: int = 0, size: int | None = None, /) -> Download:
            pauses = delays(self.config.longest_retry, self.config.download_tries)
            return Download(
                self.session.connector,
                deployment.uri,
                self.world.clock,
                pauses,
                start=place,
                size=size,
                relink=lambda: self._relink(deployment),
                eager=earlier,
            )

        return Source(opened, deployment.artifact_name)

    def _relink(self, deployment: Deployment) -> str:
        """A fresh address for an artifact whose address is not valid any more."""
        device = self.store.load()
        servers = len(self.session.servers)
        for number in range(servers):
            if number:  # it may be another that announced it
                self.session.ask_another()
            again = self.session.next_deployment(device.provides, self.world.device_type)
            if again is not None and (again.id, again.artifact_name) == (deployment.id, deployment.artifact_name):
                return again.uri
        # Of several, the one that announced it may be away for a while; of one, asking again would not help.
        raise ServerError("The server has another deployment by now.", status=None if servers > 1 else 404)

    def _engine(self, actions: Actions) -> Engine:
        return Engine(actions, self.store, self.world.marks, self.world.dialect)

    def _ended(self) -> None:
        self._look_after()
        self.log_of.stop()
        self.inventory.due = 0.0

    def _scripts(self, state: str, moment: str) -> None:
        """Scripts whose failure changes nothing."""
        try:
            self.world.scripts.run(state, moment)
        except ScriptFailed as error:
            log.error("%s", error)


def run(config: Config, ports: Ports) -> NoReturn:
    """Start the daemon on this device.

    Raises:
        UpdaterError: it cannot start; the message says why.
    """
    if not config.server_url:
        raise UpdaterError("No ServerURL is configured, so there is no server to ask.")
    wakeup = Wakeup(ports.clock)  # from now on a signal is a wish, and not the end
    hold_pid(config.data_directory)
    log_of = DeploymentLog(config.log_directory)
    logging.getLogger().addHandler(log_of)
    session = make_session(config, ports)
    reports = ServerReports(
        session,
        ports.clock,
        ports.marks,
        config.longest_retry,
        config.retry_count,
        log_of.messages,
        config.longest_pause,
    )
    log.info("%s, device %s", CLIENT, session.credentials.identity)
    store = Store(config.data_directory)
    world = make_world(config, ports, reports, store)
    keeper = make_keeper(config, ports, store)
    Daemon(config, world, store, session, reports, log_of, wakeup.wait, keeper.look, keeper.check).run()
