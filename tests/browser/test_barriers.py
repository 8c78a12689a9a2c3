"""What keeps people out, as far as axe can tell: nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.test_look import SCENARIOS
from tests.browser.visiting import NARROW, WIDE, barriers, barriers_in_both_themes, unfold

SIZES = {"wide": WIDE, "narrow": NARROW}


@pytest.mark.parametrize("task", SCENARIOS)
def test_a_jobs_page_has_no_barriers(visit: Any, stage: Any, task: str) -> None:
    page = visit().look(stage.place(task).page)
    page.wait_for_selector("main > dl, main > .message")
    unfold(page, 2)
    assert barriers_in_both_themes(page) == []


@pytest.mark.parametrize("task", ["running", "failed", "invalid"])
def test_a_jobs_page_on_a_small_screen_has_no_barriers(visit: Any, stage: Any, task: str) -> None:
    page = visit(size=NARROW).look(stage.place(task).page)
    page.wait_for_selector("dl")
    assert barriers_in_both_themes(page) == []


@pytest.mark.parametrize("size", SIZES)
def test_the_list_has_no_barriers(visit: Any, stage: Any, size: str) -> None:
    page = visit(size=SIZES[size]).look("/pixxel/jobs")
    page.wait_for_selector("table")
    assert barriers_in_both_themes(page) == []
    page.get_by_role("searchbox").fill("nothing is called that")
    assert barriers(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_inside_airflow_there_are_none_either(visit: Any, stage: Any, theme: str) -> None:
    seen = visit(theme=theme)
    for address, title in (
        (stage.place("running").tab, "Pixxel job"),
        ("/plugin/pixxel-jobs", "Pixxel jobs"),
    ):
        frame = seen.look_inside(address, title)
        frame.wait_for_selector("table")
        assert barriers(frame) == []
