# SPDX-License-Identifier: Apache-2.0
"""One update as it was recorded: the media that it began with, the log of all that it wrote, and what the server knew.

Owns the folder of a recording.  Refuses to change it, and to make up what it does not hold.

about.json   what was recorded, and where in the log       write.log   every write and flush of that power-on
media.img    the media when the power came on              server-N/   the server when it had heard N reports
uboot.bin    the bootloader                                ssh-key     which the board lets in
                                                           signing-key whose artifacts the board takes
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from harness.board import BoardSpec
from harness.board.machine import Media
from harness.errors import UsageError
from harness.explore.commands import Commands
from harness.explore.replaced import Replaced
from harness.judge import KnownImage, ServerRecord
from harness.storage import ExtentMap, LogError, Mark, Operation, WriteLog, marks
from images.layout import Layout

FORMAT: Final = "bootproof-recording"
VERSION: Final = 3
ABOUT, MEDIA, LOG, UBOOT, KEY = "about.json", "media.img", "write.log", "uboot.bin", "ssh-key"
SIGNING_KEY: Final = "signing-key"
SHORT: Final = 6
SHORTER: Final = 3


@dataclass(frozen=True)
class Heard:
    """What the server had been told, surely from `position` of the log on, and surely not before `asked`.

    Between the two the report was on its way.  `folder` holds the server as it was then.
    """

    asked: int
    position: int
    record: ServerRecord
    folder: str


@dataclass(frozen=True)
class About:
    """What was recorded.

    Attributes:
        story: what was done; `seed` decided everything random in it, and `planted` names the fault in the images.
        began, ended: positions of the log between which the update took place.
        old, new: names of the known images; one and the same if an application is updated.
        ends: which of the two there is in the end if nothing is cut.
        by_hand: a person did it, began to make the new one final at the position `permitted`, and was told at `kept`
            that it is (None: never).
        replaced: the application that is updated, if any.
        commands: what is typed, if it is somebody else's update; no server hears of it then.
        first: the crash ID of the cut that this is the recovery from; empty if it is an update from its beginning.
        seconds: how long the update took.
        port: of this machine's loopback, where the board looks for its server.
        defaults: the environment that is compiled into U-Boot.
    """

    story: str
    seed: int
    planted: str | None
    began: int
    ended: int
    seconds: float
    old: str
    new: str
    images: tuple[KnownImage, ...]
    layout: Layout
    mac: str
    port: int
    device: str
    deployment: str
    defaults: Mapping[str, str]
    heard: tuple[Heard, ...]
    ends: Literal["old", "new"]
    by_hand: bool = False
    permitted: int | None = None
    replaced: Replaced | None = None
    commands: Commands | None = None
    kept: int | None = None
    first: str = ""

    def is_kept(self, position: int) -> bool:
        """Whether a person has been told by then that the new one is final."""
        return self.kept is not None and position >= self.kept


class Recording:
    """A recording in its folder.

    Raises (when made):
        UsageError: the folder holds none, or one of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = _read(folder / ABOUT)

    @classmethod
    def save(cls, folder: Path, about: About) -> Recording:
        """Describe what the folder holds already."""
        document = {"format": FORMAT, "version": VERSION, **asdict(about)}
        (folder / ABOUT).write_text(json.dumps(document, indent=1) + "\n")
        return cls(folder)

    def whole(self) -> Recording:
        """This one, if all that belongs to it is there.

        Raises:
            UsageError: something is missing, or of another size than it must have.
        """
        about = self.about
        names = [
            UBOOT,
            *(one.folder for one in about.heard if one.folder),
            *([] if about.commands else [KEY, SIGNING_KEY]),
        ]
        missing = [name for name in (MEDIA, *names) if not (self.folder / name).exists()]
        if missing:
            raise self._damaged(f"{missing[0]} is missing")
        size = (self.folder / MEDIA).stat().st_size
        if size != about.layout.size:
            raise self._damaged(f"{MEDIA} has {size} bytes instead of {about.layout.size}")
        if not 0 <= about.began <= about.ended <= len(self.operations):
            raise self._damaged(f"{LOG} has {len(self.operations)} operations, and the update ends at {about.ended}")
        return self

    @cached_property
    def log(self) -> WriteLog:
        """All of the log.

        Raises:
            UsageError: it is damaged, or not there.
        """
        try:
            log = WriteLog(self.folder / LOG)
            log.finish()
        except (LogError, OSError) as error:
            raise self._damaged(str(error)) from error
        return log

    def _damaged(self, how: str) -> UsageError:
        return UsageError(
            f"The recording {self.folder} is damaged: {how}.", "Have its packed file sent, or record anew."
        )

    @property
    def operations(self) -> list[Operation]:
        return self.log.operations

    @cached_property
    def marks(self) -> list[tuple[int, Mark]]:
        """All steps that were named in the log, each with the position right after it."""
        return marks(self.log, self.about.layout)

    @property
    def media(self) -> Media:
        """What the media held when the power came on."""
        return Media(self.folder / MEDIA, ExtentMap())

    @property
    def board(self) -> BoardSpec:
        """The board that was recorded."""
        return BoardSpec(uboot=self.folder / UBOOT, mac=self.about.mac, layout=self.about.layout)

    def heard_at(self, position: int) -> tuple[Heard, ...]:
        """What the server may have been told when so many operations had completed: one possibility, or two."""
        before = [one for one in self.about.heard if one.position <= position]
        under_way = [one for one in self.about.heard if one.asked <= position < one.position]
        return (before[-1], *under_way)

    @cached_property
    def identity(self) -> str:
        """Some characters that no other recording has."""
        with (self.folder / LOG).open("rb") as log:
            digest = hashlib.file_digest(log, "sha256")
        digest.update((self.folder / ABOUT).read_bytes())
        return digest.hexdigest()[:SHORT]

    @cached_property
    def inputs(self) -> str:
        """Some characters for what the update was made of: bootloader, systems, and where they lie."""
        about = self.about
        made_of = (sorted((one.name, one.sha256) for one in about.images), dict(about.defaults), asdict(about.layout))
        digest = hashlib.sha256((self.folder / UBOOT).read_bytes())
        digest.update(json.dumps(made_of, sort_keys=True).encode())
        return digest.hexdigest()[:SHORTER]


