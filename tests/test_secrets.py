"""The key of every test is a canary: it is looked for wherever a person or another system could see it."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.clock import CLOCK
from pixxel_provider.hooks.pixxel import PixxelAsyncHook, PixxelHook
from pixxel_provider.operators.pixxel import PixxelGetJobOperator, PixxelRunJobOperator
from pixxel_provider.sensors.pixxel import PixxelJobSensor
from tests.operators.running import RunRunner
from tests.sensors.waiting import MODES, Runner
from tests.support import CANARY, FakeClock, FakeTaskInstance

IN_DETAILS = {"error": {"code": CANARY, "message": "m", "details": {"sent": CANARY}}}
IN_A_JOB = {"id": "job-1", "status": "failed", "tasks": [{"name": "t", "err_msg": f"used {CANARY}"}]}
#: Ways of an API to give a key away, or to make a client do so.
INDISCRETIONS: dict[str, dict[str, Any]] = {
    "echoed in an error": {"status": 401, "body": "echo"},
    "echoed with a 500": {"status": 500, "body": "echo"},
    "in details": {"status": 400, "json": IN_DETAILS},
    "in HTML": {"status": 403, "json": f"<html><title>{CANARY}</title>"},
    "in a job": {"json": IN_A_JOB},
    "in a redirect": {"status": 302, "location": f"http://{CANARY}.invalid/{CANARY}"},
    "dropped": {"drop": "reset"},
    "truncated": {"truncate": 10},
    "none at all": {},
}


@pytest.fixture
def printed(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Return what was logged, at any level, and written to standard output and error."""
    caplog.set_level(logging.DEBUG)
    return lambda: [caplog.text, *capfd.readouterr()]


@pytest.mark.parametrize("fault", INDISCRETIONS.values(), ids=list(INDISCRETIONS))
@pytest.mark.parametrize("mode", MODES)
def test_a_wait_shows_no_key_to_anybody(
    pixxel: Any, mode: str, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch, printed: Any
) -> None:
    ti = FakeTaskInstance()
    runner = Runner(mode, pixxel, FakeClock(), monkeypatch, ti)
    pixxel.create_job("wf-succeeds", "job-1", seconds=100)
    if fault:
        pixxel.fail_next("get_job", times=0, after=1, **fault)
    ended = runner.run(timeout=200)
    events = [repr(deferral.trigger) + str(deferral.trigger.serialize()) for deferral in runner.deferrals]
    seen = [ended.message, json.dumps(ended.returned), json.dumps(ti.xcoms), *printed()]
    for place in (*seen, *events, *runner.said):
        assert CANARY not in place


@pytest.mark.parametrize("route", ["list_jobs", "estimate_cost", "create_job", "get_job"])
@pytest.mark.parametrize("fault", INDISCRETIONS.values(), ids=list(INDISCRETIONS))
def test_a_run_shows_no_key_to_anybody(
    pixxel: Any, fault: dict[str, Any], route: str, monkeypatch: pytest.MonkeyPatch, printed: Any
) -> None:
    ti = FakeTaskInstance()
    runner = RunRunner("deferred", pixxel, FakeClock(), monkeypatch, ti, retries=0)
    if fault:
        pixxel.fail_next(route, times=0, **fault)
    ended = runner.run(timeout=200, max_cost=1000)
    stored = repr(runner.store.values) if runner.store else ""
    seen = [ended.message, json.dumps(ended.returned), json.dumps(ti.xcoms), *printed(), stored]
    for place in (*seen, *runner.said):
        assert CANARY not in place


@pytest.mark.parametrize("fault", INDISCRETIONS.values(), ids=list(INDISCRETIONS))
def test_an_exception_shows_no_key_in_any_of_its_parts(
    pixxel: Any, fault: dict[str, Any], context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault:
        pixxel.fail_next("get_job", times=0, **fault)
    monkeypatch.setattr(CLOCK, "sleep", lambda *_: None)
    operator = PixxelGetJobOperator(task_id="get", workflow_id="wf-succeeds", job_id="job-finished")
    try:
        shown = [json.dumps(operator.execute(context))]
    except PixxelError as error:
        shown = ["".join(traceback.format_exception(error)), repr(error), repr(vars(error)), repr(error.args)]
        shown.append(repr(pickle.dumps(error)))
    assert not [words for words in shown if CANARY in words]


def test_raw_fields_hold_no_key_either(pixxel: Any, context: Any) -> None:
    spec = json.dumps({"sent": CANARY}).encode()
    inputs = base64.b64encode(spec).decode()
    task = {"id": "t", "name": "t", "status": "completed", "inputs": inputs}
    pixxel.change_job("job-finished", spec=list(spec), tasks=[task])
    operator = PixxelGetJobOperator(
        task_id="get", workflow_id="wf-succeeds", job_id="job-finished", include=["spec", "inputs"]
    )
    found = operator.execute(context)
    assert (found["spec"], found["tasks"][0]["inputs"]) == ({"sent": "***"}, {"sent": "***"})


def test_no_repr_shows_the_key(pixxel: Any) -> None:
    import asyncio

    hook, asynchronous = PixxelHook(), PixxelAsyncHook()
    settings = asyncio.run(asynchronous.get_settings())
    hook.get_job("wf-succeeds", "job-finished")
    shown = [repr(thing) for thing in (hook, hook.settings, asynchronous, settings, hook.get_conn())]
    shown += [repr(hook.get_conn().headers), repr(hook.get_conn().auth)]
    assert not [words for words in shown if CANARY in words]


def test_rendered_fields_hold_no_key(pixxel: Any) -> None:
    job, run = {"job_id": "j"}, {"project_id": "p"}
    for operator, given in (
        (PixxelJobSensor, job),
        (PixxelGetJobOperator, job),
        (PixxelRunJobOperator, run),
    ):
        task = operator(task_id="t", workflow_id="w", **given)
        assert CANARY not in repr({name: getattr(task, name) for name in task.template_fields})
        assert CANARY not in repr(vars(task))


def test_a_key_in_the_wrong_field_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    extras = "allow_http verify read_timeout connect_timeout console_url proxy auth_scheme".split()
    for field, value in (
        ("host", f"https://{CANARY}@api.example.com"),
        ("password", f"{CANARY}\n{CANARY}"),
        *(("extra", {extra: f"{CANARY} {CANARY}"}) for extra in extras),
        ("extra", {"verify": f"{CANARY}/{CANARY}"}),
        ("extra", {"verify": CANARY * 20}),
    ):
        monkeypatch.setenv(
            "AIRFLOW_CONN_ODD", json.dumps({"conn_type": "pixxel", "password": "k" * 20, field: value})
        )
        works, words = PixxelHook("odd").test_connection()
        assert not works
        assert CANARY not in words
