# SPDX-License-Identifier: Apache-2.0
"""The address of an artifact from an earlier life: where it has expired, the first byte already comes from another."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.protocol.updater_answers import GOOD, PATIENT, WHOLE, answer, download, whole
from tests.protocol.updater_servers import Pauses, everything, peer
from tests.unit.updater_simulation import NoLog, Restarted, Simulation
from updater.artifact import Compression, write_rootfs_artifact
from updater.config import Config
from updater.daemon import Daemon
from updater.deploymentlog import DeploymentLog
from updater.errors import ServerError
from updater.machine.reports import ServerReports
from updater.server.http import Connector
from updater.server.session import Deployment
from updater.store import Device, Store, Update

EXPIRED = [403, 404, 410]


def refused(status: int) -> bytes:
    return answer(f"{status} No", Content_Length="0")


@pytest.mark.parametrize("status", EXPIRED)
@pytest.mark.parametrize("size", [None, 10])
def test_an_address_from_an_earlier_life_is_renewed_before_the_first_byte(status: int, size: int | None) -> None:
    pauses = Pauses()
    with peer(refused(status)) as old, peer(whole(WHOLE)) as new:
        links = iter([new.url])
        begun = download(old.url, pauses=pauses, size=size, eager=True, relink=lambda: next(links))
        assert everything(begun) == WHOLE
    assert (old.ranges, new.ranges, pauses.slept) == ([""], [""], []), "the whole artifact, and without a pause"


def test_one_that_is_still_good_is_not_renewed() -> None:
    with peer(whole(WHOLE)) as server:
        assert everything(download(server.url, eager=True, relink=lambda: pytest.fail("it was renewed"))) == WHOLE


def test_whoever_has_no_other_address_is_told_of_the_refusal() -> None:
    with peer(refused(403)) as server, pytest.raises(ServerError) as refusal:
        everything(download(server.url, eager=True))
    assert refusal.value.status == 403


def test_what_is_wrong_with_the_server_is_no_reason_for_another_address() -> None:
    with peer(refused(500)) as server, pytest.raises(ServerError) as refusal:
        everything(download(server.url, eager=True, relink=lambda: pytest.fail("it was renewed")))
    assert refusal.value.status == 500


def test_a_link_that_is_never_good_is_renewed_three_times_and_no_more() -> None:
    """Before the first byte and after it together."""
    asked: list[str] = []
    with peer(*[refused(403)] * 9) as server:

        def relink() -> str:
            asked.append("again")
            return server.url

        with pytest.raises(ServerError):
            everything(download(server.url, eager=True, relink=relink))
    assert (len(asked), len(server.asked)) == (3, 4)
    broken = answer("200 OK", WHOLE[:4], Content_Length="10")
    with peer(refused(403), broken, refused(403), GOOD) as server:
        links: Iterator[str] = iter([server.url] * 2)
        assert everything(download(server.url, eager=True, relink=lambda: next(links))) == WHOLE
    assert server.ranges == ["", "", "bytes=4-9", "bytes=4-9"]


# -- the daemon --------------------------------------------------------------------------------------------------------


class Restart:
    """A daemon that starts again in the middle of a download; `offers` is what its server has for it by now."""

    def __init__(self, folder: Path, uri: str, offers: Deployment | None) -> None:
        self.simulation, self.store, self.asked = Simulation(), Store(folder), list[Mapping[str, str]]()
        begun = Update("update-store", "d", artifact_name="new", payload_type="rootfs-image", uri=uri, target="b")
        self.store.save(Device({"artifact_name": "old"}, replace(begun, origin="a"), slot="a"))
        self._offers = offers
        session: Any = SimpleNamespace(
            connector=Connector(timeout=PATIENT), next_deployment=self._next, servers=("http://one",)
        )
        world = self.simulation.world()
        reports, log_of = cast(ServerReports, world.reports), cast(DeploymentLog, NoLog())
        config = Config(data_directory=folder)
        self.daemon = Daemon(config, world, self.store, session, reports, log_of, lambda _: set())

    def _next(self, provides: Mapping[str, str], device_type: str) -> Deployment | None:
        self.asked.append({**provides, "device_type": device_type})
        return self._offers

    @property
    def update(self) -> Update | None:
        return self.store.load().update


@pytest.fixture
def artifact(tmp_path: Path) -> bytes:
    image, path = tmp_path / "image", tmp_path / "new.mender"
    image.write_bytes(b"image" * 1000)
    with path.open("wb") as out:
        write_rootfs_artifact(out, image=image, name="new", device_types=["board"], compression=Compression.NONE)
    return path.read_bytes()


def test_a_download_that_was_cut_goes_on_under_the_address_that_the_server_gives_now(
    artifact: bytes, tmp_path: Path
) -> None:
    with peer(refused(403)) as old, peer(whole(artifact)) as new:
        device = Restart(tmp_path, old.url, Deployment("d", "new", new.url, ("board",)))
        with pytest.raises(Restarted):
            device.daemon.finish_interrupted()
    assert device.asked == [{"artifact_name": "old", "device_type": "board"}]
    assert (device.simulation.disk.slots["b"], device.simulation.disk.active) == ("good", "b")
    assert device.update is not None
    assert device.update.state == "reboot"


@pytest.mark.parametrize(
    "offers", [None, Deployment("other", "new", "", ("board",)), Deployment("d", "other", "", ("board",))]
)
def test_another_deployment_is_not_mixed_with_the_one_that_was_cut(
    offers: Deployment | None, artifact: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with peer(*[refused(403)] * 9) as old, peer(whole(artifact)) as new:
        device = Restart(tmp_path, old.url, offers and replace(offers, uri=new.url))
        device.daemon.finish_interrupted()
        assert new.asked == []
    assert device.simulation.final == "failure"
    assert "before slot begun" not in device.simulation.points
    assert device.update is None
    assert any("The server has another deployment by now." in said for said in caplog.messages)


def test_an_address_of_a_new_deployment_that_is_refused_is_the_servers_mistake(tmp_path: Path) -> None:
    """It was given a moment ago, so asking again would lead to the same."""
    with peer(refused(403)) as server:
        device = Restart(tmp_path, "", None)
        device.store.save(Device({"artifact_name": "old"}, slot="a"))
        device.daemon._install(Deployment("d", "new", server.url, ("board",)))
    assert (device.asked, device.simulation.final, device.update) == ([], "failure", None)
