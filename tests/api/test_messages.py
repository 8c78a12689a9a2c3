from __future__ import annotations

from typing import Any

import pytest

from pixxel_provider.api.job import Job
from pixxel_provider.api.messages import (
    failure_text,
    name_of,
    plain,
    progress_line,
    status_line,
    status_of,
    time_left,
)
from tests.support import job

# ------------------------------------------------------------------------------------------- failure_text


def test_a_failure_names_the_task_its_block_and_the_reasons() -> None:
    failed = {
        "name": "mask",
        "status": "failed",
        "block_info": {"name": "cloud-mask", "version": "1.2"},
        "failure_type": "runtime_exception",
        "err_msg": "out of\n memory",
    }
    words = failure_text(job("failed", tasks=[{"name": "read", "status": "completed"}, failed]))

    assert words == (
        "status 'failed'; task 'mask' failed in block cloud-mask 1.2: runtime_exception: out of memory"
    )


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"id": "t", "status": "Errored"}, "task 't' failed"),
        ({"name": "n", "failure_type": "unknown"}, "task 'n' failed: unknown"),
        ({"name": "n", "err_msg": "boom"}, "task 'n' failed: boom"),
        ({"name": "n", "status": "failed", "block_info": {"id": "b"}}, "task 'n' failed in block b"),
    ],
)
def test_whatever_a_task_says_of_its_failure_is_said(task: Any, words: str) -> None:
    assert failure_text(job("failed", tasks=[task])) == f"status 'failed'; {words}"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"err": "e", "reason": "r", "from": "a", "to": "b", "component_name": "c"}, "e: r (a -> b, c)"),
        ({"err": "e", "from": "a"}, "e (a)"),
        ({"reason": "r", "component_name": "c"}, "r (c)"),
        ("plain", "plain"),
        ({}, "no reason given"),
    ],
)
def test_validation_errors_are_said(error: Any, words: str) -> None:
    assert failure_text(job("failed", val_errors=[error])) == f"status 'failed'; validation: {words}"


def test_a_failure_without_a_reason_says_so() -> None:
    assert (
        failure_text(job("failed", tasks=[{"status": "queued"}])) == "status 'failed'; Pixxel gave no reason"
    )


def test_more_than_five_of_a_kind_are_counted() -> None:
    tasks = [{"name": f"t{n}", "status": "failed"} for n in range(7)]
    words = failure_text(job("failed", tasks=tasks, val_errors=["v"] * 6))

    assert words.count(" failed;") == 5
    assert "'t4'" in words
    assert "'t5'" not in words
    assert words.count("validation:") == 5
    assert words.endswith("; and 3 more")


def test_a_long_failure_is_cut_and_every_reason_has_its_room() -> None:
    tasks = [{"name": f"t{n}", "status": "failed", "err_msg": "e" * 10_000} for n in range(3)]
    words = failure_text(job("failed" + " " * 10_000, tasks=tasks))

    assert len(words) <= 2_000
    assert all(f"'t{n}'" in words for n in range(3))
    assert len(failure_text(job("failed", tasks=[{"name": "n" * 9_000, "status": "failed"}]))) == 2_000


# ------------------------------------------------------------------------------------------ progress_line


def test_a_line_says_where_a_job_stands() -> None:
    tasks = [
        {"name": "read", "status": "done"},
        {"name": "clip", "status": "Completed"},
        {"name": "mask", "status": "inprogress", "block_info": {"name": "cloud-mask", "version": "1.2.0"}},
        {"name": "sum", "status": "created"},
        {"id": "t5", "status": "Running"},
    ]

    assert progress_line(job("running", progress="40%", tasks=tasks)) == (
        "running, 40 %, 2 of 5 tasks done, now cloud-mask 1.2.0 and t5"
    )


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "running"),
        ({"progress": 0}, "running, 0 %"),
        ({"progress": 33.333333333}, "running, 33.3333 %"),
        ({"tasks": [{"status": "queued"}]}, "running, 0 of 1 tasks done"),
        (
            {"tasks": [{"name": n, "status": "processing"} for n in "abcd"]},
            "running, 0 of 4 tasks done, now a and b and c",
        ),
    ],
)
def test_a_line_says_no_more_than_is_known(fields: Any, line: str) -> None:
    assert progress_line(job(**fields)) == line


