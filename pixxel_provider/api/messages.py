"""A job in few words: the dict for XCom, the paragraph on a failure, the line for the log."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pixxel_provider.api import parsing
from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.api.schedule import expected_end
from pixxel_provider.api.status import FAILURE_WORDS, RUNNING_WORDS, SUCCESS_WORDS, normalise

if TYPE_CHECKING:
    from pixxel_provider.api.job import Job, Task, ValidationError

#: The most that :func:`metadata` returns, in bytes of JSON.
METADATA_LIMIT = 64 * 1024
#: Fields that stay out of XCom unless named; ``spec`` is the job's, the others each task's.
RAW_FIELDS = ("spec", "inputs", "result", "info_logs")

_TIMES = ("created_at", "updated_at", "finished_at", "exec_created_at", "exec_updated_at")
_PARAGRAPH_LIMIT = 2_000
_LINE_LIMIT = 500
# Bytes of a validation error whose texts are all empty; a task has more.
_SHORTEST_ENTRY = 67
_STATUS_LIMIT = 100
# Up to how many seconds, in steps of how many, in which unit: the longer, the rougher.
_ROUGHLY = (
    (55, 5, 1, "s"),
    (9 * 60, 60, 60, "min"),
    (90 * 60, 300, 60, "min"),
    (36 * 3600, 3600, 3600, "h"),
)


class Log(Protocol):
    """What a logger of Python and one of structlog have in common."""

    def info(self, message: str, /) -> Any:
        """Log what is as expected."""

    def warning(self, message: str, /) -> Any:
        """Log what somebody may have to look into."""

    def error(self, message: str, /) -> Any:
        """Log what ends the work."""


def metadata(job: Job, include: Collection[str] = ()) -> dict[str, Any]:
    """Return the job as JSON types under the API's own field names, at most 64 KiB of JSON.

    ``progress`` is a number from 0 to 100 and timestamps are ISO 8601 in UTC; both are None for "not yet".
    What had to go to stay within the limit is named under ``truncated``: raw fields first, then the ends of
    long texts, then tasks and validation errors from the end of their lists, failed tasks last.

    :param include: raw fields to add, decoded: ``spec``, and of each task ``inputs``, ``result``,
        ``info_logs``.
    :raises PixxelInputError: ``include`` isn't a collection of those names.
    """
    raw = check_include(include)
    # What can't fit in any case is cut before anything is worked out for it.
    most = METADATA_LIMIT // _SHORTEST_ENTRY
    tasks = _failed_first(job.tasks)[:most] if len(job.tasks) > most else job.tasks
    errors = job.val_errors[:most]
    found: dict[str, Any] = {
        "id": job.id,
        "workflow_id": job.workflow_id,
        "status": job.status,
        "progress": job.progress,
        "cost": job.cost,
        "created_by": job.created_by,
        "time_taken": job.time_taken,
        "estimated_duration": job.estimated_duration,
        **{key: parsing.timestamp_text(job.raw.get(key)) for key in _TIMES},
        "tasks": [_task(task) for task in tasks],
        "val_errors": [error.fields() for error in errors],
    }
    if "spec" in raw:
        found["spec"] = parsing.json_safe(job.spec)
    for task, entry in zip(tasks, found["tasks"], strict=True):
        entry.update({name: parsing.json_safe(getattr(task, name)) for name in raw if name != "spec"})
    cut = {name for name, kept in (("tasks", tasks), ("val_errors", errors)) if len(kept) < job.count(name)}
    return _bounded(found, raw, cut)


def check_include(include: Collection[str]) -> tuple[str, ...]:
    """Return the names of raw fields asked for, in their own order.

    :raises PixxelInputError: ``include`` isn't a collection of known names.
    """
    if isinstance(include, (str, bytes)) or not isinstance(include, Collection):
        raise PixxelInputError("include", f"must be a list of field names, not {type(include).__name__}")
    unknown = [name for name in include if name not in RAW_FIELDS]
    if unknown:
        raise PixxelInputError("include", f"names {unknown[0]!r}; it may name {', '.join(RAW_FIELDS)}")
    return tuple(name for name in RAW_FIELDS if name in include)


def name_of(workflow_id: str, job_id: str) -> str:
    """Return how messages name a job."""
    return f"Pixxel job {job_id} of workflow {workflow_id}"


def status_of(job: Job) -> str:
    """Return the status as messages show it: on one line, at most 100 characters."""
    return _clip(_one_line(job.status), _STATUS_LIMIT)


def plain(value: int | float) -> str:
    """Return a number as people write it: all digits of a large one, no ``.0`` after a whole one."""
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def failure_text(job: Job) -> str:
    """Return one paragraph on what failed: the task, its block, Pixxel's words, and the validation errors."""
    parts = [f"status {status_of(job)!r}"]
    failed = [task for task in job.tasks if _has_failed(task)]
    parts += [_task_failure(task) for task in failed[:5]]
    parts += [f"validation: {_validation(error)}" for error in job.val_errors[:5]]
    unnamed = len(failed[5:]) + len(job.val_errors[5:])
    if unnamed:
        parts.append(f"and {unnamed} more")
    if len(parts) == 1:
        parts.append("Pixxel gave no reason")
    return _clip(_one_line("; ".join(parts)), _PARAGRAPH_LIMIT)


def progress_line(job: Job) -> str:
    """Return where a job stands, and how long it has to go where that can be told.

    ``running, 40 %, 2 of 5 tasks done, now cloud-mask 1.2.0, about 3 min left``
    """
    return ", ".join(filter(None, (status_line(job), time_left(job))))


