# SPDX-License-Identifier: Apache-2.0
"""The cache of built things, and the programs that build them."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from images.cache import MANIFEST, UNFINISHED, Cache, default_root, key_of
from images.errors import ImageError, ToolFailed
from images.run import no_space, run
from images.stage import HERE, Stage, Workshop, tree_digest
from tests.unit.processes import ended

INPUTS = {"version": "b", "revision": 1}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def make(into: Path) -> None:
    (into / "sub").mkdir()
    (into / "sub" / "image").write_bytes(b"content")
    (into / "about").write_text("x")
    (into / "link").symlink_to("about")


def left(cache: Cache) -> list[str]:
    return sorted(path.name for path in cache.root.iterdir() if path.name != ".locks")


def test_a_thing_is_built_once(cache: Cache) -> None:
    built: list[Path] = []

    def build(into: Path) -> None:
        built.append(into)
        make(into)

    for _ in range(3):
        path = cache.get("stage", INPUTS, build)
    assert len(built) == 1
    assert (path / "sub/image").read_bytes() == b"content"
    about = json.loads((path / MANIFEST).read_text())
    assert (about["stage"], about["inputs"], sorted(about["files"])) == ("stage", INPUTS, ["about", "sub/image"])
    assert left(cache) == [path.name]
    assert path.name == f"stage-{key_of(INPUTS)}"


def test_the_key_is_about_the_inputs_and_not_their_order() -> None:
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1})
    assert len({key_of(inputs) for inputs in ({}, {"a": 1}, {"a": "1"}, {"a": 2}, {"b": 1}, {"a": [1]})}) == 6


def test_the_place_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOOTPROOF_CACHE", str(tmp_path))
    assert Cache().root == tmp_path / "images"
    monkeypatch.delenv("BOOTPROOF_CACHE")
    assert default_root().is_absolute()


TWO_AT_ONCE = """
import sys, time
from pathlib import Path
from images.cache import Cache
root = Path(sys.argv[1])
def build(into):
    with (root / "built").open("a") as file:
        file.write("x")
    (into / "half").touch()
    time.sleep(0.3)
    (into / "image").write_text("whole")
