# SPDX-License-Identifier: Apache-2.0
"""A real browser in front of a real server that has a fleet to show."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.fleet import Fleet, seed
from tests.protocol.conftest import PASSWORD, Operator, Server
from tests.protocol.conftest import prepared as prepared
from tests.protocol.conftest import write_artifact as write_artifact

CHROMIUM = Path("/usr/bin/chromium")
WORDS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1100, "height": 800}
PHONE = {"width": 360, "height": 740}
# A machine that is busy may take its time; nothing here depends on how long something takes.
PATIENCE = 60_000


# Playwright's loop runs in this thread for as long as it lives, and no other test may have a loop then: it must end
# with the module.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail("Chromium is missing: install it with make setup-tests.", pytrace=False)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(WORDS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(shutil.copytree(prepared, tmp_path_factory.mktemp("page") / "server"))
    assert server.add_user("looker", "read-only").returncode == 0
    server.start()
    yield server
    assert server.end(signal.SIGTERM) == 0


@pytest.fixture(scope="module")
def operator(server: Server) -> Operator:
    return Operator.logged_in(server)


@pytest.fixture(scope="module")
def fleet(server: Server, operator: Operator, write_artifact) -> Fleet:
    return seed(server, operator, write_artifact)


class Visit:
    """A person's browser at one server; every mistake of the page's scripts is a mistake of the test."""

    def __init__(self, browser: Browser, server: Server, **options: object) -> None:
        self.context = browser.new_context(
            **{"viewport": DESKTOP, "ignore_https_errors": True, "base_url": server.url, **options}
        )
        self.context.set_default_timeout(PATIENCE)
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)

    def log_in(self, name: str = "operator") -> Page:
        self.page.goto("/ui/login")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Fleet")
        return self.page


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visit]:
    visit = Visit(browser, server)
    yield visit
    visit.context.close()
    # A refusal of the API is shown to the person, and noted by the browser as well.
    assert [one for one in visit.problems if "the server responded with a status of 4" not in one] == []
