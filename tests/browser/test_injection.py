"""Texts of a job that contain HTML and scripts."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.browsing import unfold
from tests.browser.conftest import staging

SCRIPTS = "[...document.scripts].filter(each => !each.src).length"


def assert_nothing_ran(seen: Any, frame: Any) -> None:
    """No element, no request, no dialog (which the end of every visit checks)."""
    assert frame.locator("img, [onerror], main script, iframe").count() == 0
    assert frame.evaluate(SCRIPTS) == 0
    assert not [url for url in seen.requests if url.endswith("/x")]
    assert seen.problems() == []


@pytest.mark.parametrize("framed", [False, True], ids=["by itself", "in Airflow"])
@pytest.mark.parametrize("task", ["payload_waiting", "payload_failed"])
def test_the_page_of_a_job_shows_payloads_as_text(
    visit: Any, resident: Any, stage: Any, task: str, framed: bool
) -> None:
    seen = resident if framed else visit()
    place = stage.place(task)
    frame = seen.open_in_airflow(place.tab) if framed else seen.open(place.page)
    main = frame.locator("main")
    expect(frame.get_by_role("rowheader")).to_have_count(5)
    unfold(frame)
    expect(frame.locator("details pre")).to_contain_text("<script>alert(2)</script>")
    expect(frame.get_by_role("rowheader").first).to_contain_text(f"{staging.PAYLOAD} 0")
    expect(main.locator("table.errors td").first).to_have_text(staging.PAYLOAD)
    if task == "payload_failed":
        expect(main.locator(".failure")).to_contain_text(staging.PAYLOAD)
    else:
        expect(main.locator("h1 + .badge")).to_have_text(staging.PAYLOAD)
        assert staging.PAYLOAD in frame.title()
    assert_nothing_ran(seen, frame)
    seen.picture(f"{task}{'-in-airflow' * framed}")


def test_the_list_shows_payloads_as_text(visit: Any, stage: Any) -> None:
    seen = visit()
    frame = seen.open("/pixxel/jobs")
    status = frame.locator("tr").filter(has_text="job-payload-waiting").locator('td[data-label="Status"]')
    expect(status).to_have_text(staging.PAYLOAD)
    assert_nothing_ran(seen, frame)


def test_an_address_made_of_payloads_is_no_page(visit: Any, stage: Any) -> None:
    seen = visit()
    seen.expected.append("404 (Not Found)")
    place = staging.Place(staging.PAYLOAD, staging.PAYLOAD, staging.PAYLOAD)
    for address in (place.page, f"{place.page}/data"):
        seen.page.goto(seen.url + address)
        assert seen.page.locator("img, script").count() == 0
