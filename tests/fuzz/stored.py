"""What Airflow has stored: triggers' arguments, events, checkpoints of jobs, cursors of watchers."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from hypothesis import strategies as st

from pixxel_provider.api.errors import PixxelInputError, PixxelUnknownStatusError
from pixxel_provider.api.event_cursor import EventCursor
from pixxel_provider.api.job import Job
from pixxel_provider.api.status import StatusRules
from pixxel_provider.job_creation.checkpoint import KEY, Checkpoint, Record
from pixxel_provider.job_creation.creator import JobCreator, PixxelUnconfirmedJobError
from pixxel_provider.job_creation.reconcile import JobSearch
from pixxel_provider.operators.pixxel import PixxelDownloadJobOperator, PixxelRunJobOperator
from pixxel_provider.outcome import UNSTARTED, result_of, started_at, why_no_result
from pixxel_provider.sensors.pixxel import PixxelJobSensor
from pixxel_provider.triggers.base import PixxelWaitTrigger
from pixxel_provider.triggers.events import PixxelJobEventTrigger
from pixxel_provider.triggers.pixxel import PixxelEndedJobTrigger, PixxelJobTrigger
from pixxel_provider.waiting.base import WaitMixin
from tests.api.test_any_json import ANY, JOB, assert_is
from tests.fuzz.answers import SETTINGS
from tests.fuzz.surface import Check, Surface, assert_json, attempt, bounded, surface
from tests.fuzz.texts import VALUE, changed
from tests.poller_support import JumpingLoop, Script
from tests.support import CANARY, FakeClock, FakeTaskInstance, RecordingLog
from tests.triggers.test_base import FULL
from tests.triggers.test_base import JOB as JOB_ARGUMENTS

#: Nothing of the key is ever stored.
STORED = VALUE.filter(lambda value: CANARY not in json.dumps(value))

# ------------------------------------------------------------------------------------------------ triggers

ENDED: dict[str, Any] = {
    **{name: value for name, value in FULL.items() if name not in ("poll", "target")},
    "poll": "pixxel_provider.api.judges:EndedJobPoll",
    "target": {"workflow_id": "w", "ended_after": "2026-01-01T00:00:00Z"},
}
WATCHER: dict[str, Any] = {
    "workflow_id": "w",
    "outcomes": ["failed"],
    "created_by": "u",
    "pixxel_conn_id": "c",
    "poke_interval": 30.0,
    "since": "2026-01-01T00:00:00+00:00",
}
KINDS: dict[type[Any], dict[str, Any]] = {
    PixxelWaitTrigger: FULL,
    PixxelEndedJobTrigger: ENDED,
    PixxelJobTrigger: {**JOB_ARGUMENTS, "deferred_for": None, "task_end": None},
    PixxelJobEventTrigger: WATCHER,
}
POLLS = st.sampled_from(
    [
        "os:getcwd",
        "os:system",
        "builtins:dict",
        "no.such:Thing",
        "pixxel_provider.api.judges:No",
        "pixxel_provider.api.polling:Poll",
        ":",
        "",
        "pixxel_provider.api.judges",
    ]
)
TARGETS = changed(FULL["target"], STORED)
TRIGGERS = st.sampled_from(list(KINDS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        changed(KINDS[kind], POLLS | TARGETS | STORED if "poll" in KINDS[kind] else STORED),
    )
)


class Answering(Script):
    """A server on which every job has ended and every package is ready."""

    async def send(self, hook: Any, call: Any, **_: Any) -> Any:
        await asyncio.sleep(self.latency)
        job = {"id": "j", "workflow_id": "w", "status": "fine", "finished_at": "2026-06-01T00:00:00Z"}
        answer: Any = {"jobs": [job]} if call.name == "list_jobs" else {**job, "signed_url": "https://x/"}
        if call.name.startswith("download"):
            answer["status"] = "ready"
        return call.read({**answer, **self.ids(call)} if call.name != "list_jobs" else answer)

    @staticmethod
    def ids(call: Any) -> dict[str, Any]:
        from urllib.parse import unquote

        parts = [unquote(part) for part in call.path.split("/")]
        return {"workflow_id": parts[3], "id": parts[5], "job_id": parts[5]} if len(parts) > 5 else {}


@contextmanager
def _triggers() -> Iterator[Check]:
    with pytest.MonkeyPatch.context() as patch:
        Answering().serve(patch)
        patch.setattr(PixxelWaitTrigger, "log", RecordingLog(), raising=False)
        yield _trigger


def _trigger(case: Any) -> None:
    kind, arguments = case
    trigger = attempt(lambda: kind(**arguments), TypeError)
    if isinstance(trigger, Exception):
        # Any other exception of a trigger's __init__ ends the whole triggerer.
        assert isinstance(trigger, TypeError), repr(trigger)
        return
    path, stored = trigger.serialize()
    assert path == f"{kind.__module__}.{kind.__name__}"
    json.dumps(stored)
    if kind is PixxelJobEventTrigger:
        hash(trigger.shared_stream_key())
        return
    loop = JumpingLoop()
    trigger.clock = SimpleNamespace(time=loop.time, monotonic=loop.time, async_sleep=asyncio.sleep)

    async def first() -> Any:
        async for event in trigger.run():
            return event.payload
        raise AssertionError("no event")

    try:
        with bounded():
            payload = loop.run_until_complete(asyncio.wait_for(first(), 10_000_000))
    finally:
        loop.close()
    stored_event = json.loads(assert_json(payload))
    result = result_of(stored_event)
    if stored_event["kind"] == UNSTARTED:
        assert why_no_result(stored_event)
        return
    assert result is not None
    assert "The trigger broke" not in result.message, result.message
    if result.kind == "error":
        error = result.exception()
        if isinstance(error, PixxelUnknownStatusError):
            # The job has ended in a status that only the case's own arguments can make known.
            return
        assert isinstance(error, PixxelInputError), repr(error)
        assert error.field


triggers = Surface("triggers", 8, TRIGGERS, _triggers)

# -------------------------------------------------------------------------------------------------- events

METADATA = {"id": "j", "workflow_id": "w", "status": "completed", "cost": 5, "progress": 100, "tasks": []}
ERRORS = changed(
    {
        "type": "PixxelAuthError",
        "message": "no",
        "status_code": 401,
        "code": "x",
        "details": None,
        "request": "GET /x",
        "retry_after": None,
        "field": "f",
        "problem": "is bad",
        "reason": "dns",
        "sent": True,
    },
    STORED,
) | st.builds(
    lambda name: {"type": name, "message": "m"}, st.sampled_from(["PixxelInputError", "x", "PixxelApiError"])
)
EVENT = {
    "version": 1,
    "kind": "succeeded",
    "message": "m",
    "metadata": METADATA,
    "error": None,
    "started_at": 1.0,
}
KIND = st.sampled_from(["succeeded", "failed", "timed_out", "error", "identified", "unstarted", "later", ""])
EVENTS = st.one_of(
    changed(EVENT, STORED),
    st.builds(
        lambda base, kind, metadata, error: {**base, "kind": kind, "metadata": metadata, "error": error},
        changed(EVENT, STORED),
        KIND,
        st.none() | changed(METADATA, STORED),
        st.none() | ERRORS,
    ),
    ANY.filter(lambda value: CANARY not in json.dumps(value)),
)
OPERATORS: dict[str, Any] = {
    "sensor": lambda: PixxelJobSensor(task_id="t", workflow_id="w", job_id="j", deferrable=True),
    "soft": lambda: PixxelJobSensor(
        task_id="t", workflow_id="w", job_id="j", deferrable=True, soft_fail=True
    ),
    "never": lambda: PixxelJobSensor(
        task_id="t", workflow_id="w", job_id="j", deferrable=True, never_fail=True
    ),
    "first": lambda: PixxelJobSensor(
        task_id="t", workflow_id="w", ended_after="2026-01-01T00:00:00Z", deferrable=True
    ),
    "run": lambda: PixxelRunJobOperator(
        task_id="t", workflow_id="w", project_id="p", max_cost=3, deferrable=True
    ),
    "download": lambda: PixxelDownloadJobOperator(
        task_id="t", workflow_id="w", job_id="j", destination="/x", deferrable=True
    ),
}
POLLED = object()


@contextmanager
def _events() -> Iterator[Check]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WaitMixin, "_wait", lambda self, context, passed=None: _polls(passed))
        patch.setattr(WaitMixin, "log", RecordingLog(), raising=False)
        yield _event


def _polls(passed: Any) -> object:
    assert passed is None or (type(passed) in (int, float) and 0 <= passed < math.inf), passed
    return POLLED


def _event(case: Any) -> None:
    name, event = case
    began = started_at(event)
    assert began is None or math.isfinite(began)
    result = result_of(event)
    if result is not None:
        assert_is(result.kind, str)
        assert_is(result.message, str)
    documented = (AirflowFailException, AirflowSensorTimeout, AirflowSkipException)
    operator, context = OPERATORS[name](), {"ti": FakeTaskInstance()}
    found = attempt(
        lambda: operator.resume_execution("execute_complete", {"event": event}, context), *documented
    )
    if found is not POLLED and not isinstance(found, Exception):
        assert isinstance(found, dict), found
        json.dumps([found, context["ti"].xcoms])


events = Surface("events", 8, st.tuples(st.sampled_from(sorted(OPERATORS)), EVENTS), _events)

# --------------------------------------------------------------------------------- checkpoints and cursors

RECORD: dict[str, Any] = {
    "version": 1,
    "state": "asking",
    "began_at": 1.79e9,
    "known": ["a"],
    "over_by": 1.8e9,
    "workflow_id": "w",
    "job_id": None,
    "estimated_cost": 3,
    "clearing": 0,
    "attempt": 1,
}
NUMBERS = st.sampled_from([1e300, -1e300, 10**18, -(10**18), 0, math.nan, math.inf, 10**400, True, 1.5])
RECORDS = st.one_of(
    changed(RECORD, STORED | NUMBERS),
    st.builds(
        lambda base, state, job: {**base, "state": state, "job_id": job},
        changed(RECORD, STORED | NUMBERS),
        st.sampled_from(["asking", "created", "unconfirmed", "done"]),
        st.sampled_from(["j", "", "a/b", ".."]) | STORED,
    ),
    ANY,
)


class Store:
    """Airflow's store of one task."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def get(self, key: str, *_: Any) -> Any:
        assert key == KEY
        return self.value

    def set(self, key: str, value: Any, **_: Any) -> None:
        self.value = value

    def delete(self, key: str) -> None:
        self.value = None


