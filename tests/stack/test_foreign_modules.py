# SPDX-License-Identifier: Apache-2.0
"""Update modules that were written for Mender's client run here unchanged: those of Debian's package."""

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from images.foreign import MenderClient
from images.stage import Workshop
from tests.unit.small_device import DEVICE_TYPE, SmallDevice
from updater.artifact import write_module_artifact


@pytest.fixture(scope="module")
def modules() -> Path:
    return Workshop().get(MenderClient()) / "modules"


@pytest.fixture
def device(tmp_path: Path) -> SmallDevice:
    return SmallDevice(tmp_path).make()


def install(device: SmallDevice, modules: Path, name: str, files: dict[str, bytes]) -> str:
    shutil.copy(modules / name, device.folder / "share/modules/v3")
    payload = device.folder / "payload"
    shutil.rmtree(payload, ignore_errors=True)
    payload.mkdir()
    for file, content in files.items():
        (payload / file).write_bytes(content)
    artifact = device.folder / f"{name}.mender"
    with artifact.open("wb") as out:
        write_module_artifact(
            out, payload_type=name, files=sorted(payload.iterdir()), name="new", device_types=[DEVICE_TYPE]
        )
    done = device.run("install", str(artifact))
    assert done.returncode == 0, done
    return done.stdout.decode()


@pytest.mark.stack
@pytest.mark.parametrize(("command", "left"), [("commit", "new"), ("rollback", "old")])
def test_single_file(command: str, left: str, device: SmallDevice, modules: Path) -> None:
    place = device.folder / "place"
    place.mkdir()
    (place / "file").write_text("old")
    said = install(
        device, modules, "single-file",
        {"file": b"new", "dest_dir": str(place).encode(), "filename": b"file", "permissions": b"640"},
    )  # fmt: skip
    assert "not committed" in said
    assert (place / "file").read_text() == "new"
    assert device.run(command).returncode == 0
    assert (place / "file").read_text() == left
    assert device.installed == left


@pytest.mark.stack
@pytest.mark.parametrize(("command", "left"), [("commit", "new"), ("rollback", "old")])
def test_directory(command: str, left: str, device: SmallDevice, modules: Path) -> None:
    place = device.folder / "place"
    place.mkdir()
    (place / "file").write_text("old")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo("file")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"new"))
    install(device, modules, "directory", {"update.tar": packed.getvalue(), "dest_dir": str(place).encode()})
    assert (place / "file").read_text() == "new"
    assert device.run(command).returncode == 0
    assert (place / "file").read_text() == left


@pytest.mark.stack
def test_script(device: SmallDevice, modules: Path) -> None:
    said = install(device, modules, "script", {"do-it": f"#!/bin/sh\necho ran >{device.folder}/ran\n".encode()})
    assert "Committing immediately" in said
    assert (device.folder / "ran").read_text() == "ran\n"
    assert device.installed == "new"
