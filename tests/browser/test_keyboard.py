"""The pages by keyboard alone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

# What the focus is on, and whether one can see that.
FOCUSED = """() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  return {
    name: element === document.body ? "" : element.innerText.trim() || element.id || element.tagName,
    seen: outlined || style.boxShadow !== "none",
    index: [...document.querySelectorAll("*")].indexOf(element),
  };
}"""
FOCUSABLE = "a[href], button:enabled, input:enabled, select:enabled, summary, [tabindex='0']"


def walk(page: Any) -> list[dict[str, Any]]:
    """Press Tab until the page is left; return where the focus was."""
    page.locator("body").focus()
    found: list[dict[str, Any]] = []
    for _ in range(400):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if not focused["name"] or (found and focused["index"] <= found[0]["index"]):
            break
        found.append(focused)
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_tab_reaches_everything_in_the_order_of_the_page_and_is_seen(
    visit: Any, stage: Any, theme: str
) -> None:
    for address in (stage.place("failed").page, "/pixxel/jobs"):
        page = visit(theme=theme).open(address)
        page.wait_for_selector("table")
        walked = walk(page)
        assert [each["name"] for each in walked if not each["seen"]] == []
        order = [each["index"] for each in walked]
        assert order == sorted(order)
        visible = [each for each in page.locator(FOCUSABLE).all() if each.is_visible()]
        assert len(walked) == len(visible)


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_tasks_details_are_opened_and_closed_by_key(resident: Any, stage: Any, key: str) -> None:
    frame = resident.open_in_airflow(stage.place("running").tab)
    button = frame.get_by_role("button", name="Cloud mask")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.focus()
    button.press(key)
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(frame.locator(f"#{button.get_attribute('aria-controls')}".replace("%", "\\%"))).to_be_visible()
    expect(button).to_be_focused()
    button.press(key)
    expect(button).to_have_attribute("aria-expanded", "false")


def test_the_raw_metadata_is_opened_by_key(visit: Any, stage: Any) -> None:
    page = visit().open(stage.place("succeeded").page)
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("details pre")).to_contain_text('"id"')


def test_the_list_is_filtered_sorted_and_left_by_key(resident: Any, stage: Any) -> None:
    seen = resident
    frame = seen.open_in_airflow("/plugin/pixxel-jobs", "Pixxel jobs")
    frame.get_by_role("searchbox").focus()
    seen.page.keyboard.type("job-mapped-0")
    expect(frame.locator("table.jobs:not(.watchers) tbody tr")).to_have_count(1)
    frame.get_by_role("button", name="Job", exact=True).press("Enter")
    expect(frame.get_by_role("columnheader").filter(has_text="Job")).to_have_attribute(
        "aria-sort", "ascending"
    )
    frame.get_by_role("link", name="mapped [0]").press("Enter")
    seen.page.wait_for_url(f"**{stage.place('mapped', 0).tab}")
