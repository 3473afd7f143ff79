# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser: what a person does with it, by keyboard, on a phone, by listening, in light and dark."""

import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.accessibility import SHAPES, TEXTS, contrast, contrasts, faults
from tests.browser.conftest import DESKTOP, PHONE, Visit
from tests.browser.fleet import LOG, Fleet, report_log
from tests.protocol.conftest import DEPLOYMENTS, PASSWORD, Device, Operator, Server, make_key

PAGES = (
    "fleet",
    "devices",
    "device",
    "artifacts",
    "artifact",
    "deployments",
    "start",
    "deployment",
    "halted",
    "log",
    "missing",
)


@pytest.fixture
def page(visit: Visit, fleet: Fleet) -> Page:
    assert fleet.devices
    return visit.log_in()


@pytest.fixture
def new_artifact(operator: Operator, write_artifact: Callable[..., Path]) -> str:
    name = f"made-{uuid.uuid4().hex[:8]}"
    assert operator.upload(write_artifact(name)).status_code == 201
    return name


@pytest.fixture
def new_devices(server: Server, operator: Operator) -> Callable[[int], list[Device]]:
    def make(many: int) -> list[Device]:
        made = [Device(server, {"mac": uuid.uuid4().hex[:12]}, make_key("ed25519")) for _ in range(many)]
        for device in made:
            assert device.authenticate().status_code == 401
            operator.decide(device.identity, "accepted")
            assert device.authenticate().status_code == 200
            device.id = operator.device(device.identity)["id"]
        return made

    return make


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_one_logs_in_and_out_by_keyboard_alone(visit: Visit, fleet: Fleet):
    page = visit.page
    page.goto(f"/ui/devices/{fleet.failed.id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    page.keyboard.type("operator")
    press(page, "Tab")
    page.keyboard.type("wrong password")
    press(page, "Enter")
    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    expect(page.get_by_label("Name")).to_have_value("operator")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    press(page, "Enter")
    expect(page).to_have_url(re.compile(f"/ui/devices/{fleet.failed.id}$"))
    press(page, "Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    press(page, "Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.get_by_role("button", name="Log out").focus()
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_an_upload_shows_how_far_it_is(page: Page, write_artifact: Callable[..., Path]):
    name = f"big-{uuid.uuid4().hex[:8]}"
    path = write_artifact(name, size=30_000_000)
    # What the bar shows, kept over the way to the artifact's page that follows.
    watch = """() => {
        const bar = document.getElementById("sent");
        sessionStorage.seen = "";
        new MutationObserver(() => (sessionStorage.seen += `${bar.value} `)).observe(bar, { attributes: true });
    }"""
    page.goto("/ui/artifacts")
    page.evaluate(watch)
    page.locator("#file").set_input_files(path)
    page.get_by_label("Description").fill("with <b>progress</b>")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    seen = [int(one) for one in page.evaluate("sessionStorage.seen").split()]
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 100)
    expect(page.get_by_text("with <b>progress</b>").first).to_be_visible()


def test_an_upload_that_is_refused_says_why_and_keeps_what_was_typed(page: Page, tmp_path: Path):
    path = tmp_path / "broken.mender"
    path.write_bytes(os.urandom(100_000))
    page.goto("/ui/artifacts")
    page.locator("#file").set_input_files(path)
    page.get_by_label("Description").fill("kept")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert").filter(has_text="not a usable artifact")).to_be_visible()
    expect(page.get_by_label("Description")).to_have_value("kept")
    expect(page.get_by_role("button", name="Upload")).to_be_enabled()


def test_a_deployment_is_started_and_followed_live_and_aborted(page: Page, new_devices, new_artifact: str):
    first, second, third = new_devices(3)
    page.goto("/ui/deployments")
    page.get_by_text("Start a deployment").click()
    page.get_by_label("Artifact", exact=True).select_option(new_artifact)
    page.get_by_label("some devices").check()
    ids = page.get_by_label("Ids of devices")
    ids.fill("nobody")
    page.get_by_role("button", name="Start the deployment").click()
    expect(page.get_by_role("alert").filter(has_text="There is no device 'nobody'.")).to_be_visible()
    expect(ids).to_have_value("nobody")
    ids.fill("\n".join(one.id for one in (first, second, third)))
    page.get_by_role("button", name="Start the deployment").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(new_artifact)
    deployment = page.url.rpartition("/")[2]
    summary = page.locator(".summary")
    expect(summary).to_have_text("0 of 3 devices ended: 3 waiting.")
    for device in (first, second):
        assert device.poll().status_code == 200
        assert device.report(deployment, "downloading") == 204
    expect(summary).to_have_text("0 of 3 devices ended: 2 at work, 1 waiting.")
    page.get_by_role("button", name="Abort").focus()
    assert first.report(deployment, "success") == 204
    assert second.report(deployment, "failure") == 204
    report_log(second, deployment)
    expect(summary).to_have_text("2 of 3 devices ended: 1 done, 1 failed, 1 waiting.")
    expect(page.get_by_role("button", name="Abort")).to_be_focused()
    expect(page.get_by_role("img", name="Devices: 1 done, 1 failed, 1 waiting")).to_be_visible()
    press(page, "Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator(".stands")).to_contain_text("running")
    page.get_by_role("button", name="Abort").click()
    dialog.get_by_role("button", name="Abort").click()
    expect(page.locator(".stands")).to_contain_text("aborted")
    expect(page.get_by_role("button", name="Abort")).to_have_count(0)
    page.get_by_role("link", name="Log of").click()
    for _level, message in LOG:
        expect(page.get_by_text(message)).to_be_visible()


def test_phases_are_ordered_and_opened(page: Page, operator: Operator, new_devices, new_artifact: str):
    made = new_devices(4)
    for device in made:
        path = f"/api/management/v1/inventory/devices/{device.id}/group"
        assert operator.call("PUT", path, json={"group": new_artifact}).status_code == 204
    page.goto(f"/ui/deployments?group={new_artifact}&artifact={new_artifact}")
    page.get_by_label("Name", exact=False).first.fill("in phases")
    page.get_by_text("Phases, retries, limits").click()
    for size, then in (("25", "me"), ("50", "hours")):
        page.get_by_role("button", name="Add a phase").click()
        page.get_by_label("Devices that may begin").last.fill(size)
        page.get_by_label("Then").last.select_option(then)
    page.get_by_label("How long").last.fill("2")
    page.get_by_label("Further attempts").fill("1")
    page.get_by_label("Halt when so many").fill("3")
    page.get_by_role("button", name="Start the deployment").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("in phases")
    made_of = operator.get(f"{DEPLOYMENTS}/{page.url.rpartition('/')[2]}")
    assert [(one["batch_size"], one["pause"]) for one in made_of["phases"]] == [(25, False), (50, True), (None, False)]
    assert (made_of["retries"], made_of["failure_limit"]["count"], made_of["groups"]) == (1, 3, [new_artifact])
    phases = page.locator(".phases li")
    expect(phases.nth(1)).to_contain_text("50 % (2 devices)")
    expect(phases.nth(1)).to_contain_text("waits for you")
    page.get_by_role("button", name="Open the next phase").click()
    expect(phases.nth(1)).to_contain_text("open since")
    expect(page.get_by_role("button", name="Open the next phase")).to_have_count(0)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".stands")).to_contain_text("paused")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(".stands")).not_to_contain_text("paused")


