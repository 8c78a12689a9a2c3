"""A job and its state, a function of its plan and the seconds since it was created. No clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from pixxel_provider.simulator.plans import TaskPlan, WorkflowPlan, check_speed

ALMOST_DONE = 99.0  # percent: what isn't finished never shows 100


class Span(NamedTuple):
    """When a task runs, in seconds since the job was created; ``inf`` means never."""

    starts: float
    ends: float


class TaskState(NamedTuple):
    """One task at one moment. ``progress`` is 0 to 100; ``started`` and ``ended`` are None until then."""

    plan: TaskPlan
    status: str
    progress: float
    started: float | None
    ended: float | None


class JobState(NamedTuple):
    """One job at one moment. Times are seconds since its creation, None for what hasn't happened."""

    status: str
    progress: float
    queued: float | None
    started: float | None
    ended: float | None
    tasks: tuple[TaskState, ...]


@dataclass
class SimulatedJob:
    """One job. ``fields`` and ``omit`` change its JSON after it was worked out.

    A list shows it from ``listed_at`` on. ``packages`` holds when the package of a task ("" for the whole
    job) was first asked for. Times are Unix seconds.
    """

    id: str
    workflow_id: str
    created_by: str
    created_at: float
    plan: WorkflowPlan
    listed_at: float = 0.0
    fields: dict[str, Any] = field(default_factory=dict)
    omit: frozenset[str] = frozenset()
    packages: dict[str, float] = field(default_factory=dict)

    def state(self, now: float) -> JobState:
        """What the plan says about the job at ``now``; ``fields`` and ``omit`` don't count."""
        return state_at(self.plan, now - self.created_at)

    def task_id(self, number: int) -> str:
        """The id of the job's task, counted from 1."""
        return f"{self.id}-task-{number}"


@lru_cache(maxsize=1024)
def spans(plan: WorkflowPlan) -> Mapping[str, Span]:
    """When each task of the plan runs. After the first failure nothing new starts, what runs runs out."""
    begin = plan.created_seconds + plan.queued_seconds
    nominal: dict[str, Span] = {}
    for task in plan.in_order():
        starts = max((nominal[name].ends for name in task.depends_on), default=begin)
        nominal[task.name] = Span(starts, starts + task.seconds)
    broken = min((nominal[task.name].ends for task in plan.tasks if task.failure), default=math.inf)
    never = Span(math.inf, math.inf)
    return {name: span if span.starts < broken else never for name, span in nominal.items()}


@lru_cache(maxsize=1024)
def length(plan: WorkflowPlan) -> float:
    """Seconds from a job's creation to its end; ``inf`` where it doesn't end."""
    if plan.val_errors:
        return 0.0
    if plan.stuck_status is not None:
        return math.inf
    run = spans(plan)
    if any(task.failure and math.isfinite(run[task.name].ends) for task in plan.tasks):
        return max(span.ends for span in run.values() if math.isfinite(span.starts))
    return max((span.ends for span in run.values()), default=plan.created_seconds + plan.queued_seconds)


def speed_for(plan: WorkflowPlan, *, speed: float | None, seconds: float | None, usual: float) -> float:
    """How many times as fast a job runs: ``speed``, or what makes it last ``seconds``, or as ``usual``.

    Raises ValueError for both, for a speed that can't be, and for seconds where the job has no end.
    """
    if speed is not None and seconds is not None:
        raise ValueError("speed and seconds can't both be given")
    if seconds is None:
        return usual if speed is None else check_speed(speed)
    whole = length(plan)
    if not math.isfinite(whole) or whole == 0:
        raise ValueError(f"seconds: a job of {plan.id!r} has no length that could be changed; use speed")
    return check_speed(whole / seconds)


@lru_cache(maxsize=1024)
def estimate(plan: WorkflowPlan) -> float:
    """Seconds the API promises for the whole job: the longest chain of the tasks' estimates."""
    ends: dict[str, float] = {}
    begin = plan.created_seconds + plan.queued_seconds
    for task in plan.in_order():
        ends[task.name] = max((ends[name] for name in task.depends_on), default=begin) + task.promised
    return max(ends.values(), default=begin)


def state_at(plan: WorkflowPlan, elapsed: float) -> JobState:
    """The state of a job of this plan, ``elapsed`` seconds after its creation (below 0: as just created)."""
    elapsed = max(0.0, elapsed)
    if plan.val_errors:
        return JobState("failed", 0.0, None, None, 0.0, ())
    begin = plan.created_seconds + plan.queued_seconds
    queued = plan.created_seconds if elapsed >= plan.created_seconds else None
    run = {} if plan.stuck_status is not None else spans(plan)
    tasks = tuple(
        _task_at(task, run.get(task.name, Span(math.inf, math.inf)), elapsed) for task in plan.tasks
    )
    end = length(plan)
    if elapsed >= end:
        failed = any(task.status == "failed" for task in tasks)
        status = "failed" if failed else plan.last_status
        return JobState(status, _progress(tasks) if failed else 100.0, queued, begin, end, tasks)
    if elapsed < begin:
        status = "created" if queued is None else "queued"
        return JobState(status, 0.0, queued, None, None, tasks)
    if plan.stuck_status is not None:
        return JobState(plan.stuck_status, 0.0, queued, None, None, tasks)
    return JobState("running", min(_progress(tasks), ALMOST_DONE), queued, begin, None, tasks)


def _task_at(plan: TaskPlan, span: Span, elapsed: float) -> TaskState:
    if elapsed < span.starts:
        return TaskState(plan, "created", 0.0, None, None)
    ran = elapsed - span.starts
    if elapsed >= span.ends:
        if plan.failure:
            return TaskState(plan, "failed", _share(plan.seconds, plan.promised), span.starts, span.ends)
        return TaskState(plan, "completed", 100.0, span.starts, span.ends)
    # A task without an end creeps towards 100 and never gets there.
    whole = plan.promised if math.isfinite(span.ends) else ran + plan.promised
    return TaskState(plan, "inprogress", _share(ran, whole), span.starts, None)


def _share(part: float, whole: float) -> float:
    return min(ALMOST_DONE, round(100.0 * part / whole, 1)) if whole > 0 else 0.0


def _progress(tasks: tuple[TaskState, ...]) -> float:
    weight = sum(task.plan.promised for task in tasks)
    return sum(task.progress * task.plan.promised for task in tasks) / weight if weight > 0 else 0.0
