# SPDX-License-Identifier: Apache-2.0
"""Makes pytest quiet, and keeps what came of a run: the command says it in its own words."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.exitcodes import ExitCode

if TYPE_CHECKING:
    from harness.evidence import Row

NO_TESTS = int(pytest.ExitCode.NO_TESTS_COLLECTED)
USAGE = int(pytest.ExitCode.USAGE_ERROR)


class Teller:
    """A plugin for one run of pytest."""

    def __init__(self) -> None:
        self.seed: int | None = None
        self.rows: list[Row] = []
        self.folders: list[Path] = []
        self.findings: list[str] = []  # what scenarios found, one text each
        self.unexpected: list[str] = []  # what kept them from running

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Let pytest's own reporter talk to nobody.  It stays, because other plugins expect it."""
        plugins = config.pluginmanager
        plugins.unregister(name="terminalreporter")
        plugins.register(pytest.TerminalReporter(config, io.StringIO()), "terminalreporter")
        # Not before: pytest itself must be the first to import its plugins.
        from harness.pytest_plugin import SEED

        self.seed = config.stash[SEED]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.unexpected.append(f"{report.nodeid} cannot be loaded:\n{report.longreprtext}")

    def pytest_internalerror(self, excrepr: object) -> None:
        self.unexpected.append(f"The run broke:\n{excrepr}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.findings.append(report.longreprtext.strip())

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, config: pytest.Config) -> None:
        """What was found comes before the table."""
        from rich.console import Console

        from harness.pytest_plugin import FOLDERS, ROWS

        rows: list[Row] = config.stash[ROWS]
        folders: list[Path] = config.stash[FOLDERS]
        self.rows, self.folders = rows, folders
        console = Console(file=sys.stdout, highlight=False, markup=False)
        for finding in self.findings:
            console.print(f"\n{finding}", style="bold red", soft_wrap=True)

    def exit_code(self, status: int) -> ExitCode:
        """pytest's status in our words; where a scenario was judged, the plugin has done that already."""
        if status == ExitCode.INTERRUPTED:
            # pytest also calls it an interruption when a scenario cannot be loaded.
            return ExitCode.HOST if self.unexpected else ExitCode.INTERRUPTED
        if self.unexpected:
            return ExitCode.HOST
        if status in (NO_TESTS, USAGE) and not self.findings:
            return ExitCode.USAGE
        return ExitCode(status) if status in list(ExitCode) else ExitCode.HOST
