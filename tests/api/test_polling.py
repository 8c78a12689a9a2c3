from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.api.errors import (
    PixxelAuthError,
    PixxelConnectionError,
    PixxelError,
    PixxelInputError,
    PixxelNotFoundError,
    PixxelRateLimitError,
    PixxelResponseError,
    PixxelServerError,
    PixxelUnknownStatusError,
)
from pixxel_provider.api.job import Job
from pixxel_provider.api.judges import JobPoll
from pixxel_provider.api.polling import SHORTEST_DELAY, PollResult, PollState, WaitPlan
from pixxel_provider.api.status import FAILURE_WORDS, SUCCESS_WORDS, WAITING_WORDS
from tests.api.failures import BUSY, LASTING, PASSING, limited
from tests.support import job

NAME = "Pixxel job j of workflow w"
ENDED = "2026-01-02T03:04:05Z"
ZERO_TIMES = [None, "", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+05:30", "1970-01-01T00:00:00Z", 0]

MISSING = PixxelNotFoundError("no such job", status_code=404)


class Log(list[tuple[str, str]]):
    """What a wait has logged."""

    def info(self, words: str) -> None:
        self.append(("info", words))

    def warning(self, words: str) -> None:
        self.append(("warning", words))

    @property
    def warnings(self) -> list[str]:
        return [words for level, words in self if level == "warning"]

    @property
    def infos(self) -> list[str]:
        return [words for level, words in self if level == "info"]


def task(name: str, status: str = "running", **fields: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "status": status, **fields}


def begin(
    *,
    jitter: Callable[[], float] = lambda: 1.0,
    retries_soon: bool = True,
    success_statuses: list[str] | None = None,
    failure_statuses: list[str] | None = None,
    **plan: Any,
) -> tuple[PollState, Log]:
    log = Log()
    poll = JobPoll("w", "j", success_statuses, failure_statuses)
    return PollState(poll, WaitPlan(**plan), log=log, jitter=jitter, retries_soon=retries_soon), log


def drive(
    wait: PollState, answers: Iterable[Job | PixxelError], start: float = 0.0
) -> tuple[PollResult | None, float]:
    """Wait as the trigger does, on a clock of its own; return the result and when it came."""
    elapsed = start
    for answer in answers:
        result = wait.judge(answer) or wait.overdue(elapsed)
        if result is not None:
            return result, elapsed
        elapsed += wait.next_delay(elapsed)
    return None, elapsed


# ----------------------------------------------------------------------------------- what an answer means


@pytest.mark.parametrize("status", sorted(WAITING_WORDS))
@pytest.mark.parametrize("finished_at", [None, ENDED])
def test_a_known_waiting_word_waits_without_a_remark(status: str, finished_at: Any) -> None:
    wait, log = begin()

    assert wait.judge(job(status, finished_at=finished_at)) is None
    assert wait.judge(job(f" {status.title()}_", finished_at=finished_at)) is None
    assert log == [("info", f"{NAME}: {status}")]


@pytest.mark.parametrize("status", sorted(SUCCESS_WORDS))
def test_a_success_ends_the_wait_with_the_metadata(status: str) -> None:
    wait, log = begin()
    done = job(status.upper(), cost=12)
    result = wait.judge(done)

    assert result == PollResult(
        "succeeded", f"{NAME} has ended: {status.upper()}, for 12 credits", done.metadata()
    )
    assert log == []


@pytest.mark.parametrize(
    ("cost", "words"),
    [(None, ""), (0, ", for 0 credits"), (1_234_567, ", for 1234567 credits"), (0.25, ", for 0.25 credits")],
)
def test_the_cost_is_said_where_it_is_known(cost: Any, words: str) -> None:
    result = begin()[0].judge(job("completed", cost=cost))
    assert result.message == f"{NAME} has ended: completed{words}"


@pytest.mark.parametrize("status", sorted(FAILURE_WORDS))
def test_a_failure_ends_the_wait_with_the_reason(status: str) -> None:
    wait, log = begin()
    failed = job(
        status.title(),
        tasks=[
            task(
                "mask",
                "failed",
                block_info={"name": "cloud-mask", "version": "1.2"},
                failure_type="runtime_exception",
                err_msg="out of memory",
            )
        ],
        val_errors=["no input"],
    )
    result = wait.judge(failed)

    assert result == PollResult(
        "failed",
        f"{NAME} failed: status {status.title()!r}; task 'mask' failed in block cloud-mask 1.2: "
        f"runtime_exception: out of memory; validation: no input",
        failed.metadata(),
    )
    assert log == []


def test_an_unknown_status_waits_with_one_warning_whatever_its_progress() -> None:
    wait, log = begin()

    assert [wait.judge(job("awaiting_tasking")) for _ in range(100)] == [None] * 100
    assert log == [
        ("warning", f"{NAME} is in status 'awaiting_tasking', which isn't known: waiting on"),
        ("info", f"{NAME}: awaiting_tasking"),
    ]
    for percent in range(100):
        wait.judge(job("Awaiting Tasking" if percent % 2 else "awaiting_tasking", progress=percent))
    assert len(log.warnings) == 1
    assert len(log.infos) == 101


def test_each_unknown_status_has_its_warning() -> None:
    wait, log = begin()
    for status in ("odd", "odd", "odder", "running", "running"):
        wait.judge(job(status))

    assert [words.split("'")[1] for words in log.warnings] == ["odd", "odder"]
    assert log.infos[-1] == f"{NAME}: running"


def test_an_unknown_status_with_a_real_end_ends_the_wait_and_says_what_would_accept_it() -> None:
    wait, log = begin()
    odd = job("archived", finished_at=ENDED, cost=3)
    result = wait.judge(odd)
    assert (result.kind, result.metadata) == ("error", odd.metadata())
    assert isinstance(result.exception(), PixxelUnknownStatusError)
    assert str(result.exception()) == result.message
    for words in (NAME, "'archived'", "success_statuses", "failure_statuses"):
        assert words in result.message
    assert log == []


@pytest.mark.parametrize("finished_at", ZERO_TIMES)
def test_a_zero_time_is_no_end(finished_at: Any) -> None:
    wait, _ = begin()

    assert wait.judge(job("archived", finished_at=finished_at)) is None


@pytest.mark.parametrize(
    ("success", "failure", "status", "finished_at", "kind"),
    [
        (["archived"], None, "Archived", None, "succeeded"),
        (["archived"], None, "Archived", ENDED, "succeeded"),
        (None, ["ARCHIVED"], "Archived", None, "failed"),
        (None, ["ARCHIVED"], "Archived", ENDED, "failed"),
        (["running"], None, "running", None, "succeeded"),
        (["archived"], None, "failed", None, "failed"),
        (["archived"], None, "completed", ENDED, "error"),
    ],
)
def test_a_status_means_what_the_arguments_say(
    success: Any, failure: Any, status: str, finished_at: Any, kind: str
) -> None:
    wait, log = begin(success_statuses=success, failure_statuses=failure)

    assert wait.judge(job(status, finished_at=finished_at)).kind == kind
    assert log == []


def test_a_status_that_the_arguments_leave_out_no_longer_ends_the_wait() -> None:
    wait, log = begin(success_statuses=["archived"])

    assert wait.judge(job("completed")) is None
    assert "'completed', which isn't known" in log.warnings[0]


def test_messages_stay_short_whatever_the_status_holds() -> None:
    long = "odd\n" + "x" * 100_000
    wait, log = begin()
    wait.judge(job(long))
    messages = [words for _, words in log]
    for status, fields in (
        (long, {"finished_at": ENDED}),
        ("failed" + " " * 100_000, {}),
        ("done" + "-" * 9_000, {}),
    ):
        result = begin()[0].judge(job(status, **fields))
        messages.append(result.message)

    assert len(messages) == 5
    assert all(len(words) < 800 and "\n" not in words for words in messages)


# ------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_a_wait_outlasts_days_of_a_transient_error_with_one_warning(error: PixxelError) -> None:
    wait, log = begin(timeout=7 * 86_400.0)
    result, elapsed = drive(wait, [error] * (3 * 86_400 // 30))
    assert result is None
    assert elapsed > 2.9 * 86_400
    assert log == [("warning", f"{error} Waiting on.")]
    assert wait.judge(job("completed")).kind == "succeeded"


@pytest.mark.parametrize("error", LASTING, ids=str)
@pytest.mark.parametrize("seen", [False, True])
def test_a_permanent_error_ends_a_wait_at_once_with_the_message_of_the_server(
    error: PixxelError, seen: bool
) -> None:
    wait, log = begin()
    if seen:
        wait.judge(job())
    result = wait.judge(error)

    assert result == PollResult("error", str(error), error=error.fields())
    assert type(result.exception()) is type(error)
    assert str(result.exception()) == str(error)
    assert log.warnings == []


def test_the_first_answer_after_errors_is_logged_once() -> None:
    wait, log = begin()
    for answer in (job(), BUSY, BUSY, job(), job(), BUSY, job()):
        wait.judge(answer)

    assert log == [
        ("info", f"{NAME}: running"),
        ("warning", f"{BUSY} Waiting on."),
        ("info", f"{NAME} can be read again"),
        ("warning", f"{BUSY} Waiting on."),
        ("info", f"{NAME} can be read again"),
    ]


def test_another_error_is_logged_and_another_message_of_the_same_is_not() -> None:
    wait, log = begin()
    for second in range(50):
        wait.judge(PixxelRateLimitError(f"try again in {second} s", status_code=429, code="limit"))
    assert len(log) == 1

    wait.judge(PixxelRateLimitError("try again", status_code=429, code="quota"))
    wait.judge(PixxelServerError("try again", status_code=500))
    wait.judge(PixxelServerError("try again", status_code=502))
    wait.judge(PixxelConnectionError("gone."))
    wait.judge(PixxelConnectionError("refused."))
    assert len(log) == 6


def test_the_message_of_a_timeout_ends_with_the_last_error() -> None:
    wait, _ = begin(timeout=100)
    for second in range(3):
        wait.judge(PixxelServerError(f"incident {second}", status_code=503))

    assert wait.timed_out().message.endswith("; it couldn't be read: Pixxel answered HTTP 503: incident 2.")


# ------------------------------------------------------------------------------------------ a missing job


def test_a_missing_job_is_waited_for_as_long_as_the_grace() -> None:
    wait, log = begin(not_found_grace=60.0)

    for elapsed in (0.0, 30.0, 60.0):
        assert wait.judge(MISSING) is None
        assert wait.overdue(elapsed) is None
    assert wait.overdue(60.001) == PollResult("error", str(MISSING), error=MISSING.fields())
    assert log == [("warning", f"{MISSING} Waiting on.")]


def test_a_job_that_appears_within_the_grace_is_waited_for() -> None:
    result, _ = drive(begin()[0], [MISSING, MISSING, job(), *[job()] * 10, job("done")])
    assert result.kind == "succeeded"


def test_a_job_that_never_appears_ends_the_wait_soon_after_the_grace() -> None:
    result, elapsed = drive(begin(not_found_grace=60.0, poke_interval=30.0)[0], [MISSING] * 1_000)
    assert isinstance(result.exception(), PixxelNotFoundError)
    assert 60 < elapsed <= 90


def test_a_job_that_vanishes_long_after_the_start_is_given_the_whole_grace() -> None:
    wait, _ = begin(not_found_grace=60.0)
    wait.judge(job())
    assert wait.overdue(1_000.0) is None

    for elapsed in (1_030.0, 1_050.0, 1_090.0):
        assert wait.judge(MISSING) is None
        assert wait.overdue(elapsed) is None
    wait.judge(MISSING)
    assert wait.overdue(1_090.1).kind == "error"  # type: ignore[union-attr]


@pytest.mark.parametrize("after", [*PASSING, job()], ids=str)
def test_any_other_answer_ends_a_row_of_missing(after: Any) -> None:
    wait, _ = begin()
    wait.judge(MISSING)
    assert wait.overdue(0.0) is None
    wait.judge(after)
    assert wait.overdue(1_000.0) is None

    wait.judge(MISSING)
    assert wait.overdue(1_001.0) is None
    assert wait.overdue(1_061.0) is None
    assert wait.overdue(1_061.1) is not None


@pytest.mark.parametrize("pattern", [[MISSING, job()], [MISSING, BUSY], [MISSING, MISSING, job()]], ids=str)
def test_single_blips_never_end_a_wait_however_many_there_are(pattern: list[Any]) -> None:
    result, elapsed = drive(begin(poke_interval=30.0)[0], [*pattern * 200, job("done")])
    assert result.kind == "succeeded"
    assert elapsed > 1_000


@pytest.mark.parametrize("poke_interval", [5.0, 30.0, 600.0])
def test_within_the_grace_it_polls_often_and_decides_just_after_it(poke_interval: float) -> None:
    wait, _ = begin(poke_interval=poke_interval, not_found_grace=60.0)
    wait.judge(job())
    polls, elapsed = 0, 5_000.0
    while wait.judge(MISSING) is None and wait.overdue(elapsed) is None:
        polls += 1
        elapsed += wait.next_delay(elapsed)

    assert 60.0 < elapsed - 5_000.0 <= 60.0 + SHORTEST_DELAY
    assert polls >= 5


def test_a_row_that_another_process_saw_begin_goes_on_here() -> None:
    wait, _ = begin(not_found_grace=60.0)
    wait.resume_not_found(10.0, 50.0)
    assert wait.next_delay(50.0) <= 2

    wait.judge(MISSING)
    assert wait.overdue(70.0) is None
    assert wait.overdue(70.1) is not None


@pytest.mark.parametrize(("since", "now"), [(0.0, 60.0), (0.0, 86_400.0)])
def test_a_row_of_long_ago_is_forgotten(since: float, now: float) -> None:
    wait, _ = begin(not_found_grace=60.0)
    wait.resume_not_found(since, now)
    wait.judge(MISSING)

    assert wait.overdue(now) is None
    assert wait.overdue(now + 60.0) is None


def test_a_row_that_another_process_saw_begin_ends_with_another_answer() -> None:
    wait, log = begin(not_found_grace=60.0)
    wait.resume_not_found(0.0, 30.0)
    wait.judge(job())
    wait.judge(MISSING)

    assert wait.overdue(100.0) is None
    assert log.infos[0] == f"{NAME} can be read again"


def test_where_no_process_can_see_the_whole_grace_part_of_it_does_after_the_grace() -> None:
    wait, _ = begin(not_found_grace=3_600.0)
    wait.longest_not_found = 300.0
    wait.judge(MISSING)
    assert wait.overdue(1_000.0) is None
    assert not wait.keeps_worker(1_000.0)
    assert wait.overdue(3_599.0) is None
    wait.judge(job())
    wait.judge(MISSING)
    assert wait.overdue(9_000.0) is None
    assert wait.keeps_worker(9_000.0)
    assert wait.overdue(9_300.0) is None
    assert wait.overdue(9_300.1) is not None


@pytest.mark.parametrize("answer", [job(), BUSY], ids=str)
def test_only_for_a_missing_job_a_process_stays(answer: Any) -> None:
    wait, _ = begin()
    wait.longest_not_found = 300.0
    wait.judge(answer)
    assert not wait.keeps_worker(0.0)
    wait.judge(MISSING)
    assert wait.keeps_worker(0.0)
    silent, _ = begin(silent_fail=True)
    silent.judge(MISSING)
    assert not silent.keeps_worker(0.0)


def test_no_grace_means_that_a_missing_job_ends_the_wait_at_the_first_poll() -> None:
    wait, _ = begin(not_found_grace=0.0)
    wait.judge(MISSING)

    assert wait.overdue(0.001) is not None


# ----------------------------------------------------------------------------------------------- the time


def test_time_is_over_only_after_the_deadline() -> None:
    wait, _ = begin(timeout=600.0)
    wait.judge(job("queued", progress="5%"))

    assert wait.overdue(0.0) is None
    assert wait.overdue(600.0) is None
    assert wait.overdue(600.001) == PollResult(
        "timed_out", f"{NAME} had not ended when the timeout of 600 s was over; it was queued, 5 %."
    )


@pytest.mark.parametrize(("status", "kind"), [("completed", "succeeded"), ("failed", "failed")])
def test_the_status_is_judged_before_the_deadline(status: str, kind: str) -> None:
    result, elapsed = drive(begin(timeout=600.0)[0], [job(status)], start=86_400.0)
    assert (result.kind, elapsed) == (kind, 86_400.0)


def test_the_deadline_comes_before_the_grace() -> None:
    wait, _ = begin(timeout=50.0, not_found_grace=20.0)
    wait.judge(MISSING)

    assert wait.overdue(0.0) is None
    assert wait.overdue(30.0).kind == "error"  # type: ignore[union-attr]
    assert wait.overdue(51.0).kind == "timed_out"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "it was never seen."),
        ([BUSY], "it couldn't be read: Pixxel answered HTTP 503: busy."),
        ([job("queued")], "it was queued."),
        ([job("queued"), BUSY], "it couldn't be read: Pixxel answered HTTP 503: busy."),
        ([BUSY, job("queued")], "it was queued."),
    ],
    ids=["never", "error", "seen", "seen, then an error", "an error, then seen"],
)
def test_a_timeout_names_what_the_last_poll_saw(answers: Any, words: str) -> None:
    wait, _ = begin(timeout=1_209_600.0)
    for answer in answers:
        wait.judge(answer)

    assert wait.timed_out().message == (
        f"{NAME} had not ended when the timeout of 1209600 s was over; {words}"
    )
    assert wait.timed_out().metadata is None


