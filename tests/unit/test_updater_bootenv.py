# SPDX-License-Identifier: Apache-2.0
"""The bootloader's environment: the exact writes, the refusals, and the real tools of libubootenv."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from images.stage import HERE
from updater.bootenv import BootState, UBootEnv
from updater.errors import BootEnvError, BootEnvLost, UpdaterError
from updater.process import ProgramRunner

GOOD = (
    "mender_check_saveenv_canary=1\nmender_saveenv_canary=1\nmender_boot_part=1\nupgrade_available=0\n"
    "bootlimit=1\nbootcmd=a=b\n"
)
TRIAL = GOOD.replace("available=0", "available=1").replace("part=1", "part=2")
SIZE = 0x4000


class Tools:
    """Prints an environment and takes scripts, which change it unless the medium is `deaf`."""

    def __init__(self, printed: str = GOOD, broken: tuple[str, ...] = (), *, deaf: bool = False) -> None:
        self.printed, self.broken, self.deaf = printed, broken, deaf
        self.scripts: list[str] = []

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60.0) -> str:
        assert timeout > 0
        if argv[0] in self.broken:
            raise UpdaterError(f"{argv[0]} failed.")
        if list(argv) == ["fw_printenv"]:
            return self.printed
        assert list(argv) == ["fw_setenv", "-s", "-"]
        self.scripts.append(stdin)
        if not self.deaf:
            self.printed += stdin  # the last of several values counts
        return ""


def test_what_the_bootloader_will_do() -> None:
    assert UBootEnv(Tools()).read() == BootState("a", False)
    assert UBootEnv(Tools(TRIAL)).read() == BootState("b", True)
    assert UBootEnv(Tools("mender_boot_part=2\n")).read() == BootState("b", False)
    assert UBootEnv(Tools("mender_boot_part=2\nupgrade_available=2\n")).read() == BootState("b", False)


def test_each_change_is_one_call_with_the_whole_of_it() -> None:
    tools = Tools()
    UBootEnv(tools).flip("b")
    assert tools.scripts == ["upgrade_available=1\nmender_boot_part=2\nmender_boot_part_hex=2\nbootcount=0\n"]
    tools = Tools(TRIAL)
    UBootEnv(tools).commit()
    assert tools.scripts == ["upgrade_available=0\n"]
    tools = Tools(TRIAL)
    UBootEnv(tools).restore("a")
    assert tools.scripts == ["mender_boot_part=1\nmender_boot_part_hex=1\nupgrade_available=0\n"]


def test_how_often_a_system_on_trial_may_start_is_written_with_the_flip() -> None:
    tools = Tools()
    UBootEnv(tools, boot_limit=3).flip("b")
    assert tools.scripts == [
        "upgrade_available=1\nmender_boot_part=2\nmender_boot_part_hex=2\nbootcount=0\nbootlimit=3\n"
    ]
    UBootEnv(tools, boot_limit=3).flip("a")
    assert "bootlimit" not in tools.scripts[1], "once is enough"


def test_a_lost_environment_is_written_as_a_whole_and_twice() -> None:
    tools = Tools(GOOD.replace("mender_saveenv_canary=1\n", "").replace("bootlimit=1\n", ""))
    env = UBootEnv(tools, boot_limit=2)
    for call in (env.read, lambda: env.flip("b"), env.commit, lambda: env.restore("a")):
        with pytest.raises(BootEnvLost):
            call()
    env.initialise("b")
    assert len(tools.scripts) == 2
    assert tools.scripts[0] == tools.scripts[1]
    assert env.read() == BootState("b", False)
    assert tools.scripts[0].endswith("bootcount=0\nbootlimit=2\nmender_saveenv_canary=1\n")
    with pytest.raises(BootEnvError, match="does not hold"):
        UBootEnv(Tools("", deaf=True)).initialise("a")


def test_a_write_that_the_medium_did_not_take_is_not_believed() -> None:
    for change in (lambda env: env.flip("b"), lambda env: env.commit(), lambda env: env.restore("a")):
        with pytest.raises(BootEnvError, match="does not hold what was written"):
            change(UBootEnv(Tools(TRIAL, deaf=True)))


def test_nothing_is_committed_that_is_not_on_trial() -> None:
    tools = Tools()
    with pytest.raises(BootEnvError, match="Nothing is on trial"):
        UBootEnv(tools).commit()
    assert tools.scripts == []


@pytest.mark.parametrize("part", ["", "0", "3", "a", "01", "1 "])
def test_a_part_that_is_no_slot_is_refused(part: str) -> None:
    with pytest.raises(BootEnvError, match=f"is '{part}', which is no slot"):
        UBootEnv(Tools(GOOD.replace("part=1", f"part={part}"))).read()


@pytest.mark.parametrize("canary", ["mender_saveenv_canary=0\n", ""])
def test_without_the_canary_nothing_is_read_or_written(canary: str) -> None:
    tools = Tools(GOOD.replace("mender_saveenv_canary=1\n", canary).replace("available=0", "available=1"))
    env = UBootEnv(tools)
    for change in (env.read, env.commit, lambda: env.flip("b"), lambda: env.restore("a")):
        with pytest.raises(BootEnvError, match="no canary"):
            change()
    assert tools.scripts == []
    UBootEnv(Tools(tools.printed.replace("check_saveenv_canary=1", "check_saveenv_canary=0"))).read()


def test_tools_that_fail_are_named() -> None:
    with pytest.raises(BootEnvError, match="cannot be read: fw_printenv failed"):
        UBootEnv(Tools(broken=("fw_printenv",))).read()
    with pytest.raises(BootEnvError, match="cannot be written: fw_setenv failed"):
        UBootEnv(Tools(broken=("fw_setenv",))).flip("b")


class RealTools:
    """The tools of this machine, on an environment in a plain file."""

    def __init__(self, folder: Path) -> None:
        self.copies = [folder / "copy-1", folder / "copy-2"]
        for copy in self.copies:
            copy.write_bytes(b"\xff" * SIZE)
        self.config = folder / "fw_env.config"
        self.config.write_text("".join(f"{copy} 0 {SIZE:#x}\n" for copy in self.copies))
        initial = folder / "initial"
        initial.write_text(GOOD)
        subprocess.run(["fw_setenv", "-c", self.config, "-f", initial, "-s", initial], check=True, capture_output=True)
        self.calls = 0

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60.0) -> str:
        self.calls += argv[0] == "fw_setenv"
        return ProgramRunner().run([argv[0], "-c", str(self.config), *argv[1:]], stdin=stdin, timeout=timeout)

    def variables(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.run(["fw_printenv"]).splitlines())


needs_tools = pytest.mark.skipif(shutil.which("fw_setenv") is None, reason="libubootenv-tool is not installed")


@needs_tools
def test_the_real_tools_understand_the_scripts(tmp_path: Path) -> None:
    tools = RealTools(tmp_path)
    env = UBootEnv(tools)
    assert env.read() == BootState("a", False)
    env.flip("b")
    flipped = {"mender_boot_part": "2", "mender_boot_part_hex": "2", "upgrade_available": "1", "bootcount": "0"}
    assert tools.variables().items() >= flipped.items()
    env.commit()
    assert env.read() == BootState("b", False)
    env.restore("a")
    assert env.read() == BootState("a", False)
    assert tools.variables()["bootcmd"] == "a=b"
    assert tools.calls == 3


@needs_tools
def test_a_change_goes_into_one_copy_and_leaves_the_other(tmp_path: Path) -> None:
    tools = RealTools(tmp_path)
    before = [copy.read_bytes() for copy in tools.copies]
    UBootEnv(tools).flip("b")
    after = [copy.read_bytes() for copy in tools.copies]
    changed = [number for number in (0, 1) if before[number] != after[number]]
    assert len(changed) == 1
    tools.copies[changed[0]].write_bytes(bytes(SIZE))  # torn: then it has not happened
    assert UBootEnv(tools).read() == BootState("a", False)


@needs_tools
def test_an_environment_with_two_bad_copies_is_an_error(tmp_path: Path) -> None:
    tools = RealTools(tmp_path)
    for copy in tools.copies:
        copy.write_bytes(bytes(SIZE))
    with pytest.raises(BootEnvError):
        UBootEnv(tools).read()
    with pytest.raises(BootEnvError):
        UBootEnv(tools).flip("b")


def test_the_board_is_configured_with_both_copies_that_the_bootloader_has() -> None:
    lines = [line.split() for line in (HERE / "overlay/etc/fw_env.config").read_text().splitlines() if line[:1] == "/"]
    fragment = (HERE / "boards/virt_a64/uboot/fragment.config").read_text()
    offsets = re.findall(r"CONFIG_ENV_OFFSET(?:_REDUND)?=(\w+)", fragment)
    assert [int(line[1], 16) for line in lines] == [int(offset, 16) for offset in offsets]
    assert len(lines) == 2
