# SPDX-License-Identifier: Apache-2.0
"""Somebody else's updates, explored from an image and a command: a pipe of busybox's tools is the updater here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.exitcodes import ExitCode
from images.menderboard import MenderBoard, MenderSystem
from images.stage import Workshop

UNPACK = "tar -xOf /data/b.mender data/0000.tar.gz | tar -xzOf -"
FLIP = "printf 'mender_boot_part=2\\nmender_boot_part_hex=2\\nupgrade_available=1\\nbootcount=0\\n' >/tmp/flip"
FLIP += " && fw_setenv -s /tmp/flip"
RIGHT = f"{UNPACK} | dd of=/dev/vda2 bs=1M conv=fsync && {FLIP}"
TOO_EARLY = f"{UNPACK} | dd of=/dev/vda2 bs=1M && {FLIP} && sync"
COMMIT = "[ $(fw_printenv -n upgrade_available) = 0 ] || fw_setenv upgrade_available 0"
CHECK = "[ $(fw_printenv -n upgrade_available) = 0 ]"


def explored(folder: Path, run: str, boots: int, says: int) -> dict[str, Any]:
    workshop = Workshop()
    old, new = (workshop.get(MenderSystem(version)) / "rootfs.ext4" for version in ("a", "b"))
    command = [sys.executable, "-m", "harness.cli", "explore", "--image", workshop.get(MenderBoard()) / "board.img"]
    command += ["--old", old, "--new", new, "--run", run, "--then", COMMIT, "--check", CHECK]
    command += ["--seed", "5", "--boots", str(boots), "--jobs", "1", "--runs", folder, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == says, done.stdout[-3000:] + done.stderr[-3000:]
    return dict(json.loads(done.stdout))


@pytest.mark.stack
def test_a_right_updater_survives_everything(tmp_path: Path) -> None:
    report = explored(tmp_path, RIGHT, boots=2, says=ExitCode.HELD)
    assert report["states_total"] > report["states_judged"] > 0
    assert (report["violations"], report["inconclusive"]) == ([], 0)
    assert (report["states_booted"], report["as_forecast"]) == (2, 2)
    crash_id = json.loads(next(tmp_path.glob("*/plan.json")).read_text())["chosen"][0]["crash_id"]
    command = [sys.executable, "-m", "harness.cli", "replay", crash_id, "--runs", tmp_path.name, "--json"]
    done = subprocess.run(command, cwd=tmp_path.parent, capture_output=True, text=True, timeout=300, check=False)
    assert json.loads(done.stdout)["outcome"] == "held", done.stderr[-3000:]


@pytest.mark.stack
def test_an_updater_that_flips_before_it_flushes_is_found_without_booting(tmp_path: Path) -> None:
    report = explored(tmp_path, TOO_EARLY, boots=0, says=ExitCode.VIOLATED)
    assert report["states_booted"] == 0
    plan = json.loads(next(tmp_path.glob("*/plan.json")).read_text())
    broken = [one for one in plan["chosen"] if one["violates"]]
    assert {rule for one in broken for rule in one["violates"]} == {"slot"}
    assert all("starts slot B on trial (A old, B in part)" in one["says"] for one in broken)