def test_a_wait_polls_once_more_right_after_its_deadline() -> None:
    for jitter in (0.0, 1.0):
        wait, _ = begin(timeout=100.0, jitter=lambda jitter=jitter: jitter)
        result, elapsed = drive(wait, [job()] * 1_000)
        assert result.kind == "timed_out"
        assert 100 < elapsed <= 100.5


# -------------------------------------------------------------------------------------------- silent_fail


@pytest.mark.parametrize(
    "error", [error for error in LASTING if not isinstance(error, PixxelInputError)], ids=str
)
def test_silent_fail_waits_on_after_errors_and_says_so_once(error: PixxelError) -> None:
    wait, log = begin(silent_fail=True, timeout=1e6)

    for poll in range(100):
        assert wait.judge(error) is None
        assert wait.overdue(poll * 1e4) is None
    assert log.warnings == [f"{str(error).removesuffix('.')}. Waiting on."]
    assert log.infos == []


@pytest.mark.parametrize(
    ("answer", "kind"), [(PixxelInputError("pixxel_conn_id", "is 'x'"), "error"), (job("failed"), "failed")]
)
def test_silent_fail_hides_neither_an_unusable_connection_nor_a_failed_job(answer: Any, kind: str) -> None:
    assert begin(silent_fail=True)[0].judge(answer).kind == kind


