"""What the pages show, as JSON: words and numbers made from a job and a task instance. No I/O, no clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pixxel_provider.api import parsing, schedule
from pixxel_provider.api.errors import PixxelAuthError, PixxelError, PixxelNotFoundError
from pixxel_provider.api.job import Job, Task
from pixxel_provider.api.messages import failure_text, is_running, tasks_done
from pixxel_provider.api.redaction import without_secrets
from pixxel_provider.api.status import (
    FAILURE_WORDS,
    SUCCESS_WORDS,
    WAITING_WORDS,
    StatusRules,
    Verdict,
    normalise,
)
from pixxel_provider.plugins.cache import CachedAnswer
from pixxel_provider.plugins.client import MOST_ERRORS, MOST_TASKS, PageJob
from pixxel_provider.plugins.job_batch import JobRef
from pixxel_provider.plugins.queries import MOST_ROWS, Instance
from pixxel_provider.plugins.redaction import Redactor

# What makes a text one that may be shown.
Words = Callable[[str], str]

#: Seconds after which a page looks again.
LOOK_AGAIN, LIST_AGAIN = 5.0, 10.0
# Characters of the raw job.
_LONGEST_RAW = 1_000_000
# Levels; what lies deeper is left out of JSON.
_DEEPEST = 40
# A job may take a while until it can be seen; whoever doesn't wait for it has ended before.
_UNSEEN = timedelta(minutes=2)

_NOT_PIXXELS = "This task doesn't run or wait for a Pixxel job."
_NO_JOB_YET = "There is no Pixxel job yet: this page shows it as soon as the task knows it."
_ENDED_WITHOUT = "This task has ended without a Pixxel job. Its log says why."
_CONTRADICTED = (
    "Nothing is shown: this task's XComs name another connection, workflow or job than its own arguments."
)
_UNCONFIRMED = (
    "Nothing is shown: Airflow has no rendered arguments of this task, yet or any more, that confirm "
    "which job is its own."
)
_LAST_TRY = "This is the job of the task's last try; the next one hasn't begun."


#: Makes a text that isn't of an answer one that a browser may have.
words: Words = Redactor().shown


def without_job(instance: Instance, now: datetime, *, pixxels: bool) -> dict[str, Any]:
    """Return what is shown of a task instance that has no job (yet)."""
    if not pixxels:
        message, poll = _NOT_PIXXELS, None
    elif instance.is_contradicted or instance.is_unconfirmed:
        message = _CONTRADICTED if instance.is_contradicted else _UNCONFIRMED
        poll = LOOK_AGAIN if _goes_on(instance) else None
    elif _goes_on(instance):
        message, poll = _NO_JOB_YET, LOOK_AGAIN
    else:
        message, poll = _ENDED_WITHOUT, None
    return {"kind": "none", "message": message, "poll": poll, "now": _time(now), "task": _instance(instance)}


def job_page(
    instance: Instance, key: JobRef, seen: CachedAnswer[PageJob], estimate: int | float | None, now: datetime
) -> dict[str, Any]:
    """Return what is shown of a task instance and its job."""
    notes = [_LAST_TRY] if instance.is_between_tries else []
    page: dict[str, Any] = {"kind": "job", "now": _time(now), "task": _instance(instance)}
    trouble = seen.trouble
    if trouble is not None:
        page["kind"] = "trouble"
        notes.append(_sentence(trouble))
        if seen.at is not None:
            notes.append("Below is what Pixxel said before.")
            page["as_of"] = _time(seen.at)
    running = True
    if seen.value is not None:
        job, say = seen.value.job, seen.value.redact.shown
        meaning = _meaning(job.verdict(), job.status, instance)
        running = meaning == Verdict.WAITING.value
        page["job"] = _job(job, key, meaning, estimate, seen.value, say)
        page["tasks"] = _tasks(job, say)
        page["val_errors"] = [
            {name: say(text) for name, text in error.fields().items()} for error in job.val_errors
        ]
        notes += _left_out("tasks", seen.value.tasks, MOST_TASKS)
        notes += _left_out("validation errors", seen.value.errors, MOST_ERRORS)
    final = trouble is not None and _is_final(trouble, instance, now)
    page["message"] = " ".join(notes)
    page["poll"] = LOOK_AGAIN if _goes_on(instance) or (running and not final) else None
    return page


def _is_final(trouble: PixxelError, instance: Instance, now: datetime) -> bool:
    """Tell whether looking again can't help: by Pixxel's word alone, as all else may be mended meanwhile."""
    if not isinstance(trouble, PixxelAuthError | PixxelNotFoundError):
        return False
    fresh = instance.end is not None and now - instance.end < _UNSEEN
    return not (fresh and isinstance(trouble, PixxelNotFoundError))


def _left_out(what: str, total: int, most: int) -> list[str]:
    return [f"Only the first {most:,} of {total:,} {what} are shown."] if total > most else []


def _goes_on(instance: Instance) -> bool:
    # Without a state is what was cleared a moment ago.
    return instance.is_live or instance.state is None


def jobs_page(
    rows: Sequence[Instance], total: int, jobs: Mapping[JobRef, Job], now: datetime, *, complete: bool
) -> dict[str, Any]:
    """Return what the page of all waits shows."""
    notes = [f"The newest {MOST_ROWS} of {total} are shown."] if total > len(rows) else []
    if not complete:
        notes.append("Of some of them it isn't known yet where they stand.")
    return {
        "now": _time(now),
        "poll": LIST_AGAIN,
        "total": total,
        "note": " ".join(notes),
        "rows": [_row(row, jobs.get(row.job) if row.job else None) for row in rows],
    }


def raw_text(seen: PageJob) -> str:
    """Return the job as Pixxel gave it, in readable JSON, with its byte fields decoded."""
    job, redact = seen.whole, seen.redact
    raw = {**job.raw, **({"spec": job.spec} if "spec" in job.raw else {})}
    if isinstance(raw.get("tasks"), list):
        raw["tasks"] = map(_raw_task, job.tasks)
    beginning = _Beginning(_LONGEST_RAW, lambda text: without_secrets(redact(text)))
    clean = parsing.json_safe(beginning.of(raw))
    parts, length = [], 0
    # Written in parts, as what is nested deep takes a line of blanks for each bracket.
    for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(clean):
        parts.append(part)
        length += len(part)
        if length > _LONGEST_RAW:
            break
    # Numbers are no texts, and a key may consist of digits.
    text = redact("".join(parts))
    left_out = _left_out("tasks", seen.tasks, MOST_TASKS) + _left_out(
        "validation errors", seen.errors, MOST_ERRORS
    )
    if length > _LONGEST_RAW:
        left_out = [f"Only the first {_LONGEST_RAW:,} characters are shown."]
    return "\n".join([text[:_LONGEST_RAW], *left_out])


class _Beginning:
    """The beginning of a value: no less than is shown, not much more, and nothing secret.

    :param clean: takes the secrets out of a text; before that is cut, which might leave half a key.
    """

    def __init__(self, characters: int, clean: Words) -> None:
        self._left, self._clean = characters, clean

    def of(self, value: Any, depth: int = 0) -> Any:
        """Return what there is room for."""
        # A bracket or a number, a comma, a line break and its blanks.
        self._left -= 3 + 2 * depth
        if isinstance(value, str):
            text, room = self._clean(value), max(0, self._left)
            self._left -= len(text)
            return text[:room]
        if depth > _DEEPEST:
            return None
        if isinstance(value, dict):
            entries = ((self._clean(key), self.of(entry, depth + 1)) for key, entry in value.items())
            return dict(self._some(entries))
        if isinstance(value, (list, map)):
            return list(self._some(self.of(entry, depth + 1) for entry in value))
        return value

    def _some(self, entries: Iterator[Any]) -> Iterator[Any]:
        for entry in entries:
            yield entry
            if self._left <= 0:
                return


def _raw_task(task: Task) -> dict[str, Any]:
    decoded = {name: getattr(task, name) for name in ("inputs", "result", "info_logs") if name in task.raw}
    return {**task.raw, **decoded}


def _instance(instance: Instance) -> dict[str, Any]:
    names = ("dag_id", "run_id", "task_id", "map_index", "state", "try_number")
    return {name: getattr(instance, name) for name in names}


def _meaning(verdict: Verdict, status: str, instance: Instance) -> str:
    word = normalise(status)
    if (
        verdict in (Verdict.WAITING, Verdict.UNCLEAR)
        and instance.state == "success"
        # A task that doesn't wait is content with a job that runs.
        and word
        and word not in WAITING_WORDS
        and word == normalise(instance.text("status"))
    ):
        # By the words of its own that the task was given: it ended with this one.
        verdict = Verdict.SUCCEEDED
    return verdict.value


def _job(
    job: Job, key: JobRef, meaning: str, estimate: int | float | None, seen: PageJob, say: Words
) -> dict[str, Any]:
    failed = meaning in (Verdict.FAILED.value, Verdict.UNCLEAR.value)
    return {
        "id": say(job.id),
        "workflow_id": say(key.workflow_id),
        "conn_id": key.conn_id,
        "status": say(job.status),
        "meaning": meaning,
        "progress": job.progress,
        "cost": job.cost,
        "estimated_cost": estimate,
        "created_by": say(job.created_by),
        "created_at": _time(job.created_at),
        "started_at": _time(schedule.started_at(job)),
        "updated_at": _time(job.updated_at),
        "finished_at": _time(job.finished_at),
        "expected_end": _time(schedule.expected_end(job)),
        # Of those that are left out nobody knows.
        "tasks_done": tasks_done(job) if 0 < seen.tasks <= MOST_TASKS else None,
        "tasks_total": seen.tasks,
        "console": seen.console,
        "failure": say(failure_text(job)) if failed else "",
    }


def _tasks(job: Job, say: Words) -> list[dict[str, Any]]:
    spans = schedule.task_spans(job)
    return [
        {
            "id": say(task.id),
            "name": say(task.name),
            "status": say(task.status),
            "meaning": _task_meaning(task),
            "progress": task.progress,
            "block": {name: say(getattr(task.block, name)) for name in ("id", "name", "version")},
            "start": _time(span.start),
            "end": _time(span.end),
            "expected_end": _time(span.expected_end),
            "depends_on": [say(name) for name in task.depends_on[:20]],
            "depth": span.depth,
            "state_msg": say(task.state_msg),
            "err_msg": say(task.err_msg),
            "failure_type": say(task.failure_type),
            "time_taken": say(task.time_taken),
        }
        for task, span in zip(job.tasks, spans, strict=True)
    ]


def _task_meaning(task: Task) -> str:
    word = normalise(task.status)
    if word in SUCCESS_WORDS:
        return "succeeded"
    if word in FAILURE_WORDS:
        return "failed"
    return "running" if is_running(task) else "waiting"


def _row(instance: Instance, job: Job | None) -> dict[str, Any]:
    # Without a job that is the task's own, nothing of what its XComs say.
    known = instance if instance.job is not None else replace(instance, xcoms={})
    status = job.status if job is not None else known.text("status")
    # Of a job that isn't asked for there is the word in XCom, which is pushed when a job has ended.
    verdict = job.verdict() if job is not None else StatusRules().verdict(status, ended=bool(status))
    return {
        **_instance(instance),
        "operator": instance.operator,
        "start": _time(instance.start),
        "end": _time(instance.end),
        "workflow_id": words(known.text("workflow_id")),
        "job_id": words(known.text("job_id")),
        "status": words(status),
        "meaning": _meaning(verdict, status, known),
        "progress": job.progress if job is not None else None,
        "cost": job.cost if job is not None else known.number("cost"),
        "estimated_cost": known.number("estimated_cost"),
        "waiting": instance.is_live,
    }


def _sentence(trouble: PixxelError) -> str:
    text = words(str(trouble))
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
