# SPDX-License-Identifier: Apache-2.0
"""What can be said of a crash point without booting it: what the bootloader would boot and why, what each slot holds,
whether the data partition is whole, what the updater would go on with, and what is wrong with any of it.

Points with the same content are judged once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from harness.explore.contents import Contents, digests
from harness.explore.order import in_order
from harness.explore.progress import Progress
from harness.explore.recording import Heard, Recording
from harness.explore.replaced import Holds
from harness.explore.space import Space
from harness.explore.sums import Region
from harness.judge import (
    SLOTS,
    Environment,
    Evidence,
    NextBoot,
    Outcome,
    Slot,
    Verdict,
    data,
    identify,
    judge_cut,
    next_boot,
    parse_copies,
    partitions,
)
from harness.judge.application import STATE_SCRIPTS, WORKING_TREE
from harness.judge.updatestore import PATH, UpdateStore, read_store
from harness.judge.verdict import Finding, conclude, decide
from harness.lab.device import keepsakes
from harness.storage import CrashPoint, DiskView, crash_extents
from images.applications import APPS

BITMAPS: Final = "bitmap"  # in what e2fsck says of blocks that are in use and free, or neither
ON_ITS_WAY: Final = (STATE_SCRIPTS, WORKING_TREE, APPS)  # where an update leaves something on its way
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class DeviceState:
    """All that a device could tell apart at its next start, and the server with it.

    Attributes:
        copies: of the bootloader's environment: `active`, `spare` or `damaged`.
        slots: the known image in slot A and in slot B; None: neither, or a part of one.
        data: whether the data partition's file system and the owner's files are whole.
        application: which one there is; None if none is updated.
        remains: a digest of which scripts and files of an update on its way there are on the data partition; what is in
            them is not compared.
        files: a digest of all files on the data partition, which is the memory of somebody else's updater.
    """

    copies: tuple[str, ...]
    boot: NextBoot
    slots: tuple[str | None, str | None]
    table: bool
    data: bool
    store: UpdateStore | None
    told: str | None
    application: Holds | None = None
    remains: str = ""
    files: str = ""

    @property
    def boots(self) -> str | None:
        """The image that would be started."""
        return dict(zip(SLOTS, self.slots, strict=True)).get(self.boot.slot) if self.boot.slot else None


@dataclass(frozen=True)
class Judged:
    """One crash point, and what the server had heard by then."""

    point: CrashPoint
    heard: Heard
    state: DeviceState
    verdict: Verdict

    @property
    def suspicious(self) -> bool:
        return self.verdict.outcome is not Outcome.HELD


@dataclass(frozen=True)
class _Data:
    """What the data partition holds."""

    complaints: tuple[str, ...]
    store: UpdateStore | None
    application: Holds | None = None
    remains: str = ""
    files: str = ""


class StaticJudge:
    """Judges the points of one recording, in ascending order of their positions."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        about = recording.about
        self._layout = about.layout
        slots = [about.layout.partition(f"rootfs-{slot}") for slot in SLOTS]
        self._contents = Contents(recording, (*about.layout.outside, *slots))
        self._progress = Progress(recording)
        self._keepsakes = {} if about.commands else keepsakes(about.seed)
        regions = self._contents.regions[-len(SLOTS) :]
        self._known_slots = [self._slots_known(region, slot) for region, slot in zip(regions, SLOTS, strict=True)]
        self._environments: dict[tuple[bytes, ...], Environment] = {}
        self._tables: dict[tuple[int, ...], tuple[str, ...]] = {}
        self._data: dict[bytes | int, _Data] = {}  # by what a mount would find
        self._verdicts: dict[object, tuple[DeviceState, Verdict]] = {}
        # There are thousands of contents, and few different things to say of them.
        self._shared: dict[tuple[DeviceState, Verdict], tuple[DeviceState, Verdict]] = {}

    @property
    def contents(self) -> int:
        """How many different contents have been judged."""
        return len(self._verdicts)

    def judge_all(self, space: Space) -> Iterator[Judged]:
        """Every point of the space, with everything that the server may have heard by then."""
        for position in space.positions:
            self.go_to(position)
            for point in space.points(position, self._contents.epoch, self._contents.card):
                for heard in self.recording.heard_at(position):
                    yield self.judge(point, heard)

    def go_to(self, position: int) -> None:
        """Reach a position; what lies behind cannot be judged any more."""
        self._contents.go_to(position)
        self._progress.go_to(position)

    def judge(self, point: CrashPoint, heard: Heard) -> Judged:
        """One point, whose position is the one that has been reached."""
        copies, numbers = self._contents.copies(point), self._contents.numbers(point)
        card = digests(copies)
        on_data = self._contents.data.number(point)
        about = self.recording.about
        key = (card, numbers, on_data, heard.position, self._permitted(point, heard), about.is_kept(point.position))
        if key not in self._verdicts:
            found = self._judge(point, heard, card, copies, numbers)
            self._verdicts[key] = self._shared.setdefault(found, found)
        return Judged(point, heard, *self._verdicts[key])

    # -- one content -----------------------------------------------------------------------------------------------

    def _judge(
        self, point: CrashPoint, heard: Heard, card: tuple[bytes, ...], copies: list[bytes], numbers: tuple[int, ...]
    ) -> tuple[DeviceState, Verdict]:
        about = self.recording.about
        environment = _once(self._environments, card, lambda: parse_copies(copies, about.defaults))
        *outside, slot_a, slot_b = numbers
        found = self._on_data(point)
        table = _once(self._tables, tuple(outside), lambda: self._look_at_table(point))
        slots: dict[Slot, str | None] = {
            slot: known.get(number)
            for slot, known, number in zip(SLOTS, self._known_slots, (slot_a, slot_b), strict=True)
        }
        boot = next_boot(environment, about.defaults)
        evidence = Evidence(
            environment=environment, defaults=about.defaults, slots=slots, partition_complaints=table,
            data_complaints=found.complaints, alarms=(), server=None if about.by_hand else heard.record, running=None,
            faults_fired=True, settled=True,
            old=about.old, new=about.new, has_flushes=True,
        )  # fmt: skip
        verdict = judge_cut(evidence, commit_reported=self._permitted(point, heard), with_data=True)
        state = DeviceState(
            copies=tuple(_says(environment, number) for number in range(len(copies))),
            boot=boot,
            slots=(slots["a"], slots["b"]),
            table=not table,
            data=not found.complaints,
            store=found.store,
            told=heard.record.status,
            application=found.application,
            remains=found.remains,
            files=found.files,
        )
        return state, conclude(evidence, (*verdict.findings, *self._more(state, found, point)))

    def _more(self, state: DeviceState, found: _Data, point: CrashPoint) -> Iterator[Finding]:
        """The rules for what the updater has stored, and for an application that can be undone."""
        about, store = self.recording.about, found.store
        if store is not None:
            yield decide(
                "store",
                any(store.whole),
                "The updater finds a whole record.",
                "No record in the updater's store is whole.",
            )
        if store is not None and any(store.whole):
            name = next((one.artifact_name for one in about.images if one.name == about.new), "")
            yield in_order(state.boot, state.boots, about.old, about.new, store, name)
            yield self._progress.judge(point, store)
        if about.is_kept(point.position):
            kept = state.boots == about.new and not state.boot.trial
            yield decide("kept", kept, "It is kept, as a person was told.", "A person was told that it is kept.")
        if about.replaced is not None and about.replaced.rolls_back:
            yield Finding("application", found.application != "torn", f"The application is {found.application}.")

    def _permitted(self, point: CrashPoint, heard: Heard) -> bool:
        """Whether the new system may be final by then: the server knows that it runs, or a person said so."""
        about = self.recording.about
        if not about.by_hand:
            return heard.record.commit_reported
        return about.permitted is not None and point.position >= about.permitted

    def _on_data(self, point: CrashPoint) -> _Data:
        """Of what a mount finds the same it is known; but not if the bitmaps, by which that is told, are wrong."""
        found = _once(self._data, self._contents.mounted(point), lambda: self._look_at_data(point))
        if not any(BITMAPS in line for line in found.complaints):
            return found
        return _once(self._data, self._contents.data.number(point), lambda: self._look_at_data(point))

    def _look_at_data(self, point: CrashPoint) -> _Data:
        window = self._layout.partition("data")
        extents = crash_extents(self.recording.log, point, self._layout, within=window)
        view = DiskView(self.recording.media.base, extents)
        if self.recording.about.commands:
            seen = data.examine(view, self._layout, {}, tops=[""])
            return _Data(tuple(seen.complaints), None, files=seen.digest)
        replaced = self.recording.about.replaced
        found = data.examine(view, self._layout, self._keepsakes, PATH, tops=ON_ITS_WAY)
        holds = replaced.holds(found.nodes) if replaced else None
        remains = found.there(*ON_ITS_WAY, beside=replaced.old.place if replaced else "")
        return _Data(tuple(found.complaints), read_store(found.files[PATH]), holds, remains)

    def _look_at_table(self, point: CrashPoint) -> tuple[str, ...]:
        extents = crash_extents(self.recording.log, point, self._layout, within=self._layout.disk)
        return tuple(partitions.complaints(DiskView(self.recording.media.base, extents), self._layout))

    def _slots_known(self, region: Region, slot: Slot) -> dict[int, str]:
        """The numbers of the slot's contents that are a known image: what it held in the beginning and in the end."""
        known: dict[int, str] = {}
        log, images = self.recording.log, self.recording.about.images
        ghost = Region(self.recording.media.view, log, region.window)
        end = CrashPoint(len(log.operations))
        for operation in log.operations:
            ghost.take(operation)
        views = {0: self.recording.media.view}
        views[ghost.number(end)] = DiskView(
            self.recording.media.base, crash_extents(log, end, self._layout, within=region.window)
        )
        for number, view in views.items():
            name = identify(view, self._layout, slot, images)
            if name is not None:
                known[number] = name
        return known


def _once(cache: dict[K, V], key: K, find: Callable[[], V]) -> V:
    if key not in cache:
        cache[key] = find()
    return cache[key]


def _says(environment: Environment, number: int) -> str:
    if number == environment.active:
        return "active"
    return "spare" if environment.copies[number].valid else "damaged"
