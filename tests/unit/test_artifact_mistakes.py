# SPDX-License-Identifier: Apache-2.0
"""`bootproof artifact` called wrongly or let down: one sentence, one exit code for each meaning, and nothing left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.artifact_bench import COMMON, Run, furnish, make, runner, whole
from tests.unit.artifact_parts import Parts, inserted
from updater.artifacttool import writing
from updater.artifacttool.exits import ExitCode


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return furnish(tmp_path, monkeypatch)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def made(run: Run) -> Path:
    return make(run)


def corrupted() -> bytes:
    return Parts(outer=inserted(9, ("other", b""))).build()


PREPARED: dict[str, Callable[[], bytes]] = {
    "corrupt.mender": corrupted,
    "old.mender": lambda: Parts(version=b'{"format":"mender","version":2}').build(),
    "augmented.mender": lambda: Parts(outer=inserted(2, ("manifest-augment", b""))).build(),
    "plain.mender": lambda: Parts().build(),
    "rubbish.pem": lambda: b"rubbish",
    "clears-nothing.mender": lambda: Parts(
        header=[
            Parts().header[0],
            ("headers/0000/type-info", b'{"type":"mod","clears_artifact_provides":[]}'),
        ]
    ).build(),
}
ROOTFS = ["write", "rootfs-image", "-f", "image.ext4", *COMMON]
MODULE = ["write", "module-image", "-T", "mod", *COMMON]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ([], 1, "The following arguments are required: COMMAND."),
        (["dance"], 1, "See 'bootproof artifact --help'."),
        (["write"], 1, "required: KIND"),
        (["write", "rootfs-image", "-f", "image.ext4", "-n", "a"], 1, "-t/--compatible-types"),
        ([*ROOTFS, "--compression", "bz2"], 1, "bz2"),
        ([*ROOTFS, "-v", "three"], 1, "three"),
        ([*ROOTFS, "-p", "novalue"], 1, "--provides 'novalue' is not of the form KEY:VALUE."),
        ([*ROOTFS, "-p", "a:b", "-p", "a:c"], 1, "--provides states 'a' twice."),
        ([*ROOTFS, "-s", "b.txt"], 1, "The state script name 'b.txt' is not one an artifact may carry, such as"),
        ([*ROOTFS, "-s", "scripts", "-s", "scripts"], 1, "Two state scripts are named ArtifactInstall_Enter_00_x."),
        ([*ROOTFS, "-k", "rubbish.pem"], 1, "The private key is not a readable PEM key."),
        ([*ROOTFS, "-n", ""], 1, "Artifact_name of header-info is empty."),
        ([*MODULE, "-T", "../x"], 1, "not a legal name of an update module"),
        ([*MODULE, "-m", "b.txt"], 1, "Meta-data is not valid JSON."),
        ([*MODULE, "-f", "b.txt", "-f", "./b.txt"], 1, "Two payload files are named 'b.txt'"),
        (["validate", "plain.mender", "-k", "rubbish.pem"], 1, "The public key is not a readable PEM key."),
        ([*ROOTFS, "-v", "2"], 2, "format version 2 are not supported"),
        (["read", "old.mender"], 2, "format version is not 3"),
        ([*ROOTFS, "-o", "nowhere/a.mender"], 3, "nowhere/a.mender cannot be created (No such file or directory)."),
        ([*ROOTFS, "-o", "scripts"], 3, "scripts is not a regular file."),
        (["dump", "plain.mender", "--files", "meta"], 3, "meta cannot be made"),
        (["dump", "plain.mender", "--files", "."], 3, "b.txt exists already"),
        (["read", "absent.mender"], 4, "The file absent.mender cannot be read (No such file or directory)."),
        (["read", "scripts"], 4, "The file scripts cannot be read (Is a directory)."),
        (["validate", "plain.mender", "-k", "absent.pub"], 4, "absent.pub cannot be read"),
        (["write", "rootfs-image", "-f", "absent", *COMMON], 4, "The file absent cannot be read"),
        ([*MODULE, "-f", "scripts"], 4, "scripts is not a regular file."),
        ([*MODULE, "-m", "absent"], 4, "The file absent cannot be read"),
        ([*MODULE, "-s", "absent"], 4, "The file absent cannot be read"),
        (["read", "corrupt.mender"], 5, "The artifact has the unknown entry 'other'."),
        (["read", "image.ext4"], 5, "This does not begin as a Mender artifact does: the artifact holds a header"),
        (["validate", "plain.mender", "-k", "ec.pub"], 5, "The artifact is not signed"),
        (["validate", "b.txt"], 5, "This does not begin as a Mender artifact does: the artifact is truncated."),
        (["sign", "corrupt.mender", "-k", "ec.pem"], 5, "The artifact has the unknown entry 'other'."),
        (["dump", "corrupt.mender", "--files", "f"], 5, "The artifact has the unknown entry 'other'."),
        (["read", "augmented.mender"], 6, "The artifact is augmented"),
        (["write", "rootfs-image", "-f", "ssh://root@board", *COMMON], 6, "Snapshots of a device over ssh"),
        ([*ROOTFS, "-S", "-p 22"], 6, "The option -S is not supported."),
        ([*MODULE, "-f", "ssh://root@board"], 6, "Snapshots of a device over ssh"),
        ([*MODULE, "--augment-type", "x"], 6, "The option --augment-type is not supported."),
        (["sign", "plain.mender", "--key-pkcs11", "x"], 6, "The option --key-pkcs11 is not supported."),
        (["dump", "clears-nothing.mender", "--print-cmdline"], 6, "clears nothing"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    run: Run, place: Path, words: list[str], code: int, sentence: str
) -> None:
    for name, content in PREPARED.items():
        (place / name).write_bytes(content())
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    ended, said, complained = run(*words)
    assert (ended, said) == (code, "")
    assert sentence in complained
    assert len(complained.splitlines()) == 1
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_machine_that_fails_is_told_and_nothing_is_left(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_artifact", full)
    before = {*place.iterdir()}
    code, _, complained = run(*ROOTFS)
    assert code == ExitCode.SYSTEM
    assert complained.startswith("This machine failed: No space left on device.")
    assert {*place.iterdir()} == before


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (RuntimeError("no"), 7), (MemoryError(), 7)])
def test_no_error_is_a_traceback(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(writing, "write_artifact", fail)
    before = {*place.iterdir()}
    ended, _, complained = run(*ROOTFS)
    assert ended == code
    assert len(complained.splitlines()) == 1
    assert {*place.iterdir()} == before


def test_an_output_is_replaced_only_by_a_whole_one(run: Run, made: Path) -> None:
    before = made.read_bytes()
    assert run("write", "module-image", "-T", "a/b", *COMMON, "-o", made)[0] == ExitCode.PARAMETERS
    assert made.read_bytes() == before


def test_a_link_stays_a_link(run: Run, made: Path) -> None:
    Path("link").symlink_to(made)
    assert run("sign", "link", "-k", "rsa.pem", "--force")[0] == 0
    assert Path("link").is_symlink()
    whole(made, "rsa.pub")


@pytest.mark.parametrize(
    "words",
    [
        ["write", "rootfs-image", "-f", "image.ext4", *COMMON, "-o", "image.ext4"],
        ["write", "module-image", "-T", "t", "-f", "b.txt", "-f", "image.ext4", *COMMON, "-o", "./b.txt"],
        ["write", "module-image", "-T", "t", "-f", "b.txt", "-m", "meta", *COMMON, "-o", "meta"],
        ["write", "rootfs-image", "-f", "image.ext4", "-k", "ec.pem", *COMMON, "-o", "ec.pem"],
        ["write", "bootstrap-artifact", "-k", "ec.pem", *COMMON, "-o", "ec.pem"],
        ["sign", "made.mender", "-k", "ec.pem", "-o", "ec.pem", "--force"],
    ],
    ids=lambda words: " ".join(words[:2] + words[-2:]),
)
def test_what_is_read_is_not_written_over(run: Run, made: Path, words: list[str]) -> None:
    assert made.exists()
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    code, _, complained = run(*words)
    assert (code, complained.endswith("is also read, and would be lost. Choose another output.\n")) == (3, True), (
        complained
    )
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


@pytest.mark.parametrize("name", ["a b", "a ", "\ta"])
def test_a_name_with_white_space_is_not_written(run: Run, name: str) -> None:
    words = ["write", "bootstrap-artifact", "-t", "board", "-n", name, "-o", "x.mender"]
    code, _, complained = run(*words)
    assert (code, "has white space in it" in complained) == (ExitCode.PARAMETERS, True)


def test_a_number_that_parsers_disagree_on_is_not_written(run: Run) -> None:
    Path("beyond").write_text('{"a": 1e999}')
    code, _, complained = run(
        "write", "module-image", "-T", "t", "-f", "b.txt", "-m", "beyond", *COMMON, "-o", "x.mender"
    )
    assert (code, "is not valid JSON" in complained) == (ExitCode.PARAMETERS, True)


def test_a_key_that_is_another_is_not_the_artifacts_fault(run: Run, made: Path) -> None:
    code, _, complained = run("validate", made, "-k", "rsa.pub")
    assert (code, complained.endswith("Give the key that belongs to its signature, or sign it.\n")) == (5, True)
