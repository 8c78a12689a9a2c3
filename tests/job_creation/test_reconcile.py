from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.api.errors import (
    PixxelAuthError,
    PixxelBadRequestError,
    PixxelConnectionError,
    PixxelInputError,
    PixxelNotFoundError,
    PixxelRateLimitError,
    PixxelResponseError,
    PixxelServerError,
    PixxelTemporaryError,
)
from pixxel_provider.api.job import Job
from pixxel_provider.job_creation import reconcile

BEGAN = 1_790_000_000.0


def job(name: str, *, age: float | None = 0.0, **fields: Any) -> Job:
    """Return a job of a list that was created ``age`` seconds before the request began."""
    answer = {"id": name, "status": "running", "workflow_id": "w", "created_by": "me", **fields}
    if age is not None:
        answer["created_at"] = datetime.fromtimestamp(BEGAN - age, timezone.utc).isoformat()
    return Job.read(answer)


def found(*jobs: Job, **given: Any) -> list[str]:
    return [each.id for each in reconcile.candidates(jobs, "w", **{"since": BEGAN, **given})]


@pytest.mark.parametrize(
    ("error", "accepted"),
    [
        (PixxelConnectionError("no such host", sent=False), False),
        (PixxelConnectionError("no answer", sent=True), True),
        (PixxelResponseError("no JSON"), True),
        (PixxelServerError("busy", status_code=503), True),
        (PixxelServerError("bug", status_code=500), True),
        (PixxelTemporaryError("slow", status_code=408), True),
        (PixxelRateLimitError("later", status_code=429), False),
        (PixxelBadRequestError("no", status_code=400), False),
        (PixxelAuthError("no", status_code=401), False),
        (PixxelAuthError("no", status_code=403), False),
        (PixxelNotFoundError("no", status_code=404), False),
        (PixxelInputError("workflow_id", "is empty"), False),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'status_code', getattr(value, 'sent', ''))}",
)
def test_only_what_was_turned_away_or_never_left_was_not_accepted(error: Any, accepted: bool) -> None:
    assert reconcile.may_have_been_accepted(error) is accepted


def test_a_job_since_the_request_began_is_a_candidate_and_an_older_one_is_not() -> None:
    assert found(job("new", age=-5), job("old", age=301)) == ["new"]


def test_clocks_may_differ_by_five_minutes() -> None:
    assert found(job("a", age=299)) == ["a"]
    assert found(job("a", age=301)) == []


def test_what_was_created_long_after_the_request_was_over_is_no_candidate() -> None:
    jobs = job("a", age=-359), job("b", age=-361), job("c", age=None)
    assert set(found(*jobs, until=BEGAN + 60)) == {"a", "c"}
    assert set(found(*jobs)) == {"a", "b", "c"}


def test_a_job_of_unknown_age_is_kept() -> None:
    assert found(job("a", age=None)) == ["a"]


def test_what_was_listed_before_is_none_of_ours() -> None:
    assert found(job("a"), job("b"), known=["a"]) == ["b"]


def test_a_job_of_another_workflow_or_user_is_none_of_ours() -> None:
    assert found(job("a", workflow_id="other")) == []
    assert found(job("a", workflow_id="")) == ["a"]
    assert found(job("a", created_by="you"), job("b", created_by=""), created_by="me") == ["b"]
    assert found(job("a", created_by="you")) == ["a"]


def test_candidates_come_oldest_first_and_each_once() -> None:
    assert found(job("b", age=-2), job("a", age=-1), job("b", age=-2)) == ["a", "b"]


AGES = st.one_of(st.none(), st.floats(-1e6, 1e6))


@given(ages=st.lists(AGES, max_size=8), late=st.floats(0, reconcile.CLOCK_SKEW))
def test_whatever_was_listed_before_is_remembered_as_far_as_it_matters(
    ages: list[float | None], late: float
) -> None:
    before = [job(f"job-{number}", age=age) for number, age in enumerate(ages)]
    known = reconcile.worth_remembering(before, BEGAN)
    # Whoever reads the record may take a slightly earlier moment for the beginning.
    assert found(*before, known=known, since=BEGAN - late) == []


def test_a_message_names_five_jobs_and_counts_the_others() -> None:
    words = reconcile.describe(job(f"job-{number}") for number in range(7))
    assert "job-4 (running, of 20" in words
    assert "by me)" in words
    assert "job-5" not in words
    assert words.endswith("and 2 more")


@pytest.mark.parametrize("moment", [253_402_300_799, 253_402_301_100, 1e300, -1e300])
def test_a_record_of_any_moment_can_be_searched_for(moment: float) -> None:
    old = Job.read({"id": "j", "workflow_id": "w", "status": "running", "created_at": "2026-01-01T00:00:00Z"})
    found = reconcile.candidates([old], "w", since=moment, until=moment)
    assert found == []
    assert reconcile.worth_remembering([old], moment) == (["j"] if moment < 0 else [])