def _read(path: Path) -> About:
    try:
        raw = json.loads(path.read_text())
    except OSError as error:
        said = f"{path.parent} holds no recording: {error.strerror}."
        raise UsageError(said, "Name a run folder of 'bootproof explore'.") from error
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}.", "Have the recording sent again, or record it anew.") from error
    if not isinstance(raw, dict) or raw.pop("format", None) != FORMAT or raw.pop("version", None) != VERSION:
        raise UsageError(f"{path} is not a recording of version {VERSION}.", "Record it anew.")
    try:
        return _about(raw)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        said = f"{path} is damaged: {error!r}."
        raise UsageError(said, "Have the recording sent again, or record it anew.") from error


def _about(raw: dict[str, Any]) -> About:
    raw["images"] = tuple(KnownImage(**one) for one in raw["images"])
    raw["layout"] = Layout.of(raw["layout"])
    raw["replaced"] = Replaced(**raw["replaced"]) if raw["replaced"] else None
    raw["commands"] = Commands(**raw["commands"]) if raw.get("commands") else None
    raw["heard"] = tuple(_heard(one) for one in raw["heard"])
    about = About(**raw)
    if not isinstance(about.began, int) or not isinstance(about.ended, int) or not about.heard:
        raise TypeError("positions are numbers, and something is known of the server")
    return about


def _heard(raw: dict[str, Any]) -> Heard:
    record = dict(raw["record"])
    record["history"] = tuple(record["history"])
    return Heard(raw["asked"], raw["position"], ServerRecord(**record), raw["folder"])
