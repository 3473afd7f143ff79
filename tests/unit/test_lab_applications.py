# SPDX-License-Identifier: Apache-2.0
"""The verbs for applications, on a board that is written by hand."""

from pathlib import Path

import pytest

from harness.errors import ClaimViolated, HarnessBug
from harness.lab import Lab, applications
from harness.lab.device import keepsakes
from images import disk
from images.applications import Application
from images.layout import MIB, SECTOR
from tests.unit.write_logs import FLUSH, flag, write
from tests.unit.written_lab import LAYOUT, SEED, SLOT_B, begin, factory, lab

__all__ = ["factory", "lab"]  # fixtures
PLACE = LAYOUT.partition("data")
SUCCEEDED = ("downloading", "installing", "installing", "success")
FAILED = ("downloading", "installing", "failure")
ONE, TWO = Application("script", "one"), Application("script", "two")


def data_with(folder: Path, application: Application, **more: bytes) -> list[bytes]:
    """The writes of a whole data partition that has the application on it."""
    files = {path: node.content for path, node in application.nodes().items() if node.content}
    image = folder / f"{application.artifact_name}.img"
    content = {**keepsakes(SEED), **files, **more}
    disk.provision({path: (data, 0o644) for path, data in content.items()}, image, size=PLACE.size)
    whole = image.read_bytes()
    first = PLACE.start // SECTOR
    return [*(write(first + at // SECTOR, whole[at : at + MIB]) for at in range(0, len(whole), MIB)), flag(FLUSH)]


@pytest.fixture(autouse=True)
def shelf(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """No artifact is made, and the server takes what there is."""
    monkeypatch.setattr(
        lab.catalogue, "application", lambda application: Path(application.artifact_name), raising=False
    )


def tell(lab: Lab, *history: str, name: str, version: str | None) -> None:
    server = lab.server
    server.history, server.says = history, name  # type: ignore[attr-defined]
    said = {"rootfs-image.script.version": version} if version else {}
    server.attributes = lambda _: said  # type: ignore[assignment, method-assign, return-value]


def test_an_application_is_installed_and_the_next_one_fails(lab: Lab, tmp_path: Path) -> None:
    begin(lab)
    lab.deploy_application("script", "one")
    lab.claim_application_whole()  # nothing is there yet
    lab.board.kill()
    begin(lab, *data_with(tmp_path, ONE))
    tell(lab, *SUCCEEDED, name="script-one", version="script-one")
    lab.claim_application_whole()
    lab.claim_application("new", did="No cut")
    assert lab.rows[-1].did == "script-one: No cut"

    lab.deploy_application("script", "two")
    tell(lab, *FAILED, name="script-two_INCONSISTENT", version="script-one")
    with pytest.raises(ClaimViolated, match="inconsistent, where old was expected"):
        lab.claim_application("old")
    tell(lab, "downloading", "failure", name="script-one", version="script-one")
    lab.claim_application("old")


def test_what_is_not_there_was_not_installed(lab: Lab) -> None:
    begin(lab)
    lab.deploy_application("script", "one")
    tell(lab, *SUCCEEDED, name="script-one", version="script-one")
    with pytest.raises(ClaimViolated, match="old, where new was expected"):
        lab.claim_application("new")


def test_what_is_left_of_the_way_is_found(lab: Lab, tmp_path: Path) -> None:
    begin(lab)
    lab.deploy_application("script", "one")
    lab.board.kill()
    begin(lab, *data_with(tmp_path, ONE, **{f"{applications.WORKING_TREE}/files/install": b"x"}))
    tell(lab, *SUCCEEDED, name="script-one", version="script-one")
    with pytest.raises(ClaimViolated, match=r"There remain mender/modules/v3/payloads/0000/tree\."):
        lab.claim_application("new")


def test_something_beside_the_application_is_found(lab: Lab, tmp_path: Path) -> None:
    begin(lab)
    lab.deploy_application("script", "one")
    lab.board.kill()
    begin(lab, *data_with(tmp_path, ONE, **{"apps/.script.bootproof-new": b"x"}))
    tell(lab, *SUCCEEDED, name="script-one", version="script-one")
    lab.claim_application_whole()
    with pytest.raises(ClaimViolated, match=r"script\.bootproof-new is there"):
        lab.claim_application("new")


def test_a_system_that_was_written_over_is_found(lab: Lab, tmp_path: Path) -> None:
    begin(lab)
    lab.deploy_application("script", "one")
    lab.board.kill()
    begin(lab, *data_with(tmp_path, ONE), write(SLOT_B, b"x" * SECTOR), flag(FLUSH))
    tell(lab, *SUCCEEDED, name="script-one", version="script-one")
    with pytest.raises(ClaimViolated, match="What is in slot B has changed"):
        lab.claim_application("new")


def test_half_an_application_is_found_at_any_moment(lab: Lab, tmp_path: Path) -> None:
    begin(lab)
    lab.deploy_application("script", "one")
    lab.board.kill()
    begin(lab, *data_with(tmp_path, ONE, **{"apps/script/part-00": b"half"}))
    with pytest.raises(ClaimViolated, match="apps/script is neither old nor new"):
        lab.claim_application_whole()


def test_misuse_is_said(lab: Lab, tmp_path: Path) -> None:
    begin(lab, *data_with(tmp_path, ONE))
    with pytest.raises(HarnessBug, match="No application was deployed"):
        lab.claim_application("new")
    lab.deploy_application("script", "one")
    tell(lab, *SUCCEEDED, name="script-one", version="script-one")
    lab.claim_application("new")
    with pytest.raises(HarnessBug, match="script-one is installed already"):
        lab.deploy_application("script", "one")
