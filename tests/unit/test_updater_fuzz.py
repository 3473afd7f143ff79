# SPDX-License-Identifier: Apache-2.0
"""Whatever comes as an artifact, no byte of the slot that runs changes, no script is kept of what was refused, and
what is taken for good is what was written."""

import io
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives import serialization as form
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.artifact_parts import KEY
from tests.unit.updater_simulation import FakeClock, Simulation
from updater.artifact import Compression, write_rootfs_artifact
from updater.bootenv import BootEnv, BootState
from updater.install.rootfs import RootfsImage
from updater.machine.actions import Actions
from updater.machine.steps import Event, Step
from updater.machine.world import World
from updater.ports import NoMarks
from updater.scripts import StateScripts
from updater.slots import Slots
from updater.source import Source
from updater.store import Device, Update

IMAGE = random.Random(5).randbytes(3000) + bytes(3000)
RUNNING = random.Random(6).randbytes(8192)
SCRIPT = b"#!/bin/sh\nexit 0\n"
ASKED = ("ArtifactInstall_Enter_00",)


class Quiet:
    """A bootloader that boots slot A, and must not be touched by a download."""

    def read(self) -> BootState:
        return BootState("a", False)


class Files(Slots):
    """Slots that are files."""

    def running(self) -> str:
        return "a"


@dataclass
class Target:
    """A device in a folder, to which artifacts are brought."""

    folder: Path

    def __post_init__(self) -> None:
        self.key = self.folder / "key.pem"
        self.key.write_bytes(
            KEY.public_key().handle.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        )
        self.slots = Files({name: self.folder / name for name in "ab"})
        self.slots.devices["a"].write_bytes(RUNNING)
        self.slots.devices["b"].write_bytes(bytes(8192))

    def installer(self, device: Device) -> RootfsImage:
        assert device.update is not None
        return RootfsImage(cast(BootEnv, Quiet()), self.slots, NoMarks(), device.update)

    def world(self) -> World:
        scripts = StateScripts(self.folder / "rootfs-scripts", self.folder / "scripts", FakeClock())
        world = replace(Simulation().world(), make_installer=self.installer, scripts=scripts)
        return replace(world, verify_keys=(self.key,), device_type="q")

    def bring(self, raw: bytes, scripts: tuple[str, ...] = ASKED) -> bool:
        """Everything up to the flip; whether it would be flipped to."""
        actions = Actions(self.world(), Source(lambda *_: io.BytesIO(raw)))
        device, event = actions(Step.HEADER, Device({"artifact_name": "old"}, Update("update-store", "d")))
        kept = {path.name for path in (self.folder / "scripts").glob("Artifact*")}
        assert kept == (set(scripts) if event is Event.DONE else set())
        if event is Event.DONE:
            event = actions(Step.DOWNLOAD, device)[1]
        actions.close()
        assert self.slots.devices["a"].read_bytes() == RUNNING
        return event is Event.DONE

    def judge(self, raw: bytes) -> bool:
        taken = self.bring(raw)
        if taken:
            assert self.slots.devices["b"].read_bytes()[: len(IMAGE)] == IMAGE
        return taken


@pytest.fixture(scope="module", params=list(Compression), ids=lambda one: one.name.lower())
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    image, out = tmp_path_factory.mktemp("image") / "b.img", io.BytesIO()
    image.write_bytes(IMAGE)
    write_rootfs_artifact(
        out, image=image, name="n", device_types=["q"], scripts=dict.fromkeys(ASKED, SCRIPT),
        compression=request.param, signing_key=KEY,
    )  # fmt: skip
    return out.getvalue()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return Target(tmp_path_factory.mktemp("device"))


QUICK = settings(
    derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_the_artifact_itself_is_taken(artifact: bytes, target: Target) -> None:
    assert target.judge(artifact)


@QUICK
@given(data=st.data())
def test_flipped_bits(artifact: bytes, target: Target, data: st.DataObject) -> None:
    damaged = bytearray(artifact)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    target.judge(bytes(damaged))


@QUICK
@given(data=st.data())
def test_pieces_that_are_missing_doubled_or_moved(artifact: bytes, target: Target, data: st.DataObject) -> None:
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(artifact))] * 2)))
    piece, rest = artifact[start:end], artifact[:start] + artifact[end:]
    at = data.draw(st.integers(0, len(rest)))
    target.judge(rest[:at] + piece * data.draw(st.integers(0, 2)) + rest[at:])


@QUICK
@given(data=st.data())
def test_truncation_is_never_taken(artifact: bytes, target: Target, data: st.DataObject) -> None:
    assert not target.judge(artifact[: data.draw(st.integers(0, len(artifact) - 1))])


@pytest.mark.parametrize("size", [8193, 100_000])
def test_an_image_that_does_not_fit_is_refused_before_its_first_byte(size: int, target: Target, tmp_path: Path) -> None:
    image, out = tmp_path / "big.img", io.BytesIO()
    image.write_bytes(b"x" * size)
    write_rootfs_artifact(out, image=image, name="n", device_types=["q"], signing_key=KEY)
    before = target.slots.devices["b"].read_bytes()
    assert not target.bring(out.getvalue(), scripts=())
    assert target.slots.devices["b"].read_bytes() == before
