"""The page of all waits, under Browse."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import expect

LIST = "/plugin/pixxel-jobs"


def rows(frame: Any) -> Any:
    return frame.locator("table.jobs:not(.watchers) tbody tr")


def column(frame: Any, name: str) -> list[str]:
    return [each.inner_text() for each in frame.locator(f'td[data-label="{name}"]').all()]


def test_the_list_is_reached_through_the_menu(resident: Any) -> None:
    resident.go("/dags")
    resident.page.get_by_role("button", name="Browse").click()
    resident.page.get_by_role("menuitem", name="Pixxel jobs").click()
    frame = resident.inside("Pixxel jobs")
    expect(frame.locator("h1")).to_have_text("Pixxel jobs")
    expect(rows(frame).first).to_be_visible()
    resident.picture("list")


def test_every_wait_has_a_row_with_what_is_known(resident: Any, stage: Any) -> None:
    frame = resident.open_in_airflow(LIST, "Pixxel jobs")
    expect(rows(frame).first).to_be_visible()
    found = dict(zip(column(frame, "Task"), column(frame, "Job"), strict=True))
    assert found["running"] == "job-running"
    assert found["rescheduled"] == "job-rescheduled"
    assert found["failed"] == "job-failed"
    assert found["mapped [0]"] == "job-mapped-0"
    assert found["mapped [1]"] == "job-mapped-1"
    assert found["cleared"] == "job-cleared-2"
    assert found["retried"] == "job-retried-2"
    assert "not_pixxel" not in found
    assert "wait" in found, "the DAG that a viewer doesn't see is seen by an admin"
    row = rows(frame).filter(has_text="job-running")
    expect(row.locator('td[data-label="Status"]')).to_have_text("running")
    expect(row.locator('td[data-label="State"]')).to_have_text("deferred")
    expect(row.locator('td[data-label="Progress"]')).to_contain_text("%")
    failed = rows(frame).filter(has_text="job-failed")
    expect(failed.locator('td[data-label="Status"]')).to_have_text("failed")


def test_watchers_are_listed_with_the_dags_that_they_start(resident: Any) -> None:
    frame = resident.open_in_airflow(LIST, "Pixxel jobs")
    watchers = frame.get_by_role("table", name="Watchers").locator("tbody tr")
    expect(watchers).to_have_count(2)
    limited = watchers.filter(has_text="failed")
    for name, words in {
        "Workflow": "wf-fails",
        "DAGs": "pixxel_watching",
        "Connection": "pixxel_default",
        "Events for": "failed, created by somebody",
        "State": "watching",
    }.items():
        expect(limited.locator(f'td[data-label="{name}"]')).to_have_text(words)
    expect(watchers.filter(has_text="all jobs")).to_have_count(1)
    limited.scroll_into_view_if_needed()
    resident.picture("watchers")
    limited.get_by_role("link", name="pixxel_watching").click()
    resident.page.wait_for_url("**/dags/pixxel_watching")


def test_a_watcher_leads_to_airflows_page_of_its_asset(resident: Any) -> None:
    frame = resident.open_in_airflow(LIST, "Pixxel jobs")
    frame.get_by_role("link", name="workflows/wf-fails").click()
    resident.page.wait_for_url("**/assets/*")
    expect(resident.page.locator("body")).to_contain_text("workflows/wf-fails")


def test_a_choice_made_before_the_script_is_loaded_holds(visit: Any) -> None:
    seen = visit()
    held: list[Any] = []
    seen.page.route("**/static/jobs.js", lambda route: held.append(route))
    with seen.page.expect_request("**/static/jobs.js"):
        seen.page.goto(f"{seen.url}/pixxel/jobs", wait_until="commit")
    seen.page.get_by_role("searchbox").fill("mapped-0")
    seen.page.get_by_role("combobox").select_option("waiting")
    held.pop().continue_()
    expect(rows(seen.page)).to_have_count(1)
    expect(seen.page.get_by_role("searchbox")).to_have_value("mapped-0")
    expect(seen.page.get_by_role("combobox")).to_have_value("waiting")


def test_the_filter_searches_dag_task_job_and_workflow(resident: Any) -> None:
    frame = resident.open_in_airflow(LIST, "Pixxel jobs")
    field = frame.get_by_role("searchbox")
    for words, tasks in (
        ("mapped-0", {"mapped [0]"}),
        ("pixxel_hidden", {"wait"}),
        ("wf-odd", {"unknown", "archived"}),
        ("RETRIED", {"retried"}),
        ("page failed", {"failed", "payload_failed"}),
    ):
        field.fill(words)
        expect(rows(frame)).to_have_count(len(tasks))
        assert set(column(frame, "Task")) == tasks
    field.fill("nothing is called that")
    expect(frame.locator("main")).to_contain_text("Nothing matches the filter.")


def test_show_filters_rows_and_keeps_its_choice(resident: Any) -> None:
    frame = resident.open_in_airflow(LIST, "Pixxel jobs")
    expect(rows(frame).first).to_be_visible()
    frame.get_by_label("Show").select_option("failed")
    shown = set(column(frame, "Task"))
    assert {"failed", "invalid"} <= shown
    assert not shown & {"running", "succeeded"}
    frame = resident.open_in_airflow(LIST, "Pixxel jobs")
    expect(frame.get_by_label("Show")).to_have_value("failed")
    expect(rows(frame)).to_have_count(len(shown))
    frame.get_by_label("Show").select_option("waiting")
    expect(rows(frame).filter(has_text="job-running")).to_have_count(1)
    expect(rows(frame).filter(has_text="job-failed")).to_have_count(0)


def test_show_filters_by_the_jobs_result(resident: Any) -> None:
    frame = resident.open_in_airflow(LIST, "Pixxel jobs")
    expect(rows(frame).first).to_be_visible()
    # A task that only reads a failed job succeeds.
    looked_at = rows(frame).filter(has=frame.get_by_role("link", name="looked_at"))
    expect(looked_at.locator('td[data-label="State"] .badge')).to_have_attribute("data-tone", "success")
    expect(looked_at.locator('td[data-label="Status"] .badge')).to_have_attribute("data-tone", "failed")
    for choice, task in (("failed", "looked_at"), ("unclear", "archived")):
        frame.get_by_label("Show").select_option(choice)
        assert task in column(frame, "Task")


def test_columns_are_sorted_by_their_buttons_with_aria_sort(resident: Any) -> None:
    frame = resident.open_in_airflow(LIST, "Pixxel jobs")
    head = frame.get_by_role("columnheader")
    expect(head.filter(has_text="Started")).to_have_attribute("aria-sort", "descending")
    frame.get_by_role("button", name="Task").click()
    expect(head.filter(has_text="Task")).to_have_attribute("aria-sort", "ascending")
    names = column(frame, "Task")
    assert names == sorted(names)
    frame.get_by_role("button", name="Task").click()
    expect(head.filter(has_text="Task")).to_have_attribute("aria-sort", "descending")
    assert column(frame, "Task") == sorted(names, reverse=True)
    expect(head.filter(has_text="Started")).not_to_have_attribute("aria-sort", "descending")


def test_a_task_leads_to_its_tab_and_a_dag_and_a_run_to_airflows_own_pages(resident: Any, stage: Any) -> None:
    for name, pattern in (
        ("mapped [1]", f"**{stage.place('mapped', 1).tab}"),
        (stage.run_id, f"**/dags/pixxel_page/runs/{stage.place('mapped').task.split('/')[4]}*"),
        ("pixxel_page", "**/dags/pixxel_page"),
    ):
        frame = resident.open_in_airflow(LIST, "Pixxel jobs")
        rows(frame).filter(has_text="job-mapped-1").get_by_role("link", name=name, exact=True).click()
        resident.page.wait_for_url(pattern)
        if "plugin" in pattern:
            expect(resident.inside().locator("main")).to_contain_text("job-mapped-1")
        assert len(resident.page.frames) <= 2, "a page of Airflow within a page of Airflow"
