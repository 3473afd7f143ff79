# SPDX-License-Identifier: Apache-2.0
"""`bootproof artifact`: what each command does, and that its options mean what they mean to mender-artifact."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.artifact_bench import COMMON, IMAGE, Run, furnish, make, runner, whole
from tests.unit.mender_tool import tool
from updater.artifacttool.exits import ExitCode
from updater.artifacttool.options import COMPRESSIONS


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return furnish(tmp_path, monkeypatch)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def made(run: Run) -> Path:
    return make(run)


ROOTFS_OPTIONS: list[list[str]] = [
    [],
    ["--software-name", "N"],
    ["--software-filesystem", "F", "--software-version", "7"],
    ["--no-default-software-version"],
    ["--no-default-software-version", "--software-version", "7", "--software-name", "N"],
    ["--no-default-clears-provides"],
    ["--no-default-clears-provides", "--clears-provides", "a.*", "--clears-provides", "b"],
    ["--clears-provides", "rootfs-image.*"],
    ["--no-checksum-provide"],
    ["--legacy-rootfs-image-checksum"],
    ["--no-checksum-provide", "--no-default-software-version"],
    ["-p", "z:y:x", "-p", "a:", "-d", "k:v", "-g", "G", "-G", "g1", "-G", "g2", "-N", "n1", "-N", "n2"],
    ["-s", "scripts", "-s", "ArtifactCommit_Leave_01", "-v", "3", "--no-progress"],
]


@pytest.mark.parametrize("options", ROOTFS_OPTIONS, ids=" ".join)
def test_rootfs_options_mean_what_they_mean_to_mender_artifact(run: Run, options: list[str]) -> None:
    words = ["write", "rootfs-image", "-f", "image.ext4", *COMMON, *options]
    assert run(*words, "-o", "ours.mender") == (0, "", "")
    tool(*words, "-o", "theirs.mender", "--no-progress")
    agree("ours.mender", "theirs.mender")


MODULE_OPTIONS: list[list[str]] = [
    ["-f", "image.ext4", "-f", "b.txt", "-m", "meta", "-s", "scripts", "-k", "ec.pem"],
    ["--software-filesystem", "F"],
    ["--software-name", "N", "--software-version", "7"],
    ["--no-default-software-version", "--software-version", "7"],
    ["--no-default-clears-provides"],
    ["--clears-provides", "rootfs-image.mod.*"],
]


@pytest.mark.parametrize("options", MODULE_OPTIONS, ids=" ".join)
def test_module_options_mean_what_they_mean_to_mender_artifact(run: Run, options: list[str]) -> None:
    words = ["write", "module-image", "-T", "mod", *COMMON, *options]
    assert run(*words, "-o", "ours.mender") == (0, "", "")
    tool(*words, "-o", "theirs.mender")
    agree("ours.mender", "theirs.mender")


def test_bootstrap_options_mean_what_they_mean_to_mender_artifact(run: Run) -> None:
    words = ["write", "bootstrap-artifact", *COMMON, "-p", "a:b", "-d", "c:d", "-g", "G", "--clears-provides", "x.*"]
    assert run(*words, "-o", "ours.mender") == (0, "", "")
    tool(*words, "-o", "theirs.mender")
    agree("ours.mender", "theirs.mender")


def agree(ours_path: str, theirs_path: str) -> None:
    """Both say the same, and mender-artifact takes ours."""
    (ours, our_files), (theirs, their_files) = whole(ours_path), whole(theirs_path)
    assert ours.header_info == theirs.header_info
    # The tool of Debian 12 leaves the type of a rootfs-image empty.
    assert json.loads(ours.type_info) == {**json.loads(theirs.type_info), "type": ours.payload_type}
    assert json.loads(ours.meta_data or b"0") == json.loads(theirs.meta_data or b"0")
    assert (ours.scripts, ours.signed, our_files) == (theirs.scripts, theirs.signed, their_files)
    tool("validate", *(["-k", "ec.pub"] if ours.signed else []), ours_path)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_by_name(run: Run, compression: str) -> None:
    words = ["write", "rootfs-image", "-f", "image.ext4", *COMMON, "--compression", compression, "-o", "a.mender"]
    assert run(*words) == (0, "", "")
    assert whole("a.mender")[1] == {"image.ext4": IMAGE}


def test_the_older_name_of_an_option(run: Run) -> None:
    assert run("write", "bootstrap-artifact", "-n", "r", "--device-type", "a", "--compatible-types", "b")[0] == 0
    assert whole("artifact.mender")[0].device_types == ("a", "b")


def test_the_output_has_a_name_by_default(run: Run, place: Path) -> None:
    before = {*place.iterdir()}
    assert run("write", "bootstrap-artifact", *COMMON)[0] == 0
    assert {*place.iterdir()} - before == {place / "artifact.mender"}


def test_read_tells_people(run: Run, made: Path) -> None:
    code, said, complained = run("read", made, "-k", "rsa.pub", "-k", "ec.pub")
    assert (code, complained) == (0, "")
    for line in (
        "Name: rel-1", "Format: mender", "Version: 3", "Signature: signed and verified correctly",
        "Compatible devices: [qemu, board]", "Provides group: G", "Depends on one of artifact(s): [n1]",
        "Depends on one of group(s): [g1]", "ArtifactInstall_Enter_00_x", "Type: mod", "a: b", "c: [d]",
        "Clears provides: [rootfs-image.mod.*]", '"b": 1', "name:     image.ext4", "size:     20000",
        "modified: 1970-01-01 00:00:00 UTC", "checksum: ",
    ):  # fmt: skip
        assert line in said
    assert "not verified" in run("read", made)[1]


def test_read_tells_programs(run: Run, made: Path) -> None:
    document = json.loads(run("read", "--json", made)[1])
    assert document["signature"] == "unverified"
    assert document["meta_data"] == {"a": {"b": 1}}
    assert document["depends"] == {"artifact_name": ["n1"], "artifact_group": ["g1"], "c": ["d"]}
    assert [(file["name"], file["size"]) for file in document["files"]] == [("image.ext4", 20_000), ("b.txt", 4)]
    assert json.loads(run("read", "--json", "-k", "ec.pub", made)[1])["signature"] == "verified"


def test_validate(run: Run, made: Path) -> None:
    assert run("validate", made, "-k", "ec.pub")[:2] == (0, "The artifact made.mender is valid.\n")
    assert "not verified" in run("validate", made)[1]
    assert run("validate", made, "-k", "rsa.pub")[0] == ExitCode.INVALID


def test_sign_in_place_and_elsewhere(run: Run, made: Path) -> None:
    made.chmod(0o640)
    before = made.read_bytes()
    assert run("sign", made, "-k", "rsa.pem")[0] == ExitCode.PARAMETERS
    assert made.read_bytes() == before
    assert run("sign", made, "-k", "rsa.pem", "--force", "-o", "other.mender") == (0, "", "")
    assert made.read_bytes() == before
    assert run("sign", "--force", "-k", "rsa.pem", made) == (0, "", "")
    assert made.stat().st_mode & 0o777 == 0o640
    assert whole(made, "rsa.pub") == whole("other.mender", "rsa.pub")
    tool("validate", "-k", "rsa.pub", made)


def test_dump_and_write_again(run: Run, made: Path) -> None:
    code, said, _ = run("dump", made, "--files", "f", "--meta-data", "m", "--scripts", "s", "--print0-cmdline")
    assert code == 0
    assert Path("f/image.ext4").read_bytes() == IMAGE
    assert Path("m/0000.meta-data").read_bytes() == Path("meta").read_bytes()
    assert Path("s/ArtifactCommit_Leave_01").stat().st_mode & 0o111
    words = said.split("\0")[:-1]
    assert run(*words, "--output-path", "again.mender", "--key", "ec.pem") == (0, "", "")
    assert whole("again.mender") == whole(made)
    tool(*words, "--output-path", "theirs.mender")
    agree("again.mender", "again.mender")
    assert whole("theirs.mender")[1] == whole(made)[1]
    # What is there already is left alone.
    assert run("dump", made, "--files", "f")[0] == ExitCode.CREATE


@pytest.mark.parametrize(
    "words",
    [
        ["rootfs-image", "-f", "image.ext4", *COMMON, "-g", "G", "--provides=-a:b c"],
        ["bootstrap-artifact", *COMMON, "-p", "a:b", "-d", "k:v", "-d", "k:w"],
        ["module-image", "-T", "mod", *COMMON, "--no-default-clears-provides"],
    ],
)
def test_the_command_line_says_the_same(run: Run, words: list[str]) -> None:
    assert run("write", *words, "-o", "a.mender")[0] == 0
    printed = run("dump", "a.mender", "--files", "f", "--print-cmdline")[1]
    shell = f'exec "$0" -m updater.artifacttool {printed.strip()} -o b.mender'
    subprocess.run(["sh", "-c", shell, sys.executable], check=True)
    assert whole("a.mender") == whole("b.mender")


def test_bootproof_hands_over() -> None:
    words = [sys.executable, "-m", "harness.cli", "artifact", "read", "--json", "absent"]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=root)
    assert (done.returncode, done.stdout) == (ExitCode.OPEN, "")
    assert done.stderr.startswith("The file absent cannot be read")


def test_help_is_quick_and_names_the_commands() -> None:
    heavy = ("cryptography", "zstandard", "tarfile", "updater.artifact.writer", "updater.machine")
    code = (
        "import sys; from updater.artifacttool import cli\n"
        "try: cli.main(['--help'])\n"
        f"except SystemExit: print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert all(command in done.stdout for command in ("write", "read", "validate", "sign", "dump"))
