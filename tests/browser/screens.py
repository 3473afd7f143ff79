# SPDX-License-Identifier: Apache-2.0
"""Pictures of every page, for people to look at: python -m tests.browser.screens FOLDER [PAGE...]

Each page is taken whole, on a desktop and on a phone, in light and in dark; of a phone also what fits on its screen.
"""

import signal
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import CHROMIUM, DESKTOP, PHONE, WORDS, Visit
from tests.browser.fleet import seed
from tests.protocol.conftest import Operator, Server
from updater.artifact import Compression, write_rootfs_artifact


def main(folder: Path, wanted: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        server = Server(Path(scratch) / "server")
        assert server.add_user("operator").returncode == 0
        server.start()
        try:
            pages = seeded(server, Path(scratch))
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(WORDS))
            for name in wanted or pages:
                take(browser, server, name, pages[name], folder)
            browser.close()
        finally:
            server.end(signal.SIGTERM)


def seeded(server: Server, scratch: Path) -> dict[str, str]:
    """The pages of a fleet, by short names."""

    def write(name: str, size: int) -> Path:
        image, path = scratch / "image", scratch / f"{name}.mender"
        image.write_bytes(b"\x5a" * size)
        with path.open("wb") as out:
            write_rootfs_artifact(
                out, image=image, name=name, device_types=["qemu-board"], compression=Compression.NONE
            )
        return path

    return {"login": "/ui/login", **seed(server, Operator.logged_in(server), write).pages}


def take(browser: Browser, server: Server, name: str, path: str, folder: Path) -> None:
    for kind, size in (("desktop", DESKTOP), ("phone", PHONE)):
        for scheme in ("light", "dark"):
            visit = Visit(browser, server, viewport=size, color_scheme=scheme, device_scale_factor=1)
            if name != "login":
                visit.log_in()
            visit.page.goto(path)
            prepare(visit.page, name)
            visit.page.screenshot(path=folder / f"{name}-{kind}-{scheme}.png", full_page=True)
            if kind == "phone":
                visit.page.screenshot(path=folder / f"{name}-screen-{scheme}.png")
            visit.context.close()


def prepare(page: Page, name: str) -> None:
    """What a person would have done on the page before looking."""
    page.wait_for_load_state("load")
    if name == "start":
        page.get_by_text("Phases, retries, limits").click()
        page.get_by_label("the devices of a group").check()
        for _ in range(2):
            page.get_by_role("button", name="Add a phase").click()
        page.get_by_label("Then").last.select_option("hours")
    elif name == "halted":
        page.get_by_role("button", name="Abort").click()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
