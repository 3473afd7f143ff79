# SPDX-License-Identifier: Apache-2.0
"""Text on the console that no healthy board prints.

Owns the table of it.  Every pattern is bounded by `LONGEST`, so that a stream can be searched piece by piece with
that much overlap.  Refuses to judge whether an alarm was to be expected: the caller knows what was done to the board.
"""

from __future__ import annotations

import re
from collections.abc import Collection

LONGEST = 256

PATTERNS: dict[str, re.Pattern[bytes]] = {
    name: re.compile(pattern)
    for name, pattern in {
        # U-Boot.  A card fresh from the factory has no environment yet: the first line is normal there, once.
        "bad-environment": rb"Warning - [^\n]{1,40}, using default environment|bad CRC, import failed",
        "environment-not-read": rb"No Valid Environment Area found|problems detected reading environment",
        "environment-not-saved": rb"Writing to (?:redundant )?MMC\(\d{1,3}\)\.{3} failed",
        "card-missing": rb"MMC: no card present|Card did not respond to voltage select|No MMC card found",
        "card-timeout": rb"Timeout for status update!|Timeout to wait cmd & data inhibit|Transfer data timeout",
        "bad-kernel-image": rb"Bad Linux ARM64 Image magic",
        "kernel-not-loaded": rb"Failed to load '|\*\* File not found |\*\* Unrecognized filesystem type",
        "bad-partition": rb"\*\* No partition table|\*\* Invalid partition |Failed to mount ext2 filesystem",
        "read-error": rb"\*\* Read error on |ext2fs read block \([^)\n]{1,16}\)[: ]{0,2}failed|read error - block",
        "uboot-error": rb"### ERROR ###",
        "uboot-exception": rb'Bad mode in "|"(?:Synchronous Abort|Error)" handler',
        "initcall": rb"initcall sequence [^\n]{1,40} failed at call|initcall [^\n]{1,120} returned with ",
        # Linux.
        "kernel-panic": rb"Kernel panic - not syncing",
        "kernel-oops": rb"Internal error: |\bOops: |Unable to handle kernel ",
        "kernel-bug": rb"\bBUG: |kernel BUG at ",
        "kernel-warning": rb"WARNING: CPU: \d{1,4} PID: ",
        "soft-lockup": rb"soft lockup - CPU#|hard LOCKUP",
        "hung-task": rb"task [^\n]{1,64} blocked for more than \d{1,6} seconds",
        "rcu-stall": rb"self-detected stall on CPU|detected (?:expedited )?stalls on CPUs",
        "out-of-memory": rb"Out of memory: Kill|oom-kill:",
        "ext4-error": rb"EXT4-fs error|EXT4-fs \([^)\n]{1,32}\): (?:error|warning: mounting fs with errors)",
        "journal-aborted": rb"Aborting journal on device|Detected aborted journal",
        "remounted-read-only": rb"Remounting filesystem read-only",
        "io-error": rb"I/O error|Input/output error",
        "card-error": rb"mmc\d{1,2}: (?:error -\d|Timeout waiting for hardware|Card stuck)|mmcblk\d{1,2}: error -\d",
        # User space.
        "program-crashed": rb"Traceback \(most recent call last\)|Segmentation fault|Illegal instruction|Bus error",
        "updater-not-started": rb"mender-update: [^\n]",
        "root-missing": rb"Unable to mount root fs|Cannot open root device",
        "not-mounted": rb"can't be mounted|mounting [^\n]{1,120} failed",
        "emergency-shell": rb"emergency (?:mode|shell)|Dropping to a shell|\(initramfs\) |Give root password for",
    }.items()
}


def alarms(text: bytes, expected: Collection[str] = ()) -> list[str]:
    """The names of the patterns that occur in `text`, without the expected ones, in the order of their first line."""
    found = ((match.start(), name) for name, pattern in PATTERNS.items() if (match := pattern.search(text)))
    return [name for _, name in sorted(found) if name not in expected]
