from __future__ import annotations

import base64
import dataclasses
import json
import pickle
from datetime import datetime, timezone
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelResponseError
from pixxel_provider.api.job import BlockInfo, Job, Task, ValidationError, reading_kind
from pixxel_provider.api.status import StatusRules, Verdict

TASK = {
    "id": "t1",
    "name": "mask",
    "status": "inprogress",
    "state_msg": "at work",
    "progress": 40.5,
    "depends_on": ["read", "clip"],
    "estimated_time_duration": 90,
    "time_taken": "12s",
    "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-01-02T03:05:05Z",
    "finished_at": "0001-01-01T00:00:00Z",
    "block_info": {"id": "b1", "name": "cloud-mask", "version": "1.2.0"},
    "inputs": list(b'{"band": 3}'),
    "result": base64.b64encode(b"[1, 2]").decode(),
    "info_logs": list(b"line 1\nline 2"),
    "disclaimer": ["none"],
    "err_msg": "",
    "failure_type": "",
}
FULL = {
    "id": "j",
    "workflow_id": "w",
    "status": "In Progress",
    "progress": "75%",
    "cost": 120,
    "created_by": "ada",
    "time_taken": "3m",
    "estimated_duration": 300,
    "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-01-02T03:05:05Z",
    "finished_at": "",
    "exec_created_at": "2026-01-02T03:04:06Z",
    "exec_updated_at": None,
    "tasks": [TASK, {"name": "clip"}],
    "val_errors": [{"from": "a", "to": "b", "err": "e", "reason": "r", "component_name": "c"}, "plain"],
    "spec": list(b'{"blocks": []}'),
}


def utc(minute: int, second: int) -> datetime:
    return datetime(2026, 1, 2, 3, minute, second, tzinfo=timezone.utc)


def test_a_full_job_is_read() -> None:
    job = Job.read(FULL)

    assert (job.id, job.workflow_id, job.status, job.created_by) == ("j", "w", "In Progress", "ada")
    assert (job.progress, job.cost, job.time_taken, job.estimated_duration) == (75, 120, "3m", 300)
    assert (job.created_at, job.updated_at, job.exec_created_at) == (utc(4, 5), utc(5, 5), utc(4, 6))
    assert (job.finished_at, job.exec_updated_at) == (None, None)
    assert job.spec == {"blocks": []}
    assert job.val_errors == (ValidationError("a", "b", "e", "r", "c"), ValidationError(err="plain"))
    assert [task.name for task in job.tasks] == ["mask", "clip"]
    assert job.raw is FULL


def test_a_task_is_read() -> None:
    task = Task.read(TASK)

    assert (task.id, task.name, task.status, task.state_msg) == ("t1", "mask", "inprogress", "at work")
    assert (task.progress, task.estimated_time_duration, task.time_taken) == (40.5, 90, "12s")
    assert task.depends_on == ("read", "clip")
    assert (task.created_at, task.updated_at, task.finished_at) == (utc(4, 5), utc(5, 5), None)
    assert task.block == BlockInfo("b1", "cloud-mask", "1.2.0")
    assert (task.inputs, task.result, task.info_logs) == ({"band": 3}, [1, 2], "line 1\nline 2")
    assert task.raw["disclaimer"] == ["none"]


def test_a_slim_job_has_neither_tasks_nor_validation_errors() -> None:
    job = Job.read({"id": "j", "status": "done", "cost": "7"})

    assert (job.tasks, job.val_errors, job.cost, job.progress) == ((), (), 7, None)
    assert (job.workflow_id, job.created_at, job.spec) == ("", None, None)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, "null"),
        (True, "a boolean"),
        ("x", "a string"),
        (7, "a number"),
        (7.5, "a number"),
        ([], "a list"),
        ([FULL], "a list"),
    ],
)
def test_what_is_no_object_is_no_job(answer: Any, kind: str) -> None:
    assert reading_kind(answer) == kind
    with pytest.raises(PixxelResponseError, match=rf"^expected a job, got {kind}$"):
        Job.read(answer)


