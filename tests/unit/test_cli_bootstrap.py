# SPDX-License-Identifier: Apache-2.0
"""The set-up: what is missing is named, and an interrupted set-up does not count as done."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ENVIRONMENT", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "ready")
    return module


def test_without_root_the_missing_packages_are_named(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None if name == "sudo" else f"/usr/bin/{name}")
    monkeypatch.setattr(bootstrap, "missing_packages", lambda _: ["flex", "mmdebstrap"])
    with pytest.raises(bootstrap.Stop, match=r"flex, mmdebstrap.*sudo apt-get install"):
        bootstrap.install_packages([])


def test_another_distribution_is_refused(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _: None)
    with pytest.raises(bootstrap.Stop, match="not Debian"):
        bootstrap.install_packages([])


def test_an_interrupted_environment_is_made_again(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def interrupted(command: list[str], _: str) -> None:
        commands.append(command)
        bootstrap.ENVIRONMENT.mkdir(exist_ok=True)
        if "-e" in command:
            raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bootstrap.make_environment()
    (bootstrap.ENVIRONMENT / "half-made").touch()
    monkeypatch.setattr(bootstrap, "call", lambda *_: bootstrap.ENVIRONMENT.mkdir(exist_ok=True))
    bootstrap.make_environment()
    assert not (bootstrap.ENVIRONMENT / "half-made").exists()
    commands.clear()
    monkeypatch.setattr(bootstrap, "call", interrupted)
    bootstrap.make_environment()
    assert commands == []


@pytest.mark.parametrize(("changed", "remade"), [("where", True), ("what", False)])
def test_a_moved_checkout_is_given_an_environment_of_its_own(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, changed: str, remade: bool
) -> None:
    """The programs in an environment name its place, so a copied one would run the code it was copied from."""
    bootstrap.ENVIRONMENT.mkdir()
    (bootstrap.ENVIRONMENT / "before").touch()
    where, what = bootstrap.environment_stamp().split("\n")
    bootstrap.STAMP.write_text(f"x\n{what}" if changed == "where" else f"{where}\nx")
    monkeypatch.setattr(bootstrap, "call", lambda *_: bootstrap.ENVIRONMENT.mkdir(exist_ok=True))
    bootstrap.make_environment()
    assert (bootstrap.ENVIRONMENT / "before").exists() is not remade
    assert bootstrap.STAMP.read_text() == f"{where}\n{what}"
