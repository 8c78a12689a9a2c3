from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.api.event_cursor import LIMIT, WINDOW, EventCursor, outcome
from pixxel_provider.api.job import Job
from pixxel_provider.api.status import StatusRules

RULES = StatusRules()
NOW = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)


def job(job_id: str, status: str = "completed", ended: float | None = 0.0, **fields: Any) -> Job:
    """Return a job that ended so many seconds before NOW."""
    moment = None if ended is None else (NOW - timedelta(seconds=ended)).isoformat()
    return Job.read({"id": job_id, "status": status, "finished_at": moment, **fields})


def announce(cursor: EventCursor, *listed: Job) -> list[str]:
    """Announce what is pending, as a watcher does, and return the ids."""
    pending = cursor.pending(listed, RULES)
    for each in pending:
        cursor.announce(each, str(outcome(each, RULES)))
    cursor.prune(NOW)
    return [each.id for each in pending]


def begin(*listed: Job, since: datetime | None = None) -> EventCursor:
    return EventCursor.begin(listed, RULES, since, NOW)


@pytest.mark.parametrize(
    ("status", "ended", "word"),
    [
        ("completed", 0.0, "succeeded"),
        ("failed", 0.0, "failed"),
        ("odd", 0.0, "unknown"),
        ("running", None, None),
        ("odd", None, None),
    ],
)
def test_an_outcome_is_the_verdict_in_a_word(status: str, ended: float | None, word: str | None) -> None:
    assert outcome(job("a", status, ended), RULES) == word


def test_jobs_from_before_the_watcher_are_not_announced_and_later_ones_are_once() -> None:
    cursor = begin(job("old"), job("running", "running", None))
    listed = [job("old"), job("running"), job("new", "failed")]
    assert announce(cursor, *listed) == ["new", "running"]
    assert announce(cursor, *listed) == []


def test_since_asks_for_jobs_from_before_the_watcher() -> None:
    cursor = begin(job("older", ended=20), job("old", ended=5), since=NOW - timedelta(seconds=10))
    assert announce(cursor, job("older", ended=20), job("old", ended=5)) == ["old"]


def test_an_empty_workflow_s_first_job_is_announced() -> None:
    assert announce(begin(), job("first", ended=None, status="completed")) == ["first"]


def test_equal_times_are_no_reason_to_leave_one_out() -> None:
    cursor = begin(job("a"))
    assert announce(cursor, job("a"), job("b"), job("c")) == ["b", "c"]


@pytest.mark.parametrize("skew", [-86_000, -600, 600, 86_000])
def test_pixxels_clock_may_differ_from_ours(skew: float) -> None:
    cursor = begin(job("old", ended=skew))
    assert announce(cursor, job("old", ended=skew), job("new", ended=skew - 1)) == ["new"]


def test_a_job_that_the_list_left_out_for_a_while_is_announced_when_it_is_listed() -> None:
    cursor = begin(job("old"))
    assert announce(cursor, job("later", ended=-3600)) == ["later"]
    assert announce(cursor, job("left-out", ended=60), job("later", ended=-3600)) == ["left-out"]


def test_a_list_that_leaves_an_announced_job_out_does_not_announce_it_twice() -> None:
    cursor = begin()
    assert announce(cursor, job("a")) == ["a"]
    assert announce(cursor) == []
    assert announce(cursor, job("a")) == []


def test_a_job_that_ends_otherwise_later_is_announced_again_and_one_that_only_changes_is_not() -> None:
    cursor = begin()
    assert announce(cursor, job("a", "failed")) == ["a"]
    assert announce(cursor, job("a", "failed", cost=7, updated_at=NOW.isoformat())) == []
    assert announce(cursor, job("a", "running", None)) == []
    assert announce(cursor, job("a", "completed", ended=-60)) == ["a"]


def test_jobs_without_any_time_are_announced_once() -> None:
    cursor = begin(job("old"))
    assert announce(cursor, job("a", ended=None, status="failed")) == ["a"]
    assert announce(cursor, job("a", ended=None, status="failed")) == []


def test_the_order_is_that_of_the_ends() -> None:
    assert announce(begin(), job("b", ended=1), job("a", ended=2), job("c", ended=3)) == ["c", "a", "b"]


def test_a_time_in_the_far_future_does_not_make_all_others_old() -> None:
    cursor = begin(job("mistake", ended=-10 * 365 * 86_400))
    assert announce(cursor, job("new")) == ["new"]


def test_what_is_kept_has_a_limit_and_nothing_is_announced_twice_for_it() -> None:
    listed = [job(f"job-{number}", ended=LIMIT * 3 - number) for number in range(LIMIT * 2)]
    cursor = begin()
    assert len(announce(cursor, *listed)) == LIMIT * 2
    assert len(cursor.announced) <= LIMIT
    assert announce(cursor, *listed) == []
    assert len(json.dumps(cursor.to_json())) < 60 * LIMIT


def test_the_window_moves_with_the_newest_end_and_not_with_time() -> None:
    cursor = begin(job("old", ended=30 * 86_400))
    # Nobody watched for a month: what ended meanwhile is announced.
    assert announce(cursor, job("meanwhile", ended=29 * 86_400), job("new")) == ["meanwhile", "new"]
    assert announce(cursor, job("too-late", ended=WINDOW.total_seconds() + 1)) == []


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["completed", "failed", "running"]))))
def test_a_stored_cursor_goes_on_where_it_was(steps: list[tuple[str, str]]) -> None:
    cursor = begin()
    stored = begin()
    for job_id, status in steps:
        stored = EventCursor.read(json.loads(json.dumps(stored.to_json(), allow_nan=False))) or begin()
        each = job(job_id, status, None if status == "running" else 0.0)
        assert announce(stored, each) == announce(cursor, each)


@pytest.mark.parametrize(
    "stored",
    [
        *(None, "", 7, [], {}, {"version": 2, "since": 1, "announced": {}}, {"version": 1}),
        *({"version": 1, "since": "x", "announced": {}}, {"version": 1, "since": 1, "announced": []}),
        {"version": 1, "since": 1, "announced": {"a": 7}},
        {"version": 1, "since": 1, "announced": {"a": ["x", "failed"]}},
        {"version": 1, "since": 10**400, "announced": {}},
        {"version": 1, "since": math.nan, "announced": {}},
        {"version": 1, "since": 1, "announced": {"a": [10**400, "failed"]}},
        {"version": 1, "since": 1, "announced": {"a": [math.inf, "failed"]}},
    ],
)
def test_what_is_no_cursor_is_not_read_as_one(stored: object) -> None:
    assert EventCursor.read(stored) is None


def test_a_new_cursor_without_any_job_has_no_beginning() -> None:
    assert begin().since == -math.inf
    assert begin().to_json()["since"] is None
