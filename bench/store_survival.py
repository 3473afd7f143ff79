# SPDX-License-Identifier: Apache-2.0
"""Which way of storing a small record survives a power cut, and what it costs: the experiment behind ADR 8.

A board saves a numbered record again and again, in four ways; marks in the write log say when each save began and
ended.  Then every position of the log is a power cut, with nothing, everything, and each one of the un-flushed writes
lost; the data partition is rebuilt, its journal replayed, and the record read.  It must be one that had been begun,
and none older than the last whose save had ended.  Prints one JSON object.

    python bench/store_survival.py [--saves 6]
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.lab import Lab, scratch_lab
from harness.storage import CrashPoint, DiskView, Kind, crash_extents, marks, open_epoch
from images import ext4
from images.catalogue import Catalogue
from images.stage import Workshop
from updater.errors import StoreError
from updater.recordfile import RecordFile

WAYS = ("two places", "atomic file", "sqlite delete", "sqlite wal")
PLACE = "/data/probe"
RECORD = 1500  # bytes, about what the updater stores during an update
ON_THE_BOARD = """
import json, os, sqlite3, sys, time, zlib
sys.path.insert(0, "/usr/lib/python3/dist-packages")
from pathlib import Path
from updater.ports import MarkStrip
from updater.recordfile import RecordFile, write_durably
place, marks, saves = Path("/data/probe"), MarkStrip(), int(sys.argv[1])
place.mkdir(exist_ok=True)

def record(number):
    return json.dumps({"number": number, "padding": "x" * 1500}).encode()

def atomic_file(number):
    write_durably(place / "store.json", record(number))

two = RecordFile(place / "two")
two.write(record(0))
def two_places(number):
    two.write(record(number))

def database(name, mode):
    base = sqlite3.connect(place / name, isolation_level=None)
    base.execute(f"PRAGMA journal_mode={mode}"); base.execute("PRAGMA synchronous=EXTRA")
    base.execute("CREATE TABLE store (id INTEGER PRIMARY KEY, content BLOB)")
    def save(number):
        base.execute("INSERT OR REPLACE INTO store VALUES (1, ?)", (record(number),))
    return save

ways = {"atomic file": atomic_file, "two places": two_places,
        "sqlite delete": database("delete.db", "DELETE"), "sqlite wal": database("wal.db", "WAL")}
os.sync()
taken = {}
for name, save in ways.items():
    began = time.monotonic()
    for number in range(1, saves + 1):
        marks.put(f"probe {name} {number} begin"); save(number); marks.put(f"probe {name} {number} end")
    taken[name] = (time.monotonic() - began) / saves
print(json.dumps(taken))
"""


def read_record(image: Path, way: str, scratch: Path) -> int | None:
    """The number of the record that is found; None if there is none that is whole."""
    try:
        if way == "atomic file":
            return int(json.loads(ext4.read(image, "/probe/store.json") or b"")["number"])
        if way == "two places":
            (scratch / "two").write_bytes(ext4.read(image, "/probe/two") or b"")
            return int(json.loads(RecordFile(scratch / "two").read() or b"")["number"])
        name = f"{way.removeprefix('sqlite ')}.db"
        for end in ("", "-wal", "-journal"):
            (scratch / (name + end)).unlink(missing_ok=True)
            content = ext4.read(image, f"/probe/{name}{end}")
            if content is not None:
                (scratch / (name + end)).write_bytes(content)
        base = sqlite3.connect(scratch / name)
        try:
            found = base.execute("SELECT content FROM store WHERE id = 1").fetchone()
        finally:
            base.close()
        return int(json.loads(found[0])["number"]) if found else None
    except (ValueError, KeyError, sqlite3.Error, StoreError):
        return None


def points(lab: Lab, first: int, last: int) -> Iterator[CrashPoint]:
    """Every position, with nothing, everything, and each one un-flushed write lost."""
    log, layout = lab.board.log, lab.board.spec.layout
    for position in range(first, last + 1):
        epoch = [one.index for one in open_epoch(log.operations, position, layout)]
        for lost in {frozenset(), frozenset(epoch), *(frozenset({one}) for one in epoch)}:
            yield CrashPoint(position, lost)


def judge(lab: Lab, way: str, saves: int) -> dict[str, int]:
    """All cuts while one way was at work."""
    log, layout = lab.board.log, lab.board.spec.layout
    ours = [(position, mark.name) for position, mark in marks(log, layout) if f"probe {way} " in mark.name]
    told = [(position, name.split()[-2:]) for position, name in ours]
    first, last = told[0][0], told[-1][0]
    writes = [one for one in log.operations[first:last] if one.kind is Kind.WRITE and one.address in layout.disk]
    flushes = [one for one in log.operations[first:last] if one.kind is Kind.FLUSH]
    counted = {
        "cuts": 0, "wrong": 0, "states": 0, "writes_per_save": len(writes) // saves,
        "flushes_per_save": len(flushes) // saves, "bytes_per_save": sum(one.length for one in writes) // saves,
    }  # fmt: skip
    place, seen = layout.partition("data"), {}
    with tempfile.TemporaryDirectory() as scratch:
        for point in points(lab, first, last):
            begun, ended = (
                max((int(number) for at, (number, what) in told if what == word and at <= point.position), default=0)
                for word in ("begin", "end")
            )
            extents = crash_extents(log, point, layout).over(lab.board.media.extents)
            state = extents.slice(place.start, place.end).digest()
            if state not in seen:
                image = Path(scratch, "data.img")
                DiskView(lab.board.media.base, extents).write_to(image, place.start, place.size)
                ext4.complaints(image)  # replays the journal
                seen[state] = read_record(image, way, Path(scratch))
            found = seen[state]
            counted["cuts"] += 1
            counted["wrong"] += not ended <= (found or 0) <= begun
    counted["states"] = len(seen)
    return counted


def main() -> None:
    """Save on a board, then cut its log everywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=6)
    saves = parser.parse_args().saves
    with scratch_lab(Catalogue(Workshop()), "store", 1) as lab:
        lab.join()
        lab.run(f"/etc/init.d/updater stop; killall python3; cat >/tmp/probe.py <<'END'\n{ON_THE_BOARD}\nEND")
        taken = json.loads(lab.run(f"/usr/bin/python3 -S /tmp/probe.py {saves}"))
        lab.board.kill()
        lab.board.log.poll()
        found = {way: judge(lab, way, saves) for way in WAYS}
    fastest = min(taken.values())
    for way in WAYS:
        found[way]["time_ratio"] = round(taken[way] / fastest, 2)
    print(json.dumps({"saves": saves, "ways": found}, indent=1))


if __name__ == "__main__":
    main()
