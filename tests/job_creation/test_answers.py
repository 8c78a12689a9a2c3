"""What an answer may say, and what was going on when the task asked: neither makes a second bill."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import requests

from pixxel_provider.api import calls
from pixxel_provider.api.errors import PixxelConnectionError, PixxelResponseError
from pixxel_provider.clock import CLOCK, Clock
from pixxel_provider.hooks import connection_lookup
from pixxel_provider.hooks.pixxel import PixxelAsyncHook, PixxelHook
from pixxel_provider.job_creation.cost_limit import PixxelCostError, check_estimate
from tests.operators.running import RunRunner, once

NEW: dict[str, Any] = {"id": "job-new", "workflow_id": "wf-succeeds", "status": "pending"}
#: Answers to the request that is billed, after which nobody can know which job there is.
NAMES_NO_NEW_JOB: dict[str, dict[str, Any]] = {
    "listed before": {**NEW, "id": "job-finished"},
    "listed before, and old": {**NEW, "id": "job-finished-earlier"},
    "of another workflow": {**NEW, "workflow_id": "wf-fails"},
    "no id": {"workflow_id": "wf-succeeds", "status": "pending"},
    "null": {**NEW, "id": None},
    "empty": {**NEW, "id": ""},
    "blank": {**NEW, "id": " "},
    "too long": {**NEW, "id": "j" * 513},
    "two lines": {**NEW, "id": "job\n1"},
    "NUL": {**NEW, "id": "job\x00"},
    "a control character past ASCII": {**NEW, "id": "job\x85"},
    "half a character": {**NEW, "id": "job\ud800"},
    "a step in a path": {**NEW, "id": ".."},
    "a number": {**NEW, "id": 7},
    "a boolean": {**NEW, "id": True},
    "a list": {**NEW, "id": ["job-new"]},
    "an object": {**NEW, "id": {"id": "job-new"}},
}
answers = pytest.mark.parametrize("answer", NAMES_NO_NEW_JOB.values(), ids=list(NAMES_NO_NEW_JOB))


# --------------------------------------------------------------------------------------- what an answer names


@answers
def test_an_answer_that_names_no_new_job_is_as_a_lost_one_and_the_job_is_found(
    runs: RunRunner, answer: dict[str, Any]
) -> None:
    runs.pixxel.fail_next("create_job", json=answer, carried_out=True)
    ended = runs.run()
    (created,) = runs.jobs()
    assert (ended.kind, ended.returned["id"]) == ("success", created)
    assert runs.pixxel.requests("create_job") == 1
    assert any(f"Adopting {created}" in line for line in runs.said)


@answers
@pytest.mark.parametrize("store", [True, False])
def test_where_no_job_came_of_it_a_person_is_asked_and_nothing_is_sent_again(
    make: Callable[..., RunRunner], answer: dict[str, Any], store: bool
) -> None:
    runs = make(store=store)
    runs.pixxel.fail_next("create_job", json=answer)
    ended = runs.run()
    assert ended.kind == "PixxelUnconfirmedJobError"
    assert "No new job is listed" in ended.message
    assert "job_id" not in ended.xcoms
    assert runs.pixxel.requests("create_job") == 1


def test_the_job_of_the_clearing_before_is_no_new_one_where_the_list_can_not_be_read(
    runs: RunRunner,
) -> None:
    first = runs.run().returned["id"]
    runs.clear()
    runs.pixxel.fail_next("list_jobs", status=403, times=0)
    runs.pixxel.fail_next("create_job", json={**NEW, "id": first}, carried_out=True)
    assert runs.run().kind == "PixxelUnconfirmedJobError"
    assert runs.pixxel.requests("create_job") == 2


@pytest.mark.parametrize("workflow_id", ["", None, "WF-Succeeds"])
def test_an_answer_without_its_workflow_or_with_other_capitals_is_taken(
    runs: RunRunner, workflow_id: str | None
) -> None:
    runs.pixxel.create_job("wf-succeeds", "job-late", age=0)
    runs.pixxel.fail_next("list_jobs", hide=["job-late"])
    runs.pixxel.fail_next("create_job", json={**NEW, "id": "job-late", "workflow_id": workflow_id})
    ended = runs.run()
    assert (ended.kind, ended.xcoms["job_id"]) == ("success", "job-late")
    assert not any("Adopting" in line for line in runs.said)


def test_a_listed_job_whose_id_can_not_be_sent_is_for_a_person(
    runs: RunRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.pixxel.fail_next("create_job", drop="close")
    runs.pixxel.fail_next("list_jobs", json={"jobs": [{**NEW, "id": "j" * 513}]}, after=1, times=0)
    assert runs.run().kind == "PixxelUnconfirmedJobError"
    assert runs.pixxel.requests("create_job") == 1


@answers
def test_the_hooks_own_method_calls_such_an_answer_unreadable_and_sends_nothing_again(
    pixxel: Any, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]
) -> None:
    monkeypatch.setattr(CLOCK, "sleep", lambda _: None)
    pixxel.fail_next("create_job", json=answer, times=0)
    hook = PixxelHook()
    if str(answer.get("id")).startswith("job-finished"):
        # It has no list to know that from.
        assert hook.create_job("wf-succeeds", "project-agriculture").id == answer["id"]
    else:
        with pytest.raises(PixxelResponseError):
            hook.create_job("wf-succeeds", "project-agriculture")
    assert pixxel.requests("create_job") == 1


# ----------------------------------------------------------------------------------------------- the estimate


@pytest.mark.parametrize("estimate", [-1, -0.5, "-3", -(2**62)])
def test_a_negative_estimate_is_within_no_max_cost(runs: RunRunner, estimate: Any) -> None:
    runs.pixxel.fail_next("estimate_cost", json={"estimated_cost": estimate})
    ended = runs.run(max_cost=1000)
    assert ended.kind == "PixxelCostError"
    assert "isn't a number of credits" in ended.message
    assert runs.workers == 1
    assert runs.pixxel.requests("create_job") == 0


@pytest.mark.parametrize("estimate", [float("nan"), float("inf"), True, None, "many", [], 2**70])
def test_without_a_number_nothing_is_created(runs: RunRunner, estimate: Any) -> None:
    runs.pixxel.fail_next("estimate_cost", json={"estimated_cost": estimate}, times=0)
    assert runs.run(max_cost=1000).kind == "PixxelResponseError"
    assert runs.pixxel.requests("create_job") == 0


@pytest.mark.parametrize("estimate", [-1, float("nan"), float("inf"), True, None, "120"])
def test_whatever_is_no_number_of_credits_can_not_be_compared(estimate: Any) -> None:
    with pytest.raises(PixxelCostError, match=r"isn't a number of credits, and max_cost is 500"):
        check_estimate("w", estimate, 500)


# ----------------------------------------------------------------------- while another error is being handled


def refused() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = listener.getsockname()
    socket.create_connection(address, 5)


def no_such_host() -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def not_trusted() -> None:
    raise ssl.SSLCertVerificationError("self-signed certificate")


def connecting_took_too_long() -> None:
    raise requests.ConnectTimeout("connecting took too long")


def another_server_is_down() -> None:
    try:
        refused()
    except OSError:
        raise PixxelConnectionError("that server is down", reason="refused", sent=False) from None


HANDLED = pytest.mark.parametrize(
    "handled", [refused, no_such_host, not_trusted, connecting_took_too_long, another_server_is_down]
)
FAULTS: list[dict[str, Any]] = [{"drop": "reset"}, {"drop": "close"}, {"truncate": 20}]


@HANDLED
@pytest.mark.parametrize("fault", [*FAULTS, {"latency": 1}], ids=str)
@pytest.mark.parametrize("mode", ["poke", "deferred"])
def test_an_answer_lost_while_an_error_is_handled_is_a_lost_answer(
    make: Callable[..., RunRunner],
    monkeypatch: pytest.MonkeyPatch,
    handled: Callable[[], None],
    fault: dict[str, Any],
    mode: str,
) -> None:
    runs = make(mode)
    if "latency" in fault:
        connection = {**runs.pixxel.airflow_connection, "extra": {"read_timeout": 0.3}}
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps(connection))
    runs.pixxel.fail_next("create_job", times=0, carried_out="truncate" not in fault, **fault)
    try:
        handled()
    except Exception:
        ended = runs.run()
    assert runs.pixxel.requests("create_job") == 1
    assert [ended.returned["id"]] == runs.jobs()


def create() -> None:
    PixxelHook().create_job("wf-succeeds", "project-agriculture")


def create_asynchronously() -> None:
    async def ask() -> None:
        hook = PixxelAsyncHook(clock=Clock(async_sleep=lambda _: asyncio.sleep(0)))
        await hook.send(calls.create_job("wf-succeeds", "project-agriculture"))

    asyncio.run(ask())


@HANDLED
@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("ask", [create, create_asynchronously])
def test_the_hooks_own_method_sends_nothing_again_while_an_error_is_handled(
    pixxel: Any,
    monkeypatch: pytest.MonkeyPatch,
    handled: Callable[[], None],
    fault: dict[str, Any],
    ask: Callable[[], None],
) -> None:
    monkeypatch.setattr(CLOCK, "sleep", lambda _: None)
    pixxel.fail_next("create_job", times=0, **fault)
    try:
        handled()
    except Exception:
        with pytest.raises((PixxelConnectionError, PixxelResponseError)) as caught:
            ask()
    assert getattr(caught.value, "sent", True)
    assert pixxel.requests("create_job") == 1


# ----------------------------------------------------------------------------------- a moment without the job


def cleared_while_it_ran(runs: RunRunner) -> str:
    """Let the task time out and a person clear it; return the id of its job, which runs on."""
    assert runs.run(timeout=30).kind == "AirflowSensorTimeout"
    runs.clear()
    (created,) = runs.jobs()
    return created


@pytest.mark.parametrize("times", [1, 4])
def test_a_cleared_task_whose_job_is_missing_for_a_moment_takes_it_up(runs: RunRunner, times: int) -> None:
    created = cleared_while_it_ran(runs)
    runs.pixxel.fail_next("get_job", status=404, body="html", times=times)
    ended = runs.run()
    assert (ended.kind, ended.returned["id"]) == ("success", created)
    assert runs.pixxel.requests("create_job") == 1


@pytest.mark.parametrize("trouble", [{"status": 503}, {"drop": "reset"}, {"body": "html"}])
def test_other_trouble_between_two_404s_is_no_sign_that_a_job_is_gone(
    runs: RunRunner, trouble: dict[str, Any]
) -> None:
    created = cleared_while_it_ran(runs)
    runs.pixxel.fail_next("get_job", status=404)
    runs.pixxel.fail_next("get_job", times=6, **trouble)
    runs.pixxel.fail_next("get_job", status=404, times=2)
    ended = runs.run(not_found_grace=10)
    assert (ended.kind, ended.returned["id"]) == ("success", created)
    assert runs.pixxel.requests("create_job") == 1


def test_404s_and_other_trouble_in_turns_end_a_try_and_pay_for_nothing(runs: RunRunner) -> None:
    cleared_while_it_ran(runs)
    for _ in range(300):
        runs.pixxel.fail_next("get_job", status=404)
        runs.pixxel.fail_next("get_job", status=503)
    assert runs.run().kind == "PixxelServerError"
    assert runs.pixxel.requests("create_job") == 1


def test_a_cleared_task_whose_job_stays_missing_for_the_grace_creates_a_new_one(runs: RunRunner) -> None:
    created = cleared_while_it_ran(runs)
    runs.pixxel.fail_next("get_job", status=404, job_id=created, times=0)
    began = runs.clock.now
    slept = len(runs.clock.slept)
    ended = runs.run(not_found_grace=20)
    assert ended.kind == "success"
    assert ended.returned["id"] != created
    assert runs.clock.slept[slept : slept + 5] == [1, 2, 4, 8, 5]
    assert runs.clock.now > began + 20


# ---------------------------------------------------------------------------------------- once, and not twice


@pytest.mark.parametrize("mode", ["poke", "deferred"])
def test_the_connection_is_read_once_and_each_xcom_pushed_once(
    make: Callable[..., RunRunner], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    runs = make(mode)
    read: list[str] = []
    real = connection_lookup.read_connection
    monkeypatch.setattr(connection_lookup, "read_connection", lambda found: read.append("") or real(found))
    assert runs.run().kind == "success"
    pushed = [step for step in runs.steps if step.startswith("before xcom")]
    assert sorted(pushed) == sorted(set(pushed))
    # The triggerer is another process.
    assert len(read) == {"poke": 1, "deferred": 2}[mode]


@pytest.mark.parametrize("mode", ["poke", "deferred"])
def test_a_job_that_a_later_try_has_just_read_as_ended_is_not_asked_for_again(
    make: Callable[..., RunRunner], mode: str
) -> None:
    runs = make(mode)
    runs.kill = once("after set created")
    runs.clock.on_sleep.append(lambda _: runs.pixxel.advance(1000))
    runs.pixxel.fail_next("get_job", status=429, after=1, times=0)
    ended = runs.run()
    assert ended.kind == "success"
    assert runs.pixxel.requests("get_job") == 1
    assert runs.deferrals == []


def test_an_adopted_job_that_has_ended_is_not_asked_for_again(runs: RunRunner) -> None:
    runs.pixxel.fail_next("create_job", drop="close", carried_out=True)
    runs.pixxel.fail_next("list_jobs", hide=1.0, after=1)
    runs.clock.on_sleep.append(lambda _: runs.pixxel.advance(1000))
    assert runs.run().kind == "success"
    assert runs.pixxel.requests("get_job") == 1
