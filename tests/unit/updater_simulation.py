# SPDX-License-Identifier: Apache-2.0
"""A device without a board: slots, bootloader, server and data partition as values, and a fault at any point.

Every call that the updater makes into this world is a point before its effect and a point after it.  Points are
counted; a run is repeated with a fault at chosen numbers.  The real daemon, engine, tables and actions run in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from updater.artifact import Artifact
from updater.bootenv import BootEnv, BootState
from updater.config import Config
from updater.daemon import Daemon
from updater.deploymentlog import DeploymentLog
from updater.errors import BootEnvError, DeploymentAborted, ServerError, StoreError, UpdaterError
from updater.install.rootfs import RootfsImage
from updater.keeper import Keeper
from updater.machine.reports import ServerReports
from updater.machine.world import World
from updater.ports import NoMarks
from updater.scripts import StateScripts
from updater.server.session import Deployment, Session
from updater.slots import OTHER, Slots
from updater.store import Device, Store, Update

Result = TypeVar("Result")
BOOTS_LIMIT = 100
POINTS_LIMIT = 3000
FINAL = ("success", "failure")


class PowerCut(BaseException):
    """The plug."""


class Restarted(BaseException):
    """The system goes down because it was asked to."""


class Killed(BaseException):
    """The updater's process ends; the system stays up and init starts it again."""


@dataclass
class Disk:
    """What outlives a power cut."""

    slots: dict[str, str] = field(default_factory=lambda: {"a": "old", "b": "older"})
    active: str = "a"
    trial: bool = False
    bootcount: int = 0
    stored: str = ""


@dataclass
class Simulation:
    """One device and its server; `faults` maps points to what happens there: "cut", "kill" or "error"."""

    faults: Mapping[int, str] = field(default_factory=dict)
    new: str = "good"  # what the artifact holds: "good", "hangs" or "no network"
    abort_at: str = ""  # the server takes the deployment back when it hears this status
    again: tuple[str, int] = ("", 0)  # the power fails at the point of this name, this many times
    boot_limit: int = 1

    def __post_init__(self) -> None:
        self.disk = Disk()
        self.running = "a"
        self.points: list[str] = []
        self.boots = 0
        self.told: list[str] = []
        self.aborted = False
        self.committed = False  # the last commit that took effect was not taken back
        self.ever_committed = False

    # -- points ----------------------------------------------------------------------------------------------------

    def point(self, name: str, error: type[UpdaterError] | None = None) -> None:
        """Here something may go wrong."""
        fault = self.faults.get(len(self.points))
        self.points.append(name)
        assert len(self.points) < POINTS_LIMIT, "the updater runs for ever"
        if name == self.again[0] and self.points.count(name) <= self.again[1]:
            raise PowerCut
        if fault == "cut":
            raise PowerCut
        if fault == "kill":
            raise Killed
        if fault == "error" and error is not None:
            raise error(f"A planted error at {name}.")

    def act(self, name: str, effect: Callable[[], Result], error: type[UpdaterError] | None = None) -> Result:
        """Do something that has an effect: a fault may come before it, or between it and the answer."""
        self.point(f"before {name}", error)
        result = effect()
        self.point(f"after {name}", error)
        return result

    # -- running ---------------------------------------------------------------------------------------------------

    def run(self) -> Simulation:
        """Until the updater has nothing to do any more."""
        self.boot()
        while True:
            try:
                if self.turn():
                    return self
            except (PowerCut, Restarted):
                self.boot()
            except Killed:
                self.count()

    def count(self) -> None:
        self.boots += 1
        assert self.boots < BOOTS_LIMIT, "the device reboots for ever"

    def boot(self) -> None:
        """The bootloader with Mender's rules, then a system that comes up or does not."""
        while True:
            self.count()
            try:
                self.bootloader()
                if self.disk.slots[self.disk.active] != "hangs":
                    break
            except (PowerCut, Killed):
                continue
        self.running = self.disk.active
        content = self.disk.slots[self.running]
        assert content not in ("torn", "older"), f"slot {self.running} was booted and holds what is {content}"

    def bootloader(self) -> None:
        disk = self.disk
        if not disk.trial:
            return
        count = disk.bootcount + 1
        self.act("boot count", lambda: setattr(disk, "bootcount", count))
        if count > self.boot_limit:
            self.act("boot rollback", lambda: self.change_env(active=OTHER[disk.active], trial=False))

    def change_env(self, **changes: Any) -> None:
        """One write of the bootloader's environment."""
        for name, value in changes.items():
            setattr(self.disk, name, value)
        if changes.get("active", self.disk.active) != "b":
            self.committed = False

    def turn(self) -> bool:
        """One life of the daemon's process, as far as the server has work for it."""
        store = MemoryStore(self)
        daemon = self.daemon(store)
        daemon.finish_interrupted()
        # An error of the network can hide the work there is, once for each planted error.
        for _ in range(2 * (2 + list(self.faults.values()).count("error"))):
            daemon.inventory.due = daemon.update.due = 0.0
            daemon.turn()
            daemon.inventory.due = 1e9
            daemon.turn()
        stored = store.load()
        told = self.aborted or bool(self.told and self.told[-1] in FINAL)
        return stored.update is None and not stored.untold and told

    def daemon(self, store: Store) -> Daemon:
        world = self.world()
        config = Config(boot_limit=self.boot_limit)
        log_of = cast(DeploymentLog, NoLog())
        reports = cast(ServerReports, world.reports)
        env, slots = cast(BootEnv, FakeEnv(self)), cast(Slots, FakeSlots(self))
        keeper = Keeper(store, env, slots, world.runner, world.clock)
        return Daemon(config, world, store, self.session(), reports, log_of, lambda _: set(), keeper.look, keeper.check)

    def session(self) -> Session:
        return cast(Session, FakeSession(self))

    def world(self) -> World:
        clock, marks = FakeClock(), NoMarks()
        reports = ServerReports(
            self.session(), clock, marks, retry_poll=300, retry_count=0, deployment_log=lambda _: [{"message": "x"}]
        )
        return World(
            make_installer=self.installer,
            reports=reports,
            scripts=NoScripts(Path("nowhere"), Path("nowhere"), clock),
            runner=FakeRunner(self),
            clock=clock,
            marks=marks,
            verify_keys=(),
            device_type="board",
        )

    def installer(self, device: Device) -> RootfsImage:
        assert device.update is not None
        return FakeRootfs(
            cast(BootEnv, FakeEnv(self)), cast(Slots, FakeSlots(self)), NoMarks(), device.update, self.boot_limit > 1
        )

    def fetch(self, target: str) -> None:
        """Stands for the download into a slot."""
        assert target != self.running
        self.act("slot begun", lambda: self.disk.slots.update({target: "torn"}), UpdaterError)
        self.act("slot written", lambda: self.disk.slots.update({target: self.new}), UpdaterError)

    # -- what the end looks like -------------------------------------------------------------------------------------

    @property
    def final(self) -> str:
        return self.told[-1]

    @property
    def stored(self) -> Device:
        return MemoryStore(self).load()


