# SPDX-License-Identifier: Apache-2.0
"""The same inputs give the same bytes: everything below the packages is built a second time and compared."""

import json
from pathlib import Path

import pytest

from images.cache import MANIFEST, Cache
from images.disk import Disk
from images.kernel import Kernel
from images.layout import MIB
from images.packages import Packages
from images.release import Artifact, Keys, Release
from images.rootfs import Rootfs
from images.stage import Stage, Workshop
from images.uboot import UBoot

AGAIN: tuple[Stage, ...] = (UBoot(), Kernel(), Rootfs(), Release("b"), Artifact(Release("b")), Disk(Release("a")))


@pytest.mark.stack
@pytest.mark.timeout(900)
def test_building_twice_gives_equal_bytes(tmp_path: Path) -> None:
    first, second = Workshop(), Workshop(Cache(tmp_path))
    second.cache.root.mkdir(parents=True)
    for given in (Packages(), Keys()):  # what is fetched or random is the same for both
        (second.cache.root / first.get(given).name).symlink_to(first.get(given))
    for stage in AGAIN:
        digests = [json.loads((shop.get(stage) / MANIFEST).read_text())["files"] for shop in (first, second)]
        assert digests[0] == digests[1], stage.name
        assert first.get(stage) != second.get(stage)


@pytest.mark.stack
@pytest.mark.timeout(900)
def test_an_update_takes_seconds_under_emulation() -> None:
    shop = Workshop()
    assert (shop.get(Release("b")) / "rootfs.ext4").stat().st_size <= 96 * MIB
    assert (shop.get(Artifact(Release("b"))) / "b.mender").stat().st_size <= 40 * MIB
