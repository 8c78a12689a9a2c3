"""How the pages appear: in Airflow's theme and time zone, on a small screen, and below a path."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from tests.browser.browsing import NARROW, overflow, unfold
from tests.browser.conftest import ZONE, staging
from tests.browser.test_tab import JOBS, NO_JOBS

DARK, LIGHT = "rgb(22, 29, 45)", "rgb(255, 255, 255)"
SCENARIOS = [*JOBS, *NO_JOBS, "many", "payload_waiting", "payload_failed"]


def ground(frame: Any) -> str:
    """Return the colour that lies behind the page."""
    return str(frame.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.parametrize(("theme", "colour"), [("light", LIGHT), ("dark", DARK)])
def test_the_page_has_airflows_theme(visit: Any, stage: Any, theme: str, colour: str) -> None:
    seen = visit(theme=theme)
    for address, title in ((stage.place("failed").tab, "Pixxel job"), ("/plugin/pixxel-jobs", "Pixxel jobs")):
        frame = seen.open_in_airflow(address, title)
        frame.wait_for_selector("table")
        assert frame.evaluate("document.documentElement.className") == theme
        around = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground(frame) in (around, colour, "rgba(0, 0, 0, 0)")
        seen.picture(f"{title.replace(' ', '-').lower()}-{theme}")


def test_the_theme_is_followed_when_it_is_switched_in_airflow(visit: Any, stage: Any) -> None:
    seen = visit(theme="light")
    frame = seen.open_in_airflow(stage.place("running").tab)
    root = frame.locator("html")
    expect(root).to_have_class("light")
    # As Airflow's own switch does it.
    seen.page.evaluate("document.documentElement.classList.replace('light', 'dark')")
    expect(root).to_have_class("dark")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wider_than_a_small_screen(visit: Any, stage: Any, theme: str) -> None:
    seen = visit(theme=theme, size=NARROW)
    for task in SCENARIOS:
        page = seen.open(stage.place(task).page)
        page.wait_for_selector("main > dl, main > .message")
        assert overflow(page) <= 0, task
        seen.picture(f"narrow-{task}-{theme}")
        unfold(page)
        assert overflow(page) <= 0, f"{task}, everything open"
    page = seen.open("/pixxel/jobs")
    page.wait_for_selector("table")
    assert overflow(page) <= 0
    seen.picture(f"narrow-list-{theme}")


def test_in_airflow_the_list_is_not_too_wide_either(visit: Any) -> None:
    # A tab isn't narrow there: on a small screen Airflow lets one scroll sideways over all of a task's page.
    seen = visit(size=NARROW)
    frame = seen.open_in_airflow("/plugin/pixxel-jobs", "Pixxel jobs")
    frame.wait_for_selector("table")
    assert frame.evaluate("innerWidth") < NARROW[0]
    assert overflow(frame) <= 0
    seen.picture("list-narrow")


def test_times_are_in_the_zone_that_was_chosen_in_airflow(visit: Any, stage: Any) -> None:
    for address, selector in ((stage.place("succeeded").page, "dl time"), ("/pixxel/jobs", "td time")):
        page = visit().open(address)
        page.wait_for_selector(selector)
        moment = page.locator(selector).filter(has_text=":").first
        meant = datetime.fromisoformat(moment.get_attribute("datetime").replace("Z", "+00:00"))
        assert moment.inner_text() == f"{meant.astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M:%S}"
        assert moment.get_attribute("title") == f"{meant:%Y-%m-%d %H:%M:%S} UTC"


def test_below_a_path_tab_list_and_links_stay_below_it(visit: Any, stage: Any) -> None:
    seen = visit(url=stage.prefixed, user="admin")
    frame = seen.click_the_tab(stage.place("failed").task)
    expect(frame.locator("main")).to_contain_text("Why it failed")
    seen.picture("prefix-tab")

    seen.go("/dags")
    seen.page.get_by_role("button", name="Browse").click()
    seen.page.get_by_role("menuitem", name="Pixxel jobs").click()
    frame = seen.inside("Pixxel jobs")
    row = frame.locator("tr").filter(has_text="job-failed")
    row.get_by_role("link", name="failed").click()
    seen.page.wait_for_url(f"**{staging.PREFIX}{stage.place('failed').tab}")
    expect(seen.inside().locator("main")).to_contain_text("Why it failed")
    frame = seen.open_in_airflow("/plugin/pixxel-jobs", "Pixxel jobs")
    frame.locator("tr").filter(has_text="job-failed").get_by_role("link", name="pixxel_page").click()
    seen.page.wait_for_url(f"**{staging.PREFIX}/dags/pixxel_page")
    assert seen.own_requests()
    astray = [url for url in seen.requests if not urlsplit(url).path.startswith(staging.PREFIX)]
    assert [url for url in astray if urlsplit(url).scheme == "http"] == []


def test_a_user_without_the_right_to_a_task_sees_a_message(visit: Any, stage: Any) -> None:
    seen = visit(url=stage.prefixed, user="viewer")
    seen.expected.append("403 (Forbidden)")
    seen.page.goto(seen.url + stage.hidden.page)
    expect(seen.page.locator("body")).to_contain_text("Forbidden")
    page = seen.open("/pixxel/jobs")
    page.wait_for_selector("table")
    expect(page.locator("main")).to_contain_text("job-running")
    expect(page.locator("main")).not_to_contain_text("job-hidden")
