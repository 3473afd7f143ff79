# SPDX-License-Identifier: Apache-2.0
"""A recording made on one machine gets its next update on another one, which signs with other keys."""

from pathlib import Path

import pytest

from harness.explore.recordedcatalogue import RecordedCatalogue
from harness.explore.recording import SIGNING_KEY
from images.applications import Application
from images.release import Keys
from images.stage import Workshop
from tests.unit.small_recording import make
from updater.artifact import load_public_key, read_artifact


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_a_recorded_board_is_given_is_signed_as_it_wants_it(
    tmp_path: Path, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = make(tmp_path / "recording")
    application = Application("single-file", "two")
    with monkeypatch.context() as there:
        if elsewhere:
            there.setenv("BOOTPROOF_CACHE", str(tmp_path / "cache"))
        keys = Workshop().get(Keys())
    trusted = load_public_key((keys / "release.pub.pem").read_bytes())
    (recording.folder / SIGNING_KEY).write_bytes((keys / "release.pem").read_bytes())

    file = RecordedCatalogue(recording, tmp_path).application(application)
    assert (file.parent == tmp_path) == elsewhere
    with file.open("rb") as raw:
        artifact = read_artifact(raw, verify_keys=(trusted,))
        assert artifact.name == "single-file-two"
