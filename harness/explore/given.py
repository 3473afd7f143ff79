# SPDX-License-Identifier: Apache-2.0
"""What somebody brings to have an update explored: an image, commands, and what a slot holds before and after."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.board.keyboard import LONGEST, fits
from harness.errors import HostProblem, UsageError
from harness.evidence import RunFolder
from harness.evidence.events import Listener
from harness.explore.commands import Commands
from harness.explore.foreign import NEW, OLD, foreign_rig
from harness.explore.recording import MEDIA, UBOOT, About, Heard, Recording
from harness.judge import SLOTS, KnownImage, ServerRecord, identify, parse_text, partitions
from harness.lab.device import mac_of
from harness.storage import DiskView, ExtentMap
from images.catalogue import Catalogue
from images.layout import Layout

STORY: Final = "foreign"
UNHURRIED: Final = 1800.0  # seconds for the update that is recorded: nobody knows yet how long it takes


@dataclass(frozen=True)
class Given:
    """The files, and what is typed.

    Attributes:
        image: all media of a board, raw; the mark strip, which comes last, may be missing.
        old, new: what a slot holds, byte for byte, before the update and after it.
        uboot: another build of the board's bootloader, if it is not ours.
    """

    image: Path
    old: Path
    new: Path
    commands: Commands
    uboot: Path | None = None


def described(given: Given, catalogue: Catalogue, seed: int) -> About:
    """What will be recorded, as far as it is known beforehand.

    Raises:
        UsageError: something that was given cannot be used.
    """
    layout, environment = catalogue.layout, catalogue.default_environment()
    _check_commands(given.commands)
    for path in filter(None, (given.image, given.old, given.new, given.uboot)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}.", "Name a file that can be.") from error
    images = tuple(KnownImage.of_file(name, path) for name, path in ((OLD, given.old), (NEW, given.new)))
    _check_slot_images(images, layout)
    _check_image(given, images, layout)
    if given.uboot is not None:
        _check_uboot(given.uboot, environment)
    return About(
        story=STORY, seed=seed, planted=None, began=0, ended=0, seconds=0.0, old=OLD, new=NEW, images=images,
        layout=layout, mac=mac_of(seed), port=0, device="", deployment="", defaults=parse_text(environment),
        heard=(Heard(0, 0, ServerRecord(None), ""),), ends="new", by_hand=True, permitted=0, commands=given.commands,
    )  # fmt: skip


def record(given: Given, catalogue: Catalogue, seed: int, runs: Path, *listeners: Listener) -> tuple[Path, Recording]:
    """Record the update in a new run folder; returns the folder, and the recording in it.

    Raises:
        UsageError: something that was given cannot be used, or the update fails although nothing is cut.
        ClaimViolated: it does not end with the new system, and all in order.
        Inconclusive: nothing can be said of its log.
    """
    about = described(given, catalogue, seed)
    run = RunFolder(runs, f"explore-{STORY}", seed)
    folder = run / "recording"
    folder.mkdir()
    try:
        DiskView(given.image, ExtentMap()).write_to(folder / MEDIA, 0, about.layout.size)
        shutil.copyfile(given.uboot or catalogue.uboot(), folder / UBOOT)
    except OSError as error:
        raise HostProblem(f"{given.image} cannot be copied: {error.strerror}.", "Free some space.") from error
    recording = Recording.save(folder, about)
    media = recording.media
    with foreign_rig(about, recording.board, media, run, UNHURRIED, *listeners) as rig:
        rig.power_on()
        rig.wait_up()
        rig.board.log.poll()
        began, since = len(rig.board.log.operations), time.monotonic()
        rig.install()
        rig.settle()
        seconds = time.monotonic() - since
        rig.judge(NEW)
        recording = rig.keep(folder, began, media, seconds)
    run.drop_bulk()
    return run.path, recording


def _check_commands(commands: Commands) -> None:
    for command in filter(None, (commands.run, commands.then, commands.check)):
        if not fits(command):
            said = f"'{command[:40]}...' cannot be typed: a command is one line of at most {LONGEST} characters."
            raise UsageError(said, "Put it into a script on the board, and name that.")
    try:
        re.compile(commands.ready)
    except re.error as error:
        raise UsageError(f"'{commands.ready}' is no regular expression: {error}.", "See --help.") from error


def _check_slot_images(images: tuple[KnownImage, ...], layout: Layout) -> None:
    room = layout.partition(f"rootfs-{SLOTS[0]}").size
    for image in images:
        if not 0 < image.size <= room:
            said = f"The {image.name} slot image has {image.size} bytes; a slot holds up to {room}."
            raise UsageError(said, "Name what a slot holds, as a raw image.")
    if images[0].sha256 == images[1].sha256:
        raise UsageError("The old and the new slot image are the same.", "Name two that can be told apart.")


def _check_image(given: Given, images: tuple[KnownImage, ...], layout: Layout) -> None:
    size, sizes = given.image.stat().st_size, (layout.marks.start, layout.size)
    if size not in sizes:
        said = f"{given.image} has {size} bytes instead of {sizes[0]}, or {sizes[1]} with the mark strip."
        raise UsageError(said, "It must hold all media of a board, as 'bootproof replay --image' writes them.")
    view = DiskView(given.image, ExtentMap())
    for complaint in partitions.complaints(view, layout):
        raise UsageError(f"{given.image}: {complaint}", "Its disk must be partitioned as the board's is.")
    if OLD not in [identify(view, layout, slot, images) for slot in SLOTS]:
        raise UsageError(f"Neither slot of {given.image} holds {given.old}.", "Name what one holds, byte for byte.")


def _check_uboot(uboot: Path, environment: str) -> None:
    """What the bootloader starts is worked out from its environment, so that must be the one we know."""
    content = uboot.read_bytes()
    for line in parse_text(environment).items():
        if "=".join(line).encode() + b"\0" not in content:
            said = f"{uboot} is no U-Boot of this board: its environment has no '{line[0]}' as ours."
            raise UsageError(said, "Build it with images/boards/virt_a64/uboot/default.env.")