@pytest.mark.parametrize("key", ["id", "status"])
@pytest.mark.parametrize("value", [None, "", "  ", True, [], {}, ["x"], {"x": 1}])
def test_a_job_needs_an_id_and_a_status(key: str, value: Any) -> None:
    with pytest.raises(
        PixxelResponseError, match=rf"^expected a job, got an object without a usable '{key}'$"
    ):
        Job.read({**FULL, key: value})
    with pytest.raises(PixxelResponseError, match=rf"usable '{key}'"):
        Job.read({k: v for k, v in FULL.items() if k != key})
    assert reading_kind({}) == "an object"


WRONG = [None, True, 7, -1.5, float("nan"), 10**30, "x", "", [], [7, "x", None], {}, {"id": []}]


@pytest.mark.parametrize("value", WRONG, ids=ascii)
@pytest.mark.parametrize(
    ("kind", "whole", "key"),
    [
        *((Job, FULL, key) for key in FULL if key not in ("id", "status")),
        *((Task, TASK, key) for key in TASK),
    ],
)
def test_a_field_of_a_wrong_type_spoils_no_other(
    kind: Any, whole: dict[str, Any], key: str, value: Any
) -> None:
    found, right = kind.read({**whole, key: value}), kind.read(whole)

    for field in dataclasses.fields(kind):
        if field.name not in (key, "raw") and (key, field.name) != ("block_info", "block"):
            assert getattr(found, field.name) == getattr(right, field.name)
    if kind is Job:
        assert json.dumps(found.metadata(["spec", "inputs"]), allow_nan=False).encode()


@pytest.mark.parametrize("entry", [None, 7, [], True, {}])
def test_a_task_that_is_no_object_is_a_task_without_anything(entry: Any) -> None:
    job = Job.read({**FULL, "tasks": [entry, TASK], "val_errors": [entry]})

    assert [(task.id, task.block) for task in job.tasks] == [
        ("", BlockInfo()),
        ("t1", BlockInfo("b1", "cloud-mask", "1.2.0")),
    ]
    assert job.val_errors == (ValidationError(),)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (BlockInfo("b", "mask", "1.0"), "mask 1.0"),
        (BlockInfo("b", "", "1.0"), "b 1.0"),
        (BlockInfo("b", "mask"), "mask"),
        (BlockInfo(), ""),
    ],
)
def test_a_block_is_named_as_people_know_it(block: BlockInfo, words: str) -> None:
    assert str(block) == words


def test_a_validation_error_keeps_the_names_of_the_api() -> None:
    fields = {"from": "a", "to": "b", "err": "e", "reason": "r", "component_name": "c"}

    assert ValidationError.read(fields).fields() == fields


def test_jobs_are_values_and_their_raw_answer_counts_for_nothing() -> None:
    job = Job.read(FULL)

    assert job == Job.read({**FULL, "unknown": 1})
    assert hash(job) == hash(Job.read({**FULL, "unknown": 1}))
    assert job != Job.read({**FULL, "status": "done"})
    assert pickle.loads(pickle.dumps(job)) == job  # noqa: S301
    assert "blocks" not in repr(job)
    assert "band" not in repr(job)


def test_the_verdict_asks_the_rules_and_a_real_end() -> None:
    odd = {"id": "j", "status": "archived"}

    assert Job.read(odd).verdict() is Verdict.WAITING
    assert Job.read({**odd, "finished_at": "0001-01-01T00:00:00Z"}).verdict() is Verdict.WAITING
    assert Job.read({**odd, "finished_at": "2026-01-02T03:04:05Z"}).verdict() is Verdict.UNCLEAR
    assert Job.read(odd).verdict(StatusRules.of(["archived"])) is Verdict.SUCCEEDED
    assert Job.read({**odd, "status": "Timed Out"}).verdict() is Verdict.FAILED
