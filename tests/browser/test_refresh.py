"""How a page refreshes: by itself, not too often, and no longer than something can change."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import expect

HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""

FRAMES = """([url, count]) => {
  for (let number = 0; number < count; number += 1) {
    const frame = document.createElement("iframe");
    frame.src = url;
    document.body.append(frame);
  }
}"""


@pytest.fixture
def quick(visit: Any) -> Any:
    """A tab whose time can be skipped."""
    seen = visit()
    seen.page.clock.install()
    return seen


def skip(seen: Any, seconds: float) -> int:
    """Let seconds pass for the page; return how many requests for data it has sent by then."""
    seen.page.clock.fast_forward(int(seconds * 1000))
    seen.page.evaluate("new Promise(resolve => requestAnimationFrame(resolve))")
    return int(seen.data_requests())


def answered(seen: Any, seconds: float) -> None:
    """Let seconds pass, and an answer arrive that is due by then."""
    with seen.page.expect_response("**/data"):
        seen.page.clock.fast_forward(int(seconds * 1000))


def test_the_page_follows_its_job_to_the_end_and_then_stops(visit: Any, stage: Any, pixxel: Any) -> None:
    seen = visit()
    seen.page.clock.install()
    page = seen.open(stage.place("followed").page)
    badge = page.locator("h1 + .badge")
    expect(badge).to_have_text("running")
    page.evaluate("window.mark = true")
    pixxel.change_job("job-followed", progress="77%", status="processing")
    answered(seen, 6)
    expect(badge).to_have_text("processing", timeout=15_000)
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "77")

    pixxel.world.change_job("job-followed", {}, restore=True)
    pixxel.finish_job("job-followed")
    expect(badge).to_have_text("completed", timeout=30_000)
    # It stops when Airflow's task has ended too.
    expect(page.locator(".fresh")).not_to_contain_text("every", timeout=30_000)
    assert page.evaluate("window.mark") is True
    asked = seen.data_requests()
    assert skip(seen, 3600) == asked
    seen.picture("refresh-ended")


def test_open_details_stay_open(quick: Any, stage: Any) -> None:
    page = quick.open(stage.place("running").page)
    button = page.get_by_role("button", name="Cloud mask")
    button.focus()
    button.press("Enter")
    page.get_by_text("Raw metadata").click()
    button.focus()
    answered(quick, 6)
    answered(quick, 6)
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(button).to_be_focused()
    expect(page.locator("details pre")).to_be_visible()


def test_a_job_that_has_ended_is_requested_once(quick: Any, stage: Any) -> None:
    quick.open(stage.place("succeeded").page).wait_for_selector("dl")
    assert skip(quick, 3600) == 1


def test_a_hidden_page_refreshes_once_a_minute_and_again_when_shown(quick: Any, stage: Any) -> None:
    page = quick.open(stage.place("running").page)
    page.wait_for_selector("dl")
    page.evaluate(HIDE, True)
    assert skip(quick, 45) == 1
    answered(quick, 20)
    assert skip(quick, 45) == 2
    with page.expect_response("**/data"):
        page.evaluate(HIDE, False)


def test_an_error_leaves_the_known_state_and_backs_off(quick: Any, stage: Any) -> None:
    quick.expected.append("503 (Service Unavailable)")
    page = quick.open(stage.place("running").page)
    page.wait_for_selector("dl")
    page.route("**/data", lambda route: route.fulfill(status=503, body="no"))
    answered(quick, 6)
    error = page.get_by_text("Next attempt at")
    expect(error).to_be_visible()
    expect(page.locator("main")).to_contain_text("job-running")
    quick.picture("refresh-error")
    # Ten seconds less a fifth at the least, then twenty.
    assert skip(quick, 7) == 2
    answered(quick, 4)
    expect(error).to_be_visible()
    assert skip(quick, 15) == 3
    answered(quick, 6)
    page.unroute("**/data")
    page.get_by_role("button", name="Refresh").click()
    expect(error).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "Your session has ended: reload the page."),
        (403, "You have no right to see this task."),
        (404, "Airflow doesn't know this task."),
    ],
)
def test_a_refusal_is_shown_and_stops_the_refresh(quick: Any, stage: Any, status: int, words: str) -> None:
    quick.expected.append(f"status of {status}")
    page = quick.open(stage.place("running").page)
    page.wait_for_selector("dl")
    page.route("**/data", lambda route: route.fulfill(status=status, json={"detail": "no"}))
    answered(quick, 6)
    expect(page.locator("main")).to_contain_text(words)
    assert skip(quick, 3600) == 2


def test_twenty_tabs_cost_as_many_requests_as_one(visit: Any, stage: Any, pixxel: Any) -> None:
    seen = visit()
    # Some page without a policy that forbids frames; twenty tabs of the browser cost the machine more.
    seen.page.goto(f"{seen.url}/api/v2/monitor/health")
    began = pixxel.requests("get_job", "job-watched")
    seen.page.evaluate(FRAMES, [f"{seen.url}{stage.place('watched').page}", 20])
    seen.page.wait_for_event("requestfinished", lambda _: seen.data_requests() >= 60, timeout=60_000)
    moments = [
        request.at
        for request in list(pixxel.counters.seen)
        if request.route == "get_job" and request.ids.get("job_id") == "job-watched"
    ][began:]
    # One tab asks every five seconds; an answer is everybody's for three.
    assert len(moments) >= 2
    assert min(later - earlier for earlier, later in pairwise(moments)) > 2.9