def test_answers_that_can_not_be_read_are_said_once_whatever_they_say() -> None:
    wait, log = begin()
    for number in range(5):
        assert wait.judge(PixxelResponseError(f"The answer isn't JSON but HTML ('ref {number}').")) is None
    assert len(log.warnings) == 1
    assert "'ref 4'" in wait.timed_out().message


def test_silent_fail_waits_on_after_an_end_that_nobody_understands_and_says_so_once() -> None:
    wait, log = begin(silent_fail=True, timeout=1e6)
    odd = job("archived", finished_at=ENDED)

    assert [wait.judge(odd) for _ in range(100)] == [None] * 100
    assert len(log) == 1
    assert "success_statuses" in log.warnings[0]
    assert log.warnings[0].endswith("what it means. Waiting on.")
    assert f"; it was archived. {NAME} has ended in status 'archived', which" in wait.timed_out().message
    assert wait.timed_out().message.endswith("what it means.")
    assert wait.judge(job("completed")).kind == "succeeded"  # type: ignore[union-attr]


def test_silent_fail_says_again_what_comes_again() -> None:
    wait, log = begin(silent_fail=True)
    odd = job("archived", finished_at=ENDED)
    for answer in (odd, job("running"), odd, BUSY, odd):
        wait.judge(answer)

    assert [level for level, _ in log] == ["warning", "info", "warning", "warning", "info", "warning"]
    assert log.infos == [f"{NAME}: running", f"{NAME} can be read again"]


