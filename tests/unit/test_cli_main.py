# SPDX-License-Identifier: Apache-2.0
"""The command line itself: quick help, one sentence for each mistake, one exit code for each meaning."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from harness import cli
from harness.commands import images
from harness.errors import ClaimViolated, GuestFault, HostProblem, Inconclusive
from harness.exitcodes import ExitCode
from images.errors import ImageError

HEAVY = ("allure", "docker", "fabric", "paramiko", "pytest", "requests", "rich", "uvicorn", "cryptography")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import json, sys; from harness.cli import parser; parser().format_help(); "
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    "words", [[], ["dance"], ["images"], ["images", "build", "bord"], ["run"], ["run", "clena-update"], ["shell"]]
)
def test_a_mistake_is_one_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == ExitCode.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HostProblem("No."), 4),
        (ImageError("No."), 4),
        (GuestFault("No."), 1),
        (ClaimViolated("No."), 1),
        (Inconclusive("No."), 3),
        (KeyboardInterrupt(), 130),
        (RuntimeError("No."), 4),
    ],
)
def test_errors_become_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(images, "_list", _raising(error))
    assert cli.main(["images", "list"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_the_traceback_is_there_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(images, "_list", _raising(RuntimeError("No.")))
    assert cli.main(["-v", "images", "list"]) == ExitCode.HOST
    assert "Traceback" in capsys.readouterr().err


def _raising(error: BaseException) -> Callable[[object], int]:
    def perform(_: object) -> int:
        raise error

    return perform
