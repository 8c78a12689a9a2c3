"""When a job and its tasks began, and when they should end: from what Pixxel says alone, without a clock.

All moments are in UTC; None where they can't be told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pixxel_provider.api import parsing
from pixxel_provider.api.status import FAILURE_WORDS, RUNNING_WORDS, SUCCESS_WORDS, normalise

if TYPE_CHECKING:
    from pixxel_provider.api.job import Job, Task

_ENDED = SUCCESS_WORDS | FAILURE_WORDS
# A status that nobody knows may be that of a task that was left out.
_BEGUN = _ENDED | RUNNING_WORDS | {"paused"}
# Links between tasks, and steps on the search for circles: any job of Pixxel's has far fewer.
_MOST_LINKS, _MOST_STEPS = 20_000, 100_000
# "Sent for execution" and "inference began": the nearest to a start that Pixxel's documents have.
_OWN_STARTS = ("send_time", "block_inf_start_time")


@dataclass(frozen=True)
class TaskSpan:
    """When one task runs, and how far down the workflow it stands."""

    task: Task
    start: datetime | None
    """None for a task that hasn't begun."""
    end: datetime | None
    expected_end: datetime | None
    """The start and the estimated duration; of a task that hasn't begun, by what it waits for."""
    depth: int
    """How many tasks the longest chain of those before it has; 0 for one that waits for none."""


def started_at(job: Job) -> datetime | None:
    """Return when a job's execution was created, or the job itself."""
    return job.exec_created_at or job.created_at


def expected_end(job: Job) -> datetime | None:
    """Return when a job should end by its estimate."""
    return _after(started_at(job), job.estimated_duration)


def task_spans(job: Job) -> tuple[TaskSpan, ...]:
    """Return the span of each task, in the job's own order.

    A start is Pixxel's where it sends one, else the end of what the task waited for. Names in ``depends_on``
    that no task has don't count for a start or the depth, nor do links that close a circle; and of more than
    20,000 links, which there may be where many tasks have the same name, none counts.
    """
    tasks = job.tasks
    by_name: dict[str, list[int]] = {}
    for at, task in enumerate(tasks):
        if task.name:
            by_name.setdefault(task.name, []).append(at)
    if sum(len(by_name.get(name, ())) for task in tasks for name in {*task.depends_on}) > _MOST_LINKS:
        # From here on as if nobody had these names.
        by_name.clear()
    before = [
        [at for name in dict.fromkeys(task.depends_on) for at in by_name.get(name, ())] for task in tasks
    ]
    over = job.finished_at is not None or normalise(job.status) in _ENDED
    spans: dict[int, TaskSpan] = {}
    for at in _in_order(before):
        task = tasks[at]
        # All of them, but for links that close a circle.
        known = [spans[number] for number in before[at] if number in spans]
        begun = normalise(task.status) in _BEGUN
        start = _start(task, [tasks[number] for number in before[at]]) if begun else None
        base = start
        if not begun and not over and len(known) == len(before[at]) and by_name.keys() >= {*task.depends_on}:
            base = _ready(task, started_at(job), known)
        spans[at] = TaskSpan(
            task=task,
            start=start,
            end=task.finished_at,
            expected_end=_after(base, task.estimated_time_duration),
            depth=max((span.depth + 1 for span in known), default=0),
        )
    return tuple(spans[at] for at in range(len(tasks)))


def _in_order(before: list[list[int]]) -> Iterator[int]:
    """Give each task after those before it, and one of a circle where nothing else is left.

    Where there are so many circles that the search takes too long, any of the tasks that are left will do.
    """
    behind: list[list[int]] = [[] for _ in before]
    for at, earlier in enumerate(before):
        for number in earlier:
            behind[number].append(at)
    missing = [len(earlier) for earlier in before]
    given = [False] * len(before)
    ready = deque(at for at, count in enumerate(missing) if not count)

    steps = 0

    def in_circle(start: int) -> int:
        nonlocal steps
        at, seen = start, set[int]()
        while at not in seen:
            seen.add(at)
            for number in before[at]:
                steps += 1
                if steps > _MOST_STEPS:
                    return start
                if not given[number]:
                    at = number
                    break
        return at

    for first in range(len(before)):
        while ready or not given[first]:
            at = ready.popleft() if ready else in_circle(first)
            if given[at]:
                continue
            given[at] = True
            yield at
            for later in behind[at]:
                missing[later] -= 1
                if not missing[later]:
                    ready.append(later)


def _start(task: Task, earlier: list[Task]) -> datetime | None:
    found = next(filter(None, (parsing.timestamp(task.raw.get(key)) for key in _OWN_STARTS)), None)
    end = task.finished_at
    if found is None or (end is not None and found > end):
        ends = [each.finished_at for each in earlier]
        # It can't have begun before what it waits for had ended, and when that was isn't known.
        found = None if None in ends else _latest(task.created_at, *ends)
    return None if found is not None and end is not None and found > end else found


def _ready(task: Task, job_start: datetime | None, known: list[TaskSpan]) -> datetime | None:
    """Return when a task that waits should begin; never, where one that it waits for has failed."""
    ends = [span.end or span.expected_end for span in known]
    if None in ends or any(normalise(span.task.status) in FAILURE_WORDS for span in known):
        return None
    return _latest(task.created_at, job_start, *ends)


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _after(start: datetime | None, seconds: int | float | None) -> datetime | None:
    # No estimate is a zero in Go.
    if start is None or seconds is None or seconds <= 0:
        return None
    try:
        return start + timedelta(seconds=seconds)
    except OverflowError:
        return None
