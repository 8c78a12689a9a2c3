"""What the server answers: JSON of the same size for every API, with 50 tasks 26 kB.

Pixxel's have every field that its OpenAPI document names, in a job as in a list's entry. The answers of the
other APIs carry the same tasks in the place where such things stand there, so that reading them costs as
much.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_BEGUN, _ENDED, _NEVER = "2026-10-01T08:00:00Z", "2026-10-01T09:30:00Z", "0001-01-01T00:00:00Z"
_SPLIT = "@SPLIT@"


def _task(number: int, count: int, ended: bool) -> dict[str, Any]:
    done = ended or number < count // 2
    moment = _ENDED if done else _NEVER
    return {
        "id": f"task-{number}",
        "name": f"reflectance-{number}",
        "status": "completed" if done else "created",
        "state_msg": "",
        "progress": 100 if done else 0,
        "depends_on": [f"reflectance-{number - 1}"] if number else [],
        "estimated_time_duration": 90,
        "time_taken": "1m30s" if done else "",
        "created_at": _BEGUN,
        "updated_at": moment,
        "finished_at": moment,
        "recv_time": "",
        "send_time": "",
        "block_inf_start_time": "",
        "block_inf_end_time": "",
        "block_info": {"id": "toa", "name": "Reflectance", "version": "1.0"},
        "inputs": [],
        "result": [],
        "info_logs": [],
        "disclaimer": [],
        "err_msg": "",
        "failure_type": "",
    }


def _tasks(count: int, ended: bool) -> list[dict[str, Any]]:
    return [_task(number, count, ended) for number in range(count)]


def _slim(ended: bool) -> dict[str, Any]:
    return {
        "id": "%(job)s",
        "workflow_id": "%(workflow)s",
        "progress": "%(progress)d%%",
        "status": "completed" if ended else "running",
        "created_by": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "cost": 120,
        "created_at": _BEGUN,
        "updated_at": _BEGUN,
        "finished_at": _ENDED if ended else _NEVER,
        "estimated_duration": 5_400,
        "time_taken": "1h30m0s" if ended else "",
    }


def _pixxel(tasks: int, ended: bool) -> dict[str, Any]:
    times = {"exec_created_at": _BEGUN, "exec_updated_at": _BEGUN, "val_errors": [], "spec": []}
    return {**_slim(ended), _SPLIT: "", **times, "tasks": _tasks(tasks, ended)}


def _dbt_cloud(tasks: int, ended: bool) -> dict[str, Any]:
    head = {"id": "%(number)d", "account_id": 7, "status": 10 if ended else 3, "is_complete": ended}
    status = {"code": 200, "is_success": True, "user_message": "Success!"}
    return {"data": {**head, _SPLIT: "", "run_steps": _tasks(tasks, ended)}, "status": status}


def _fivetran(tasks: int, ended: bool) -> dict[str, Any]:
    status = {"sync_state": "scheduled" if ended else "syncing", "setup_state": "connected", "tasks": []}
    head = {
        "id": "%(job)s",
        "service": "postgres",
        "schema": "sales",
        "succeeded_at": _ENDED if ended else "2026-09-30T09:30:00Z",
        "failed_at": None,
        "schedule_type": "manual",
        "status": status,
    }
    return {"code": "Success", "data": {**head, _SPLIT: "", "config": {"tables": _tasks(tasks, ended)}}}


def _plain(tasks: int, ended: bool) -> dict[str, Any]:
    status = "completed" if ended else "running"
    return {"id": "%(job)s", "status": status, _SPLIT: "", "steps": _tasks(tasks, ended)}


_APIS: dict[str, Callable[[int, bool], dict[str, Any]]] = {
    "pixxel": _pixxel,
    "dbt_cloud": _dbt_cloud,
    "fivetran": _fivetran,
    "plain": _plain,
}


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


class Answer:
    """A single job's answer: a head that names the job, and a tail that is the same for all."""

    def __init__(self, api: str, tasks: int, ended: bool) -> None:
        head, tail = _dump(_APIS[api](tasks, ended)).split(f'"{_SPLIT}":"",')
        self._head, self._tail = head, tail.encode()

    def body(self, number: int, job: str, workflow: str, progress: int) -> bytes:
        """Return the answer about one job."""
        names = {"number": number, "job": job, "workflow": workflow, "progress": progress}
        return (self._head % names).encode() + self._tail


class Entry:
    """A job's entry in Pixxel's list."""

    def __init__(self, ended: bool) -> None:
        self._text = _dump(_slim(ended))

    def text(self, job: str, workflow: str, progress: int) -> str:
        """Return one entry."""
        return self._text % {"job": job, "workflow": workflow, "progress": progress}
