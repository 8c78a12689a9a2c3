"""The pages' requests to Pixxel: few, cached, and shared by all viewers."""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pixxel_provider.api import calls, parsing
from pixxel_provider.api.job import Job
from pixxel_provider.api.status import Verdict
from pixxel_provider.clock import CLOCK, Clock
from pixxel_provider.plugins import page_hook
from pixxel_provider.plugins.cache import AnswerCache
from pixxel_provider.plugins.job_batch import JobBatch, JobKey, Workflow
from pixxel_provider.plugins.redaction import Redactor
from pixxel_provider.plugins.threads import Threads

#: Seconds for which a running job, one that has ended, a list and an estimate are fresh.
RUNNING_LASTS, ENDED_LASTS, LIST_LASTS, ESTIMATE_LASTS = 3.0, 60.0, 10.0, 600.0
#: Requests that run at the same time with one connection, and those that may wait for their turn.
AT_ONCE, WAITING = 4, 32
#: Tasks and validation errors of a job that are shown, and jobs of a list that are read.
MOST_TASKS, MOST_ERRORS, MOST_LISTED = 1_000, 200, 10_000
_MOST = {"tasks": MOST_TASKS, "val_errors": MOST_ERRORS}
# The fields of a job in the list, and about how many bytes they take.
_SLIM, _SLIM_BYTES = ("id", "workflow_id", "status", "progress", "cost", "finished_at"), 1_500
_LONGEST_SLIM = 600
_NO_KEY = Redactor()
_BYTE_FIELDS = frozenset({"inputs", "result", "info_logs"})


@dataclass(frozen=True)
class PageJob:
    """A job, and its page in Pixxel's console."""

    slim: Job
    """The job with only the fields that the list shows."""
    packed: bytes = field(repr=False)
    """What Pixxel sent, without the tasks and validation errors that aren't shown. As Python objects it
    would take up to twenty times as much."""
    readable: bytes = field(repr=False)
    """The same without the byte fields, which are most of it."""
    tasks: int
    errors: int
    """How many tasks and validation errors there are."""
    console: str
    redact: Redactor = _NO_KEY
    """Redacts the key in a text: byte fields are decoded later than the answer is redacted."""

    @classmethod
    def of(
        cls, job: Job, console: str, redact: Redactor = _NO_KEY, counts: tuple[int, ...] | None = None
    ) -> PageJob:
        """Pack a job; ``counts`` are those of its lists, if they are cut already."""
        raw, (tasks, errors) = _cut(job.raw), counts or _counts(job.raw)
        readable = {name: value for name, value in raw.items() if name != "spec"}
        if isinstance(readable.get("tasks"), list):
            readable["tasks"] = [_readable(task) for task in readable["tasks"]]
        return cls(slim(job, redact), _pack(raw), _pack(readable), tasks, errors, console, redact)

    @property
    def job(self) -> Job:
        """The job with its first tasks and validation errors, without byte fields; a new object each time."""
        return _unpack(self.readable)

    @property
    def whole(self) -> Job:
        """The same with byte fields."""
        return _unpack(self.packed)


class PageClient:
    """The requests to Pixxel of one API server's process."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        threads = Threads(at_once=AT_ONCE, waiting=WAITING)
        self.jobs: AnswerCache[JobKey, PageJob] = AnswerCache(
            threads,
            _request_job,
            lambda job: RUNNING_LASTS if job.slim.verdict() is Verdict.WAITING else ENDED_LASTS,
            size=lambda job: len(job.packed) + len(job.readable) + _SLIM_BYTES,
            on_answer=lambda key, job, at: self.batch.update(key, job.slim, at),
            clock=clock,
        )
        lists: AnswerCache[Workflow, dict[str, Job]] = AnswerCache(
            threads,
            _request_list,
            lambda _: LIST_LASTS,
            keep=64,
            size=lambda jobs: len(jobs) * _SLIM_BYTES,
            clock=clock,
        )
        self.estimates: AnswerCache[Workflow, int | float] = AnswerCache(
            threads, _request_estimate, lambda _: ESTIMATE_LASTS, clock=clock
        )
        self.batch = JobBatch(self.jobs.get, lists.get)


def slim(job: Job, redact: Redactor) -> Job:
    """Return a job without its large fields, and without the key."""
    raw = {name: job.raw.get(name) for name in _SLIM}
    for name, value in raw.items():
        if isinstance(value, str):
            raw[name] = redact.shown(value.strip())[:_LONGEST_SLIM]
        elif isinstance(value, (list, dict)):
            raw[name] = None
    return Job.read(raw)


def _counts(answer: Any) -> tuple[int, ...]:
    lists = [answer.get(name) if isinstance(answer, Mapping) else None for name in _MOST]
    return tuple(len(value) if isinstance(value, list) else 0 for value in lists)


def _cut(answer: Any, most: Mapping[str, int] = _MOST) -> Any:
    """Return an answer with the beginning of its lists."""
    if not isinstance(answer, Mapping):
        return answer
    return {
        name: value[: most[name]] if name in most and isinstance(value, list) else value
        for name, value in answer.items()
    }


def _pack(raw: Any) -> bytes:
    try:
        return marshal.dumps(raw)
    except ValueError:
        # Nested deeper than that format supports.
        return marshal.dumps(parsing.json_safe(raw))


def _unpack(packed: bytes) -> Job:
    return Job.read(marshal.loads(packed))  # noqa: S302 - it has never left this process


def _readable(task: Any) -> Any:
    if not isinstance(task, Mapping):
        return task
    return {name: value for name, value in task.items() if name not in _BYTE_FIELDS}


def _request_job(key: JobKey) -> PageJob:
    call: calls.Call[Any] = calls.get_job(key.workflow_id, key.job_id)
    # Cut before anything of it is parsed.
    cut = replace(call, read=lambda answer: (call.read(_cut(answer)), _counts(answer)))
    settings, redact, (job, counts) = page_hook.request(key.conn_id, cut)
    return PageJob.of(job, settings.console_link(key.workflow_id, key.job_id), redact, counts)


def _request_list(workflow: Workflow) -> dict[str, Job]:
    conn_id, workflow_id = workflow
    call = calls.list_jobs(workflow_id)
    cut = replace(call, read=lambda answer: call.read(_cut(answer, {"jobs": MOST_LISTED})))
    _, redact, jobs = page_hook.request(conn_id, cut)
    return {job.id: slim(job, redact) for job in jobs}


def _request_estimate(workflow: Workflow) -> int | float:
    conn_id, workflow_id = workflow
    return page_hook.request(conn_id, calls.estimate_cost(workflow_id))[2]