def test_silent_fail_outlasts_the_grace_but_not_the_deadline() -> None:
    wait, _ = begin(silent_fail=True, timeout=600.0)
    wait.judge(MISSING)

    assert wait.overdue(599.0) is None
    assert wait.overdue(601.0).kind == "timed_out"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "answer", [MISSING, BUSY, LASTING[0], job(), job("odd"), job("archived", finished_at=ENDED)], ids=str
)
@pytest.mark.parametrize("silent_fail", [False, True])
@pytest.mark.parametrize("since", [None, 10.0])
def test_whatever_comes_all_day_is_polled_once_an_interval(
    answer: Any, silent_fail: bool, since: float | None
) -> None:
    wait, _ = begin(silent_fail=silent_fail, poke_interval=90.0, timeout=86_400.0)
    if since is not None:
        wait.resume_not_found(since, 10.0)
    polls, elapsed = 0, 10.0
    while wait.judge(answer) is None and wait.overdue(elapsed) is None:
        polls += 1
        elapsed += wait.next_delay(elapsed)

    # The first failures are retried sooner.
    assert polls < elapsed / (0.8 * 90.0) + 20


# ------------------------------------------------------------------------------------------------ the log


def estimated(updated_at: str, **fields: Any) -> Job:
    """Return a job that began at noon and should take five minutes."""
    noon = "2026-01-02T12:00:00Z"
    return job(created_at=noon, estimated_duration=300, updated_at=f"2026-01-02T{updated_at}Z", **fields)