def status_line(job: Job) -> str:
    """Return where a job stands, in words that stay true until it changes."""
    parts = [status_of(job)]
    if job.progress is not None:
        parts.append(f"{job.progress:g} %")
    if job.tasks:
        first = "the first " if job.count("tasks") > len(job.tasks) else ""
        parts.append(f"{tasks_done(job)} of {first}{len(job.tasks)} tasks done")
        running = [_label(task) for task in job.tasks if is_running(task)]
        if running:
            parts.append("now " + " and ".join(running[:3]))
    return _clip(_one_line(", ".join(parts)), _LINE_LIMIT)


def time_left(job: Job) -> str:
    """Return how long a job that runs has to go by Pixxel's estimate, at the moment of its last change."""
    end = expected_end(job)
    if end is None or job.updated_at is None or normalise(job.status) not in RUNNING_WORDS:
        return ""
    left = (end - job.updated_at).total_seconds()
    return "longer than estimated" if left < 0 else f"about {_about(left)} left"


def tasks_done(job: Job) -> int:
    """Return how many tasks have succeeded."""
    return sum(normalise(task.status) in SUCCESS_WORDS for task in job.tasks)


def is_running(task: Task) -> bool:
    """Tell whether a task is at work now."""
    return normalise(task.status) in RUNNING_WORDS


def _about(seconds: float) -> str:
    for most, step, unit, name in _ROUGHLY:
        rounded = max(step, step * round(seconds / step))
        if rounded <= most:
            return f"{rounded // unit} {name}"
    return f"{round(seconds / 86_400)} days"


def _has_failed(task: Task) -> bool:
    return _shows_failure(task.status, task.err_msg, task.failure_type)


def _shows_failure(status: str, err_msg: str, failure_type: str) -> bool:
    word = normalise(status)
    # A block may leave a remark there although it has succeeded.
    return word in FAILURE_WORDS or bool(word not in SUCCESS_WORDS and (err_msg or failure_type))


def _label(task: Task) -> str:
    return str(task.block) or task.name or task.id


def _task_failure(task: Task) -> str:
    block = f" in block {task.block}" if str(task.block) else ""
    why = ": ".join(part for part in (task.failure_type, _clip(task.err_msg, 500)) if part)
    return f"task {(task.name or task.id)!r} failed{block}" + (f": {why}" if why else "")


def _validation(error: ValidationError) -> str:
    ends = " -> ".join(end for end in (error.source, error.target) if end)
    words = ": ".join(part for part in (error.err, error.reason) if part) or "no reason given"
    where = ", ".join(part for part in (ends, error.component_name) if part)
    return _clip(words, 500) + (f" ({where})" if where else "")


def _task(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.name,
        "status": task.status,
        "progress": task.progress,
        "time_taken": task.time_taken,
        "block": {"id": task.block.id, "name": task.block.name, "version": task.block.version},
        "err_msg": task.err_msg,
        "failure_type": task.failure_type,
    }


def _size(value: Any) -> int:
    return len(json.dumps(value))


def _failed_first(tasks: Sequence[Task]) -> list[Task]:
    # A stable sort: otherwise the API's order stays.
    return sorted(tasks, key=lambda task: not _has_failed(task))


def _bounded(found: dict[str, Any], raw: tuple[str, ...], cut: set[str]) -> dict[str, Any]:
    """Cut what is too large, and name it.

    :param cut: the lists that are cut already.
    """
    if not cut and _size(found) <= METADATA_LIMIT:
        return found
    gone: list[str] = []
    found["truncated"] = gone
    by_size = sorted(raw, key=lambda name: _size([found.get(name), [t.get(name) for t in found["tasks"]]]))
    while by_size and _size(found) > METADATA_LIMIT:
        _drop_raw(found, by_size.pop(), gone)
    for limit in (2_000, 200):
        if _size(found) > METADATA_LIMIT:
            gone += [name for name in _clip_texts(found, limit) if name not in gone]
    # A stable sort: failed tasks come first, otherwise the API's order stays.
    for name, keep_first in (
        ("tasks", lambda task: not _shows_failure(task["status"], task["err_msg"], task["failure_type"])),
        ("val_errors", None),
    ):
        entries = found[name]
        if name in cut or _size(found) > METADATA_LIMIT:
            gone.append(name)
            ranked = sorted(entries, key=keep_first) if keep_first else list(entries)
            while ranked and _size(found) > METADATA_LIMIT:
                ranked = ranked[: len(ranked) // 2]
                found[name] = ranked
    return found


def _drop_raw(found: dict[str, Any], name: str, gone: list[str]) -> None:
    if name == "spec":
        del found["spec"]
        gone.append("spec")
        return
    for task in found["tasks"]:
        task.pop(name, None)
    gone.append(f"tasks.{name}")


def _clip_texts(found: dict[str, Any], limit: int) -> list[str]:
    clipped: list[str] = []
    places = [("", found)]
    places += [("tasks.", task) for task in found["tasks"]]
    places += [("tasks.block.", task["block"]) for task in found["tasks"]]
    places += [("val_errors.", error) for error in found["val_errors"]]
    for prefix, place in places:
        for key, value in place.items():
            if isinstance(value, str) and len(value) > limit:
                place[key] = _clip(value, limit)
                clipped.append(prefix + key)
    return list(dict.fromkeys(clipped))


def _one_line(words: str) -> str:
    return " ".join(words.split())


def _clip(words: str, limit: int) -> str:
    return words if len(words) <= limit else words[: limit - 1] + "…"