def estimated(status: str = "running", **times: Any) -> Job:
    """Return a job that was created at noon, takes an hour by its estimate, and changed last at half past."""
    usual = {
        "created_at": "2026-01-02T12:00:00Z",
        "estimated_duration": 3600,
        "updated_at": "2026-01-02T12:30:00Z",
    }
    return job(status, **{**usual, **times})


def test_a_line_of_a_job_that_runs_ends_with_the_time_left() -> None:
    tasks = [{"name": "mask", "status": "running"}]
    assert progress_line(estimated(progress="40%", tasks=tasks)) == (
        "running, 40 %, 0 of 1 tasks done, now mask, about 30 min left"
    )
    assert status_line(estimated(progress="40%", tasks=tasks)) == "running, 40 %, 0 of 1 tasks done, now mask"


def test_the_estimate_counts_from_when_the_execution_was_created() -> None:
    assert time_left(estimated(exec_created_at="2026-01-02T12:10:00Z")) == "about 40 min left"


@pytest.mark.parametrize("status", ["In Progress", "processing", "started"])
def test_every_word_for_running_has_a_time_left(status: str) -> None:
    assert time_left(estimated(status)) == "about 30 min left"


@pytest.mark.parametrize(
    ("left", "words"),
    [
        *((1, "5 s"), (8, "10 s"), (38, "40 s"), (57, "55 s"), (58, "1 min"), (89, "1 min"), (95, "2 min")),
        *((185, "3 min"), (560, "9 min"), (590, "10 min"), (1_000, "15 min"), (5_300, "90 min")),
        *((5_600, "2 h"), (7_300, "2 h"), (86_400, "24 h"), (130_000, "36 h"), (132_000, "2 days")),
        (10 * 86_400 + 3_600, "10 days"),
    ],
)
def test_the_time_left_is_rounded_as_people_round(left: int, words: str) -> None:
    assert time_left(estimated(estimated_duration=1_800 + left)) == f"about {words} left"


def test_a_job_past_its_expected_end_takes_longer_than_estimated() -> None:
    assert progress_line(estimated(estimated_duration=1_800 - 1)) == "running, longer than estimated"
    assert time_left(estimated(estimated_duration=1_800)) == "about 5 s left"


@pytest.mark.parametrize(
    "unknown",
    [
        *({"status": status} for status in ("created", "queued", "paused", "completed", "failed", "odd")),
        *({"created_at": moment} for moment in (None, "0001-01-01T00:00:00Z", "soon")),
        *({"updated_at": moment} for moment in (None, "0001-01-01T00:00:00Z", "soon")),
        *({"estimated_duration": estimate} for estimate in (None, 0, -1, "long", 2**62)),
    ],
    ids=str,
)
def test_nothing_is_said_of_the_time_left_where_it_is_not_known(unknown: Any) -> None:
    assert time_left(estimated(**unknown)) == ""


def test_a_line_stays_one_short_line() -> None:
    tasks = [{"name": "two\nlines " + "n" * 5_000, "status": "running"}]
    line = progress_line(job("odd\r\nstatus" + "s" * 5_000, tasks=tasks))

    assert len(line) == 500
    assert line.startswith("odd status" + "s" * 89 + "…, 0 of 1 tasks done, now two lines nn")
    assert status_of(job(" a\n b ")) == "a b"


@pytest.mark.parametrize(
    ("value", "words"),
    [(1_234_567, "1234567"), (1_209_600.0, "1209600"), (0.1 + 0.2, "0.3"), (12, "12"), (2.5, "2.5")],
)
def test_numbers_are_written_as_people_write_them(value: float, words: str) -> None:
    assert plain(value) == words


def test_a_job_has_one_name_in_all_messages() -> None:
    assert name_of("w", "j") == "Pixxel job j of workflow w"


def test_a_remark_of_a_task_that_succeeded_is_no_failure() -> None:
    tasks = [
        {"name": "fine", "status": "completed", "err_msg": "2 pixels left out", "failure_type": "unknown"},
        {"name": "bad", "status": "failed", "err_msg": "no pixel left"},
    ]
    words = failure_text(Job.read({"id": "j", "status": "failed", "tasks": tasks}))
    assert "'bad'" in words
    assert "'fine'" not in words
