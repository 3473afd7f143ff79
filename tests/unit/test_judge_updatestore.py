# SPDX-License-Identifier: Apache-2.0
"""The updater's store as the judge reads it, against the updater that writes it."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.judge.updatestore import PATH, PLACE, UpdateStore, read_store
from updater.store import Device, Store, Update


def written(folder: Path, *devices: Device) -> bytes:
    (folder / "mender").mkdir(parents=True)
    store = Store(folder / "mender")
    store.load()
    for device in devices:
        store.save(device)
    return (folder / PATH).read_bytes()


def without_rest(content: bytes) -> UpdateStore:
    """What is read, but for the digest."""
    found = read_store(content)
    assert found is not None
    assert found.rest
    return replace(found, rest="")


UNDER_WAY = Device(
    provides={"artifact_name": "release-a"},
    update=Update(state="update-store", progress={"done": 1}, outcome="failed"),
)


def test_what_the_updater_wrote_is_read(tmp_path: Path) -> None:
    content = written(tmp_path, Device(), UNDER_WAY)
    assert without_rest(content) == UpdateStore(
        (True, True), "update-store", "failed", going_on=True, artifact="release-a"
    )


def test_whether_it_is_known_what_the_payload_is(tmp_path: Path) -> None:
    update = Update(state="update-store", payload_type="rootfs-image")
    assert without_rest(written(tmp_path, Device(update=update))) == UpdateStore(
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
    assert without_rest(written(tmp_path, Device())) == UpdateStore((True, False), artifact="unknown")


def test_all_else_that_a_start_goes_by_is_compared(tmp_path: Path) -> None:
    """A report that is owed, say; but not what only counts, or is another one in each answer of the server."""
    devices = (
        Device(),
        Device(untold={"D": "failure"}),
        Device(untold={"D": "success"}),
        Device(failures={"release-b": 1}),
        replace(UNDER_WAY, update=Update(state="update-store", stopped=True)),
        replace(UNDER_WAY, update=Update(state="update-store")),
    )
    found = [read_store(written(tmp_path / str(number), device)) for number, device in enumerate(devices)]
    assert len(set(found)) == len(devices)
    assert [one.owes for one in found if one] == [False, True, True, False, False, False]
    passing = replace(UNDER_WAY, update=Update(state="update-store", stores=3, uri="https://server/2"))
    assert read_store(written(tmp_path / "passing", passing)) == found[-1]


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
