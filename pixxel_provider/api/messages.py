"""Texts about a job: the paragraph on a failure, and the line for the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pixxel_provider.api.status import RUNNING_WORDS, SUCCESS_WORDS, normalise
from pixxel_provider.api.truncation import clip

if TYPE_CHECKING:
    # Sensors import this, and need no job until there is one.
    from pixxel_provider.api.job import Job, Task, ValidationError

_PARAGRAPH_LIMIT = 2_000
_LINE_LIMIT = 500
_STATUS_LIMIT = 100
# Up to how many seconds, rounded to how many, in which unit: the longer, the less precise.
_ROUGHLY = (
    (55, 5, 1, "s"),
    (9 * 60, 60, 60, "min"),
    (90 * 60, 300, 60, "min"),
    (36 * 3600, 3600, 3600, "h"),
)


class Log(Protocol):
    """What Python's and structlog's loggers have in common."""

    def info(self, message: str, /) -> Any: ...

    def warning(self, message: str, /) -> Any: ...

    def error(self, message: str, /) -> Any: ...


def name_of(workflow_id: str, job_id: str) -> str:
    """Return how messages name a job."""
    return f"Pixxel job {job_id} of workflow {workflow_id}"


def status_of(answer: Any) -> str:
    """Return the status as messages show it: on one line, at most 100 characters."""
    return clip(_one_line(answer.status), _STATUS_LIMIT)


def plain(value: int | float) -> str:
    """Return a number for people: all digits of a large one, no ``.0`` after a whole one."""
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def failure_text(job: Job) -> str:
    """Return one paragraph on the failure: the task, its block, Pixxel's message, and validation errors."""
    parts = [f"status {status_of(job)!r}"]
    failed = [task for task in job.tasks if task.has_failed]
    parts += [_task_failure(task) for task in failed[:5]]
    parts += [f"validation: {_validation(error)}" for error in job.val_errors[:5]]
    unnamed = len(failed[5:]) + len(job.val_errors[5:])
    if unnamed:
        parts.append(f"and {unnamed} more")
    if len(parts) == 1:
        parts.append("Pixxel gave no reason")
    return clip(_one_line("; ".join(parts)), _PARAGRAPH_LIMIT)


def progress_line(job: Job, status: str = "") -> str:
    """Return a job's progress, and the time left if it is known.

    ``running, 40 %, 2 of 5 tasks done, now cloud-mask 1.2.0, about 3 min left``

    :param status: its :func:`status_line`, if that is known already.
    """
    return ", ".join(filter(None, (status or status_line(job), time_left(job))))


def status_line(job: Job) -> str:
    """Return a job's progress, in a text that stays true until the job changes."""
    parts = [status_of(job)]
    if job.progress is not None:
        parts.append(f"{job.progress:g} %")
    if job.tasks:
        first = "the first " if job.count("tasks") > len(job.tasks) else ""
        parts.append(f"{tasks_done(job)} of {first}{len(job.tasks)} tasks done")
        running = [_label(task) for task in job.tasks if is_running(task)]
        if running:
            parts.append("now " + " and ".join(running[:3]))
    return clip(_one_line(", ".join(parts)), _LINE_LIMIT)


def time_left(job: Job) -> str:
    """Return the estimated time left of a running job, from the time of its last change."""
    from pixxel_provider.api.schedule import expected_end

    end = expected_end(job)
    if end is None or job.updated_at is None or normalise(job.status) not in RUNNING_WORDS:
        return ""
    left = (end - job.updated_at).total_seconds()
    return "longer than estimated" if left < 0 else f"about {in_words(left)} left"


def tasks_done(job: Job) -> int:
    """Return how many tasks have succeeded."""
    return sum(normalise(task.status) in SUCCESS_WORDS for task in job.tasks)


def is_running(task: Task) -> bool:
    """Return whether a task is running now."""
    return normalise(task.status) in RUNNING_WORDS


def in_words(seconds: float) -> str:
    """Return a duration as people round it: ``40 s``, ``3 min``, ``2 h``, ``10 days``."""
    for most, step, unit, name in _ROUGHLY:
        rounded = max(step, step * round(seconds / step))
        if rounded <= most:
            return f"{rounded // unit} {name}"
    return f"{round(seconds / 86_400)} days"


def _label(task: Task) -> str:
    return str(task.block) or task.name or task.id


def _task_failure(task: Task) -> str:
    block = f" in block {task.block}" if str(task.block) else ""
    why = ": ".join(filter(None, (task.failure_type, clip(task.err_msg, 500))))
    return f"task {(task.name or task.id)!r} failed{block}" + (f": {why}" if why else "")


def _validation(error: ValidationError) -> str:
    ends = " -> ".join(filter(None, (error.source, error.target)))
    words = ": ".join(filter(None, (error.err, error.reason))) or "no reason given"
    where = ", ".join(filter(None, (ends, error.component_name)))
    return clip(words, 500) + (f" ({where})" if where else "")


def _one_line(words: str) -> str:
    return " ".join(words.split())