sys.stdin.readline()
print((Cache(root).get("stage", {}, build) / "image").read_text())
"""


def test_two_processes_build_it_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWO_AT_ONCE, str(tmp_path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen(command, cwd=HERE.parent, **pipes) as one,
        subprocess.Popen(command, cwd=HERE.parent, **pipes) as two,
    ):
        assert one.stdin
        assert two.stdin
        one.stdin.write("\n")
        one.stdin.flush()
        two.stdin.write("\n")
        two.stdin.flush()
        assert one.communicate(timeout=30)[0] == two.communicate(timeout=30)[0] == "whole\n"
    assert (tmp_path / "built").read_text() == "x"


def test_two_threads_build_it_once(cache: Cache) -> None:
    built: list[Path] = []
    inside = threading.Event()

    def build(into: Path) -> None:
        built.append(into)
        inside.wait(0.2)

    threads = [threading.Thread(target=cache.get, args=("stage", {}, build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(built) == 1


@pytest.mark.parametrize(
    "error", [ValueError("oh"), KeyboardInterrupt(), ToolFailed(["x"], 1, "oh"), OSError(errno.EIO, "oh")]
)
def test_a_build_that_fails_leaves_nothing(error: BaseException, cache: Cache) -> None:
    def build(into: Path) -> None:
        make(into)
        raise error

    with pytest.raises(type(error)) as raised:
        cache.get("stage", INPUTS, build)
    assert raised.value is error
    assert left(cache) == []
    assert cache.entries() == []
    assert cache.get("stage", INPUTS, make).exists()


def test_a_full_disk_is_one_sentence(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(into: Path) -> None:
        make(into)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for attempt in (build, make):
        with pytest.raises(ImageError) as problem:
            cache.get("stage", INPUTS, attempt)
        assert problem.value.message == f"The disk that holds {cache.root} is full."
        assert problem.value.next_step.startswith("Free some space")
        assert left(cache) == []
        monkeypatch.setattr("images.cache.NEEDED_BYTES", 1 << 62)


def test_what_an_interrupted_build_or_deletion_left_is_swept(cache: Cache) -> None:
    path = cache.get("stage", INPUTS, make)
    (path / MANIFEST).unlink()  # as a deletion that was interrupted
    for number in range(2):
        (cache.root / f"{UNFINISHED}{path.name}-{number}" / "sub").mkdir(parents=True)
    other = cache.root / f"{UNFINISHED}other-0123-x"
    other.mkdir()
    assert cache.entries() == []
    assert cache.get("stage", INPUTS, make) == path
    assert left(cache) == sorted([path.name, other.name]), "another build may be at the other one"
    assert cache.damage() == []


def test_damage_is_found_and_named(cache: Cache) -> None:
    path = cache.get("stage", INPUTS, make)
    broken = cache.get("manifest", INPUTS, make)
    cache.get("whole", INPUTS, make)
    assert cache.damage() == []
    content = bytearray((path / "sub/image").read_bytes())
    content[3] ^= 1
    (path / "sub/image").write_bytes(content)
    (path / "about").unlink()
    (broken / MANIFEST).write_text("{")
    assert sorted(cache.damage()) == [
        f"{broken.name}: its manifest cannot be read.",
        f"{path.name}: about is missing.",
        f"{path.name}: sub/image is not what was built.",
    ]


def test_every_number_in_a_manifest_counts(cache: Cache) -> None:
    path = cache.get("stage", INPUTS, make)
    whole = (path / MANIFEST).read_text()
    for wrong in (
        whole.replace('"bytes": ', '"bytes": 1'),
        whole.replace('"stage": "stage"', '"stage": "stale"'),
        whole.replace('"inputs": {', '"inputs": {"more": 1, ', 1),
    ):
        assert wrong != whole
        (path / MANIFEST).write_text(wrong)
        assert cache.damage(), wrong
    for shapeless in ("[]", "{}", whole.replace('"sha256"', '"sha25"'), whole.replace('"files": {', '"file": {')):
        (path / MANIFEST).write_text(shapeless)
        assert cache.damage() == [f"{path.name}: its manifest cannot be read."]
    assert [entry.label for entry in cache.entries()] == [""]


def test_what_was_made_from_a_deleted_entry_goes_with_it(cache: Cache) -> None:
    keys = cache.get("keys", {"kind": "rsa"}, make)
    key = keys.name.rpartition("-")[2]
    artifact = cache.get("artifact", {"version": "b", "keys": key}, make)
    cache.get("report", {"of": [artifact.name.rpartition("-")[2]]}, make)
    cache.get("artifact", {"version": "b", "keys": "of another machine"}, make)
    assert [entry.stage for entry in cache.clean("keys")] == ["keys", "artifact", "report"]
    assert [entry.stage for entry in cache.entries()] == ["artifact"]


def test_cleaning_sweeps_what_was_left_but_not_what_is_being_built(cache: Cache) -> None:
    cache.get("stage", INPUTS, make)
    (cache.root / f"{UNFINISHED}old-0123-x" / "sub").mkdir(parents=True)
    (cache.root / "half-4567").mkdir()

    def build(into: Path) -> None:
        make(into)
        cache.clean()
        assert [name for name in left(cache) if name.startswith(UNFINISHED)] == [into.name]

    cache.get("busy", INPUTS, build)
    assert [entry.stage for entry in cache.entries()] == ["busy"]
    assert len(left(cache)) == 1


def test_an_entry_is_on_the_disk_before_it_has_its_name(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    monkeypatch.setattr("images.cache.flush", lambda path: did.append(path.name))
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, target: (did.append("rename"), rename(self, target))[1])
    path = cache.get("stage", INPUTS, make)
    before = did[: did.index("rename")]
    assert {"image", "about", "sub", MANIFEST} < set(before)
    assert did[did.index("rename") + 1 :] == [cache.root.name]
    assert path.exists()


def test_a_place_that_cannot_hold_a_cache_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    wrong = Cache(tmp_path / "file")
    for act in (wrong.entries, wrong.damage, wrong.clean, lambda: wrong.get("stage", INPUTS, make)):
        with pytest.raises(ImageError, match=r"no cache of images: .*file is no directory\. Set BOOTPROOF"):
            act()
    with pytest.raises(ImageError, match=r"/proc/no/images cannot be made"):
        Cache(Path("/proc/no")).get("stage", INPUTS, make)
    monkeypatch.setattr("os.access", lambda _, mode: not mode & os.W_OK)  # as for somebody else's
    assert "may not be written to" in Cache(tmp_path).obstacle()
    assert Cache(tmp_path).entries() == []


def test_the_cache_is_where_it_was_named_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOOTPROOF_CACHE", "here")
    assert default_root() == tmp_path / "here"


def test_entries_are_listed_and_removed_by_stage(cache: Cache) -> None:
    for stage in ("disk", "u-boot"):
        for version in "ab":
            cache.get(stage, {"version": version}, make)
    assert [entry.stage for entry in cache.entries()] == ["disk", "disk", "u-boot", "u-boot"]
    assert all(len(entry.key) == 16 and entry.bytes > 0 for entry in cache.entries())
    with pytest.raises(ImageError, match="Nothing of stage 'boot'"):
        cache.clean("boot")
    assert len(cache.clean("u-boot")) == 2
    assert [entry.stage for entry in cache.entries()] == ["disk", "disk"]
    assert len(cache.clean()) == 2
    assert (left(cache), cache.clean()) == ([], [])
    assert Cache(cache.root / "none").entries() == []


# -- programs ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_for_scratch_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/proc")  # another file system, with no room at all
    assert no_space(tmp_path).message == "The disk that holds /proc is full."
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path.parent))
    assert no_space(tmp_path).message == f"The disk that holds {tmp_path} is full."


def test_a_program_runs_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("given\n")
    assert run(["cat"]) == ""
    assert run(["cat"], stdin=tmp_path / "in") == "given\n"
    assert run(["sh", "-c", "echo out; echo err >&2; pwd"], cwd=tmp_path) == f"out\nerr\n{tmp_path}\n"
    assert run(["sh", "-c", "echo $MINE; exit 3"], ok=(0, 3), env={"MINE": "1"}) == "1\n"


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(ImageError) as problem:
        run(["no-such-program"])
    assert (
        str(problem.value) == "The program 'no-such-program' is missing. Install it: apt-get install no-such-program."
    )
    with pytest.raises(ImageError, match="Install it: apt-get install e2fsprogs"):
        run(["mke2fs"], env={"PATH": "/nowhere"})


def test_a_failing_program_keeps_the_end_of_what_it_said() -> None:
    with pytest.raises(ToolFailed) as failed:
        run(["sh", "-c", "for n in $(seq 100); do echo line $n; done; exit 7"])
    assert failed.value.status == 7
    assert str(failed.value).startswith("'sh' failed with status 7:\nline 86\n")
    assert str(failed.value).endswith("line 100")
    assert "line 1\n" in failed.value.said


def test_a_program_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="'sh' did not end within 1 s"):
        run(["sh", "-c", f"sleep 600 & echo $! >{tmp_path / 'pid'}; wait"], timeout=1)
    assert ended(int((tmp_path / "pid").read_text()))


def test_a_full_disk_is_said_as_such_whoever_met_it(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"The disk that holds {tmp_path} is full"):
        run(["sh", "-c", "echo 'cp: No space left on device'; exit 1"], cwd=tmp_path)


# -- stages ------------------------------------------------------------------------------------------------------------


class Stone(Stage):
    name = "stone"
    says = "Hewing"

    def inputs(self) -> dict[str, Any]:
        return {"hard": True}

    def build(self, into: Path, workshop: Workshop, /) -> None:
        (into / "stone").write_text(str(workshop.cache.root))


def test_a_stage_is_built_where_its_key_says_and_told_once(cache: Cache) -> None:
    said: list[str] = []
    shop = Workshop(cache, said.append)
    assert shop.get(Stone()) == shop.get(Stone()) == cache.root / f"stone-{Stone().key}"
    assert said == ["Hewing"]


def test_the_digest_of_a_tree_is_about_names_contents_and_modes(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "a").write_text("1")
    digests = [tree_digest([tmp_path])]
    (tmp_path / "__pycache__" / "a.pyc").write_text("x")
    os.utime(tmp_path / "a", (1, 1))
    assert tree_digest([tmp_path]) == digests[0]
    for change in (
        lambda: (tmp_path / "a").write_text("2"),
        lambda: (tmp_path / "a").chmod(0o755),
        lambda: (tmp_path / "a").rename(tmp_path / "b"),
        lambda: (tmp_path / "c").touch(),
    ):
        change()
        digests.append(tree_digest([tmp_path]))
    assert len(set(digests)) == len(digests)
