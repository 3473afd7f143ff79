# SPDX-License-Identifier: Apache-2.0
"""What a power cut and its verdict cost, beside a boot of the same board in the same run.

Takes the write log of one clean update and judges it at evenly spread positions, as `cut_power` does after the kill:
choose what is lost, build the media, write the overlay, judge.  Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from harness.judge import KnownImage, judge_cut, parse_text
from harness.lab import scratch_lab
from harness.lab.observe import Known, Observed, gather
from harness.storage import DiskView, choose, crash_extents, write_overlay
from images.catalogue import Catalogue
from images.stage import Workshop


def main() -> None:
    """Run one update, then cut its log again and again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=20)
    cuts = parser.parse_args().cuts
    catalogue = Catalogue(Workshop())
    with scratch_lab(catalogue, "bench", 1) as lab:
        before = lab.board.media
        began = time.monotonic()
        lab.power_on()
        lab.wait_up()
        boot = time.monotonic() - began
        lab.device = lab.server.accept(lab.deadline())
        lab.deploy("b")
        lab.settle()
        lab.board.kill()
        log, layout = lab.board.log, lab.board.spec.layout
        log.poll()
        images = [KnownImage(name, *catalogue.slot_image(name)) for name in ("a", "b")]
        known = Known(layout, parse_text(catalogue.default_environment()), images, {})
        taken = []
        for number in range(1, cuts + 1):
            position = len(log.operations) * number // cuts
            began = time.monotonic()
            point = choose(log.operations, position, layout, lose="some", seed=number)
            extents = crash_extents(log, point, layout).over(before.extents)
            write_overlay(lab.folder / "disk-cut.qcow2", before.base, layout.size, extents)
            observed = Observed(old="a", new="b", server=None, console=b"", running=None, expected_alarms=())
            judge_cut(gather(DiskView(before.base, extents), known, observed, with_data=False))
            taken.append(time.monotonic() - began)
    cut = statistics.median(taken)
    print(json.dumps({"operations": len(log.operations), "cuts": cuts, "cut_and_judge_s": round(cut, 3),
                      "boot_s": round(boot, 3), "ratio": round(cut / boot, 3)}))  # fmt: skip


if __name__ == "__main__":
    main()
