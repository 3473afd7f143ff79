# SPDX-License-Identifier: Apache-2.0
"""Faults of the board: its mount options, its init, where its environment is said to be."""

from __future__ import annotations

from typing import Final

from images.planted.fault import Change, Mutant

MOUNT: Final = "mount -t ext4 -o noatime /dev"
SECOND_COPY: Final = "/dev/mmcblk0    0x800000  0x10000\n"

FAULTS: Final = (
    Mutant(
        "single-environment",
        "the environment has one copy only",
        caught_by="test_cut_inside_flip.py::test_cut_inside_flip_torn",
        rule="environment",
        changes=(Change("/etc/fw_env.config", SECOND_COPY, ""),),
        redundant_environment=False,
    ),
    Mutant(
        "data-without-barriers",
        "the data partition is mounted with nobarrier, so that nothing on it is ever flushed",
        changes=(Change("/etc/init.d/rcS", MOUNT, MOUNT.replace("noatime", "noatime,nobarrier")),),
    ),
    Mutant(
        "data-without-journal",
        "the data partition is mounted without its journal",
        changes=(Change("/etc/init.d/rcS", MOUNT, MOUNT.replace("noatime", "noatime,noload")),),
    ),
    Mutant(
        "mended-after-a-cut",
        "after a power cut the running slot is mounted for writing, as if there were something to mend",
        changes=(
            Change(
                "/etc/init.d/rcS",
                "mkdir -p /data/mender /data/dropbear",
                "[ ! -e /data/running ] || mount -o remount,rw /\n"
                ": >/data/running\n"
                "mkdir -p /data/mender /data/dropbear",
            ),
            Change("/etc/init.d/rcK", "tries=0\n", "rm -f /data/running\ntries=0\n"),
        ),
    ),
)
