"""The pages are accessible, as far as axe can check."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.browsing import NARROW, WIDE, unfold, violations, violations_in_both_themes
from tests.browser.test_appearance import SCENARIOS

SIZES = {"wide": WIDE, "narrow": NARROW}


@pytest.mark.parametrize("task", SCENARIOS)
def test_a_jobs_page_is_accessible(visit: Any, stage: Any, task: str) -> None:
    page = visit().open(stage.place(task).page)
    page.wait_for_selector("main > dl, main > .message")
    unfold(page, 2)
    assert violations_in_both_themes(page) == []


@pytest.mark.parametrize("task", ["running", "failed", "invalid"])
def test_a_jobs_page_on_a_small_screen_is_accessible(visit: Any, stage: Any, task: str) -> None:
    page = visit(size=NARROW).open(stage.place(task).page)
    page.wait_for_selector("dl")
    assert violations_in_both_themes(page) == []


@pytest.mark.parametrize("size", SIZES)
def test_the_list_is_accessible(visit: Any, stage: Any, size: str) -> None:
    page = visit(size=SIZES[size]).open("/pixxel/jobs")
    page.wait_for_selector("table")
    assert violations_in_both_themes(page) == []
    page.get_by_role("searchbox").fill("nothing is called that")
    assert violations(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_inside_airflow_are_accessible(visit: Any, stage: Any, theme: str) -> None:
    seen = visit(theme=theme)
    for address, title in (
        (stage.place("running").tab, "Pixxel job"),
        ("/plugin/pixxel-jobs", "Pixxel jobs"),
    ):
        frame = seen.open_in_airflow(address, title)
        frame.wait_for_selector("table")
        assert violations(frame) == []
