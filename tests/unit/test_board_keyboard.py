# SPDX-License-Identifier: Apache-2.0
"""Commands typed on a serial console: their output and exit code, whatever else comes on it."""

from pathlib import Path

import pytest

from harness.board.console import Console
from harness.board.keyboard import LONGEST, PROMPT, Keyboard, Typed, fits
from harness.clock import Deadline
from harness.errors import GuestFault
from tests.unit.typing_board import typing_board


def ready(console: Console) -> Keyboard:
    """A keyboard of a board that is up."""
    keyboard = Keyboard(console, PROMPT)
    keyboard.wait_ready(Deadline(5))
    return keyboard


@pytest.mark.parametrize(
    ("command", "printed", "code"),
    [
        ("true", "", 0),
        ("echo one; echo two; exit 3", "one\ntwo", 3),
        ("""printf '%s' "it's $((1 + 1))" """, "it's 2", 0),
        ("c=5; false", "", 1),
        (r"printf '\033[31mERRO\033[0m[0002] failed\n'", "ERRO[0002] failed", 0),
    ],
)
def test_output_and_exit_code(command: str, printed: str, code: int, tmp_path: Path) -> None:
    with typing_board(tmp_path) as (_, console):
        assert ready(console).run(command, Deadline(5)) == Typed(printed, code)


def test_each_command_has_its_own_end(tmp_path: Path) -> None:
    with typing_board(tmp_path) as (_, console):
        keyboard = ready(console)
        found = [keyboard.run(f"echo {number}; exit {number}", Deadline(5)) for number in range(4)]
    assert found == [Typed(str(number), number) for number in range(4)]


def test_a_command_that_no_shell_takes(tmp_path: Path) -> None:
    with typing_board(tmp_path) as (_, console):
        found = ready(console).run("if ; then (", Deadline(5))
    assert found is not None
    assert found.code == 2


def test_the_kernel_may_speak_within_the_last_line(tmp_path: Path) -> None:
    def spoils(said: bytes) -> bytes:
        return said.replace(b"[1:", b"[1[  12.3] EXT4-fs: mounted\r\n:", 2).replace(b"said", b"said\r\n[ 12.4] more", 1)

    with typing_board(tmp_path, spoils) as (_, console):
        found = ready(console).run("echo said; exit 4", Deadline(5))
    assert found is not None
    assert found.code == 4
    assert "said\n[ 12.4] more" in found.printed


def test_a_board_that_starts_anew_before_the_end(tmp_path: Path) -> None:
    with typing_board(tmp_path) as (_, console):
        keyboard = ready(console)
        assert keyboard.run("install && reboot", Deadline(5)) is None
        keyboard.wait_ready(Deadline(5))
        assert keyboard.run("exit 6", Deadline(5)) == Typed("", 6)
        keyboard.reboot(Deadline(5))
        keyboard.wait_ready(Deadline(5))


def test_a_board_that_does_not_come_up(tmp_path: Path) -> None:
    with (
        typing_board(tmp_path) as (_, console),
        pytest.raises(GuestFault, match="The console did not show 'login: '"),
    ):
        Keyboard(console, "login: ").wait_ready(Deadline(0.2))


def test_a_command_that_does_not_end(tmp_path: Path) -> None:
    with typing_board(tmp_path) as (_, console):
        keyboard = ready(console)
        with pytest.raises(GuestFault, match="'sleep 1' did not end on the board within 0 s; the console ends: "):
            keyboard.run("sleep 1", Deadline(0.2))


@pytest.mark.parametrize(
    ("command", "can"),
    [("mender install /data/x", True), ("two\nlines", False), ("tab\t", False), ("x" * (LONGEST + 1), False)],
)
def test_what_can_be_typed(command: str, can: bool) -> None:
    assert fits(command) is can
