"""Pixxel's JSON: states and errors, timestamps, the encodings of byte fields, and the answer around it."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from starlette.responses import Response

from pixxel_provider.simulator.plans import WorkflowPlan
from pixxel_provider.simulator.timeline import JobState, SimulatedJob, TaskState, estimate

FIRST_USER = "user-simulator-1"  # the owner of the first key, and of all that was there from the start
WORKFLOWS_CREATED_AT = 1_748_736_000.0  # 2025-06-01T00:00:00Z

ZERO_TIME = "0001-01-01T00:00:00Z"
"""What a Go server sends for a time that hasn't come."""

BYTE_ENCODINGS = ("integers", "base64", "json")
"""How ``spec``, ``inputs``, ``result`` and ``info_logs`` may be written; ``integers`` is documented."""

FULL_ONLY = frozenset({"exec_created_at", "exec_updated_at", "tasks", "val_errors", "spec"})
"""The fields of a job that a list doesn't show."""

CODES = {
    400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    409: "conflict", 416: "range_not_satisfiable", 429: "too_many_requests", 500: "internal_error",
    502: "bad_gateway", 503: "service_unavailable", 504: "gateway_timeout",
}  # fmt: skip


class Problem(Exception):
    """An answer other than 200: ``status``, and the three fields of the envelope."""

    def __init__(
        self, status: int, message: str, details: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.envelope = envelope(status, message, details)

    def answer(self) -> Response:
        """The envelope on its way."""
        return answer(self.envelope, self.status, self.headers)


def envelope(status: int, message: str, details: Any = None, code: str | None = None) -> dict[str, Any]:
    """The body of every error."""
    code = code or CODES.get(status, f"http_{status}")
    return {"error": {"code": code, "message": message, "details": details}}


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in ASCII, so that any text at all, half a surrogate pair included, can be sent."""
    content = json.dumps(body, separators=(",", ":")).encode("ascii")
    return Response(content, status, dict(headers or {}), media_type="application/json")


@lru_cache(maxsize=4096)
def timestamp(moment: float | None) -> str:
    """Unix seconds as RFC 3339 in UTC with milliseconds; Go's zero time for None."""
    if moment is None or not math.isfinite(moment):
        return ZERO_TIME
    text = datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def http_date(moment: float) -> str:
    """Unix seconds as HTTP headers write them."""
    return formatdate(moment, usegmt=True)


def duration(seconds: float) -> str:
    """Seconds the way Go prints a duration: ``0s``, ``350ms``, ``45s``, ``2m0s``, ``1h0m5s``."""
    if 0 < seconds < 1:
        return f"{max(1, round(seconds * 1000))}ms"
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"


def encode_bytes(value: Any, encoding: str) -> Any:
    """A byte field. A str is text, anything else a JSON value; None is a field without content."""
    if encoding == "json":
        return value
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    raw = b"" if value is None else text.encode()
    return list(raw) if encoding == "integers" else base64.b64encode(raw).decode()


def slim_job(job: SimulatedJob, now: float) -> dict[str, Any]:
    """A job as List Jobs shows it at ``now`` (Unix seconds)."""
    return _changed(_slim(job, job.state(now), now), job)


def full_job(job: SimulatedJob, now: float, encoding: str) -> dict[str, Any]:
    """The body of Get Job and Create Job at ``now``: what a list shows, and the fields of ``FULL_ONLY``."""
    state = job.state(now)
    body = {
        **_slim(job, state, now),
        "exec_created_at": timestamp(_at(job, state.queued)),
        "exec_updated_at": timestamp(None if state.queued is None else _last_change(job, state, now)),
        "tasks": [
            _task(number, task, job, state, now, encoding) for number, task in enumerate(state.tasks, start=1)
        ],
        "val_errors": [dict(error) for error in job.plan.val_errors],
        "spec": encode_bytes(spec(job.plan), encoding),
    }
    return _changed(body, job)


def workflow(plan: WorkflowPlan, encoding: str) -> dict[str, Any]:
    """The body of Get Workflow."""
    body = {
        **workflow_item(plan),
        "spec": encode_bytes(spec(plan), encoding),
        "val_errors": [dict(error) for error in plan.val_errors],
        "estimated_cost": plan.promised_cost,
    }
    del body["legacy_project_id"]
    return body


def workflow_item(plan: WorkflowPlan) -> dict[str, Any]:
    """A workflow as List Workflows shows it."""
    return {
        "id": plan.id,
        "project_id": plan.project_id,
        "legacy_project_id": "",
        "name": plan.name,
        "created_by": FIRST_USER,
        "description": plan.description,
        "created_at": timestamp(WORKFLOWS_CREATED_AT),
        "updated_at": timestamp(WORKFLOWS_CREATED_AT),
    }


def spec(plan: WorkflowPlan) -> dict[str, Any]:
    """What the workflow is made of, as the bytes of ``spec`` hold it."""
    return {
        "workflow": plan.id,
        "blocks": [
            {"name": t.name, "block": t.block, "version": t.version, "depends_on": list(t.depends_on)}
            for t in plan.tasks
        ],
    }


def _slim(job: SimulatedJob, state: JobState, now: float) -> dict[str, Any]:
    last_change = _last_change(job, state, now)
    begun = _at(job, state.started)
    return {
        "created_by": job.created_by,
        "id": job.id,
        "cost": job.plan.cost,
        "workflow_id": job.workflow_id,
        "created_at": timestamp(job.created_at),
        "updated_at": timestamp(last_change),
        "finished_at": timestamp(_at(job, state.ended)),
        "estimated_duration": _whole_seconds(estimate(job.plan)),
        "progress": f"{int(state.progress)}%",
        "status": state.status,
        "time_taken": duration(0.0 if begun is None else last_change - begun),
    }


def _task(
    number: int, task: TaskState, job: SimulatedJob, state: JobState, now: float, encoding: str
) -> dict[str, Any]:
    plan = task.plan
    started, ended = _at(job, task.started), _at(job, task.ended)
    until = ended if ended is not None else now
    failure = plan.failure if task.status == "failed" else None
    if started is None:
        waits_for = ", ".join(plan.depends_on) or "the job to start"
        message = f"waiting for {waits_for}" if state.ended is None else "the job has ended"
    else:
        message = failure.err_msg if failure else {"completed": "done"}.get(task.status, "running")
    # Log lines come one by one while the task runs; all of them are there once it has ended.
    lines = len(plan.logs) if ended is not None else math.ceil(len(plan.logs) * task.progress / 100)
    return {
        "id": job.task_id(number),
        "name": plan.name,
        "status": task.status,
        "state_msg": message,
        "progress": task.progress,
        "depends_on": list(plan.depends_on),
        "estimated_time_duration": _whole_seconds(plan.promised),
        "time_taken": duration(0.0 if started is None else until - started),
        "created_at": timestamp(job.created_at),
        "updated_at": timestamp(job.created_at if started is None else until),
        "finished_at": timestamp(ended),
        **dict.fromkeys(("recv_time", "send_time", "block_inf_start_time"), timestamp(started)),
        "block_inf_end_time": timestamp(ended),
        "block_info": {"id": f"block-{plan.block}", "name": plan.block, "version": plan.version},
        "inputs": encode_bytes(dict(plan.inputs), encoding),
        "result": encode_bytes(dict(plan.result) if task.status == "completed" else None, encoding),
        "info_logs": encode_bytes("\n".join(plan.logs[:lines]), encoding),
        "disclaimer": list(plan.disclaimer) if task.status == "completed" else [],
        "err_msg": failure.err_msg if failure else "",
        "failure_type": failure.failure_type if failure else "",
    }


def _changed(body: dict[str, Any], job: SimulatedJob) -> dict[str, Any]:
    """The body with the job's own fields put over it; a list doesn't get those that only a full job has."""
    slim = "tasks" not in body
    extra = {key: value for key, value in job.fields.items() if not (slim and key in FULL_ONLY)}
    return {key: value for key, value in {**body, **extra}.items() if key not in job.omit}


def _last_change(job: SimulatedJob, state: JobState, now: float) -> float:
    return job.created_at + state.ended if state.ended is not None else max(now, job.created_at)


def _at(job: SimulatedJob, offset: float | None) -> float | None:
    return None if offset is None else job.created_at + offset


def _whole_seconds(seconds: float) -> int:
    return max(1, round(seconds))
