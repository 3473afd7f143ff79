# SPDX-License-Identifier: Apache-2.0
"""The console's known-bad lines are found, and a normal boot has none."""

from __future__ import annotations

import re

import pytest

from harness.judge.console import LONGEST, PATTERNS, alarms

NORMAL = rb"""
U-Boot 2023.01+dfsg-2 (Nov 14 2023 - 22:13:20 +0000)

DRAM:  512 MiB
Core:  51 devices, 14 uclasses, devicetree: board
WDT:   Started i6300esb with servicing (20s timeout)
MMC:   sdhci_pci: 0
Loading Environment from MMC... OK
In:    pl011@9000000
Out:   pl011@9000000
Err:   pl011@9000000
Net:   No ethernet found.
Hit any key to stop autoboot:  0
Saving Environment to MMC... Writing to redundant MMC(0)... OK
Warning: Bootlimit (1) exceeded. Using altbootcmd.
32956352 bytes read in 98 ms (320.7 MiB/s)
3874304 bytes read in 12 ms (307.9 MiB/s)
## Flattened Device Tree blob at 5eb9f5b0
   Booting using the fdt blob at 0x5eb9f5b0
   Loading Ramdisk to 5e7e9000, end 5eb9ae00 ... OK

Starting kernel ...

[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x411fd070]
[    0.000000] Kernel command line: console=ttyAMA0 panic=1 oops=panic ro quiet root=/dev/vda2
[    0.912345] i6300esb: initialized. heartbeat=16 sec (nowayout=1)
[    0.913456] watchdog: watchdog0: watchdog did not stop!
[    1.300123] EXT4-fs (vda2): mounted filesystem with ordered data mode. Quota mode: none.
[    1.400456] EXT4-fs (vda3): recovery complete
[    1.400789] EXT4-fs (vda3): mounted filesystem with ordered data mode. Quota mode: none.
[    1.500000] rcu: Hierarchical RCU implementation.
[    1.600000] debug: task accounting enabled
starting: network updater
updater: state sync, no update available
board login: """

