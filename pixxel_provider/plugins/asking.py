"""What the pages ask Pixxel: little, seldom, and never on behalf of each viewer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from pixxel_provider.api import calls
from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.api.job import Job
from pixxel_provider.api.status import Verdict
from pixxel_provider.hooks.pixxel import PixxelHook
from pixxel_provider.plugins.answers import Answers, Found
from pixxel_provider.plugins.crowd import Crowd

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Seconds for which a running job, one that has ended, a list and an estimate count as known.
RUNNING_LASTS, ENDED_LASTS, LIST_LASTS, ESTIMATE_LASTS = 3.0, 60.0, 10.0, 600.0
#: Requests that run at the same time, whatever is looked at.
AT_ONCE = 4
#: Jobs of one workflow from which on their list costs less than each of them.
CROWD = 4
#: Questions that one look at the page of all waits may lead to.
MOST_QUESTIONS = 24
# The field of an error about a connection that isn't defined; that of any other names the connection.
_ID = "pixxel_conn_id"
_UNUSABLE = "isn't usable; the log of Airflow's API server says why"
# A page can say that Pixxel is slow; a thread that waits a minute serves nobody.
_CONNECT, _READ = 5.0, 15.0


@dataclass(frozen=True)
class JobKey:
    """Which job, and where to ask for it."""

    conn_id: str
    workflow_id: str
    job_id: str


def _as_it_is(words: str) -> str:
    return words


@dataclass(frozen=True)
class Seen:
    """A job, and its page in Pixxel's console."""

    job: Job
    console: str
    redact: Callable[[str], str] = field(default=_as_it_is, repr=False, compare=False)
    """Takes the key out of a text: an answer loses it as it comes, and its byte fields are decoded later."""


class Asking:
    """The requests of one API server's process to Pixxel."""

    def __init__(self) -> None:
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pixxel-page")
        # A job may take a megabyte with its byte fields.
        self._jobs: Answers[Seen] = Answers(
            pool, keep=64, told=lambda key, seen, at: self._crowd.note(key, seen.job, at)
        )
        self._lists: Answers[dict[str, Job]] = Answers(pool, keep=64)
        self._estimates: Answers[int | float] = Answers(pool, keep=256)
        self._crowd = Crowd(self.job, self._list, crowd=CROWD, most=MOST_QUESTIONS)

    async def job(self, key: JobKey, patience: float) -> Found[Seen]:
        """Return a job as it was at most a few seconds ago, or the newest that is known."""
        return await self._jobs.get(key, partial(_ask_job, key), _lasts, patience=patience)

    async def estimate(self, key: JobKey, patience: float) -> int | float | None:
        """Return what Pixxel estimates for a job of the workflow, None where it doesn't say."""
        question = (key.conn_id, key.workflow_id)
        found = await self._estimates.get(
            question, partial(_ask_estimate, *question), lambda _: ESTIMATE_LASTS, patience=patience
        )
        return found.value

    async def several(self, keys: Collection[JobKey], patience: float) -> tuple[Mapping[JobKey, Job], bool]:
        """Return what is known of these jobs, and whether that is all of them."""
        return await self._crowd.look(keys, patience)

    async def _list(self, workflow: tuple[str, str], patience: float) -> Found[dict[str, Job]]:
        return await self._lists.get(
            workflow, partial(_ask_list, *workflow), lambda _: LIST_LASTS, patience=patience
        )


def _lasts(seen: Seen) -> float:
    return RUNNING_LASTS if seen.job.verdict() is Verdict.WAITING else ENDED_LASTS


def _ask(conn_id: str, make: Callable[[], Call[T]]) -> tuple[PixxelHook, T]:
    call, hook = make(), PixxelHook(conn_id)
    try:
        settings = hook.settings
        hook.settings = replace(
            settings,
            connect_timeout=min(settings.connect_timeout, _CONNECT),
            read_timeout=min(settings.read_timeout, _READ),
        )
        # Once: the page looks again by itself.
        return hook, hook.send(call, patience=0)
    except PixxelInputError as error:
        if error.field == _ID:
            # There is no such connection, so that nothing of it can be said.
            raise
        # Its words may quote the connection, and whoever may see a task need not be allowed to see that.
        log.warning("A page can't use a connection: %s", error)
        raise PixxelInputError(error.field, _UNUSABLE) from None
    finally:
        hook.close()


def _ask_job(key: JobKey) -> Seen:
    hook, job = _ask(key.conn_id, lambda: calls.get_job(key.workflow_id, key.job_id))
    settings = hook.settings
    return Seen(job, settings.console_link(key.workflow_id, key.job_id), settings.redact)


def _ask_list(conn_id: str, workflow_id: str) -> dict[str, Job]:
    return {job.id: job for job in _ask(conn_id, lambda: calls.list_jobs(workflow_id))[1]}


def _ask_estimate(conn_id: str, workflow_id: str) -> int | float:
    return _ask(conn_id, lambda: calls.estimate_cost(workflow_id))[1]
