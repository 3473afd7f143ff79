# SPDX-License-Identifier: Apache-2.0
"""pytest runs the scenarios: options, the `lab` fixture, and an outcome that tells violated from inconclusive."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import sys
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import allure
import pytest
from rich.console import Console

from harness.errors import BootproofError
from harness.evidence import Events, Row, RunFolder, table
from harness.exitcodes import ExitCode
from harness.lab import Lab
from harness.narrator import Narrator
from images.catalogue import Catalogue
from images.errors import ImageError
from images.stage import Workshop

ROWS = pytest.StashKey[list[Row]]()
FOLDERS = pytest.StashKey[list[Path]]()
OUTCOMES = pytest.StashKey[list[ExitCode]]()
SEED = pytest.StashKey[int]()
REPORTS = pytest.StashKey[dict[str, pytest.TestReport]]()
WORKER_KEY = "bootproof"
OUTCOME = "bootproof-outcome"  # a property of a report
# The first of these that happened is what the whole run ends with.
WORST_FIRST = (ExitCode.VIOLATED, ExitCode.HOST, ExitCode.USAGE, ExitCode.INCONCLUSIVE)


class Counter:
    """Hears of every outcome as it comes, so that a worker of pytest-xdist that dies later takes none with it."""

    def __init__(self, outcomes: list[ExitCode]) -> None:
        self._outcomes = outcomes

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties).get(OUTCOME)
        if report.failed and isinstance(found, int):
            self._outcomes.append(ExitCode(found))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bootproof")
    group.addoption("--seed", type=int, help="decides everything random; printed first and last")
    group.addoption("--mutant", metavar="NAME", help="run with a planted fault, which the scenario must find")
    group.addoption("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where run folders go")
    group.addoption("--keep", action="store_true", help="keep disks and write logs of scenarios that held, too")
    group.addoption("--tell", action="store_true", help="tell what happens as it happens")


def pytest_configure(config: pytest.Config) -> None:
    seed = config.getoption("--seed")
    given = getattr(config, "workerinput", {}).get(WORKER_KEY, seed)  # all workers of a run share one seed
    config.stash[SEED] = secrets.randbits(31) if given is None else given
    config.stash[ROWS], config.stash[FOLDERS], config.stash[OUTCOMES] = [], [], []
    config.pluginmanager.register(Counter(config.stash[OUTCOMES]), "bootproof-counter")


def pytest_report_header(config: pytest.Config) -> str:
    mutant = config.getoption("--mutant")
    return f"bootproof seed {config.stash[SEED]}" + (f", planted fault '{mutant}'" if mutant else "")


@pytest.fixture(scope="session")
def catalogue(request: pytest.FixtureRequest) -> Catalogue:
    """The images; with the planted fault if one is named."""
    narrator = Narrator(request.config.getoption("--tell"))
    return Catalogue(Workshop(say=narrator.say), request.config.getoption("--mutant"))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """This scenario's own seed, from the run's seed and the scenario's name."""
    return zlib.crc32(f"{request.config.stash[SEED]}:{request.node.name}".encode())


@pytest.fixture
def lab(request: pytest.FixtureRequest, catalogue: Catalogue, seed: int) -> Iterator[Lab]:
    """A laboratory with a new board that has joined its server and runs version A."""
    config = request.config
    catalogue = _as_original(request, catalogue)
    folder = RunFolder(config.getoption("--runs"), _name(request.node), config.stash[SEED])
    config.stash[FOLDERS].append(folder.path)
    seeds = {"seed": config.stash[SEED], "scenario_seed": seed}
    folder.write("about.json", {"scenario": request.node.nodeid, **seeds, **about(catalogue)})
    shutil.copyfile(catalogue.packages_lock(), folder / "packages.json")
    events = Events(folder / "events.jsonl", (Narrator(config.getoption("--tell")).hear,))
    try:
        with contextlib.closing(events), contextlib.closing(Lab(catalogue, folder, events, seed)) as lab:
            try:
                lab.join()
                yield lab
            finally:
                config.stash[ROWS].extend(lab.rows)
    finally:
        report = request.node.stash.get(REPORTS, {}).get("call")
        if report is not None and report.passed and not config.getoption("--keep"):
            folder.drop_bulk()
        folder.attach()


