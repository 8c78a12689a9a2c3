"""The data of the pages, as JSON: texts and numbers made from a job and a task instance. No I/O, no clock."""

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
from pixxel_provider.plugins.job_batch import JobKey
from pixxel_provider.plugins.queries import MOST_ROWS, Instance
from pixxel_provider.plugins.redaction import Redactor
from pixxel_provider.plugins.watchers import Watcher

# Redacts a text, so that it may be shown.
Redact = Callable[[str], str]

#: Seconds after which a page refreshes.
JOB_REFRESH, LIST_REFRESH = 5.0, 10.0
# Characters of the raw job.
_LONGEST_RAW = 1_000_000
# The most levels; deeper values are left out of the JSON.
_DEEPEST = 40
# From this age on, the list says how old its oldest state is.
_OLD = timedelta(minutes=1)
# A new job may not be visible at once; a task that doesn't wait for it has ended before.
_UNSEEN = timedelta(minutes=2)

_NOT_PIXXELS = "This task doesn't run or wait for a Pixxel job."
_NO_JOB_YET = "There is no Pixxel job yet: this page shows it as soon as the task knows it."
_ENDED_WITHOUT = "This task has ended without a Pixxel job. Its log has the reason."
_CONTRADICTED = (
    "Nothing is shown: this task's XComs name another connection, workflow or job than its own arguments."
)
_UNCONFIRMED = (
    "Nothing is shown: Airflow has no rendered arguments of this task, yet or any more, that confirm "
    "which job is its own."
)
_LAST_TRY = "This is the job of the task's last try; the next one hasn't begun."

#: Redacts a text from another source than an answer.
redacted: Redact = Redactor().shown


def without_job(instance: Instance, now: datetime) -> dict[str, Any]:
    """Return the data for a task instance that has no job (yet)."""
    can_change = instance.task is not None and _can_change(instance)
    if instance.task is None:
        message = _NOT_PIXXELS
    elif instance.is_contradicted:
        message = _CONTRADICTED
    elif instance.is_unconfirmed:
        message = _UNCONFIRMED
    else:
        message = _NO_JOB_YET if can_change else _ENDED_WITHOUT
    poll = JOB_REFRESH if can_change else None
    return {"kind": "none", "message": message, "poll": poll, "now": _time(now), "task": _instance(instance)}


def job_page(
    instance: Instance,
    key: JobKey,
    answer: CachedAnswer[PageJob],
    estimate: int | float | None,
    now: datetime,
) -> dict[str, Any]:
    """Return the data for a task instance and its job."""
    notes = [_LAST_TRY] if instance.is_between_tries else []
    page: dict[str, Any] = {"kind": "job", "now": _time(now), "task": _instance(instance)}
    error = answer.error
    if error is not None:
        page["kind"] = "error"
        notes.append(_sentence(error))
        if answer.at is not None:
            notes.append("Below is Pixxel's last known answer.")
            page["as_of"] = _time(answer.at)
    is_waiting = True
    if answer.value is not None:
        job, redact = answer.value.job, answer.value.redact.shown
        meaning = _meaning(job.verdict(), job.status, instance)
        is_waiting = meaning == Verdict.WAITING.value
        page["job"] = _job(job, key, meaning, estimate, answer.value)
        page["tasks"] = _tasks(job, redact)
        page["val_errors"] = [
            {name: redact(text) for name, text in failed.fields().items()} for failed in job.val_errors
        ]
        notes += _left_out(answer.value)
    is_final = error is not None and _is_final(error, instance, now)
    page["message"] = " ".join(notes)
    page["poll"] = JOB_REFRESH if _can_change(instance) or (is_waiting and not is_final) else None
    return page


def _is_final(error: PixxelError, instance: Instance, now: datetime) -> bool:
    """Return whether refreshing can't help: only after Pixxel's own refusal, as all else may be corrected."""
    if not isinstance(error, PixxelAuthError | PixxelNotFoundError):
        return False
    is_fresh = instance.end is not None and now - instance.end < _UNSEEN
    return not (is_fresh and isinstance(error, PixxelNotFoundError))


def _left_out(job: PageJob) -> list[str]:
    lists = (("tasks", job.tasks, MOST_TASKS), ("validation errors", job.errors, MOST_ERRORS))
    return [
        f"Only the first {most:,} of {total:,} {name} are shown."
        for name, total, most in lists
        if total > most
    ]


def _can_change(instance: Instance) -> bool:
    # A task that has just been cleared has no state.
    return instance.is_live or instance.state is None


def jobs_page(
    rows: Sequence[Instance],
    total: int,
    jobs: Mapping[JobKey, tuple[datetime, Job]],
    watchers: Sequence[Watcher],
    watcher_count: int,
    now: datetime,
) -> dict[str, Any]:
    """Return the data of the page of all waits.

    :param jobs: the known jobs, each with the time of that state.
    """
    notes = [f"The newest {MOST_ROWS} of {total} are shown."] if total > len(rows) else []
    if watcher_count > len(watchers):
        notes.append(f"The first {len(watchers)} of {watcher_count} watchers are shown.")
    complete = all(row.job in jobs for row in live(rows))
    if not complete:
        notes.append("The state of some of them isn't known yet.")
    age = now - min((at for at, _ in jobs.values()), default=now)
    if age > _OLD:
        seconds = f"{age.total_seconds():.0f} s"
        why = "Pixxel is slow, or many jobs are requested in turn."
        notes.append(f"The oldest of these states is {seconds} old: {why}")
    return {
        "now": _time(now),
        "poll": LIST_REFRESH if complete else JOB_REFRESH,
        "total": total,
        "note": " ".join(notes),
        "rows": [_row(row, jobs[row.job][1] if row.job and row.job in jobs else None) for row in rows],
        "watchers": [_watcher(each) for each in watchers],
    }


