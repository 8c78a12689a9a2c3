"""The tab "Pixxel job" on Airflow's own page of a task instance, in every condition of the job."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

JOBS = {
    "running": ("job-running", "running", ["Cloud mask", "120 of about 120 credits", "Expected end"]),
    "rescheduled": ("job-rescheduled", "running", ["Surface reflectance"]),
    "succeeded": ("job-finished", "completed", ["100\u00a0%", "120 credits, estimated 120", "Ended"]),
    "failed": (
        "job-failed",
        "failed",
        [
            "Why it failed",
            "spectral-index 3.0.1",
            "runtime_exception",
            "band 112 (870 nm) holds no valid pixel inside the area of interest",
        ],
    ),
    "invalid": (
        "job-invalid",
        "failed",
        ["Validation errors", "Cloud mask", "it takes a raster of reflectance, and was given a vector mask"],
    ),
    "unknown": ("job-unknown", "awaiting_tasking", []),
    "archived": ("job-archived", "archived", ["What is unclear"]),
    "signed": ("job-signed", "completed", ["Mosaic"]),
    # The second try's, not the first's, whose XComs are of another job.
    "retried": ("job-retried-2", "running", ["Try"]),
    "cleared": ("job-cleared-2", "running", ["Try"]),
}
NO_JOBS = {
    "not_pixxel": "This task doesn't run or wait for a Pixxel job.",
    "not_begun": "There is no Pixxel job yet",
}


def facts(frame: Any) -> dict[str, str]:
    """Return the facts of a job's page, by name."""
    found = frame.locator("main > dl.facts > div").all()
    return {each.locator("dt").inner_text(): each.locator("dd").inner_text() for each in found}


@pytest.mark.parametrize("task", JOBS)
def test_the_tab_shows_the_job_of_the_task(resident: Any, stage: Any, task: str) -> None:
    job, status, words = JOBS[task]
    frame = resident.click_the_tab(stage.place(task).task)
    main = frame.locator("main")
    expect(main).to_contain_text(job)
    expect(main.locator("h1 + .badge")).to_have_text(status)
    for text in words:
        expect(main).to_contain_text(text)
    shown = facts(frame)
    assert (shown["Job"], shown["Connection"]) == (job, "pixxel_default")
    assert shown["Try"] == ("2" if task in ("retried", "cleared") else "1")
    resident.picture(f"tab-{task}")


@pytest.mark.parametrize("task", NO_JOBS)
def test_a_task_without_a_job_has_a_message(resident: Any, stage: Any, task: str) -> None:
    main = resident.click_the_tab(stage.place(task).task).locator("main")
    expect(main).to_contain_text(NO_JOBS[task])
    assert main.get_by_role("progressbar").count() == main.get_by_role("table").count() == 0
    resident.picture(f"tab-{task}")


@pytest.mark.parametrize(("index", "status"), [(0, "running"), (1, "completed")])
def test_each_task_of_a_mapped_one_has_its_own_job(
    resident: Any, stage: Any, index: int, status: str
) -> None:
    main = resident.click_the_tab(stage.place("mapped", index).task).locator("main")
    expect(main.locator("h1 + .badge")).to_have_text(status)
    expect(main).to_contain_text(f"job-mapped-{index}")


def test_a_running_job_has_a_progress_bar_and_a_row_for_each_task(resident: Any, stage: Any) -> None:
    frame = resident.open_in_airflow(stage.place("running").tab)
    bar = frame.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuemax", "100")
    assert 0 < int(bar.get_attribute("aria-valuenow")) < 100
    rows = frame.get_by_role("table").get_by_role("rowheader")
    assert [each.get_by_role("button").inner_text() for each in rows.all()] == [
        "Fetch scenes",
        "Surface reflectance",
        "Cloud mask",
        "Crop stress index",
        "Mosaic",
    ]
    expect(rows.nth(3)).to_contain_text("after Surface reflectance, Cloud mask")


def test_a_job_of_two_hundred_tasks_is_shown_whole(resident: Any, stage: Any) -> None:
    frame = resident.open_in_airflow(stage.place("many").tab)
    expect(frame.get_by_role("rowheader")).to_have_count(200)
    resident.picture("tab-many")


def test_the_raw_metadata_is_folded_away_and_its_bytes_are_read(resident: Any, stage: Any) -> None:
    frame = resident.open_in_airflow(stage.place("succeeded").tab)
    words = frame.locator("details pre")
    expect(words).to_be_hidden()
    assert not any(path.endswith("/raw") for path in resident.own_requests())
    frame.get_by_text("Raw metadata").click()
    expect(words).to_contain_text('"stressed_hectares": 184')
    expect(words).to_contain_text('"id": "job-finished"')


def test_the_link_to_pixxels_console_opens_outside_of_the_frame(resident: Any, stage: Any) -> None:
    page = resident.page
    page.context.route("https://aurora.pixxel.space/**", lambda route: route.fulfill(body="console"))
    frame = resident.open_in_airflow(stage.place("running").tab)
    with page.expect_popup() as popup:
        frame.get_by_role("link", name="Open in Pixxel's console").click()
    popup.value.wait_for_url("https://aurora.pixxel.space/**")
    popup.value.close()
    page.context.unroute("https://aurora.pixxel.space/**")
    assert page.url.endswith("/plugin/pixxel-job")
