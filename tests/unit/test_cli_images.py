# SPDX-License-Identifier: Apache-2.0
"""`bootproof images` on a small cache of its own, and stages built side by side."""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness import cli
from images.build import build, needed, plan
from images.cache import Cache
from images.errors import ImageError
from images.run import run
from images.stage import Stage, Workshop
from tests.unit.processes import ended

TOGETHER = threading.Barrier(2, timeout=20)


@dataclass(frozen=True)
class Meeting(Stage):
    """Is built only while another one is being built, too."""

    number: int
    name: ClassVar[str] = "meeting"
    says: ClassVar[str] = "Meeting"

    def inputs(self) -> dict[str, Any]:
        return {"number": self.number, "revision": 1}

    def build(self, into: Path, _: Workshop, /) -> None:
        TOGETHER.wait()
        (into / "file").write_text(str(self.number))


@dataclass(frozen=True)
class Both(Stage):
    """Needs two others."""

    one: Meeting = Meeting(1)
    other: Meeting = Meeting(2)
    name: ClassVar[str] = "both"
    says: ClassVar[str] = "Both"

    def inputs(self) -> dict[str, Any]:
        return {"one": self.one.key, "other": self.other.key}

    def build(self, into: Path, workshop: Workshop, /) -> None:
        (into / "file").write_text((workshop.get(self.one) / "file").read_text())


@dataclass(frozen=True)
class Slow(Stage):
    """Runs a program that takes too long, with a child of its own."""

    started: Path
    name: ClassVar[str] = "slow"
    says: ClassVar[str] = "Slow"

    def inputs(self) -> dict[str, Any]:
        return {"slow": True}

    def build(self, _: Path, __: Workshop, /) -> None:
        run(["sh", "-c", f"sleep 600 & echo $! > {self.started}; wait"])


@dataclass(frozen=True)
class Failing(Stage):
    """Fails as soon as the slow one has started."""

    started: Path
    name: ClassVar[str] = "failing"
    says: ClassVar[str] = "Failing"

    def inputs(self) -> dict[str, Any]:
        return {"failing": True}

    def build(self, _: Path, __: Workshop, /) -> None:
        while not (self.started.exists() and self.started.read_text()):
            time.sleep(0.01)
        raise ImageError("It cannot be built.")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("BOOTPROOF_CACHE", str(tmp_path / "cache"))
    return Cache()


def test_independent_stages_are_built_at_the_same_time(cache: Cache) -> None:
    workshop = Workshop(cache)
    assert needed([Both()]) == [Meeting(1), Meeting(2), Both()]
    assert [one.why for one in plan(workshop, [Both()])] == ["never built"] * 3
    build(workshop, [Both()])
    assert [one.why for one in plan(workshop, [Both(), Meeting(3)])] == ["", "", "", "changed: number"]


def test_the_first_error_ends_the_others_and_their_children(cache: Cache, tmp_path: Path) -> None:
    started = tmp_path / "started"
    with pytest.raises(ImageError, match="cannot be built"):
        build(Workshop(cache), [Slow(started), Failing(started)])
    assert ended(int(started.read_text()))
    assert cache.entries() == []
    assert list(cache.root.glob(".unfinished*")) == []


def test_a_flipped_byte_is_found_and_named(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    entry = cache.get("keys", {"number": 1}, _one_file)
    assert cli.main(["images", "verify"]) == 0
    (entry / "file").write_bytes(b"rigHt")
    capsys.readouterr()
    assert cli.main(["images", "verify", "--json"]) == 1
    (damage,) = json.loads(capsys.readouterr().out)["damage"]
    assert entry.name in damage
    assert "file" in damage


def test_clean_deletes_one_stage(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("keys", "disk"):
        cache.get(stage, {}, _one_file)
    assert cli.main(["images", "clean", "kyes"]) == 2
    assert "keys" in capsys.readouterr().err
    assert cli.main(["images", "clean", "keys"]) == 0
    assert [entry.stage for entry in cache.entries()] == ["disk"]
    capsys.readouterr()
    assert cli.main(["images", "list", "--json"]) == 0
    assert [one["stage"] for one in json.loads(capsys.readouterr().out)] == ["disk"]
    assert cli.main(["images", "clean", "keys"]) == 0


def _one_file(into: Path) -> None:
    (into / "file").write_bytes(b"right")