def test_the_time_left_is_logged_with_changes_and_is_none_itself() -> None:
    wait, log = begin()
    for minute in range(9):
        wait.judge(estimated(f"12:0{minute}:00", progress=20))
    wait.judge(estimated("12:03:00", progress=60))
    wait.judge(estimated("12:09:00", progress=90))

    assert log.infos == [
        f"{NAME}: running, 20 %, about 5 min left",
        f"{NAME}: running, 60 %, about 2 min left",
        f"{NAME}: running, 90 %, longer than estimated",
    ]


def test_a_wait_that_is_over_tells_no_time_left_of_long_ago() -> None:
    wait, _ = begin()
    wait.judge(estimated("12:00:00", progress=20))

    assert wait.timed_out().message.endswith("; it was running, 20 %.")


@pytest.mark.parametrize(
    "answers",
    [
        [job("running", progress=40, tasks=[task("a")])],
        [job("running"), job("Running"), job("RUN-NING")],
        [job(tasks=[task("a"), task("b")]), job(tasks=[task("b"), task("a")])],
        [job(cost=1, updated_at="2026-01-02T03:04:05Z"), job(cost=2, updated_at="2026-01-02T03:04:06Z")],
    ],
    ids=["the same", "spelling", "order of tasks", "what nobody waits for"],
)
def test_polls_without_a_change_are_not_logged(answers: list[Job]) -> None:
    wait, log = begin()
    for poll in range(100):
        wait.judge(answers[poll % len(answers)])

    assert len(log) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (job("queued"), job("running")),
        (job(progress="10%"), job(progress="11%")),
        (job(progress=None), job(progress=0)),
        (job(tasks=[task("a"), task("b", "queued")]), job(tasks=[task("a", "completed"), task("b")])),
        (job(tasks=[task("a", "queued")]), job(tasks=[task("a", "in progress")])),
    ],
    ids=["status", "progress", "first progress", "next task", "first task"],
)
def test_what_changed_is_logged_once(before: Job, after: Job) -> None:
    wait, log = begin()
    for answer in [*[before] * 50, *[after] * 50]:
        wait.judge(answer)

    assert len(log) == 2
    assert log.warnings == []
    assert log.infos[0] != log.infos[1]


