# SPDX-License-Identifier: Apache-2.0
"""Faults around the updater's record: how it is replaced, and whether it is durable."""

from __future__ import annotations

from typing import Final

from images.planted.fault import Change, Mutant

REPLACED: Final = (
    "            if not self.path.exists() or not self._replace(record):\n"
    '                write_durably(self.path, _rendered(record, 0).ljust(2 * PLACE, b"\\0"), mode=MODE)\n'
)

# Without this a record that is damaged is set aside, and what is installed is found out anew.
NOT_SET_ASIDE: Final = Change(
    "recordfile.py", "            raise StoreDamaged(said, self.path)\n", "            raise StoreError(said)\n"
)

FAULTS: Final = (
    Mutant(
        "record-not-flushed",
        "the record is written and not flushed",
        changes=(Change("recordfile.py", "            os.fdatasync(fd)\n", ""),),
    ),
    Mutant(
        "record-in-place",
        "the record has one place only and is written over, and a damaged one stops the updater",
        changes=(
            NOT_SET_ASIDE,
            Change(
                "recordfile.py",
                "older = numbers.index(min(numbers)) if self._doubtful is None else self._doubtful",
                "older = 0",
            ),
        ),
    ),
    Mutant(
        "record-unchecked",
        "the record's checksum is not looked at, so that a part of one is taken for the newest",
        changes=(
            Change(
                "recordfile.py",
                'if whole and zlib.crc32(struct.pack("<IQ", length, number) + record) == checksum else None',
                "if whole else None",
            ),
        ),
    ),
    Mutant(
        "record-renamed",
        "the record is written beside and renamed, and neither the file nor the directory is flushed",
        changes=(
            Change(
                "recordfile.py",
                REPLACED,
                '            beside = self.path.with_suffix(".new")\n'
                "            beside.write_bytes(_rendered(record, 0))\n"
                "            beside.replace(self.path)\n",
            ),
            # Any flush of the file system makes durable what was renamed before it.
            Change("scripts.py", "            flush_directory(self.artifact.parent)\n", "            pass\n"),
        ),
    ),
    Mutant(
        "record-truncated",
        "the record is truncated and written anew, on a file system that does not look after such programs",
        changes=(
            NOT_SET_ASIDE,
            Change("recordfile.py", REPLACED, "            self.path.write_bytes(_rendered(record, 0))\n"),
            Change("/etc/init.d/rcS", "mount -t ext4 -o noatime /dev", "mount -t ext4 -o noatime,noauto_da_alloc /dev"),
        ),
    ),
)