def test_a_device_that_waits_is_accepted_when_it_comes(page: Page, server: Server, operator: Operator):
    while operator.call("POST", "/api/management/v2/devauth/devices/accept", json={}).json()["accepted"]:
        pass
    expect(page.get_by_role("heading", name="Waiting to be let in")).to_have_count(0)
    device = Device(server, {"mac": f"waits-{uuid.uuid4().hex[:8]}"}, make_key("ed25519"))
    assert device.authenticate().status_code == 401
    page.get_by_role("button", name=f"Accept {device.identity['mac']}").click()
    expect(page.get_by_role("heading", name="Waiting to be let in")).to_have_count(0)
    assert device.authenticate().status_code == 200


def test_who_may_only_look_sees_no_buttons(visit: Visit, fleet: Fleet):
    page = visit.log_in("looker")
    for path in fleet.pages.values():
        page.goto(path)
        assert page.locator("[data-call], #upload, #order").count() == 0


def test_a_session_that_ended_is_said(page: Page, visit: Visit, server: Server, operator: Operator):
    token = {"Authorization": f"Bearer {visit.context.cookies()[0]['value']}"}
    path = "/api/management/v1/useradm/auth/logout"
    assert server.call("POST", path, headers=token).status_code == 204
    device = Device(server, {"mac": uuid.uuid4().hex[:12]}, make_key("ed25519"))
    assert device.authenticate().status_code == 401
    expect(page.get_by_role("link", name="Log in again")).to_be_visible()
    assert operator.token


def test_what_has_been_done_is_seen(page: Page, new_devices):
    (device,) = new_devices(1)
    page.goto(f"/ui/devices/{device.id}")
    page.get_by_label("Put into the group").fill("seen")
    page.get_by_role("button", name="Save").click()
    done = page.locator("#done")
    expect(done).to_have_text("The group is saved.")
    expect(done).to_be_in_viewport()
    assert page.evaluate("getComputedStyle(document.getElementById('done')).clipPath") == "none"
    page.get_by_role("button", name="Take out of seen").click()
    expect(done).to_have_text("The device is in no group.")


def test_who_acts_after_the_session_ended_is_shown_the_way_back(page: Page, visit: Visit, server: Server, new_devices):
    (device,) = new_devices(1)
    page.goto(f"/ui/devices/{device.id}")
    token = {"Authorization": f"Bearer {visit.context.cookies()[0]['value']}"}
    assert server.call("POST", "/api/management/v1/useradm/auth/logout", headers=token).status_code == 204
    page.get_by_label("Put into the group").fill("late")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Log in again").click()
    expect(page).to_have_url(re.compile(f"next=%2Fui%2Fdevices%2F{device.id}$"))


