# SPDX-License-Identifier: Apache-2.0
"""The updater's store as the judge reads it, against the updater that writes it."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.judge.updatestore import PATH, PLACE, UpdateStore, read_store
from updater.store import Device, Store, Update


def written(folder: Path, *devices: Device) -> bytes:
    (folder / "mender").mkdir()
    store = Store(folder / "mender")
    store.load()
    for device in devices:
        store.save(device)
    return (folder / PATH).read_bytes()


UNDER_WAY = Device(
    provides={"artifact_name": "release-a"},
    update=Update(state="update-store", progress={"done": 1}, outcome="failed"),
)


def test_what_the_updater_wrote_is_read(tmp_path: Path) -> None:
    content = written(tmp_path, Device(), UNDER_WAY)
    assert read_store(content) == UpdateStore(
        (True, True), "update-store", "failed", going_on=True, artifact="release-a"
    )


def test_whether_it_is_known_what_the_payload_is(tmp_path: Path) -> None:
    update = Update(state="update-store", payload_type="rootfs-image")
    assert read_store(written(tmp_path, Device(update=update))) == UpdateStore(
        (True, False), "update-store", known=True, artifact="unknown"
    )


def test_what_is_noted_of_a_slot_is_read_and_not_compared(tmp_path: Path) -> None:
    """It grows with every piece of a download, and a start does the same with any of it."""
    noted = Update(state="update-store", progress={"done": 4096}, target="b")
    found = read_store(written(tmp_path, Device(update=noted)))
    assert found is not None
    assert (found.target, found.durable) == ("b", 4096)
    assert found == replace(found, target="", durable=0)


def test_a_device_at_rest(tmp_path: Path) -> None:
    assert read_store(written(tmp_path, Device())) == UpdateStore((True, False), artifact="unknown")


def test_no_file_is_no_store() -> None:
    assert read_store(None) is None


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(2 * PLACE)])
def test_what_is_no_store_has_no_whole_place(content: bytes) -> None:
    assert read_store(content) == UpdateStore((False, False))


def test_damage_leaves_the_older_record(tmp_path: Path) -> None:
    content = written(tmp_path, Device(provides={"artifact_name": "old"}), UNDER_WAY)
    end = content.rindex(b"}") + 1
    for at in range(PLACE, end):
        damaged = bytearray(content)
        damaged[at] ^= 0x40
        found = read_store(bytes(damaged))
        assert found is not None
        assert found.whole == (True, False), at
        assert found.artifact == "old"
