"""What the pages ask Pixxel: little, seldom, and never on behalf of each viewer."""

from __future__ import annotations

import marshal
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pixxel_provider.api import calls, parsing
from pixxel_provider.api.job import Job
from pixxel_provider.api.status import Verdict
from pixxel_provider.plugins import page_hook
from pixxel_provider.plugins.cache import AnswerCache, CachedAnswer
from pixxel_provider.plugins.job_batch import JobBatch, JobRef
from pixxel_provider.plugins.redaction import Redactor
from pixxel_provider.plugins.threads import Threads

#: Seconds for which a running job, one that has ended, a list and an estimate count as known.
RUNNING_LASTS, ENDED_LASTS, LIST_LASTS, ESTIMATE_LASTS = 3.0, 60.0, 10.0, 600.0
#: Requests that run at the same time with one connection, and those that may wait for their turn.
AT_ONCE, WAITING = 4, 32
#: Tasks and validation errors of a job that are shown, and jobs of a list that are read.
MOST_TASKS, MOST_ERRORS, MOST_LISTED = 1_000, 200, 10_000
#: Bytes of jobs, and of lists, that are kept.
ROOM = 32 * 2**20
#: Jobs of one workflow from which on their list costs less than each of them.
FROM_LIST = 4
#: Questions that one look at the page of all waits may lead to.
MOST_QUESTIONS = 24
# Seconds that a look at jobs which are all known waits for something newer.
_KNOWN_WAIT = 0.25
# What the list shows of a job, and about how many bytes that takes.
_SLIM, _SLIM_BYTES = ("id", "workflow_id", "status", "progress", "cost", "finished_at"), 1_500
_LONGEST_SLIM = 600
_BYTE_FIELDS = frozenset({"inputs", "result", "info_logs"})


@dataclass(frozen=True)
class PageJob:
    """A job, and its page in Pixxel's console."""

    slim: Job
    """The job without all that the list doesn't show."""
    packed: bytes = field(repr=False)
    """What Pixxel sent, less the tasks and validation errors that aren't shown. As JSON's values in Python it
    would take up to twenty times as much."""
    readable: bytes = field(repr=False)
    """The same without the byte fields, which are most of it."""
    tasks: int
    errors: int
    """How many tasks and validation errors there are."""
    console: str
    redact: Redactor = field(default_factory=Redactor)
    """Takes the key out of a text: an answer loses it as it comes, and its byte fields are decoded later."""

    @classmethod
    def of(cls, job: Job, console: str, redact: Redactor | None = None, counts: Any = None) -> PageJob:
        """Pack a job."""
        raw, (tasks, errors) = _cut(job.raw), counts or _counts(job.raw)
        readable = {name: value for name, value in raw.items() if name != "spec"}
        if isinstance(readable.get("tasks"), list):
            readable["tasks"] = [_readable(task) for task in readable["tasks"]]
        redact = redact or Redactor()
        packed = _packed(raw), _packed(readable)
        return cls(slim(job, redact), *packed, tasks, errors, console, redact)

    @property
    def job(self) -> Job:
        """The job with its first tasks and validation errors, without byte fields; made anew each time."""
        return _unpacked(self.readable)

    @property
    def whole(self) -> Job:
        """The same with byte fields."""
        return _unpacked(self.packed)