def test_without_scripts_only_what_works_is_offered(browser: Browser, server: Server, fleet: Fleet):
    visit = Visit(browser, server, java_script_enabled=False)
    page = visit.log_in()
    for path in fleet.pages.values():
        page.goto(path)
        expect(page.locator("noscript p")).to_be_visible()
        for one in page.locator("[data-call], #upload, #order").all():
            expect(one).to_be_hidden()
    visit.context.close()


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_choices_of_a_phase_can_be_read(page: Page, size):
    page.set_viewport_size(size)
    page.goto("/ui/deployments#start")
    page.get_by_text("Phases, retries, limits").click()
    page.get_by_role("button", name="Add a phase").click()
    then = page.get_by_label("Then")
    text = """(one) => {
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.font = getComputedStyle(one).font;
        return canvas.measureText(one.selectedOptions[0].text).width + 40 - one.clientWidth;
    }"""
    for choice in ("me", "minutes", "hours", "days"):
        then.select_option(choice)
        assert then.evaluate(text) <= 0, choice


def test_a_lost_connection_is_said_and_mended(page: Page, visit: Visit):
    page.goto("/ui/devices")
    expect(page.locator("body")).to_have_attribute("data-line", "open")
    visit.context.set_offline(True)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_text("The connection is lost")).to_be_visible()
    visit.context.set_offline(False)
    expect(page.locator("body")).to_have_attribute("data-line", "open")
    expect(page.get_by_text("The connection is lost")).to_have_count(0)
    visit.problems = [one for one in visit.problems if "net::ERR_INTERNET_DISCONNECTED" not in one]


def test_times_are_those_of_the_person(browser: Browser, server: Server, fleet: Fleet):
    shown = []
    for zone in ("Pacific/Auckland", "America/Denver"):
        visit = Visit(browser, server, timezone_id=zone, locale="en-GB")
        page = visit.log_in()
        page.goto(f"/ui/devices/{fleet.failed.id}")
        time = page.locator("#facts time").last
        expect(time).not_to_contain_text("UTC")
        expect(time).to_have_attribute("title", re.compile("UTC"))
        shown.append(time.inner_text())
        visit.context.close()
    assert shown[0] != shown[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_page_fits_and_can_be_listened_to(browser: Browser, server: Server, fleet: Fleet, size, scheme: str):
    visit = Visit(browser, server, viewport=size, color_scheme=scheme, reduced_motion="reduce")
    page = visit.page
    page.goto("/ui/login")
    assert faults(page, logged_in=False) == []
    visit.log_in()
    for name in PAGES:
        page.goto("about:blank")
        page.goto(fleet.pages[name])
        page.wait_for_load_state("load")
        assert faults(page) == [], name
        inner, outer = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert inner <= outer, name
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light dark"
    ratios = contrasts(page)
    texts = {(over, under) for under, overs in TEXTS.items() for over in overs}
    shapes = {(over, under) for under, overs in SHAPES.items() for over in overs}
    assert {pair: ratio for pair, ratio in ratios.items() if pair in texts and ratio < 4.5} == {}
    assert {pair: ratio for pair, ratio in ratios.items() if pair in shapes and ratio < 3} == {}
    ground = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ground').trim()")
    assert (contrast(ground, "#000000") > 10) is (scheme == "light")
    visit.context.close()


def test_a_hostile_device_breaks_nothing(page: Page, visit: Visit, server: Server, operator: Operator):
    evil = f"<script>document.title='x'</script><img src=x onerror=alert(1)>{'w' * 300}"
    device = Device(server, {"mac": evil + uuid.uuid4().hex}, make_key("ed25519"))
    assert device.authenticate().status_code == 401
    known = operator.device(device.identity)["id"]
    page.set_viewport_size(PHONE)
    for path in ("/", f"/ui/devices/{known}", "/ui/devices?status=pending"):
        page.goto(path)
        expect(page.get_by_text("<script>document.title").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.title() != "x"
    page.goto(f"/ui/devices/{known}")
    page.set_viewport_size(DESKTOP)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Afterwards the page may still hear of the end and ask for a device that is there no more.
    assert visit.problems == []
    page.get_by_role("button", name="Decommission").click()
    page.get_by_role("dialog").get_by_role("button", name="Decommission").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Devices")


def test_the_check_for_listeners_sees_what_is_wrong(browser: Browser):
    page = browser.new_page()
    page.set_content("<title>x</title><main id=a><h1>One</h1><h3>Three</h3><button></button><input id=a></main>")
    assert faults(page, logged_in=False) == [
        "a button has no name",
        "a textbox has no name",
        "a heading 3 follows 1",
        "the id a is there twice",
    ]
    assert "there is no navigation" in faults(page)
    page.close()
