# SPDX-License-Identifier: Apache-2.0
"""Which scenarios there are, read from their sources without importing them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from harness.commands.output import close_matches
from harness.errors import HostProblem, UsageError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "scenarios"
PREFIX = "test_"


@dataclass(frozen=True)
class Scenario:
    """One story: its name, its first sentence, the names of its cases."""

    name: str
    says: str
    cases: tuple[str, ...]
    path: Path


def scenarios(folder: Path = FOLDER) -> list[Scenario]:
    """All of them, by name.

    Raises:
        HostProblem: there is no folder with scenarios.
    """
    if not folder.is_dir():
        raise HostProblem(
            f"There are no scenarios at {folder}.", "Run bootproof from a checkout: install it with 'pip install -e .'."
        )
    return [_read(path) for path in sorted(folder.glob(f"{PREFIX}*.py"))]


def _read(path: Path) -> Scenario:
    name = _spoken(path.stem)
    try:
        module = ast.parse(path.read_text())
    except SyntaxError as error:
        return Scenario(name, f"(cannot be read: {error.msg}, line {error.lineno})", (), path)
    says = (ast.get_docstring(module) or "").partition("\n")[0]
    tests = [one.name for one in module.body if isinstance(one, ast.FunctionDef) and one.name.startswith(PREFIX)]
    return Scenario(name, says, tuple(_spoken(test) for test in tests), path)


def node(wanted: str, folder: Path = FOLDER) -> str:
    """What pytest knows a scenario by; `wanted` is `name`, `name/case` or `name/case[parameters]`.

    Raises:
        UsageError: there is no such scenario, or no such case in it.
    """
    name, _, case = wanted.partition("/")
    known = {scenario.name: scenario for scenario in scenarios(folder)}
    if name not in known:
        raise UsageError(f"There is no scenario '{name}'.", close_matches(name, known))
    scenario = known[name]
    if not case:
        return str(scenario.path)
    function, bracket, parameters = case.partition("[")
    if function not in scenario.cases:
        raise UsageError(f"Scenario '{name}' has no case '{function}'.", close_matches(function, scenario.cases))
    return f"{scenario.path}::{PREFIX}{function.replace('-', '_')}{bracket}{parameters}"


def _spoken(identifier: str) -> str:
    """`test_clean_update` is called clean-update."""
    return identifier.removeprefix(PREFIX).replace("_", "-")
