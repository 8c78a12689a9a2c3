"""What the pages show: nothing secret, nothing odd, and whether they refresh."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixxel_provider.api.errors import (
    PixxelApiError,
    PixxelAuthError,
    PixxelConnectionError,
    PixxelError,
    PixxelInputError,
    PixxelNotFoundError,
    PixxelRateLimitError,
)
from pixxel_provider.api.job import Job
from tests.api.test_any_json import JOB as ANY_JOB
from tests.plugins.pages import require_pages
from tests.support import CANARY

require_pages()

from pixxel_provider.plugins import views  # noqa: E402
from pixxel_provider.plugins.cache import CachedAnswer  # noqa: E402
from pixxel_provider.plugins.client import JobKey, PageJob  # noqa: E402
from pixxel_provider.plugins.queries import LIVE, Instance  # noqa: E402
from pixxel_provider.plugins.redaction import Redactor  # noqa: E402
from pixxel_provider.plugins.stored_tasks import PixxelTask  # noqa: E402
from pixxel_provider.plugins.watchers import Watcher  # noqa: E402

NOW = datetime(2026, 11, 24, 4, 0, 0, 123_456, timezone.utc)
BEFORE = NOW - timedelta(seconds=30)
KEY = JobKey("pixxel_default", "wf-1", "7f3")
CONSOLE = "https://console.example.com/7f3"
JOB = {"pixxel_conn_id": KEY.conn_id, "workflow_id": KEY.workflow_id, "job_id": KEY.job_id}
WAITING = Instance(
    *("d", "r", "wait", -1, "deferred", 1, BEFORE, None, "PixxelJobSensor"),
    task=PixxelTask(frozenset(JOB), JOB),
    xcoms=dict(JOB),
)
#: The same on the pages.
TASK = {
    "dag_id": "d",
    "run_id": "r",
    "task_id": "wait",
    "map_index": -1,
    "state": "deferred",
    "try_number": 1,
}
ENDED = replace(WAITING, state="success", end=NOW)
FAILED = replace(ENDED, state="failed")
LONG_OVER = replace(FAILED, end=NOW - timedelta(minutes=2))
REFUSED = PixxelNotFoundError("no such job", status_code=404, request="GET /v0/j")
ODD = PixxelApiError("a teapot", status_code=418)
SLOW = PixxelConnectionError("Pixxel hasn't answered yet.", reason="timeout")
RUNNING = {"id": "7f3", "status": "running", "progress": 40}


def ended_with(status: str) -> Instance:
    return replace(ENDED, xcoms={**JOB, "status": status})


def page_job(answer: Mapping[str, Any], *secrets: str) -> PageJob:
    return PageJob.of(Job.read(answer), CONSOLE, Redactor(secrets))


def page(
    answer: Mapping[str, Any] | None,
    instance: Instance = WAITING,
    error: PixxelError | None = None,
    estimate: float | None = None,
) -> dict[str, Any]:
    cached: tuple[Any, Any] = (None, None) if answer is None else (page_job(answer), BEFORE)
    found = views.job_page(instance, KEY, CachedAnswer(*cached, error), estimate, NOW)
    return json.loads(json.dumps(found, allow_nan=False))


def raw(answer: Mapping[str, Any], *secrets: str) -> str:
    return views.raw_text(page_job(answer, *secrets))


def row(instance: Instance, answer: Mapping[str, Any] | None = None) -> dict[str, Any]:
    jobs = {} if answer is None else {KEY: (NOW, Job.read(answer))}
    (found,) = views.jobs_page([instance], 1, jobs, [], 0, NOW)["rows"]
    return json.loads(json.dumps(found, allow_nan=False))


# ------------------------------------------------------------------------------------------------ one job


def test_a_page_shows_the_job_and_its_task() -> None:
    found = page(
        {
            **RUNNING,
            "workflow_id": "elsewhere",
            "cost": 48,
            "created_by": "user-1",
            "created_at": "2026-11-24T03:00:00Z",
            "exec_created_at": "2026-11-24T03:10:00Z",
            "updated_at": "2026-11-24T03:59:00Z",
            "finished_at": "0001-01-01T00:00:00Z",
            "estimated_duration": 4_500,
            "tasks": [{"id": "t", "status": "done"}, {"id": "u", "status": "queued"}],
        },
        estimate=120,
    )

    assert {key: found[key] for key in ("kind", "message", "poll", "now")} == {
        "kind": "job",
        "message": "",
        "poll": 5,
        "now": "2026-11-24T04:00:00.123+00:00",
    }
    assert found["task"] == TASK
    assert found["job"] == {
        "id": "7f3",
        "workflow_id": "wf-1",
        "conn_id": "pixxel_default",
        "status": "running",
        "meaning": "waiting",
        "progress": 40,
        "cost": 48,
        "estimated_cost": 120,
        "created_by": "user-1",
        "created_at": "2026-11-24T03:00:00.000+00:00",
        "started_at": "2026-11-24T03:10:00.000+00:00",
        "updated_at": "2026-11-24T03:59:00.000+00:00",
        "finished_at": None,
        "expected_end": "2026-11-24T04:25:00.000+00:00",
        "tasks_done": 1,
        "tasks_total": 2,
        "console": CONSOLE,
        "failure": "",
    }


def test_a_task_of_the_job_is_shown_with_its_time_and_place() -> None:
    found = page(
        {
            **RUNNING,
            "tasks": [
                {
                    "id": "t1",
                    "name": "fetch",
                    "status": "completed",
                    "created_at": "2026-11-24T03:00:00Z",
                    "finished_at": "2026-11-24T03:10:00Z",
                },
                {
                    "id": "t2",
                    "name": "mask",
                    "status": "inprogress",
                    "progress": "50%",
                    "block_info": {"id": "b", "name": "cloud-mask", "version": "1.2.0"},
                    "depends_on": ["fetch"],
                    "estimated_time_duration": 60,
                    "state_msg": "at work",
                    "time_taken": "1m20s",
                },
            ],
        }
    )

    assert found["tasks"][1] == {
        "id": "t2",
        "name": "mask",
        "status": "inprogress",
        "meaning": "running",
        "progress": 50,
        "block": {"id": "b", "name": "cloud-mask", "version": "1.2.0"},
        "start": "2026-11-24T03:10:00.000+00:00",
        "end": None,
        "expected_end": "2026-11-24T03:11:00.000+00:00",
        "depends_on": ["fetch"],
        "depth": 1,
        "state_msg": "at work",
        "err_msg": "",
        "failure_type": "",
        "time_taken": "1m20s",
    }
    assert found["tasks"][0]["end"] == "2026-11-24T03:10:00.000+00:00"


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("created", "waiting"),
        ("in progress", "running"),
        ("Running", "running"),
        ("COMPLETED", "succeeded"),
        ("time-d_out", "failed"),
        ("skipped", "waiting"),
        ("", "waiting"),
    ],
)
def test_the_meaning_of_a_tasks_status(status: str, meaning: str) -> None:
    assert page({**RUNNING, "tasks": [{"status": status}]})["tasks"][0]["meaning"] == meaning


ENDS = {"finished_at": "2026-11-24T03:00:00Z"}
MEANINGS: list[tuple[dict[str, Any], Instance, str]] = [
    ({"status": "running"}, WAITING, "waiting"),
    ({"status": "completed"}, WAITING, "succeeded"),
    ({"status": "failed"}, WAITING, "failed"),
    ({"status": "archived"}, WAITING, "waiting"),
    ({"status": "archived", **ENDS}, WAITING, "unclear"),
    ({"status": "archived", **ENDS}, FAILED, "unclear"),
    # A task may have words of its own for a success, which it ends with.
    ({"status": "archived", **ENDS}, ended_with("archived"), "succeeded"),
    ({"status": "Archived"}, ended_with("archived"), "succeeded"),
    # With any other status it may not have waited for the job.
    ({"status": "archived", **ENDS}, ENDED, "unclear"),
    ({"status": "archived"}, ended_with("created"), "waiting"),
    ({"status": "archived", **ENDS}, replace(ended_with("archived"), state="failed"), "unclear"),
    ({"status": "running"}, ENDED, "waiting"),
    ({"status": "running"}, ended_with("created"), "waiting"),
    ({"status": "In Progress"}, ended_with("inprogress"), "waiting"),
    ({"status": "failed"}, ended_with("failed"), "failed"),
]


@pytest.mark.parametrize(("answer", "instance", "meaning"), MEANINGS)
def test_the_meaning_of_a_jobs_status(answer: dict[str, Any], instance: Instance, meaning: str) -> None:
    found = page({**RUNNING, **answer}, instance)["job"]

    assert found["meaning"] == meaning
    assert bool(found["failure"]) == (meaning in ("failed", "unclear"))


def test_a_failure_is_described() -> None:
    task = {"name": "index", "status": "failed", "failure_type": "OUT_OF_MEMORY", "err_msg": "too large"}
    found = page({**RUNNING, "status": "failed", "tasks": [task]}, FAILED)

    for word in ("failed", "index", "OUT_OF_MEMORY", "too large"):
        assert word in found["job"]["failure"]
    assert found["tasks"][0]["meaning"] == "failed"


def test_validation_errors_keep_pixxels_field_names() -> None:
    error = {"from": "a", "to": "b", "err": "e", "reason": "r", "component_name": "c"}

    assert page({**RUNNING, "val_errors": [error]})["val_errors"] == [error]


@pytest.mark.parametrize("has_paused", [False, True])
@pytest.mark.parametrize(
    ("state", "last_try"),
    [
        (None, "always"),
        ("up_for_retry", "always"),
        # Also the state of a try that continues after a deferral or a reschedule.
        ("queued", "unless paused"),
        ("scheduled", "unless paused"),
        *((state, "never") for state in ("running", "deferred", "up_for_reschedule", "success", "failed")),
    ],
)
def test_between_two_tries_the_job_is_labelled_as_the_last_ones(
    state: str | None, last_try: str, has_paused: bool
) -> None:
    message = page(RUNNING, replace(WAITING, state=state, has_paused=has_paused))["message"]

    assert ("last try" in message) == (
        last_try == "always" or (last_try == "unless paused" and not has_paused)
    )
    assert not message or "last try" in message


# ------------------------------------------------------------------------------------------ errors, no job


def test_an_error_shows_the_last_known_answer_and_its_time() -> None:
    error = PixxelRateLimitError("slow down", status_code=429)
    found = page(RUNNING, error=error)

    assert found["kind"] == "error"
    assert str(error) in found["message"]
    assert "last known answer" in found["message"]
    assert found["as_of"] == "2026-11-24T03:59:30.123+00:00"
    assert found["job"]["progress"] == 40
    assert found["tasks"] == found["val_errors"] == []


def test_an_error_without_a_known_answer_shows_no_job() -> None:
    found = page(None, error=SLOW)

    assert (found["kind"], found["message"]) == ("error", "Pixxel hasn't answered yet.")
    assert not {"job", "tasks", "val_errors", "as_of"} & found.keys()
    assert found["task"]["task_id"] == "wait"


@pytest.mark.parametrize(("text", "message"), [("no way", "no way."), ("no way!", "no way!")])
def test_a_message_is_a_sentence(text: str, message: str) -> None:
    assert page(None, error=PixxelError(text))["message"] == message


POLLS: dict[str, tuple[Mapping[str, Any] | None, Instance, PixxelError | None, float | None]] = {
    "the job runs": (RUNNING, WAITING, None, 5),
    "the job has ended, the task not yet": ({**RUNNING, "status": "completed"}, WAITING, None, 5),
    "both have ended": ({**RUNNING, "status": "completed"}, ENDED, None, None),
    "both have failed": ({**RUNNING, "status": "failed"}, FAILED, None, None),
    "the task has given up, the job runs": (RUNNING, FAILED, None, 5),
    "the task succeeded with a job that runs": (RUNNING, ended_with("running"), None, 5),
    "the task succeeded with a job that was created": (RUNNING, ended_with("created"), None, 5),
    "the task ended with a status of its own": ({**RUNNING, "status": "b"}, ended_with("b"), None, None),
    "the job isn't visible yet": (None, replace(ENDED, end=NOW - timedelta(seconds=119)), REFUSED, 5),
    "the job isn't visible, and the task's end is unknown": (None, replace(ENDED, end=None), REFUSED, None),
    "unclear": ({**RUNNING, "status": "archived", **ENDS}, FAILED, None, None),
    "a transient error": (None, FAILED, SLOW, 5),
    "a transient error, the job runs": (RUNNING, FAILED, SLOW, 5),
    "a transient error, the job has ended": ({**RUNNING, "status": "done"}, ENDED, SLOW, None),
    "an unexpected error, the job runs": (RUNNING, LONG_OVER, PixxelError("Something"), 5),
    "a connection that can't be used": (None, LONG_OVER, PixxelInputError("host", "is odd"), 5),
    "an answer that is neither a refusal nor a job": (None, LONG_OVER, ODD, 5),
    "a key that isn't accepted": (RUNNING, FAILED, PixxelAuthError("who?", status_code=401), None),
    "a key without access": (RUNNING, FAILED, PixxelAuthError("no", status_code=403), None),
    "a refusal while the task is live": (None, WAITING, REFUSED, 5),
    "a refusal after the task": (None, LONG_OVER, REFUSED, None),
    "a refusal after the task, the job ran": (RUNNING, LONG_OVER, REFUSED, None),
}


@pytest.mark.parametrize(("answer", "instance", "error", "poll"), POLLS.values(), ids=POLLS)
def test_a_page_refreshes_while_something_can_change(
    answer: Mapping[str, Any] | None, instance: Instance, error: PixxelError | None, poll: float | None
) -> None:
    assert page(answer, instance, error)["poll"] == poll


# A task that was just cleared has no state; its next try begins later.
@pytest.mark.parametrize("state", [*LIVE, None])
def test_a_page_refreshes_in_every_live_state(state: str | None) -> None:
    assert page({**RUNNING, "status": "failed"}, replace(WAITING, state=state))["poll"] == 5


@pytest.mark.parametrize(
    ("is_pixxel", "state", "poll", "word"),
    [
        (False, "running", None, "doesn't"),
        (False, "success", None, "doesn't"),
        (True, None, 5, "yet"),
        (True, "queued", 5, "yet"),
        (True, "running", 5, "yet"),
        (True, "up_for_retry", 5, "yet"),
        (True, "failed", None, "without"),
        (True, "success", None, "without"),
        (True, "skipped", None, "without"),
        (True, "upstream_failed", None, "without"),
        (True, "removed", None, "without"),
    ],
)
def test_a_task_without_a_job_has_a_message(
    is_pixxel: bool, state: str | None, poll: float | None, word: str
) -> None:
    task = WAITING.task if is_pixxel else None
    found = views.without_job(replace(WAITING, state=state, xcoms={}, task=task), NOW)

    assert found.keys() == {"kind", "message", "poll", "now", "task"}
    assert (found["kind"], found["poll"]) == ("none", poll)
    assert word in found["message"]
    assert found["message"].endswith(".")
    assert found["task"]["state"] == state


# ------------------------------------------------------------------------------------------------ the list


def test_a_row_that_waits_shows_the_jobs_state() -> None:
    instance = replace(WAITING, xcoms={**JOB, "status": "created", "cost": 1, "estimated_cost": 120})

    assert row(instance, {**RUNNING, "cost": 48}) == {
        **TASK,
        "operator": "PixxelJobSensor",
        "start": "2026-11-24T03:59:30.123+00:00",
        "end": None,
        "workflow_id": "wf-1",
        "job_id": "7f3",
        "status": "running",
        "meaning": "waiting",
        "progress": 40,
        "cost": 48,
        "estimated_cost": 120,
        "waiting": True,
    }


def test_a_row_that_has_ended_shows_the_xcoms() -> None:
    found = row(replace(FAILED, xcoms={**JOB, "status": "Aborted", "cost": 48.5}))

    assert (found["status"], found["meaning"]) == ("Aborted", "failed")
    assert (found["cost"], found["progress"], found["estimated_cost"]) == (48.5, None, None)
    assert found["waiting"] is False
    assert found["end"] == "2026-11-24T04:00:00.123+00:00"


@pytest.mark.parametrize(
    ("state", "status", "meaning"),
    [
        ("success", "completed", "succeeded"),
        # By the task's own list of statuses.
        ("success", "archived", "succeeded"),
        # A task that only reads a job succeeds also with one that failed.
        ("success", "failed", "failed"),
        ("success", "created", "waiting"),
        ("success", "running", "waiting"),
        ("success", "", "waiting"),
        ("failed", "finished", "succeeded"),
        ("failed", "failed", "failed"),
        ("failed", "cancelled", "failed"),
        ("failed", "archived", "unclear"),
        ("failed", "", "waiting"),
        ("deferred", "", "waiting"),
        ("deferred", "created", "waiting"),
    ],
)
def test_the_meaning_of_a_status_in_xcom(state: str, status: str, meaning: str) -> None:
    assert row(replace(ENDED, state=state, xcoms={**JOB, "status": status}))["meaning"] == meaning


def test_odd_xcoms_leave_gaps() -> None:
    odd = {"status": 7, "cost": "12", "estimated_cost": float("nan"), "job_id": None, "workflow_id": ["w"]}
    found = row(replace(ENDED, xcoms=odd))

    assert (found["status"], found["job_id"], found["workflow_id"]) == ("", "", "")
    assert (found["cost"], found["estimated_cost"]) == (None, None)


@pytest.mark.parametrize(
    ("total", "age", "words"),
    [
        (1, 60, []),
        (734, 60, ["500 of 734"]),
        (1, None, ["some"]),
        (734, None, ["500 of 734", "some"]),
        (1, 61, ["61 s old"]),
    ],
)
def test_the_list_names_what_it_lacks(total: int, age: float | None, words: list[str]) -> None:
    jobs = {} if age is None else {KEY: (NOW - timedelta(seconds=age), Job.read(RUNNING))}
    found = views.jobs_page([WAITING], total, jobs, [], 0, NOW)

    assert found["total"] == total
    # What isn't known yet is there sooner.
    assert found["poll"] == (5 if age is None else 10)
    assert found["now"] == "2026-11-24T04:00:00.123+00:00"
    assert all(word in found["note"] for word in words)
    assert bool(found["note"]) == bool(words)


def test_the_list_shows_watchers_without_secrets() -> None:
    signed = "https://u:pa55w0rd@h/?sig=s1gn4ture"
    watcher = Watcher("wf", "c", signed, ["failed"], signed, 3, ["coast"], runs=True, last_event=BEFORE)
    page = views.jobs_page([], 0, {}, [watcher], 2, NOW)
    assert page["note"] == "The first 1 of 2 watchers are shown."
    (found,) = page["watchers"]

    assert (found["workflow_id"], found["conn_id"], found["outcomes"]) == ("wf", "c", ["failed"])
    assert (found["asset_id"], found["dag_ids"], found["runs"]) == (3, ["coast"], True)
    assert found["last_event"] == "2026-11-24T03:59:30.123+00:00"
    assert "pa55w0rd" not in json.dumps(found)
    assert "s1gn4ture" not in json.dumps(found)


# ------------------------------------------------------------------------------------------------- secrets

SIGNED = "get https://us-er:pa55w0rd@files.example/p.zip?X-Signature=s1gn4ture#fr4gment now"
SECRETS = ("pa55w0rd", "s1gn4ture", "fr4gment", "us-er")
TASK_TEXTS = "id name status state_msg err_msg failure_type time_taken".split()


def everywhere(text: str) -> dict[str, Any]:
    """Return a job that has a text wherever one can be."""
    return {
        **dict.fromkeys(("id", "status", "created_by", "time_taken", "workflow_id", "unknown"), text),
        "finished_at": "2026-11-24T03:00:00Z",
        "spec": list(json.dumps({"in bytes": text}).encode()),
        "tasks": [
            {
                **dict.fromkeys(TASK_TEXTS, text),
                "block_info": dict.fromkeys(("id", "name", "version"), text),
                "depends_on": [text],
                "result": list(json.dumps([text]).encode()),
            }
        ],
        "val_errors": [dict.fromkeys(("from", "to", "err", "reason", "component_name"), text), text],
    }


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in texts(each)]


def test_no_text_of_a_job_keeps_the_secret_parts_of_an_address() -> None:
    answer = everywhere(SIGNED)
    found = page(answer, FAILED, PixxelError(SIGNED))
    listed = row(replace(FAILED, xcoms=dict.fromkeys((*JOB, "status"), SIGNED)))
    live = row(WAITING, answer)
    whole = raw(answer)

    for shown in (found, listed, live, whole):
        for secret in SECRETS:
            assert secret not in json.dumps(shown)
    hosts = [
        text for text in texts([found["job"], found["tasks"], found["val_errors"]]) if "files.example" in text
    ]
    # id, status, created_by and failure of the job; seven, three and one of its task; six of two errors.
    assert len(hosts) == 4 + 11 + 6
    assert all("https://files.example/p.zip?…" in text for text in hosts)
    assert "files.example/p.zip?…" in found["message"]
    assert whole.count("https://files.example/p.zip?…") >= 20


def test_no_text_of_a_job_keeps_the_key() -> None:
    # Escaped, as JSON within bytes may be, and where a text is cut.
    answer = everywhere(f"who is {CANARY}?" + "x" * 3_960 + CANARY)
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in CANARY)
    inputs = base64.b64encode(f'{{"{escaped}": "{CANARY}"}}'.encode()).decode()
    answer["tasks"][0]["inputs"] = inputs
    found = page_job(answer, CANARY)
    shown = json.dumps(views.job_page(FAILED, KEY, CachedAnswer(found, BEFORE), None, NOW))
    shown += views.raw_text(found)

    assert CANARY[:20] not in shown
    assert shown.count("who is ***?") >= 40
    assert '"***": "***"' in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing to hide: a@b.example, 50 %?", "nothing to hide: a@b.example, 50 %?"),
        ("https://h.example/p", "https://h.example/p"),
        ("HTTPS://h.example/p?a=1", "HTTPS://h.example/p?…"),
        ("s3://key:word@bucket/p", "s3://bucket/p"),
        ("postgresql+psycopg2://u:p@h:5432/d", "postgresql+psycopg2://h:5432/d"),
        ("https://token@h.example", "https://h.example"),
        ("(https://h/p?a=1) and <https://h/q?b=2>", "(https://h/p?… and <https://h/q?…>"),
        ("https://user:p@ss@h/p?x", "https://h/p?…"),
        ("https://h/p?a=it's", "https://h/p?…"),
        (r"https:\/\/u:p@h\/p?a=1", r"https:\/\/h\/p?…"),
        ("h/p?X-Amz-Signature=abc", "h/p?X-Amz-Signature=…"),
        ("https://h/a@b?c", "https://h/a@b?…"),
        ("a\nhttps://h/p?a=1\nb", "a\nhttps://h/p?…\nb"),
        ("https://h/p?next=https://u:p@i/q?r=1 x", "https://h/p?… x"),
    ],
)
def test_addresses_lose_their_secret_parts_and_no_more(text: str, shown: str) -> None:
    assert views.redacted(text) == shown


@pytest.mark.parametrize("pattern", ["a-", "a.", "a://", "http://", "a:b@", "sig", "https://h?", "x "])
def test_a_long_text_costs_little(pattern: str) -> None:
    start = time.thread_time()
    views.redacted(pattern * 100_000)

    assert time.thread_time() - start < 2


@pytest.mark.parametrize("length", [4_000, 4_001, 100_000])
def test_a_long_text_is_cut(length: int) -> None:
    found = views.redacted("é" * length)

    assert len(found) == 4_000
    assert found.endswith("…") == (length > 4_000)


def test_no_text_of_a_job_is_without_bounds() -> None:
    found = page(everywhere("x" * 90_000), FAILED, PixxelError("y" * 90_000))

    assert max(map(len, texts(found))) <= 4_100


@pytest.mark.parametrize(("tasks", "errors"), [(1_000, 200), (1_001, 200), (1_000, 201), (1_500, 300)])
def test_a_message_names_the_lists_that_are_cut(tasks: int, errors: int) -> None:
    found = page({**RUNNING, "tasks": [{"status": "done"}] * tasks, "val_errors": ["x"] * errors})

    # How many of the others are done isn't counted.
    assert found["job"]["tasks_done"] == (tasks if tasks <= 1_000 else None)
    assert found["job"]["tasks_total"] == tasks
    assert (f"first 1,000 of {tasks:,} tasks" in found["message"]) == (tasks > 1_000)
    assert (f"first 200 of {errors:,} validation errors" in found["message"]) == (errors > 200)
    assert bool(found["message"]) == (tasks > 1_000 or errors > 200)


def test_lists_are_cut() -> None:
    task = {"status": "queued", "depends_on": [str(number) for number in range(50)]}
    found = page({**RUNNING, "tasks": [task] * 1_200, "val_errors": ["x"] * 300})

    assert (len(found["tasks"]), len(found["val_errors"])) == (1_000, 200)
    assert found["tasks"][0]["depends_on"] == [str(number) for number in range(20)]


# ----------------------------------------------------------------------------------------------- the raw job


def test_the_raw_job_is_indented_json_with_its_bytes_decoded() -> None:
    answer = {
        **RUNNING,
        "unknown": {"kept": [1, None]},
        "spec": list(b'{"nodes": 2}'),
        "tasks": [
            {"id": "t", "inputs": "eyJhIjogMX0=", "result": list(b"[1]"), "info_logs": "[]", "else": 1}
        ],
    }
    text = raw({**answer, "words": "größer"})

    assert '\n  "words": "größer"' in text
    assert json.loads(text) == {
        **answer,
        "words": "größer",
        "spec": {"nodes": 2},
        "tasks": [{"id": "t", "inputs": {"a": 1}, "result": [1], "info_logs": [], "else": 1}],
    }


@pytest.mark.parametrize(
    "text", ['say "https://h/p?sig=1" now', "https://h/p?sig=1\nnext", "https://h/p?sig=\\"]
)
def test_the_raw_job_stays_json_where_an_address_is_shortened(text: str) -> None:
    shown = json.loads(raw({**RUNNING, "text": text, "https://u:p@h/p?sig=1": 1}))

    assert shown["text"] == text.replace("sig=1", "…").replace("sig=\\", "…")
    assert "https://h/p?…" in shown


def test_a_huge_raw_job_is_cut_with_a_note() -> None:
    text = raw({**RUNNING, "log": "é" * 1_200_000})

    assert 1_000_000 <= len(text) <= 1_000_100
    assert text.splitlines()[-1] == "Only the first 1,000,000 characters are shown."


def test_a_raw_job_that_is_nested_deep_takes_no_memory() -> None:
    # Each pair of brackets would take a line of blanks: 50 MB.
    deep: Any = [[] for _ in range(600_000)]
    for _ in range(38):
        deep = [deep]
    began = time.process_time()
    text = raw({**RUNNING, "deep": deep})

    assert len(text) < 1_000_100
    assert time.process_time() - began < 10


def test_a_raw_job_of_many_texts_is_read_no_further_than_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    clean = views.without_secrets
    monkeypatch.setattr(views, "without_secrets", lambda text: (read.append(text), clean(text))[1])
    raw({**RUNNING, "log": ["a line of a log"] * 300_000})

    assert len(read) < 70_000


def test_a_key_at_the_end_of_what_is_shown_is_not_cut_in_half() -> None:
    assert CANARY[:6] not in raw({**RUNNING, "log": CANARY * 50_000}, CANARY)


def test_a_key_of_digits_is_no_number_either() -> None:
    assert "4711" not in raw({**RUNNING, "cost": 4711, "echo": 47110}, "4711")


@pytest.mark.parametrize("tasks", [None, "x", 7, {"a": 1}, [None, 7, "x"]])
def test_a_raw_job_with_odd_tasks_is_shown(tasks: Any) -> None:
    shown = json.loads(raw({**RUNNING, "tasks": tasks}))

    assert shown["tasks"] == tasks or shown["tasks"] == [{}] * 3


# ------------------------------------------------------------------------------------------------- anything


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e308, -5, "x", [], {}, True, None, 2**70])
def test_odd_numbers_and_times_leave_gaps(odd: Any) -> None:
    names = "progress cost estimated_duration created_at updated_at finished_at exec_created_at".split()
    names += ["estimated_time_duration", "send_time", "block_inf_start_time"]
    task = {"name": "t", "status": "running", **dict.fromkeys(names, odd)}
    found = page({**RUNNING, **dict.fromkeys(names, odd), "tasks": [task]}, FAILED)

    for number in (found["job"]["progress"], found["tasks"][0]["progress"]):
        assert number is None or 0 <= number <= 100


@settings(max_examples=150, deadline=None)
@given(ANY_JOB, st.sampled_from([WAITING, ENDED, FAILED, replace(WAITING, state=None)]))
def test_any_job_is_strict_json_of_the_promised_shape(answer: Any, instance: Instance) -> None:
    found = page(answer, instance)
    json.dumps(found, ensure_ascii=False).encode()
    listed = row(instance, answer)
    raw(answer).encode()

    assert found["job"]["meaning"] in ("waiting", "succeeded", "failed", "unclear")
    assert listed["meaning"] in ("waiting", "succeeded", "failed", "unclear")
    for task in found["tasks"]:
        assert task["meaning"] in ("waiting", "running", "succeeded", "failed")
        assert type(task["depth"]) is int
    for moment in [found["job"][name] for name in found["job"] if name.endswith(("_at", "_end"))]:
        assert moment is None or datetime.fromisoformat(moment).utcoffset() == timedelta(0)
