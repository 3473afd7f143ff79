# SPDX-License-Identifier: Apache-2.0
"""One board, one server and the network between them, and the verbs that drive them."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from harness.board import Board, BoardSpec
from harness.clock import Deadline, pause, poll
from harness.errors import GuestFault, HarnessBug, HostProblem, Inconclusive
from harness.evidence import Events, RunFolder
from harness.faults.network import Relay
from harness.judge import SLOTS, KnownImage, ServerRecord, Slot
from harness.lab.device import Trust, mac_of, provisioned, ssh_identity
from harness.lab.observe import UP
from harness.server import Server
from images.catalogue import FACTORY_VERSION, Catalogue

NEEDED_BYTES = 256 * 1024 * 1024  # more than a board writes from one power-on to the next
LOOK_SECONDS = 0.05  # between looks at the server
LATE_SECONDS = 1.0  # after which it is looked at although it has answered nothing since


@dataclass(frozen=True)
class Timeouts:
    """How long to wait before giving up, in seconds; generous, because nothing is judged by them."""

    up: float = 60.0
    fault: float = 90.0
    settle: float = 150.0


@dataclass(frozen=True)
class Parts:
    """What a rig drives, and `ends`, which puts all of it away."""

    server: Server
    relay: Relay
    board: Board
    ends: contextlib.ExitStack


def start_parts(catalogue: Catalogue, folder: RunFolder, seed: int) -> Parts:
    """A server of its own, a line to it, and a board that was provisioned for it and is still off."""
    with contextlib.ExitStack() as undo:
        server = Server(folder.path)
        undo.callback(server.close)
        relay = Relay(server.port)
        undo.callback(relay.close)
        board = _provisioned_board(catalogue, folder, seed, server, relay)
        undo.callback(board.close)
        return Parts(server, relay, board, undo.pop_all())  # nothing failed on the way, so all of it stays


def _provisioned_board(catalogue: Catalogue, folder: RunFolder, seed: int, server: Server, relay: Relay) -> Board:
    key, line = ssh_identity()
    trust = Trust(
        server_port=relay.port,
        server_ca=server.ca.read_bytes(),
        verify_key=catalogue.verify_key(),
        ssh_key=line,
        device_type=catalogue.device_type,
    )
    layout = catalogue.layout
    media = provisioned(catalogue.board_image(), layout, trust, seed, folder.path)
    spec = BoardSpec(uboot=catalogue.uboot(), mac=mac_of(seed), layout=layout)
    return Board(spec, media, folder.path, key)


class Rig:
    """One board with its server.  `close` leaves nothing behind but the run folder."""

    def __init__(
        self,
        catalogue: Catalogue,
        folder: RunFolder,
        events: Events,
        seed: int,
        start: Callable[[Catalogue, RunFolder, int], Parts] = start_parts,
    ) -> None:
        self.catalogue, self.folder, self.events, self.seed = catalogue, folder, events, seed
        self.timeouts = Timeouts()
        self.random = random.Random(seed)
        self.running: Slot = "a"  # the slot that came up last
        self.wanted = FACTORY_VERSION  # the version that is deployed
        self.deployment = self.device = self.powered_at = ""
        self.known_images: dict[str, KnownImage] = {}
        self.expected_alarms: set[str] = set()
        self._console_read = self._deployments = 0
        self._asked = 0  # number of the last request before the deployment
        # How much of this power-on's log belongs to what was before the new version, and to what was waited for.
        self._began = self._looked = 0
        self._uploaded: dict[str, str] = {}  # artifact name -> who signed it
        self._answers, self._asked_at = -1, 0.0  # when the server was looked at last
        self._know(FACTORY_VERSION)
        with events.step("Start the server and provision a board"):
            parts = start(catalogue, folder, seed)
        self.server, self.relay, self.board, self._ends = parts.server, parts.relay, parts.board, parts.ends

    def close(self) -> None:
        """End the board, the network and the server, in this order."""
        self._ends.close()

    # -- the board -----------------------------------------------------------------------------------------------

    def power_on(self, off_for: float = 0.0) -> None:
        """Switch the board on, after `off_for` seconds without power."""
        if off_for:
            pause(off_for)
        self._must_have_room()
        self.events.emit("power-on", number=self.board.power_ons + 1)
        self._console_read = self._began = self._looked = 0
        self.powered_at = datetime.now(UTC).isoformat()
        self.board.power_on()
        self.folder.write(f"argv-{self.board.power_ons}.json", self.board.argv)

    def wait_up(self) -> Slot:
        """Wait until a slot has come up; returns the slot."""
        with self.events.step("Wait for a system to come up"):
            found = self.board.console.expect(UP.pattern.decode(), self.deadline())
        slot = SLOTS[int(found.group(1)) - 1]
        self.events.emit("up", slot=slot)
        return slot

    def interrupt_boot(self) -> None:
        """Stop the board, which has just been switched on or reset, at U-Boot's prompt."""
        with self.events.step("Press a key until U-Boot stops"):
            self.board.console.interrupt_uboot(self.deadline())

    def join(self) -> None:
        """Switch a new board on and accept it on the server."""
        self.power_on()
        self.wait_up()
        with self.events.step("Accept the device on the server"):
            self.device = self.server.accept(self.deadline())

    def deadline(self) -> Deadline:
        """The time that a board is given to come up or to answer."""
        return Deadline(self.timeouts.up)

    def run(self, command: str) -> str:
        """Run a command on the board and return what it printed."""
        with self.events.step(f"On the board: {command}"), self.board.shell() as shell:
            return shell.run(command, self.deadline())

    def soft_reboot(self) -> None:
        """The guest asks for it."""
        self.events.emit("soft-reboot")
        self.board.soft_reboot(self.deadline())

    def reset(self) -> None:
        """The button: memory and caches of the devices survive."""
        self.events.emit("reset")
        self.board.reset()

    def hold(self) -> None:
        """Have the board do nothing, until `let_go`."""
        self.board.monitor.command("stop")

    def let_go(self) -> None:
        """Have the board go on."""
        self.board.monitor.command("cont")

    # -- waiting for it -------------------------------------------------------------------------------------------

    def settle(self) -> bool:
        """Wait until the board has stopped changing: its deployment has ended and it has asked for work since.

        Without a deployment it is enough that it asks for work, which it does only if no update is under way.
        """
        since = datetime.now(UTC)
        with self.events.step("Wait until the board has settled"):
            return bool(poll(lambda: self.has_settled(since), Deadline(self.timeouts.settle), every=LOOK_SECONDS))

    def has_settled(self, since: datetime) -> bool:
        """Whether it has, as `settle` says; `since` is when that was first asked."""
        self._must_be_on()
        self._must_have_room()
        if not self._may_know_more():
            return False
        record = self.record()
        if record is not None and record.finished is None:
            return False
        end = _time(record.finished or "") if record else since
        return _time(self.server.last_poll(self.device)) > max(end, _time(self.powered_at))

    def _may_know_more(self) -> bool:
        """Whether the server may know more than when this was asked last; asking it each time costs half a core."""
        answers, now = self.relay.answers, time.monotonic()
        if answers == self._answers and now < self._asked_at + LATE_SECONDS:
            return False
        self._answers, self._asked_at = answers, now
        return True

    def wait_poll(self) -> None:
        """Wait until the device asks the server for work.

        Raises:
            GuestFault: it does not, in the time that a board has to come up.
        """
        since, deadline = datetime.now(UTC), self.deadline()
        with self.events.step("Wait for the device to ask for work"):
            if not poll(lambda: _time(self.server.last_poll(self.device)) > since, deadline, every=LOOK_SECONDS):
                raise GuestFault(f"The device did not ask for work within {deadline.seconds:.0f} s.")

    def _must_have_room(self) -> None:
        """What the board writes finds room on this machine; QEMU stops a board that it cannot write for.

        Raises:
            HostProblem: it soon will not.
        """
        if shutil.disk_usage(self.folder.path).free < NEEDED_BYTES:
            raise HostProblem(
                f"The disk that holds {self.folder.path} is full.", "Free some space, or name another with --runs."
            )

    def _must_be_on(self) -> None:
        """Nobody has switched the board off.

        Raises:
            GuestFault: it has switched itself off.
            HostProblem: QEMU has failed.
        """
        if self.board.on:
            return
        if self.board.switched_itself_off:
            raise GuestFault("The board has switched itself off, and nobody is there to switch it on.")
        raise HostProblem(f"QEMU has ended by itself: {self.board.said()}", "See qemu.log in the run folder.")

    # -- the update ----------------------------------------------------------------------------------------------

    def deploy(self, version: str, *, signer: str = "release") -> None:
        """Have the server deploy a version to this board."""
        artifact = self.catalogue.artifact(version, signer)
        name = self.catalogue.artifact_name(version)
        with self.events.step(f"Deploy version {version}" + ("" if signer == "release" else f", signed by a {signer}")):
            if name not in self._uploaded:
                self.server.upload(artifact)
            if self._uploaded.setdefault(name, signer) != signer:
                raise HarnessBug(f"The server has {name} signed by {self._uploaded[name]} already.")
            self.expects(version)
            self._deployments += 1
            self._asked = self._last_request()
            self.deployment = self.server.deploy(f"{name} ({self._deployments})", name, self.device)

    def expects(self, version: str) -> None:
        """From now on this is the new version; what has been seen of the log so far belongs to what was before."""
        self._know(version)
        self.wanted = version
        self._began = self._looked = len(self.board.log.operations)

    def turn_page(self) -> None:
        """What the log holds by now belongs to what was before."""
        self.board.log.poll()
        self._began = self._looked = len(self.board.log.operations)

    def abort(self, *, too_late: bool = False) -> None:
        """Have the server take the deployment back, before it has ended or `too_late`.

        Raises:
            Inconclusive: it is the other way round.
        """
        with self.events.step("Take the deployment back"):
            if self.server.abort(self.deployment) == too_late:
                raise Inconclusive(f"The deployment had {'not ' * too_late}ended when it was taken back.")

    def _last_request(self) -> int:
        entries = self.server.journal()
        return int(entries[-1]["seq"]) if entries else 0

    def record(self, *, with_name: bool = False) -> ServerRecord | None:
        """What the server was told of the deployment (None: there is none), and what the device calls itself."""
        if not self.deployment:
            return None
        record = self.server.record(self.deployment, self.device)
        return replace(record, artifact_name=self.server.artifact_name(self.device)) if with_name else record

    def _know(self, version: str) -> None:
        if version not in self.known_images:
            name = self.catalogue.artifact_name(version)
            image = KnownImage(version, *self.catalogue.slot_image(version), name)
            self.known_images[version] = image
            self.folder.append("images.json", asdict(image))

    def _rename(self, version: str, name: str) -> None:
        """The device goes on under this name as long as the version runs."""
        self.known_images[version] = replace(self.known_images[version], artifact_name=name)


def _time(text: str) -> datetime:
    """A time as the server writes it; what never happened was long ago."""
    return datetime.fromisoformat(text or "1970-01-01T00:00:00+00:00")
