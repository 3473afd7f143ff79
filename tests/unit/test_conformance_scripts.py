# SPDX-License-Identifier: Apache-2.0
"""The update module and the state scripts of a case, run by a parent that takes the updater's part."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import Deadline, poll
from tests.conformance.conditions import Conditions, read_conditions
from tests.conformance.scripts import Places, artifact_scripts, module, rootfs_scripts


class Shell:
    """Runs a program's text with a parent of its own, which takes the updater's part."""

    def __init__(self, folder: Path, conditions: Conditions) -> None:
        self.folder, self.conditions, self.places = folder, conditions, Places(folder)
        self.places.done.mkdir()
        self.store = folder / "store.json"

    def run(self, text: str, *words: str) -> tuple[int, str]:
        """The exit code, -9 if the parent was killed, and what was printed."""
        program = self.folder / "program"
        program.write_text(text)
        program.chmod(0o755)
        parent = [sys.executable, "-c", "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"]
        ended = subprocess.run(
            [*parent, str(program), *words], cwd=self.folder, capture_output=True, text=True, timeout=30
        )
        return ended.returncode, ended.stdout

    def module(self, state: str) -> tuple[int, str]:
        return self.run(module(self.conditions, self.places), state)

    def script(self, name: str) -> int:
        texts = {
            **rootfs_scripts(self.conditions, self.places, self.store),
            **artifact_scripts(self.conditions, self.places, self.store),
        }
        return self.run(texts[f"{name}_00"])[0]

    def journal(self) -> list[str]:
        return self.places.journal.read_text().split()


def test_the_module_answers_and_reboots_and_says_so(tmp_path: Path) -> None:
    shell = Shell(tmp_path, Conditions(file_sizes="Yes"))
    answers = {"ProvidePayloadFileSizes": "Yes\n", "SupportsRollback": "Yes\n", "NeedsArtifactReboot": "Yes\n"}
    assert {state: shell.module(state)[1] for state in answers} == answers
    assert shell.module("ArtifactReboot")[0] == shell.module("ArtifactRollbackReboot")[0] == -9
    assert shell.module("ArtifactInstall") == shell.module("SomethingNew") == (0, "")
    assert shell.journal() == [*answers, "ArtifactReboot", "ArtifactRollbackReboot", "ArtifactInstall", "SomethingNew"]
    lacking = replace(shell.conditions, rollback=False, reboot=False, file_sizes="")
    shell.conditions = lacking
    assert [shell.module(state)[1] for state in answers] == ["", "No\n", "No\n"]


def test_a_module_takes_what_it_is_given(tmp_path: Path) -> None:
    shell = Shell(tmp_path, Conditions())
    assert shell.module("Download")[0] == 0
    (tmp_path / "streams").mkdir()
    for name in ("stream-next", "streams/file"):
        os.mkfifo(tmp_path / name)
    feed = "echo streams/file 7 > stream-next; printf content > streams/file; : > stream-next"
    with subprocess.Popen(["sh", "-c", feed], cwd=tmp_path) as feeder:
        assert shell.module("DownloadWithFileSizes")[0] == 0
        assert feeder.wait(10) == 0


def test_faults_happen_once_or_for_ever(tmp_path: Path) -> None:
    text = "err=I,C* kill=R+,D hang=F"
    shell = Shell(tmp_path, read_conditions(text, Conditions()))
    assert [shell.module("ArtifactInstall")[0] for _ in range(2)] == [1, 0]
    assert [shell.module("ArtifactCommit")[0] for _ in range(2)] == [1, 1]
    assert [shell.module("Download")[0] for _ in range(2)] == [-9, 0]
    assert [shell.script("ArtifactReboot_Enter") for _ in range(2)] == [-9, 0]
    assert shell.script("ArtifactInstall_Enter") == 0
    assert shell.journal()[-3:] == ["ArtifactReboot_Enter", "ArtifactReboot_Enter", "ArtifactInstall_Enter"]


@pytest.mark.parametrize(
    ("records", "script"),
    [(1, "Download_Enter"), (3, "Download_Enter"), (4, "Download_Leave"), (5, "ArtifactInstall_Leave")],
)
def test_the_store_becomes_unwritable_where_the_case_wants_it(tmp_path: Path, records: int, script: str) -> None:
    shell = Shell(tmp_path, Conditions(unwritable_after=records))
    others = {"Download_Enter", "Download_Leave", "ArtifactInstall_Leave"} - {script}
    assert [shell.script(name) for name in others] == [0, 0]
    shell.store.write_text("old")
    try:
        assert shell.script(script) == 0
        with pytest.raises(OSError, match="Read-only file system"):
            shell.store.write_text("new")
        assert shell.store.read_text() == "old"
        assert shell.module("ArtifactReboot")[0] == 0
    finally:
        subprocess.run(["umount", str(shell.store)], check=True)


def test_idle_is_entered_until_all_deployments_were_handed_out(tmp_path: Path) -> None:
    shell = Shell(tmp_path, Conditions(deployments=2))
    shell.places.journal.write_text("[next 200]\n")
    assert shell.script("Idle_Enter") == 0
    assert not shell.places.over.exists()
    with shell.places.journal.open("a") as journal:
        journal.write("[next 200]\n")
    path = tmp_path / "idle"
    path.write_text(rootfs_scripts(shell.conditions, shell.places, shell.store)["Idle_Enter_00"])
    path.chmod(0o755)
    with subprocess.Popen([sys.executable, "-c", f"import subprocess; subprocess.run([{str(path)!r}])"]) as parent:
        assert poll(shell.places.over.exists, Deadline(30))
        assert parent.poll() is None  # it is kept there
        parent.kill()
    assert shell.places.over.exists()
    assert shell.places.journal.read_text().count("Idle_Enter") == 1