def live(rows: Sequence[Instance]) -> list[Instance]:
    """Return those whose job is requested: the others have ended, or have no job yet."""
    return [row for row in rows if row.is_live and row.job is not None]


def raw_text(page_job: PageJob) -> str:
    """Return the job as Pixxel sent it, in readable JSON, with its byte fields decoded."""
    job, redact = page_job.whole, page_job.redact
    raw = {**job.raw, **({"spec": job.spec} if "spec" in job.raw else {})}
    if isinstance(raw.get("tasks"), list):
        raw["tasks"] = map(_raw_task, job.tasks)
    beginning = _Beginning(_LONGEST_RAW, lambda text: without_secrets(redact(text)))
    clean = parsing.json_safe(beginning.of(raw))
    parts, length = [], 0
    # Written in parts, as deeply nested values need a line of blanks for each bracket.
    for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(clean):
        parts.append(part)
        length += len(part)
        if length > _LONGEST_RAW:
            break
    # Numbers aren't texts, and a key may consist of digits.
    text = redact("".join(parts))
    left_out = _left_out(page_job)
    if length > _LONGEST_RAW:
        left_out = [f"Only the first {_LONGEST_RAW:,} characters are shown."]
    return "\n".join([text[:_LONGEST_RAW], *left_out])


class _Beginning:
    """The beginning of a value: no less than is shown, not much more, and nothing secret.

    :param clean: redacts the secrets in a text, before it is cut, which might leave half a key.
    """

    def __init__(self, characters: int, clean: Redact) -> None:
        self._left, self._clean = characters, clean

    def of(self, value: Any, depth: int = 0) -> Any:
        """Return as much as there is room for."""
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


def _fields(of: Any, names: str, show: Callable[[Any], Any] = lambda value: value) -> dict[str, Any]:
    return {name: show(getattr(of, name)) for name in names.split()}


def _instance(instance: Instance) -> dict[str, Any]:
    return _fields(instance, "dag_id run_id task_id map_index state try_number")


def _meaning(verdict: Verdict, status: str, instance: Instance) -> str:
    word = normalise(status)
    if (
        verdict in (Verdict.WAITING, Verdict.UNCLEAR)
        and instance.state == "success"
        # A task that doesn't wait has succeeded with a job that runs.
        and word
        and word not in WAITING_WORDS
        and word == normalise(instance.text("status"))
    ):
        # By its own list of statuses: the task ended with this one.
        verdict = Verdict.SUCCEEDED
    return verdict.value


def _job(
    job: Job, key: JobKey, meaning: str, estimate: int | float | None, page_job: PageJob
) -> dict[str, Any]:
    redact = page_job.redact.shown
    failed = meaning in (Verdict.FAILED.value, Verdict.UNCLEAR.value)
    return {
        **_fields(job, "id status created_by", redact),
        **_fields(job, "created_at updated_at finished_at", _time),
        **_fields(job, "progress cost"),
        "workflow_id": redact(key.workflow_id),
        "conn_id": key.conn_id,
        "meaning": meaning,
        "estimated_cost": estimate,
        "started_at": _time(schedule.started_at(job)),
        "expected_end": _time(schedule.expected_end(job)),
        # Nothing is known of tasks that are left out.
        "tasks_done": tasks_done(job) if 0 < page_job.tasks <= MOST_TASKS else None,
        "tasks_total": page_job.tasks,
        "console": page_job.console,
        "failure": redact(failure_text(job)) if failed else "",
    }


def _tasks(job: Job, redact: Redact) -> list[dict[str, Any]]:
    spans = schedule.task_spans(job)
    return [
        {
            **_fields(task, "id name status state_msg err_msg failure_type time_taken", redact),
            **_fields(span, "start end expected_end", _time),
            "meaning": _task_meaning(task),
            "progress": task.progress,
            "depth": span.depth,
            "block": _fields(task.block, "id name version", redact),
            "depends_on": [redact(name) for name in task.depends_on[:20]],
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
    # Without a job that is the task's own, nothing from its XComs.
    known = instance if instance.job is not None else replace(instance, xcoms={})
    status = job.status if job is not None else known.text("status")
    # A job that isn't requested has its status in XCom, which is pushed when it has ended.
    verdict = job.verdict() if job is not None else StatusRules().verdict(status, ended=bool(status))
    return {
        **_instance(instance),
        **_fields(instance, "start end", _time),
        "operator": instance.operator,
        "workflow_id": redacted(known.text("workflow_id")),
        "job_id": redacted(known.text("job_id")),
        "status": redacted(status),
        "meaning": _meaning(verdict, status, known),
        "progress": job.progress if job is not None else None,
        "cost": job.cost if job is not None else known.number("cost"),
        "estimated_cost": known.number("estimated_cost"),
        "waiting": instance.is_live,
    }


def _watcher(watcher: Watcher) -> dict[str, Any]:
    return {
        **_fields(watcher, "workflow_id created_by asset", redacted),
        **_fields(watcher, "conn_id dag_ids outcomes asset_id"),
        "runs": watcher.runs,
        "last_event": _time(watcher.last_event),
    }


def _sentence(error: PixxelError) -> str:
    text = redacted(str(error))
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