# ----------------------------------------------------------------------------------------------- the gaps


@pytest.mark.parametrize(
    ("plan", "jitter", "delays"),
    [
        # A fifth of the interval is jitter, and no delay is shorter than half a second.
        ({}, 0.0, [24] * 4),
        ({}, 0.5, [27] * 4),
        ({}, 1.0, [30] * 4),
        ({"poke_interval": 0.0}, 0.0, [SHORTEST_DELAY] * 4),
        ({"poke_interval": 0.1}, 0.0, [SHORTEST_DELAY] * 4),
        ({"poke_interval": -5.0}, 0.0, [0.5] * 4),
        # With backoff, it grows by the time waited, up to max_wait.
        ({"exponential_backoff": True}, 1.0, [30, 60, 120, 240, 480, 960, 1_920, 3_840]),
        (
            {"exponential_backoff": True, "max_wait": 200.0, "poke_interval": 10.0},
            1.0,
            [10, 20, 40, 80, 160, 200, 200, 200],
        ),
        ({"exponential_backoff": True, "max_wait": 5.0}, 1.0, [5, 5]),
        ({"exponential_backoff": True, "max_wait": 0.1}, 1.0, [SHORTEST_DELAY] * 2),
        ({"exponential_backoff": False, "max_wait": 5.0}, 1.0, [30, 30]),
    ],
)
def test_delays_follow_the_interval_or_the_backoff(
    plan: dict[str, Any], jitter: float, delays: list[float]
) -> None:
    wait, _ = begin(jitter=lambda: jitter, **plan)
    found, elapsed = [], 0.0
    for _ in delays:
        wait.judge(job())
        found.append(wait.next_delay(elapsed))
        elapsed += found[-1]

    assert found == pytest.approx(delays)


