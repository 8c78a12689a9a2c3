"""What is logged of tasks that fail, on the installed Airflow."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """A run that several tests look at."""
    return {}


@pytest.fixture
def failures(seen: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    if "run" not in seen:
        request.getfixturevalue("ends_once_seen")("wf-fails", "job-later")
        seen["run"] = request.getfixturevalue("run")("pixxel_failures")
    return seen["run"]


def test_each_of_them_fails(failures: Any) -> None:
    assert set(failures.states.values()) == {"failed"}


@pytest.mark.parametrize(
    "words", ["During handling of the above", "direct cause of the following", "XCom not found"]
)
def test_its_error_is_logged_without_causes_and_without_one_about_the_link(failures: Any, words: str) -> None:
    assert words not in failures.words


def test_a_link_that_a_worker_published_before_a_deferral_is_kept(failures: Any) -> None:
    assert failures.xcom("failed_later", "_link_PixxelJobLink") == "https://aurora.pixxel.space/"
