# SPDX-License-Identifier: Apache-2.0
"""Pictures of every page, for people to look at: python -m tests.browser.screens FOLDER [PAGE...]"""

import signal
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import CHROMIUM, DESKTOP, PHONE, WORDS, Visit
from tests.browser.fleet import seed
from tests.protocol.conftest import MANAGEMENT, PASSWORD, Operator, Server
from updater.artifact import Compression, write_rootfs_artifact


def main(folder: Path, wanted: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(Path(scratch) / "server")
        assert server.add_user("operator").returncode == 0
        server.start()
        try:
            take(server, Path(scratch), folder, wanted)
        finally:
            server.end(signal.SIGTERM)


def take(server: Server, scratch: Path, folder: Path, wanted: list[str]) -> None:
    def write(name: str, size: int) -> Path:
        image, path = scratch / "image", scratch / f"{name}.mender"
        image.write_bytes(b"\x5a" * size)
        with path.open("wb") as out:
            write_rootfs_artifact(
                out, image=image, name=name, device_types=["qemu-board"], compression=Compression.NONE
            )
        return path

    token = server.call("POST", f"{MANAGEMENT}/useradm/auth/login", auth=("operator", PASSWORD)).text
    fleet = seed(server, Operator(server, token), write)
    pages = {"login": "/ui/login", **fleet.pages}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(WORDS))
        for size_name, size in (("desktop", DESKTOP), ("phone", PHONE)):
            for scheme in ("light", "dark"):
                visit = Visit(browser, server, viewport=size, color_scheme=scheme)
                for name in wanted or pages:
                    if name == "login":
                        visit.page.goto(pages[name])
                    else:
                        if not visit.context.cookies():
                            visit.log_in()
                        visit.page.goto("about:blank")
                        visit.page.goto(pages[name])
                    prepare(visit.page, name)
                    visit.page.screenshot(path=folder / f"{name}-{size_name}-{scheme}.png", full_page=True)
                print(size_name, scheme, visit.problems)
                visit.context.close()
        browser.close()


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
