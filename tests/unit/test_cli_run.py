# SPDX-License-Identifier: Apache-2.0
"""Scenarios by name: listed from their sources, found with their cases, refused with what may have been meant."""

import json
from pathlib import Path

import pytest

from harness import cli
from harness.commands.scenarios import node, scenarios
from harness.errors import HostProblem, UsageError

STORY = '"""It works out.\n\nMore."""\n\n\ndef test_one_cut(lab): ...\n\n\ndef helper(): ...\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_some_story.py").write_text(STORY)
    return tmp_path


def test_a_scenario_is_read_without_running_it(folder: Path) -> None:
    (found,) = scenarios(folder)
    assert (found.name, found.says, found.cases) == ("some-story", "It works out.", ("one-cut",))


def test_names_become_nodes(folder: Path) -> None:
    path = folder / "test_some_story.py"
    assert node("some-story", folder) == str(path)
    assert node("some-story/one-cut", folder) == f"{path}::test_one_cut"
    assert node("some-story/one-cut[a-b]", folder) == f"{path}::test_one_cut[a-b]"


@pytest.mark.parametrize(("wanted", "meant"), [("some-stroy", "some-story"), ("some-story/one-cat", "one-cut")])
def test_a_wrong_name_brings_the_right_one(folder: Path, wanted: str, meant: str) -> None:
    with pytest.raises(UsageError, match=meant):
        node(wanted, folder)


def test_without_scenarios_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostProblem, match="checkout"):
        scenarios(tmp_path / "none")


def test_the_list_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--list", "--json"]) == 0
    listed = {one["name"]: one["says"] for one in json.loads(capsys.readouterr().out)}
    assert "prove" in listed
    assert all(listed.values())


def test_an_unknown_mutant_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "prove", "--mutant", "no-flash"]) == 2
    assert "no-flush" in capsys.readouterr().err