class PageClient:
    """The requests of one API server's process to Pixxel."""

    def __init__(self) -> None:
        threads = Threads(at_once=AT_ONCE, waiting=WAITING)
        self._jobs: AnswerCache[PageJob] = AnswerCache(
            threads,
            keep=256,
            room=ROOM,
            size=lambda seen: len(seen.packed) + len(seen.readable) + _SLIM_BYTES,
            told=lambda key, seen, at: self._batch.note(key, seen.slim, at),
        )
        self._lists: AnswerCache[dict[str, Job]] = AnswerCache(
            threads, keep=64, room=ROOM, size=lambda jobs: len(jobs) * _SLIM_BYTES
        )
        self._estimates: AnswerCache[int | float] = AnswerCache(
            threads, keep=256, room=ROOM, size=lambda _: 0
        )
        self._batch = JobBatch(
            self.job, self._list, from_list=FROM_LIST, most=MOST_QUESTIONS, known_wait=_KNOWN_WAIT
        )

    async def job(self, key: JobRef, max_wait: float) -> CachedAnswer[PageJob]:
        """Return a job as it was at most a few seconds ago, or the newest that is known."""
        return await self._jobs.get(key, partial(_ask_job, key), _lasts, lane=key.conn_id, max_wait=max_wait)

    async def estimate(self, key: JobRef, max_wait: float) -> int | float | None:
        """Return what Pixxel estimates for a job of the workflow, None where it doesn't say."""
        question = (key.conn_id, key.workflow_id)
        found = await self._estimates.get(
            question,
            partial(_ask_estimate, *question),
            lambda _: ESTIMATE_LASTS,
            lane=key.conn_id,
            max_wait=max_wait,
        )
        return found.value

    async def several(self, keys: Collection[JobRef], max_wait: float) -> tuple[Mapping[JobRef, Job], bool]:
        """Return what is known of these jobs, and whether that is all of them."""
        return await self._batch.look(keys, max_wait)

    async def _list(self, workflow: tuple[str, str], max_wait: float) -> CachedAnswer[dict[str, Job]]:
        return await self._lists.get(
            workflow,
            partial(_ask_list, *workflow),
            lambda _: LIST_LASTS,
            lane=workflow[0],
            max_wait=max_wait,
        )


def slim(job: Job, redact: Redactor) -> Job:
    """Return a job without what makes it large, and without the key."""
    raw = {name: job.raw.get(name) for name in _SLIM}
    for name, value in raw.items():
        if isinstance(value, str):
            raw[name] = redact.shown(value.strip())[:_LONGEST_SLIM]
        elif isinstance(value, (list, dict)):
            raw[name] = None
    return Job.read(raw)


def _lasts(seen: PageJob) -> float:
    return RUNNING_LASTS if seen.slim.verdict() is Verdict.WAITING else ENDED_LASTS


def _counts(answer: Any) -> tuple[int, int]:
    found = [answer.get(name) if isinstance(answer, Mapping) else None for name in ("tasks", "val_errors")]
    tasks, errors = (len(value) if isinstance(value, list) else 0 for value in found)
    return tasks, errors


def _cut(answer: Any, **most: int) -> Any:
    """Return an answer with the beginning of its lists."""
    if not isinstance(answer, Mapping):
        return answer
    most = most or {"tasks": MOST_TASKS, "val_errors": MOST_ERRORS}
    return {
        name: value[: most[name]] if name in most and isinstance(value, list) else value
        for name, value in answer.items()
    }


def _packed(raw: Any) -> bytes:
    try:
        return marshal.dumps(raw)
    except ValueError:
        # Nested deeper than that format goes.
        return marshal.dumps(parsing.json_safe(raw))


def _unpacked(packed: bytes) -> Job:
    return Job.read(marshal.loads(packed))  # noqa: S302 - it has never left this process


def _readable(task: Any) -> Any:
    if not isinstance(task, Mapping):
        return task
    return {name: value for name, value in task.items() if name not in _BYTE_FIELDS}


def _ask_job(key: JobRef) -> PageJob:
    def make() -> calls.Call[tuple[Job, tuple[int, int]]]:
        call = calls.get_job(key.workflow_id, key.job_id)
        # Before anything of it is read.
        return replace(call, read=lambda answer: (call.read(_cut(answer)), _counts(answer)))  # type: ignore[arg-type, return-value]

    settings, redact, (job, counts) = page_hook.ask(key.conn_id, make)
    return PageJob.of(job, settings.console_link(key.workflow_id, key.job_id), redact, counts)


def _ask_list(conn_id: str, workflow_id: str) -> dict[str, Job]:
    def make() -> calls.Call[list[Job]]:
        call = calls.list_jobs(workflow_id)
        return replace(call, read=lambda answer: call.read(_cut(answer, jobs=MOST_LISTED)))

    _, redact, jobs = page_hook.ask(conn_id, make)
    return {job.id: slim(job, redact) for job in jobs}


def _ask_estimate(conn_id: str, workflow_id: str) -> int | float:
    return page_hook.ask(conn_id, lambda: calls.estimate_cost(workflow_id))[2]