def _as_original(request: pytest.FixtureRequest, catalogue: Catalogue) -> Catalogue:
    """The images for a scenario that shows what Mender's client loses: with the fault in them that does the same."""
    marker = request.node.get_closest_marker("original")
    if marker is None:
        return catalogue
    name = str(marker.args[0])
    if catalogue.planted not in (None, name):
        pytest.skip(f"It shows the planted fault '{name}', and this run has '{catalogue.planted}'.")
    return Catalogue(catalogue.workshop, name)


def about(catalogue: Catalogue) -> dict[str, object]:
    """What a run was made with."""
    from images.run import run

    return {
        "qemu": run(["qemu-system-aarch64", "--version"]).splitlines()[0],
        "mutant": catalogue.planted,
        "uboot": {"entry": catalogue.uboot().parent.name, **json.loads(catalogue.uboot_lock().read_text())},
        "board_image": catalogue.board_image().parent.name,
    }


def _claim(node: pytest.Item) -> str:
    """What a scenario claims: the first line of its docstring, with the case if there are several."""
    claim = str(getattr(node, "obj", None).__doc__ or node.name).strip().splitlines()[0]
    case = node.name.partition("[")[2].rstrip("]")
    return f"{claim} ({case})" if case else claim


def _name(node: pytest.Item) -> str:
    """`test_cut_while_writing[7]` is `cut-while-writing-7` in the name of a folder."""
    words = node.name.removeprefix("test_").replace("_", "-")
    return "".join(letter if letter.isalnum() else "-" for letter in words).strip("-")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    item.stash.setdefault(REPORTS, {})[report.when or ""] = report
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.when == "call" and isinstance(lab, Lab):
        allure.dynamic.title(_claim(item))  # type: ignore[no-untyped-call]
        if lab.rows:
            lab.folder.picture(lab.rows, f"{_name(item)}, seed {item.config.stash[SEED]}")
    if call.excinfo is not None and report.failed:
        error = call.excinfo.value
        if "catalogue" in getattr(item, "fixturenames", ()):  # a scenario, not a test of the tools
            report.user_properties.append((OUTCOME, int(_meaning(error))))  # travels to whoever counts
        if isinstance(error, BootproofError | ImageError):
            # What the board did is the finding; where in the harness it was noticed is not.
            report.longrepr = f"{type(error).__name__}: {error}"
    return report  # type: ignore[return-value]


def _meaning(error: BaseException) -> ExitCode:
    if isinstance(error, BootproofError):
        return error.exit_code
    return ExitCode.VIOLATED if isinstance(error, AssertionError) else ExitCode.HOST


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker of pytest-xdist begins: give it the run's seed."""
    node.workerinput[WORKER_KEY] = node.config.stash[SEED]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has ended: take over what it found."""
    stash = node.config.stash
    found = getattr(node, "workeroutput", {}).get(WORKER_KEY)
    if found is None:  # it died on the way
        stash[OUTCOMES].append(ExitCode.HOST)
        return
    stash[ROWS].extend(Row(**row) for row in found["rows"])
    stash[FOLDERS].extend(Path(folder) for folder in found["folders"])


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Scenarios end with our exit codes; the tests of the tools with pytest's."""
    stash = session.config.stash
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[WORKER_KEY] = {
            "rows": [asdict(row) for row in stash[ROWS]],
            "folders": [str(folder) for folder in stash[FOLDERS]],
        }
        return
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        session.exitstatus = ExitCode.INTERRUPTED
    elif exitstatus == pytest.ExitCode.TESTS_FAILED and stash[OUTCOMES]:
        session.exitstatus = next((code for code in WORST_FIRST if code in stash[OUTCOMES]), ExitCode.HOST)


def pytest_terminal_summary(config: pytest.Config) -> None:
    if not config.stash[FOLDERS]:
        return
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150, soft_wrap=False)
    console.print()
    rows: list[Row] = config.stash[ROWS]
    if rows:
        console.print(table(rows))
    console.print(f"\nseed {config.stash[SEED]}")
    for folder in config.stash[FOLDERS]:
        console.print(f"run folder {folder}", soft_wrap=True)
