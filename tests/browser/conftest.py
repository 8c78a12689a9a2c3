"""A real Chromium before a real Airflow, which has a task for every condition of a job."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]
# At the end: those modules have names that others may have too.
sys.path.append(str(ROOT / "scripts"))

import browser as staging  # noqa: E402
from local_airflow import AirflowTrouble  # noqa: E402

from tests.browser.browsing import WIDE, Visit, Visitor, before  # noqa: E402

ZONE = "Asia/Kolkata"


@pytest.fixture(scope="session", autouse=True)
def _timeouts() -> None:
    expect.set_options(timeout=15_000)
    # Its lines would bury what a failed test has to say.
    logging.getLogger("pixxel_provider.simulator").setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    try:
        with staging.stage(tmp_path_factory.mktemp("stage")) as found:
            yield found
    except AirflowTrouble as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    try:
        with staging.chromium() as found:
            yield found
    except staging.NoBrowser as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def _contexts(chromium: Any) -> Iterator[dict[tuple[str, ...], Any]]:
    # One for each who is logged in: Airflow's own scripts are many, and stay in its cache.
    contexts: dict[tuple[str, ...], Any] = {}
    yield contexts
    for context in contexts.values():
        context.close()


def _open_tab(
    chromium: Any,
    stage: Any,
    contexts: dict[tuple[str, ...], Any],
    url: str,
    user: str = "",
    theme: str = "light",
    size: tuple[int, int] = WIDE,
) -> Visit:
    # Each theme has its own, as all tabs of one share Airflow's setting.
    key = (url, user, theme)
    if key not in contexts:
        context = contexts[key] = chromium.new_context(reduced_motion="reduce")
        # A small machine that does other things besides is slow, and that is no failure.
        context.set_default_timeout(30_000)
        context.add_cookies([{"name": "_token", "value": staging.token(url, user), "url": url}])
    page = contexts[key].new_page()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.add_init_script(before(theme, ZONE))
    return Visit(page, url)


@pytest.fixture
def visit(chromium: Any, stage: Any, _contexts: dict[tuple[str, ...], Any]) -> Iterator[Visitor]:
    """Open tabs; at the end nothing must have gone wrong in any of them."""
    visits: list[Visit] = []

    def start(*, url: str = "", user: str = "", theme: str = "light", size: tuple[int, int] = WIDE) -> Visit:
        visits.append(_open_tab(chromium, stage, _contexts, url or stage.url, user, theme, size))
        return visits[-1]

    yield start
    problems = [problem for each in visits for problem in each.problems()]
    for each in visits:
        each.page.close()
    assert problems == []


@pytest.fixture(scope="session")
def _resident(stage: Any, chromium: Any, _contexts: dict[tuple[str, ...], Any]) -> Visit:
    return _open_tab(chromium, stage, _contexts, stage.url)


@pytest.fixture
def resident(_resident: Visit) -> Iterator[Visit]:
    """A tab in which Airflow is loaded already: that takes longer than all that a test does in it."""
    _resident.reset()
    yield _resident
    assert _resident.problems() == []


@pytest.fixture
def pixxel(stage: Any) -> Any:
    """The simulated Pixxel behind the pages."""
    return stage.pixxel