class MemoryStore(Store):
    """The store with its file in the simulated data partition."""

    def __init__(self, world: Simulation) -> None:
        super().__init__(Path("nowhere"))
        self._world = world

    def writing(self) -> Any:
        return nullcontext()

    def load(self) -> Device:
        if not self._world.disk.stored:
            return Device(provides={"artifact_name": "old"})
        raw = json.loads(self._world.disk.stored)
        return Device(**{**raw, "update": Update(**raw["update"]) if raw["update"] else None})

    def save(self, device: Device, **_: bool) -> Device:
        text = json.dumps(asdict(device))
        name = device.update.state if device.update else "idle"
        self._world.act(f"store {name}", lambda: setattr(self._world.disk, "stored", text), StoreError)
        return device


class FakeRootfs(RootfsImage):
    """The real one, but for the bytes."""

    def download(self, _: Artifact, _asks_for_sizes: bool, _progress: object) -> None:
        cast(FakeEnv, self.env).world.fetch(self.update.target)


class NoScripts(StateScripts):
    """A device without state scripts."""

    def run(self, state: str, moment: str) -> None:
        pass

    def names(self) -> list[str]:
        return []

    def store(self, scripts: Mapping[str, bytes]) -> None:
        assert not scripts

    def remove(self) -> None:
        pass

    def check_rootfs(self) -> None:
        pass


def artifact() -> Artifact:
    """What the server has to give."""
    return Artifact("new", None, ("board",), "rootfs-image")


@dataclass
class FakeEnv:
    world: Simulation

    def read(self) -> BootState:
        self.world.point("read env", BootEnvError)
        return BootState(self.world.disk.active, self.world.disk.trial)

    def flip(self, target: str) -> None:
        self._write("flip", active=target, trial=True, bootcount=0)

    def commit(self) -> None:
        if not self.read().upgrade_available:
            raise BootEnvError("Nothing is on trial.")

        def effect() -> None:
            self.world.change_env(trial=False)
            self.world.committed = self.world.ever_committed = True

        self.world.act("commit", effect, BootEnvError)

    def restore(self, origin: str) -> None:
        self._write("restore", active=origin, trial=False)

    def initialise(self, slot: str) -> None:
        self._write("initialise", active=slot, trial=False)

    def _write(self, name: str, **changes: Any) -> None:
        self.world.act(name, lambda: self.world.change_env(**changes), BootEnvError)


@dataclass
class FakeSlots:
    world: Simulation

    def running(self) -> str:
        self.world.point("which slot runs", UpdaterError)
        return self.world.running


@dataclass
class FakeRunner:
    world: Simulation

    def run(self, argv: Any, **_: Any) -> str:
        assert list(argv) == ["reboot"]

        def effect() -> NoReturn:
            raise Restarted

        return self.world.act("reboot", effect, UpdaterError)


class FakeClock:
    def now(self) -> float:
        return 1.0

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0


class NoLog:
    def start(self, deployment: str) -> None:
        pass

    def stop(self) -> None:
        pass


@dataclass
class FakeSession:
    world: Simulation

    def forget_token(self) -> None:
        pass

    def status(self, deployment: str, status: str, substate: str = "") -> None:
        assert (deployment, substate) == ("d", "")

        def effect() -> None:
            world = self.world
            world.aborted |= status == world.abort_at
            if world.aborted:
                raise DeploymentAborted("The server has aborted it.")
            world.told.append(status)

        self._call(f"tell {status}", effect)

    def send_log(self, deployment: str, messages: object) -> None:
        assert (deployment, bool(messages)) == ("d", True), "servers refuse an empty log"
        self._call("send log", lambda: None)

    def send_inventory(self, attributes: Mapping[str, object]) -> bool:
        assert attributes
        self._call("send inventory", lambda: None)
        return True

    def next_deployment(self, provides: Mapping[str, str], device_type: str) -> Deployment | None:
        assert (bool(provides), device_type) == (True, "board")
        over = self.world.aborted or (self.world.told and self.world.told[-1] in FINAL)
        return self._call("ask", lambda: None if over else Deployment("d", "new", "https://server/new", ("board",)))

    def _call(self, name: str, effect: Callable[[], Result]) -> Result:
        if self.world.disk.slots[self.world.running] == "no network":
            self.world.point(f"{name} without network")
            raise ServerError("The network is down.")
        return self.world.act(name, effect, ServerError)
