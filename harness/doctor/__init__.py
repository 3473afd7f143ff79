# SPDX-License-Identifier: Apache-2.0
"""What this machine can do, found out by trying it."""

from harness.doctor.finding import Finding, Probe, State
from harness.doctor.host import disk, docker_engine, network_of_its_own, programs, python_for_the_board
from harness.doctor.kvm import kvm_guest
from harness.doctor.qemu import block_driver, devices, version

# In the order in which they are told.
PROBES: tuple[Probe, ...] = (
    version,
    devices,
    block_driver,
    programs,
    python_for_the_board,
    disk,
    network_of_its_own,
    kvm_guest,
    docker_engine,
)

__all__ = [
    "PROBES", "Finding", "Probe", "State", "block_driver", "devices", "disk", "docker_engine", "kvm_guest",
    "network_of_its_own", "programs", "python_for_the_board", "version",
]  # fmt: skip
