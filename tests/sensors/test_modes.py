"""One matrix: whatever a job or the API does, every mode tells Airflow and people the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.sensors.waiting import Runner
from tests.support import errors_logged

TIMEOUT = 600.0


def succeeds(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=200)


def has_succeeded(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=1, age=100)


def fails(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", course="wf-fails", seconds=200)


def is_invalid(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", course="wf-invalid")


def never_ends(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")


def wrong_key(pixxel: Any) -> None:
    succeeds(pixxel)
    pixxel.fail_next("get_job", status=401, times=0)


def wrong_key_later(pixxel: Any) -> None:
    succeeds(pixxel)
    pixxel.fail_next("get_job", status=401, times=0, after=2)


def no_access(pixxel: Any) -> None:
    pixxel.fail_next("get_job", status=403, times=0)


def bad_request(pixxel: Any) -> None:
    pixxel.fail_next("get_job", status=400, times=0)


def missing(pixxel: Any) -> None:
    pass


def ends_in_an_unknown_status(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", course="wf-odd-ended", seconds=100)


def stays_in_an_unknown_status(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", course="wf-odd-status", age=1000)


def unreachable(pixxel: Any) -> None:
    pixxel.fail_next("get_job", status=503, times=0)


CASES: dict[Callable[[Any], None], tuple[str, str]] = {
    succeeds: ("success", ""),
    has_succeeded: ("success", ""),
    fails: (
        "PixxelJobFailedError",
        "task 'Crop stress index' failed in block spectral-index 3.0.1: runtime_exception: band 112 (870 nm)",
    ),
    is_invalid: ("PixxelJobFailedError", "validation"),
    never_ends: ("AirflowSensorTimeout", "had not ended when the timeout of 600 s was over; it was"),
    wrong_key: ("PixxelAuthError", "HTTP 401"),
    wrong_key_later: ("PixxelAuthError", "HTTP 401"),
    no_access: ("PixxelAuthError", "HTTP 403"),
    bad_request: ("PixxelBadRequestError", "HTTP 400"),
    missing: ("PixxelNotFoundError", "job 'job-1' was not found"),
    ends_in_an_unknown_status: ("PixxelUnknownStatusError", "success_statuses or failure_statuses"),
    stays_in_an_unknown_status: ("AirflowSensorTimeout", "awaiting"),
    unreachable: ("AirflowSensorTimeout", "HTTP 503"),
}
SOFT = {"PixxelJobFailedError", "AirflowSensorTimeout"}


@pytest.mark.parametrize("flag", ["", "soft_fail", "never_fail", "silent_fail"])
@pytest.mark.parametrize("arrange", CASES, ids=lambda case: case.__name__)
def test_every_mode_ends_the_same(in_every_mode: Any, arrange: Callable[[Any], None], flag: str) -> None:
    kind, words = CASES[arrange]
    found = in_every_mode(arrange, timeout=TIMEOUT, poke_interval=90, **({flag: True} if flag else {}))
    seen = found["poke"]
    assert [mode for mode, ended in found.items() if not ended.tells_as(seen)] == []

    if (flag == "never_fail" and kind != "success") or (flag == "soft_fail" and kind in SOFT):
        kind, words = "AirflowSkipException", words
    elif flag == "silent_fail" and kind not in {"success", *SOFT}:
        kind = "AirflowSensorTimeout"
        words = "archived" if arrange is ends_in_an_unknown_status else words
    assert (seen.kind, words in seen.message) == (kind, True), seen.message

    assert seen.xcoms["job_id"] == "job-1"
    assert seen.xcoms["workflow_id"] == "wf-succeeds"
    assert seen.xcoms["pixxel_conn_id"] == "pixxel_default"
    assert seen.xcoms["_link_PixxelJobLink"] == "https://aurora.pixxel.space/"
    if kind == "success":
        assert seen.returned["id"] == "job-1"
        assert (seen.xcoms["status"], seen.xcoms["cost"]) == (seen.returned["status"], seen.returned["cost"])
        assert isinstance(seen.xcoms["cost"], int)
    elif arrange in (fails, is_invalid):
        assert seen.xcoms["status"] == "failed"


@pytest.mark.parametrize("arguments", [{}, {"soft_fail": True}, {"pixxel_conn_id": "nowhere"}], ids=str)
@pytest.mark.parametrize("arrange", [fails, wrong_key, never_ends, unreachable])
def test_what_ended_a_wait_is_logged_without_other_errors(
    runner: Runner, pixxel: Any, arrange: Callable[[Any], None], arguments: dict[str, Any]
) -> None:
    arrange(pixxel)
    runner.run(timeout=TIMEOUT, poke_interval=90, **arguments)
    # None where a trigger has ended the task by itself.
    assert runner.error is None or errors_logged(runner.error) == 1


@pytest.mark.parametrize("silent_fail", [False, True])
def test_a_connection_that_is_gone_in_mid_wait_is_waited_out_to_the_deadline(
    runner: Runner, pixxel: Any, monkeypatch: pytest.MonkeyPatch, silent_fail: bool
) -> None:
    succeeds(pixxel)
    pixxel.fail_next("get_job", status=401, times=0, after=1)
    runner.clock.on_sleep.append(lambda _: monkeypatch.delenv("AIRFLOW_CONN_PIXXEL_DEFAULT", raising=False))
    ended = runner.run(timeout=TIMEOUT, poke_interval=90, silent_fail=silent_fail)
    assert (ended.state, "pixxel_default" in ended.message) == ("failed", True), ended.message
    assert sum(runner.clock.slept) >= TIMEOUT


OTHER_ARGUMENTS: dict[str, tuple[dict[str, Any], Callable[[Any], None], str]] = {
    "own success statuses": (
        {"success_statuses": ["Awaiting-Tasking"]},
        stays_in_an_unknown_status,
        "success",
    ),
    "own failure statuses": (
        {"failure_statuses": ["archived"]},
        ends_in_an_unknown_status,
        "PixxelJobFailedError",
    ),
    "success is no success any more": ({"success_statuses": ["other"]}, succeeds, "PixxelUnknownStatusError"),
    "exponential back-off": ({"exponential_backoff": True, "max_wait": 60}, succeeds, "success"),
    "no time at all": ({"timeout": 0}, succeeds, "AirflowSensorTimeout"),
    "no time, and a job that has ended": ({"timeout": 0}, has_succeeded, "success"),
    "no grace": ({"not_found_grace": 0}, missing, "PixxelNotFoundError"),
    "empty id": ({"job_id": ""}, succeeds, "PixxelInputError"),
    "blank id": ({"job_id": " \n"}, succeeds, "PixxelInputError"),
    "no id": ({"job_id": None}, succeeds, "PixxelInputError"),
    "a number for an id": ({"workflow_id": 7}, succeeds, "PixxelInputError"),
    "an id that is a step in a path": ({"workflow_id": ".."}, succeeds, "PixxelInputError"),
    "a word for a list": ({"success_statuses": "completed"}, succeeds, "PixxelInputError"),
    "the same status in both lists": (
        {"success_statuses": ["gone"], "failure_statuses": ["Gone"]},
        succeeds,
        "PixxelInputError",
    ),
    "a number in a list": ({"failure_statuses": [7]}, succeeds, "PixxelInputError"),
    "a negative grace": ({"not_found_grace": -1}, succeeds, "PixxelInputError"),
    "an undefined connection": ({"pixxel_conn_id": "nowhere"}, succeeds, "PixxelInputError"),
}


@pytest.mark.parametrize(
    ("arguments", "arrange", "kind"), OTHER_ARGUMENTS.values(), ids=list(OTHER_ARGUMENTS)
)
def test_arguments_mean_the_same_in_every_mode(
    in_every_mode: Any, arguments: dict[str, Any], arrange: Callable[[Any], None], kind: str
) -> None:
    found = in_every_mode(arrange, **{"timeout": TIMEOUT, "poke_interval": 90, **arguments})
    assert found["poke"].kind == kind, found["poke"].message
    assert [mode for mode, ended in found.items() if not ended.tells_as(found["poke"])] == []


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 429},
        {"status": 429, "retry_after": 45},
        {"status": 408},
        {"drop": "reset"},
        {"drop": "close"},
        {"truncate": 40},
        {"body": "html"},
        {"body": "none"},
        {"json": None},
        {"json": {"id": 1}},
        {"body": "deep"},
        {"status": 302, "location": "http://elsewhere.invalid/"},
    ],
    ids=str,
)
def test_a_transient_error_never_ends_a_wait(all_succeed: Any, fault: dict[str, Any]) -> None:
    def arrange(pixxel: Any) -> None:
        succeeds(pixxel)
        pixxel.fail_next("get_job", times=4, after=1, **fault)

    all_succeed(arrange, timeout=3600)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 404, "times": 2},
        {"json": {"id": "job-2", "workflow_id": "wf-succeeds", "status": "completed", "progress": 100}},
        {"json": {"id": "job-2", "workflow_id": "wf-succeeds", "status": "failed"}},
        {"json": {"id": "job-1", "workflow_id": "wf-fails", "status": "completed"}},
    ],
    ids=["a new job is missing", "another job", "another job that failed", "a job of another workflow"],
)
def test_a_first_answer_that_is_about_no_job_or_another_one_ends_no_wait(
    all_succeed: Any, fault: dict[str, Any]
) -> None:
    def arrange(pixxel: Any) -> None:
        succeeds(pixxel)
        pixxel.fail_next("get_job", **fault)

    all_succeed(arrange, timeout=3600)
