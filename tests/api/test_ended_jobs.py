"""Which of the listed jobs have ended, and when; and the wait for the first one after a moment."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pixxel_provider.api.ended_jobs import ended_jobs, read_moment
from pixxel_provider.api.errors import PixxelInputError, PixxelServerError
from pixxel_provider.api.job import Job
from pixxel_provider.api.judges import EndedJobPoll
from pixxel_provider.api.polling import PollState, WaitPlan
from pixxel_provider.api.status import StatusRules
from tests.support import RecordingLog

MOMENT = "2026-11-01T12:00:00Z"


def job(name: str, at: str | None = "12:30", status: str = "completed", **fields: Any) -> Job:
    """Return a job as a list has it, which ended at this time of the day, if at all."""
    finished = "0001-01-01T00:00:00Z" if at is None else f"2026-11-01T{at}:00Z"
    return Job.read({"id": name, "status": status, "finished_at": finished, "created_by": "me", **fields})


def poll(**arguments: Any) -> EndedJobPoll:
    return EndedJobPoll(**{"workflow_id": "w", "ended_after": MOMENT, **arguments})


def first(*jobs: Job, **arguments: Any) -> str | None:
    """Return the id of the job that the wait is for from now on."""
    judge = poll(**arguments)
    judge.check()
    result = judge.result(list(jobs))
    assert result is None or (result.kind, result.metadata) == ("identified", {"id": result.metadata["id"]})  # type: ignore[index]
    return None if result is None else result.metadata["id"]  # type: ignore[index]


# --------------------------------------------------------------------------------------------- the first one


def test_the_earliest_end_after_the_moment_decides_and_not_the_order_of_the_list() -> None:
    assert first(job("late", "14:00"), job("first", "12:01"), job("old", "11:59")) == "first"


def test_a_job_that_ended_at_the_very_moment_did_not_end_after_it() -> None:
    assert first(job("then", "12:00")) is None


def test_of_two_that_ended_together_every_list_gives_the_same() -> None:
    assert first(job("b"), job("a")) == first(job("a"), job("b")) == "a"


@pytest.mark.parametrize("moment", [MOMENT, "2026-11-01 13:00:00+01:00", "2026-11-01T17:30:00+05:30"])
def test_moments_are_compared_whatever_zone_they_are_written_in(moment: str) -> None:
    assert first(job("old", "11:59"), job("new", "12:01"), ended_after=moment) == "new"


@pytest.mark.parametrize(
    ("listed", "ends"),
    [
        (job("a", None, "running"), False),
        (job("a", None, "completed", updated_at="2026-11-01T12:30:00Z"), True),
        (job("a", None, "failed", created_at="2026-11-01T12:30:00Z"), True),
        (job("a", None, "completed"), False),
        (job("a", status="archived"), True),
        (job("a", None, "archived"), False),
        (job("..",), False),
        (job("a\nb"), False),
    ],
    ids=[
        "runs",
        "without an end, but changed later",
        "without an end, but created later",
        "nobody knows when it ended",
        "ended in an unknown status",
        "is in an unknown status",
        "an id that would be another path",
        "an id with a line break",
    ],
)  # fmt: skip
def test_what_counts_as_an_ended_job(listed: Job, ends: bool) -> None:
    assert first(listed) == (listed.id if ends else None)


def test_the_words_of_the_sensor_decide_what_an_end_is() -> None:
    done = job("a", None, "Put-Away", updated_at="2026-11-01T12:30:00Z")
    assert first(done) is None
    assert first(done, success_statuses=["put away"]) == first(done, failure_statuses=["PUTAWAY"]) == "a"


def test_the_jobs_of_others_do_not_count() -> None:
    listed = [job("theirs", "12:01", created_by="you"), job("nobodys", "12:02", created_by=""), job("mine")]
    assert first(*listed, created_by="ME") == "mine"
    assert first(*listed) == "theirs"


def test_statuses_are_compared_as_everywhere() -> None:
    listed = [job("bad", "12:01", "failed"), job("good", "12:02"), job("odd", "12:03", "Put Away")]
    assert first(*listed, statuses=["Completed"]) == "good"
    assert first(*listed, statuses=["put_away", "COMPLETED"]) == "good"
    assert first(*listed, statuses=["put_away"]) == "odd"


def test_all_ended_jobs_come_in_the_order_of_their_ends() -> None:
    listed = [job("c", "12:03"), job("a", "12:01"), job("runs", None, "running"), job("b", "12:02")]
    assert [each.id for _, each in ended_jobs(listed, StatusRules())] == ["a", "b", "c"]


# ------------------------------------------------------------------------------------------------ the wait


def test_the_list_is_asked_for_without_filters_as_all_waits_of_a_triggerer_share_it() -> None:
    call = poll(created_by="me", statuses=["completed"]).call()
    assert (call.name, call.path, call.params) == ("list_jobs", "/v0/workflows/w/jobs", {})


def test_the_log_has_a_line_for_each_length_of_the_list_and_none_for_a_poll() -> None:
    lines: list[str] = []
    state = PollState(poll(created_by="me"), WaitPlan(), log=RecordingLog(lines, levels=False))
    for listed in ([], [], [job("a", None, "running")], [job("a", None, "running")]):
        assert state.judge(listed) is None
    after = "waiting for one that ended after 2026-11-01T12:00:00Z (created_by 'me')"
    assert lines == [
        f"The list of jobs of workflow w is empty; {after}",
        f"The list of jobs of workflow w is 1 job long; {after}",
    ]


@pytest.mark.parametrize(
    ("listed", "last"), [([], "it was empty."), ([job("a", None), job("b", None)], "it was 2 jobs long.")]
)
def test_a_timeout_names_the_moment_the_filters_and_how_long_the_list_was(
    listed: list[Job], last: str
) -> None:
    state = PollState(poll(statuses=["failed", "error"]), WaitPlan(timeout=60), log=RecordingLog())
    listed = [Job.read({**each.raw, "status": "running"}) for each in listed]
    assert state.judge(listed) is None
    result = state.overdue(61)
    assert result is not None
    assert (result.kind, result.message) == (
        "timed_out",
        "The list of jobs of workflow w had no job that ended after 2026-11-01T12:00:00Z (statuses failed, "
        f"error) when the timeout of 60 s was over; {last}",
    )


def test_a_list_that_can_not_be_read_is_waited_out() -> None:
    lines: list[str] = []
    state = PollState(poll(), WaitPlan(), log=RecordingLog(lines))
    assert state.judge(PixxelServerError("busy", status_code=503)) is None
    assert state.judge([]) is None
    assert lines[:2] == [
        "warning: Pixxel answered HTTP 503: busy. Waiting on.",
        "info: The list of jobs of workflow w can be read again",
    ]


# ------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"workflow_id": ""}, "workflow_id"),
        ({"ended_after": "yesterday"}, "ended_after"),
        ({"ended_after": ""}, "ended_after"),
        ({"ended_after": None}, "ended_after"),
        ({"ended_after": 7}, "ended_after"),
        ({"ended_after": "2026-11-01T12:00:00"}, "ended_after"),
        ({"ended_after": "2026-11-01"}, "ended_after"),
        ({"ended_after": "0001-01-01T00:00:00+05:00"}, "ended_after"),
        ({"created_by": ""}, "created_by"),
        ({"created_by": 7}, "created_by"),
        ({"statuses": "failed"}, "statuses"),
        ({"statuses": [7]}, "statuses"),
        ({"success_statuses": ["a"], "failure_statuses": ["A"]}, "success_statuses"),
    ],
)
def test_what_can_not_be_used_is_refused_by_name(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(PixxelInputError) as caught:
        poll(**arguments).check()
    assert caught.value.field == field


def test_a_moment_is_text_or_a_datetime_with_a_zone() -> None:
    expected = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
    india = expected.astimezone(timezone(timedelta(hours=5, minutes=30)))
    for given in (MOMENT, f" {MOMENT}\n", str(expected), india, india.isoformat()):
        assert read_moment("since", given) == expected
        assert read_moment("since", given).utcoffset() == timedelta(0)
    with pytest.raises(PixxelInputError, match="since needs a time zone"):
        read_moment("since", datetime(2026, 11, 1))