BAD = [
    ("bad-environment", b"Loading Environment from MMC... *** Warning - bad CRC, using default environment"),
    ("bad-environment", b"*** Warning - !read failed, using default environment"),
    ("bad-environment", b"## Error: bad CRC, import failed"),
    ("environment-not-read", b"*** Error - No Valid Environment Area found"),
    ("environment-not-read", b"*** Warning - some problems detected reading environment; recovered successfully"),
    ("environment-not-saved", b"Saving Environment to MMC... Writing to redundant MMC(0)... failed"),
    ("card-missing", b"MMC: no card present"),
    ("card-missing", b"Card did not respond to voltage select! : -110"),
    ("card-timeout", b"sdhci_transfer_data: Transfer data timeout"),
    ("bad-kernel-image", b"Bad Linux ARM64 Image magic!"),
    ("kernel-not-loaded", b"Failed to load '/boot/vmlinuz'"),
    ("kernel-not-loaded", b"** File not found /boot/vmlinuz **"),
    ("kernel-not-loaded", b"** Unrecognized filesystem type **"),
    ("bad-partition", b"** No partition table - virtio 0 **"),
    ("bad-partition", b"** Invalid partition 2 **"),
    ("read-error", b" ** ext2fs_devread() read error - block"),
    ("read-error", b"** SI ext2fs read block (indir 1)failed. **"),
    ("uboot-error", b"### ERROR ### Please RESET the board ###"),
    ("uboot-exception", b'"Synchronous Abort" handler, esr 0x96000010'),
    ("initcall", b"initcall sequence 000000000f1a2b3c failed at call 0000000000012345 (err=-5)"),
    ("initcall", b"[    0.3] initcall virtio_net_init+0x0/0x30 returned with disabled interrupts"),
    ("kernel-panic", b"[    1.9] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000700"),
    ("kernel-oops", b"[    5.1] Internal error: Oops: 0000000096000004 [#1] SMP"),
    ("kernel-oops", b"[    5.1] Unable to handle kernel NULL pointer dereference at virtual address 0000000000000010"),
    ("kernel-bug", b"[    5.1] BUG: scheduling while atomic: sh/17/0x00000002"),
    ("kernel-bug", b"[    5.1] kernel BUG at fs/ext4/inode.c:2721!"),
    ("kernel-warning", b"[    5.1] WARNING: CPU: 0 PID: 1 at kernel/workqueue.c:1721 __queue_work+0x2d0/0x4e0"),
    ("soft-lockup", b"[   40.1] watchdog: soft lockup - CPU#0 stuck for 22s! [sh:17]"),
    ("hung-task", b"[  242.7] INFO: task jbd2/vda3-8:77 blocked for more than 120 seconds."),
    ("rcu-stall", b"[   21.0] rcu: INFO: rcu_sched self-detected stall on CPU"),
    ("rcu-stall", b"[   21.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"),
    ("out-of-memory", b"[   30.5] Out of memory: Killed process 88 (python3) total-vm:204800kB"),
    (
        "ext4-error",
        b"[    2.2] EXT4-fs error (device vda3): ext4_lookup:1785: inode #2: comm sh: checksum invalid",
    ),
    ("ext4-error", b"[    2.2] EXT4-fs (vda3): warning: mounting fs with errors, running e2fsck is recommended"),
    ("journal-aborted", b"[    2.3] Aborting journal on device vda3-8."),
    ("remounted-read-only", b"[    2.3] EXT4-fs (vda3): Remounting filesystem read-only"),
    ("io-error", b"[    3.3] blk_update_request: I/O error, dev vda, sector 204800 op 0x1:(WRITE) flags 0x800"),
    ("io-error", b"cat: read error: Input/output error"),
    ("card-error", b"[    3.3] mmc0: Timeout waiting for hardware interrupt."),
    ("root-missing", b"[    1.2] VFS: Unable to mount root fs on unknown-block(0,0)"),
    ("not-mounted", b"mount: /data: can't be mounted"),
    ("not-mounted", b"mount: mounting /dev/vda2 on /root failed: Invalid argument"),
    ("program-crashed", b"Traceback (most recent call last):"),
    ("program-crashed", b"Segmentation fault (core dumped)"),
    ("updater-not-started", b"mender-update: /etc/mender/mender.conf cannot be read as JSON: Expecting value."),
    ("emergency-shell", b'You are in emergency mode. After logging in, type "journalctl -xb"'),
    ("emergency-shell", b"ALERT!  /dev/vda2 does not exist.  Dropping to a shell!"),
]


def in_a_boot(line: bytes) -> bytes:
    return NORMAL.replace(b"\n", b"\r\n") + b"\r\n" + line + b"\r\n"


def test_a_normal_boot_raises_no_alarm() -> None:
    assert alarms(NORMAL) == []
    assert alarms(b"") == []


@pytest.mark.parametrize(("name", "line"), BAD)
def test_a_bad_line_raises_its_alarm(name: str, line: bytes) -> None:
    assert name in alarms(in_a_boot(line))
    assert name not in alarms(in_a_boot(line), expected=[name])


def test_every_pattern_has_its_line() -> None:
    assert {name for name, _ in BAD} == set(PATTERNS)


def test_a_panic_is_all_that_is_wrong_with_a_panic() -> None:
    assert alarms(in_a_boot(b"[    1.9] Kernel panic - not syncing: No working init found.")) == ["kernel-panic"]


def test_alarms_come_in_the_order_of_their_lines() -> None:
    text = b"BUG: bad\nKernel panic - not syncing: x\nBUG: worse\n### ERROR ### Please RESET the board ###\n"

    assert alarms(text) == ["kernel-bug", "kernel-panic", "uboot-error"]
    assert alarms(text, expected={"kernel-panic"}) == ["kernel-bug", "uboot-error"]


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_no_pattern_is_longer_than_it_says(pattern: re.Pattern[bytes]) -> None:
    source = pattern.pattern.decode()
    bounds = [int(bound) for bound in re.findall(r"\{\d+,(\d+)\}", source)]

    assert not re.search(r"(?<!\\)[*+]|\{\d+,\}", source)
    assert len(source) + sum(bounds) <= LONGEST
