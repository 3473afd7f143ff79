# SPDX-License-Identifier: Apache-2.0
"""A laboratory without a machine: its board's log and console, its server and its images are written by hand."""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paramiko
import pytest

from harness.board import Board, BoardSpec
from harness.board.machine import Media
from harness.clock import Deadline
from harness.errors import GuestFault
from harness.evidence import Events, RunFolder
from harness.faults.network import State
from harness.judge import ServerRecord, encode_copy, parse_text
from harness.lab import Lab, Timeouts
from harness.lab.device import keepsakes
from harness.lab.rig import Parts
from harness.storage import ExtentMap, WriteLog
from images.catalogue import DEFAULT_ENVIRONMENT
from images.layout import SECTOR
from tests.unit.small_board import LAYOUT, make_image
from tests.unit.write_logs import FLUSH, flag, step, write, write_log

STRIP = LAYOUT.marks.start // SECTOR
SLOT_B = LAYOUT.partition("rootfs-b").start // SECTOR
ENV = [offset // SECTOR for offset in LAYOUT.env_offsets]
SEED = 5
IMAGES = {name: random.Random(name).randbytes(64 * 1024) for name in ("a", "b")}
DEFAULTS = parse_text(DEFAULT_ENVIRONMENT.read_text())
UP = {"a": b"release-a is up on /dev/vda1\n", "b": b"release-b is up on /dev/vda2\n"}
SHORT = Timeouts(up=0.2, fault=0.2, settle=0.2)
FAILED = ("downloading", "installing", "rebooting", "failure")
SUCCEEDED = ("downloading", "installing", "rebooting", "installing", "success")


def environment(flag_: int, **changes: str) -> bytes:
    return encode_copy(DEFAULTS | {"mender_saveenv_canary": "1"} | changes, flag_, LAYOUT.env_size)


def sectors(first: int, data: bytes) -> list[bytes]:
    """A write of one sector each, as the card gets them."""
    return [write(first + at // SECTOR, data[at : at + SECTOR]) for at in range(0, len(data), SECTOR)]


def image_in_b(name: str = "b") -> list[bytes]:
    """An update's writes to the passive slot, flushed."""
    return [step(STRIP, "slot.write"), write(SLOT_B, IMAGES[name]), flag(FLUSH), step(STRIP, "slot.flushed", 1)]


FLIP = environment(3, mender_boot_part="2", mender_boot_part_hex="2", upgrade_available="1")
COMMITTED = environment(4, mender_boot_part="2", mender_boot_part_hex="2", upgrade_available="0", bootcount="1")
BACK = environment(4, mender_boot_part="1", mender_boot_part_hex="1", upgrade_available="0", bootcount="2")


class Terminal:
    """What the board says."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    def expect(self, pattern: str, deadline: Deadline) -> None:
        if pattern.encode() not in self.text:
            raise GuestFault(f"The console did not show '{pattern}' within {deadline.seconds:.0f} s.")

    def close(self) -> None:
        pass


class Plug:
    """A machine that runs until it is switched off."""

    running = True
    ended_well = False

    def kill(self) -> None:
        self.running = False

    def said(self) -> str:
        return "no more"


class WrittenBoard(Board):
    """Its power-ons are scripts: what is written, and what is said."""

    script: tuple[list[bytes], bytes] = ([], UP["a"])

    def power_on(self) -> None:
        entries, said = self.script
        self.power_ons += 1
        self.argv = ("qemu",)
        path = self.folder / f"write-{self.power_ons}.log"
        write_log(path, *entries)
        self._process, self._console, self._log = Plug(), Terminal(said), WriteLog(path)  # type: ignore[assignment]


class ToldServer:
    """Answers what the test says it was told."""

    def __init__(self) -> None:
        self.history: tuple[str, ...] = ()
        self.says = ""  # what the device calls itself; empty: as it should
        self.polls_after = 1.0  # seconds between the end of the deployment and the next request for work
        self.kept: dict[str, Any] = {"journal": [], "log": "", "ended": False}
        self.uploads: list[Path] = []
        self.rules: list[Any] = []
        self.fires: tuple[int, ...] = ()

    def upload(self, artifact: Path) -> str:
        self.uploads.append(artifact)
        return f"id of {artifact.name}"

    def inject(self, *rules: Any) -> None:
        self.rules = list(rules)

    def heal(self) -> None:
        self.rules = []

    def fired(self) -> tuple[int, ...]:
        return self.fires

    def deploy(self, *_: str) -> str:
        return "deployment"

    def record(self, *_: str) -> ServerRecord:
        status = self.history[-1] if self.history else None
        record = ServerRecord(status, self.history)
        return ServerRecord(status, self.history, self._end().isoformat()) if record.final else record

    def last_poll(self, _: str) -> str:
        return (self._end() + timedelta(seconds=self.polls_after)).isoformat()

    def artifact_name(self, _: str) -> str:
        return self.says or ("release-b" if self.history[-1:] == ("success",) else "release-a")

    def log(self, *_: str) -> str:
        return str(self.kept["log"])

    def journal(self, after: int = 0) -> list[dict[str, Any]]:
        return [entry for entry in self.kept["journal"] if entry["seq"] > after]

    def abort(self, _: str) -> bool:
        return not self.kept["ended"]

    def _end(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=60)


class Line:
    """A relay that only notes what is done to it, and over which something has always been answered."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.turned_away = 0
        self.broken = False
        self.reached: Callable[[], bool] = lambda: False
        self._answers = 0

    @property
    def answers(self) -> int:
        self._answers += 1
        return self._answers

    def hold_when(self, reached: Callable[[], bool]) -> None:
        self.reached = reached
        self.did.append("hold")

    def release(self) -> None:
        self.did.append("release")

    def hang_up(self) -> None:
        self.did.append("hang up")

    def go(self, state: State) -> None:
        self.broken = True
        self.did.append(state.value)

    def heal(self) -> None:
        self.broken = False
        self.did.append("heal")

    def command(self, name: str) -> None:
        """It is the monitor, too, so that the order of all that is done is seen."""
        self.did.append(name)

    def close(self) -> None:
        pass


class Shelf:
    """Images without a workshop."""

    device_type = "board"
    layout = LAYOUT

    def default_environment(self) -> str:
        return DEFAULT_ENVIRONMENT.read_text()

    def slot_image(self, version: str) -> tuple[int, str]:
        return len(IMAGES[version]), hashlib.sha256(IMAGES[version]).hexdigest()

    def artifact(self, version: str, signer: str) -> Path:
        return Path(f"{version}-{signer}.mender")

    def artifact_name(self, version: str) -> str:
        return f"release-{version}"


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board's image with version a in slot A, the owner's files, and an environment that U-Boot has saved twice."""
    image = make_image(tmp_path_factory.mktemp("lab"), keepsakes(SEED))
    with image.open("r+b") as out:
        for at, content in (
            (LAYOUT.partition("rootfs-a").start, IMAGES["a"]),
            (LAYOUT.env_offsets[0], environment(1)),
            (LAYOUT.env_offsets[1], environment(2)),
        ):
            out.seek(at)
            out.write(content)
    return image


@pytest.fixture
def lab(factory: Path, tmp_path: Path) -> Iterator[Lab]:
    """A laboratory whose board is on and runs version a; version b is deployed."""
    folder = RunFolder(tmp_path, "lab", SEED)

    def start(*_: object) -> Parts:
        spec = BoardSpec(uboot=Path("u-boot.bin"), layout=LAYOUT)
        board = WrittenBoard(spec, Media(factory, ExtentMap()), folder.path, paramiko.ECDSAKey.generate())
        ends = ExitStack()
        ends.callback(board.close)
        return Parts(ToldServer(), Line(), board, ends)  # type: ignore[arg-type]

    with (
        closing(Events(folder / "events.jsonl")) as events,
        closing(Lab(Shelf(), folder, events, SEED, start)) as made,  # type: ignore[arg-type]
    ):
        made.timeouts = SHORT
        yield made


def begin(lab: Lab, *entries: bytes, said: bytes = UP["a"], told: tuple[str, ...] = ()) -> None:
    """Switch the board on; it writes and says this, and the server has been told that."""
    lab.board.script = (list(entries), said)  # type: ignore[attr-defined]
    lab.server.history = told  # type: ignore[attr-defined]
    lab.power_on()
    if lab.wanted == "a":
        lab.deploy("b")