@pytest.mark.parametrize("retries_soon", [True, False])
@pytest.mark.parametrize("jitter", [0, 0.5, 1])
def test_a_retry_after_decides_with_a_tenth_of_jitter_on_top(retries_soon: bool, jitter: float) -> None:
    wait, _ = begin(retries_soon=retries_soon, jitter=lambda: jitter)
    for seconds in (300.0, 45.0):
        wait.judge(limited(seconds))
        assert wait.next_delay(0.0) == pytest.approx(seconds * (1 + jitter / 10))


@pytest.mark.parametrize(("elapsed", "gap"), [(0.0, 100.5), (90.0, 10.5), (100.0, 0.5), (5_000.0, 0.5)])
def test_no_gap_passes_the_deadline_by_more_than_half_a_second(elapsed: float, gap: float) -> None:
    wait, _ = begin(timeout=100.0, poke_interval=500.0)
    assert wait.next_delay(elapsed) == pytest.approx(gap)

    wait.judge(limited(3_600.0))
    assert wait.next_delay(elapsed) == pytest.approx(gap)


def test_after_errors_the_next_requests_come_soon_and_then_less_and_less_often() -> None:
    wait, _ = begin()
    gaps = []
    for _ in range(8):
        wait.judge(BUSY)
        gaps.append(wait.next_delay(0.0))

    assert gaps == pytest.approx([2, 4, 8, 16, 30, 30, 30, 30])
    wait.judge(job())
    assert wait.next_delay(0.0) == pytest.approx(30)
    wait.judge(BUSY)
    assert wait.next_delay(0.0) == pytest.approx(2)


def test_delays_after_errors_have_full_jitter() -> None:
    source = random.Random(7)
    gaps = []
    for _ in range(500):
        wait, _ = begin(jitter=source.random)
        for _ in range(4):
            wait.judge(BUSY)
        gaps.append(wait.next_delay(0.0))

    assert min(gaps) == 0.5
    assert 15 < max(gaps) <= 16
    assert 7 < sum(gaps) / len(gaps) < 9


GAPS: dict[str, tuple[dict[str, Any], list[Any], float]] = {
    "a Retry-After holds for one delay, another error": ({}, [limited(300.0), BUSY], 4.0),
    "a Retry-After holds for one delay, an answer": ({}, [limited(300.0), job()], 30.0),
    "a short Retry-After does not shorten the interval": ({"retries_soon": False}, [limited(1.0)], 30.0),
    "a missing job is polled soon": ({}, [MISSING], 2.0),
    "an error shortens nothing if each request costs a process": ({"retries_soon": False}, [BUSY] * 3, 30.0),
    "an error never makes a delay longer than the interval": ({"poke_interval": 1.0}, [BUSY] * 5_000, 1.0),
}


@pytest.mark.parametrize(("options", "answers", "gap"), GAPS.values(), ids=GAPS)
def test_the_gap_after_some_answers(options: dict[str, Any], answers: list[Any], gap: float) -> None:
    wait, _ = begin(**options)
    for answer in answers:
        wait.judge(answer)
        after = wait.next_delay(0.0)
        assert options.get("retries_soon", True) or after == pytest.approx(gap)
    assert wait.next_delay(0.0) == pytest.approx(gap)


SECONDS = st.floats(0, 1e7) | st.sampled_from([0.0, 0.5, 1e300, float("inf")])
ANSWERS = st.sampled_from(
    [
        job(),
        job("odd", finished_at=ENDED),
        job("odd", tasks=[task("a")], progress=4),
        job("done"),
        job("failed"),
        MISSING,
        limited(0.0),
        limited(77.0),
        limited(86_400.0),
        *PASSING,
        *LASTING,
    ]
)


