# SPDX-License-Identifier: Apache-2.0
"""The probes: what is there is told, what is not is told with a next step, and a device file proves nothing."""

import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness import cli
from harness.doctor import (
    PROBES,
    State,
    block_driver,
    devices,
    disk,
    kvm_guest,
    network_of_its_own,
    programs,
    version,
)

KVM = importlib.import_module("harness.doctor.kvm")
needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-aarch64") is None, reason="qemu-system-arm is not installed")


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("images.run.SBIN", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("empty_path")
@pytest.mark.parametrize("probe", [version, devices, block_driver, programs])
def test_what_is_missing_comes_with_a_next_step(probe: object) -> None:
    found = probe()  # type: ignore[operator]
    assert found.state is State.MISSING
    assert "nstall" in found.next_step


def test_an_old_qemu_is_refused(empty_path: Path) -> None:
    program = empty_path / "qemu-system-aarch64"
    program.write_text("#!/bin/sh\necho 'QEMU emulator version 5.2.0'\n")
    program.chmod(0o755)
    assert version().state is State.MISSING


@needs_qemu
def test_the_smallest_guest_ends_qemu() -> None:
    assert KVM.ARM.runs("tcg") == ""


@needs_qemu
def test_a_guest_that_never_ends_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KVM, "GUEST_SECONDS", 1.5)
    forever = replace(KVM.ARM, code=bytes.fromhex("00000014"))
    assert "did not end" in forever.runs("tcg")


def test_a_device_file_alone_is_not_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_path: Path) -> None:
    qemu = empty_path / "qemu-of-this-machine"
    qemu.write_text('#!/bin/sh\n[ "$1" = --version ]\n')
    qemu.chmod(0o755)
    guest = replace(KVM.X86, qemu=qemu.name)
    monkeypatch.setattr(KVM, "GUESTS", {KVM.platform.machine(): guest})
    device = tmp_path / "kvm"
    monkeypatch.setattr(KVM, "DEVICE", device)
    assert kvm_guest().state is State.ABSENT
    device.touch()
    assert "runs no guest" in kvm_guest().says
    assert kvm_guest().next_step
    qemu.unlink()
    assert kvm_guest().state is State.NOT_PROBED


@pytest.mark.parametrize(("slow", "state"), [("kvm", State.ABSENT), ("tcg", State.READY)])
def test_a_guest_that_crawls_is_not_kvm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_path: Path, slow: str, state: State
) -> None:
    qemu = empty_path / "qemu-of-this-machine"
    qemu.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit\ncase "$*" in *{slow}*) /bin/sleep 0.3;; esac\n')
    qemu.chmod(0o755)
    monkeypatch.setattr(KVM, "GUESTS", {KVM.platform.machine(): replace(KVM.ARM, qemu=qemu.name)})
    monkeypatch.setattr(KVM, "DEVICE", tmp_path)
    assert kvm_guest().state is state


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOOTPROOF_CACHE", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr("harness.doctor.host.ROOM_BYTES", 1 << 62)
    found = disk()
    assert found.state is State.MISSING
    assert "BOOTPROOF_CACHE" in found.next_step


def test_a_network_of_its_own_is_tried(empty_path: Path) -> None:
    program = empty_path / "unshare"
    for script, state in (
        ("exit 0", State.READY),
        ("echo 'unshare failed: Operation not permitted'; exit 1", State.ABSENT),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        found = network_of_its_own()
        assert found.state is state
        assert state is State.READY or "user namespaces" in found.next_step


def test_the_report_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("harness.doctor.PROBES", (disk,))
    assert disk in PROBES
    code = cli.main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] is (code == 0)
    assert report["findings"][0]["name"] == "disk"
