# SPDX-License-Identifier: Apache-2.0
"""How long an installation takes on the board, beside the same work done by tools and by Debian's mender-client.

One board, one run, the ways in turn: our `mender-update install`, the same told to leave unchanged blocks alone on a
slot that holds the running version, the pipe `gzip | sha256sum and dd` with a final flush (GNU's tools), and
mender-client's standalone installation of the same artifact.  Prints one JSON object; seconds are the board's, and the
best of each way is compared; `slot` says what the write log holds of the last round: bytes and writes to the slot, how
many of them are not aligned to 4 KiB, and the medium's flushes.

    python bench/install.py [--rounds 3] [--idle SECONDS]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import json
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from harness.board import HOST_FOR_GUESTS
from harness.faults.power import area
from harness.lab import Lab, scratch_lab
from harness.lab.access import CONFIGURATION
from harness.storage import Kind, flushes
from images.catalogue import Catalogue
from images.foreign import MenderClient
from images.release import Release
from images.stage import Workshop

FOREIGN = "LD_LIBRARY_PATH=/tmp/foreign/lib /tmp/foreign/bin"
TOOLS = (  # GNU's, because the board's own are several times slower
    f"mkfifo /tmp/f; {FOREIGN}/sha256sum </tmp/f >/dev/null & "
    f"{FOREIGN}/gzip -dc /tmp/image.gz | {FOREIGN}/tee /tmp/f | "
    f"{FOREIGN}/dd of=/dev/vda2 bs=1M iflag=fullblock conv=fsync 2>/dev/null; wait; rm /tmp/f"
)
MENDER = f"{FOREIGN}/mender --config /tmp/foreign/mender.conf --data /tmp/foreign/state --no-syslog --log-level error"
OURS = "mender-update --log-level error"
SKIPPING = "/data/mender/skipping.conf"
PAGE = 4096
CONFIG = {"RootfsPartA": "/dev/vda1", "RootfsPartB": "/dev/vda2", "DeviceTypeFile": "/data/mender/device_type"}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The folder's address for the board."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST_FOR_GUESTS}:{server.server_port}"
        server.shutdown()


def prepare(catalogue: Catalogue, folder: Path) -> None:
    """What the board is to fetch."""
    import gzip

    from updater.artifact import write_rootfs_artifact

    image = catalogue.workshop.get(Release("b")) / "rootfs.ext4"
    with (folder / "b.mender").open("wb") as out:
        write_rootfs_artifact(out, image=image, name="bench", device_types=[catalogue.device_type], compress_level=6)
    with image.open("rb") as source, gzip.open(folder / "image.gz", "wb", 6) as packed:
        shutil.copyfileobj(source, packed)
    foreign = catalogue.workshop.get(MenderClient())
    shutil.copytree(foreign, folder / "foreign")
    (folder / "foreign/mender.conf").write_text(json.dumps(CONFIG))
    shutil.make_archive(str(folder / "foreign"), "gztar", folder, "foreign")


def timed(lab: Lab, command: str) -> tuple[float, int]:
    """Seconds and the most kibibytes of memory that a command took, with cold caches."""
    lab.run("sync; echo 3 >/proc/sys/vm/drop_caches")
    said = lab.run(f"time -v sh -c '{command}' 2>&1")
    minutes, seconds = map(float, re.findall(r"Elapsed.*: (\d+)m ([\d.]+)s", said)[0])
    # busybox takes kibibytes for pages, and so says four times too much.
    return 60 * minutes + seconds, int(re.findall(r"Maximum resident.*: (\d+)", said)[0]) // 4


def logged(lab: Lab, since: int) -> dict[str, int]:
    """What the write log holds from an operation on."""
    lab.board.log.poll()
    operations = lab.board.log.operations[since:]
    place = area(lab.board.spec.layout, "rootfs-b")
    writes = [one for one in operations if one.kind is Kind.WRITE and one.address in place]
    return {
        "bytes": sum(one.length for one in writes),
        "writes": len(writes),
        "unaligned": sum(one.address % PAGE > 0 or one.length % PAGE > 0 for one in writes),
        "flushes": flushes(operations),
    }


def measure(lab: Lab, rounds: int) -> tuple[dict[str, list[tuple[float, int]]], dict[str, dict[str, int]]]:
    """All ways in turn: what they took, and what the log holds of the last round."""
    ways = {
        "ours": (":", f"{OURS} install /tmp/b.mender >/dev/null", "mender-update rollback"),
        "ours-skipping": (
            "dd if=/dev/vda1 of=/dev/vda2 bs=1M conv=fsync",
            f"{OURS} --fallback-config {SKIPPING} install /tmp/b.mender >/dev/null",
            "mender-update rollback",
        ),
        "tools": (":", TOOLS, ":"),
        "mender-client": (":", f"{MENDER} install /tmp/b.mender >/dev/null", f"{MENDER} rollback"),
    }
    # The first writes make the disk's file grow, which is nobody's cost in particular.
    lab.run("dd if=/dev/vda1 of=/dev/vda2 bs=1M conv=fsync 2>/dev/null")
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in ways}
    log: dict[str, dict[str, int]] = {}
    for _ in range(rounds):
        for name, (first, command, undo) in ways.items():
            lab.run(f"{first} >/dev/null 2>&1")
            lab.board.log.poll()
            since = len(lab.board.log.operations)
            found[name].append(timed(lab, command))
            log[name] = logged(lab, since)
            lab.run(f"{undo} >/dev/null 2>&1")
    return found, log


def idle(lab: Lab, seconds: int) -> dict[str, float]:
    """What the daemon costs while there is nothing to do: CPU seconds and memory."""
    pid = lab.run("cat /data/mender/daemon.pid").strip()

    def spent() -> int:
        fields = lab.run(f"cat /proc/{pid}/stat").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = spent()
    time.sleep(seconds)
    memory = int(re.findall(r"VmRSS:\s+(\d+)", lab.run(f"cat /proc/{pid}/status"))[0])
    return {"seconds": seconds, "cpu_s": (spent() - before) / 100, "rss_mib": round(memory / 1024, 1)}


def main() -> None:
    """One board, all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=0, help="also watch the daemon at rest for so many seconds")
    options = parser.parse_args()
    catalogue = Catalogue(Workshop())
    with tempfile.TemporaryDirectory() as scratch, scratch_lab(catalogue, "install", 1) as lab:
        folder = Path(scratch)
        prepare(catalogue, folder)
        lab.join()
        result: dict[str, object] = {}
        with serving(folder) as address:
            for name in ("b.mender", "image.gz"):
                lab.run(f"wget -q -O /tmp/{name} {address}/{name}")
            lab.run(f"cd /tmp && wget -q -O - {address}/foreign.tar.gz | tar xz && mkdir -p foreign/state")
        # Resting means polling as in the field.
        lab.configure(UpdatePollIntervalSeconds=1800, ArtifactVerifyKey="")
        skipping = {**json.loads(lab.run(f"cat {CONFIGURATION}")), "Bootproof": {"SkipUnchangedBlocks": True}}
        lab.write(json.dumps(skipping), SKIPPING)
        if options.idle:
            result["idle"] = idle(lab, options.idle)
        found, log = measure(lab, options.rounds)
    best = {name: min(seconds for seconds, _ in runs) for name, runs in found.items()}
    result |= {
        "seconds": {name: [seconds for seconds, _ in runs] for name, runs in found.items()},
        "peak_mib": {name: round(max(memory for _, memory in runs) / 1024, 1) for name, runs in found.items()},
        "slot": log,
        "ours_over_tools": round(best["ours"] / best["tools"], 3),
        "ours_over_mender_client": round(best["ours"] / best["mender-client"], 3),
        "skipping_over_ours": round(best["ours-skipping"] / best["ours"], 3),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