@given(
    plan=st.builds(
        WaitPlan,
        poke_interval=SECONDS | st.just(-1.0),
        timeout=SECONDS,
        exponential_backoff=st.booleans(),
        max_wait=st.none() | SECONDS,
        not_found_grace=SECONDS,
        silent_fail=st.booleans(),
    ),
    answers=st.lists(ANSWERS, max_size=8),
    elapsed=st.floats(-1e6, 1e8),
    jitter=st.floats(0, 1),
    retries_soon=st.booleans(),
)
def test_whatever_happens_a_wait_never_raises_and_its_gaps_stay_within_bounds(
    plan: WaitPlan, answers: list[Any], elapsed: float, jitter: float, retries_soon: bool
) -> None:
    log = Log()
    wait = PollState(JobPoll("w", "j"), plan, log=log, jitter=lambda: jitter, retries_soon=retries_soon)
    for answer in answers:
        result = wait.judge(answer) or wait.overdue(elapsed)
        gap = wait.next_delay(elapsed)

        assert result is None or result.kind in ("succeeded", "failed", "timed_out", "error")
        longest = plan.poke_interval
        if plan.exponential_backoff:
            longest = min(longest + elapsed, plan.max_wait or float("inf"))
        assert (
            SHORTEST_DELAY
            <= gap
            <= max(
                longest, 1.1 * (answer.retry_after or 0.0) if isinstance(answer, PixxelError) else 0.0, 0.5
            )
        )
        assert gap <= max(plan.timeout - elapsed, 0.0) + SHORTEST_DELAY
        json.dumps([result and result.metadata, result and result.error], allow_nan=False)
    assert all(level in ("info", "warning") and words for level, words in log)
    assert len(log) <= 3 * len(answers)


# -------------------------------------------------------------------------------------- plans and results


def test_a_plan_and_a_poll_are_the_same_after_json() -> None:
    for plan in (WaitPlan(1.0, 2.0, True, 3.0, 4.0, True), WaitPlan()):
        assert WaitPlan(**json.loads(json.dumps(vars(plan)))) == plan
    for poll in (JobPoll("w", "j", ["a"], ["b"]), JobPoll("w", "j")):
        assert JobPoll(**json.loads(json.dumps(poll.fields()))) == poll


def test_by_default_a_wait_of_a_week_polls_every_half_minute() -> None:
    plan = WaitPlan()

    assert (plan.poke_interval, plan.timeout, plan.not_found_grace) == (30.0, 604_800.0, 60.0)
    assert (plan.exponential_backoff, plan.max_wait, plan.silent_fail) == (False, None, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workflow_id", ""),
        ("workflow_id", None),
        ("job_id", ".."),
        ("job_id", 7),
        ("success_statuses", "completed"),
        ("failure_statuses", [""]),
        ("not_found_grace", -1.0),
        ("not_found_grace", float("nan")),
        ("not_found_grace", float("inf")),
        ("not_found_grace", "60"),
        ("not_found_grace", None),
        ("not_found_grace", True),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_is_asked(field: str, value: Any) -> None:
    checked: Any = WaitPlan() if field == "not_found_grace" else JobPoll("w", "j")
    with pytest.raises(PixxelInputError) as caught:
        replace(checked, **{field: value}).check()

    assert caught.value.field == field


@pytest.mark.parametrize("grace", [0, 0.0, 1, 1e9])
def test_a_plan_that_can_be_is_not_refused(grace: float) -> None:
    WaitPlan(not_found_grace=grace).check()
    JobPoll("w", "j", ["a"], ["b"]).check()


def test_a_wait_refuses_rules_that_contradict_each_other() -> None:
    with pytest.raises(PixxelInputError, match=r"both name a$"):
        JobPoll("w", "j", ["a"], ["A"]).check()


def test_a_result_keeps_its_error_through_json_or_at_least_its_message() -> None:
    result = PollResult.from_error(PixxelAuthError("no", status_code=403), {"id": "j"})
    arrived = PollResult(**json.loads(json.dumps(vars(result))))

    assert arrived == result
    assert isinstance(arrived.exception(), PixxelAuthError)
    assert arrived.exception().status_code == 403
    assert str(arrived.exception()) == result.message
    without = PollResult("error", "what happened").exception()
    assert (type(without), str(without)) == (PixxelError, "what happened")


def test_a_wait_has_its_own_chance_where_none_is_given() -> None:
    gaps = {PollState(JobPoll("w", "j"), WaitPlan(), log=Log()).next_delay(0.0) for _ in range(20)}

    assert len(gaps) > 1
    assert all(24 <= gap <= 30 for gap in gaps)