class Hook:
    """A client whose answers are those of a server with one old job."""

    settings = SETTINGS[CANARY]

    def send(self, call: Any, **_: Any) -> Any:
        fields = {"workflow_id": "w", "status": "completed", "created_at": "2026-01-01T00:00:00Z"}
        if call.name == "list_jobs":
            return call.read({"jobs": [{"id": "old", **fields}]})
        return call.read({"id": "new" if call.method == "POST" else call.path.rsplit("/", 1)[-1], **fields})


@surface("checkpoints", 8, st.tuples(RECORDS, st.integers(1, 3), st.integers(0, 2)))
def checkpoints(case: Any) -> None:
    """A stored record is one, or a person is asked, and nothing is created unasked."""
    stored, attempt_number, max_tries = case
    record = attempt(lambda: Record.read(stored))
    if record is not None:
        json.dumps(vars(record), allow_nan=False)
        assert type(record.attempt) is type(record.clearing) is int
        assert record.known is None or all(isinstance(each, str) for each in record.known)
    if stored is None:
        return
    clock = FakeClock()
    ti = FakeTaskInstance()
    ti.try_number, ti.max_tries = attempt_number, max_tries
    checkpoint = Checkpoint({"ti": ti}, durable=False)  # type: ignore[typeddict-item]
    checkpoint._store = Store(stored)
    creator = JobCreator(
        hook=Hook(),  # type: ignore[arg-type]
        checkpoint=checkpoint,
        search=JobSearch(hook=Hook(), workflow_id="w", clock=clock),  # type: ignore[arg-type]
        workflow_id="w",
        project_id="p",
        rules=StatusRules(),
        log=RecordingLog(),
        publish=lambda job_id: None,
        publish_estimate=lambda credits: None,
    )
    found = attempt(creator.job, PixxelUnconfirmedJobError)
    if record is None:
        assert isinstance(found, PixxelUnconfirmedJobError), found
    json.dumps(checkpoint._store.value, allow_nan=False) if record is not None else None


CURSOR = {"version": 1, "since": 1.0, "announced": {"j": [1.79e9, "failed"]}}
CURSORS = st.one_of(
    changed(CURSOR, STORED | NUMBERS),
    st.builds(
        lambda announced: {**CURSOR, "announced": announced},
        st.dictionaries(
            st.text(max_size=3), st.tuples(NUMBERS | STORED, STORED).map(list) | STORED, max_size=3
        ),
    ),
    ANY,
)


@surface("cursors", 3, st.tuples(CURSORS, st.lists(JOB, max_size=2)))
def cursors(case: Any) -> None:
    """A stored cursor is one, or begins anew; it can be used and stored again."""
    stored, listed = case
    found = attempt(lambda: EventCursor.read(stored))
    if found is None:
        return
    jobs = [Job.read(each) for each in listed]
    with bounded():
        for job in found.pending(jobs, StatusRules()):
            found.announce(job, "failed")
        found.prune(datetime(2026, 11, 28, tzinfo=timezone.utc))
        again = EventCursor.read(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again is not None
