"""Which listed job is the one that a request created whose answer was lost.

Creating a job is billed and has no idempotency key, so such a request is never sent again. The list is all
there is to learn from, and it may lack a job: nothing here takes its silence for a "no".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from pixxel_provider.api import calls
from pixxel_provider.api.calls import same_id
from pixxel_provider.api.errors import (
    PixxelConnectionError,
    PixxelError,
    PixxelNotFoundError,
    PixxelRateLimitError,
    PixxelResponseError,
    PixxelTemporaryError,
)
from pixxel_provider.api.messages import status_of
from pixxel_provider.api.retry import RETRY_FOR

if TYPE_CHECKING:
    from pixxel_provider.api.job import Job
    from pixxel_provider.hooks.pixxel import PixxelHook
    from pixxel_provider.job_creation.checkpoint import Record

#: How far Pixxel's clock may be from the worker's, in seconds, before a job seems not to be of a request.
CLOCK_SKEW = 300.0
#: The longest pause between two requests for the list, in seconds.
_LONGEST_PAUSE = 10.0
#: How many jobs a message lists.
_SHOWN = 5


def may_have_been_accepted(error: PixxelError) -> bool:
    """Tell whether a request that ended in this error may have been carried out all the same.

    Not where it never left, where it was turned away with 429, or where the API refused it in its own words.
    """
    if isinstance(error, PixxelConnectionError):
        return error.sent
    if isinstance(error, PixxelTemporaryError):
        return not isinstance(error, PixxelRateLimitError)
    return isinstance(error, PixxelResponseError)


def candidates(
    listed: Iterable[Job],
    workflow_id: str,
    *,
    since: float | None,
    until: float | None = None,
    known: Collection[str] | None = None,
    created_by: str | None = None,
) -> list[Job]:
    """Return the jobs of a list that a lost request may have created, oldest first.

    :param since: when the request began, in Unix seconds. A job may seem up to five minutes older, as clocks
        differ; one without a readable time of creation is kept.
    :param until: when it was over at the latest, in Unix seconds, None where that isn't known. What was
        created more than five minutes later is somebody else's.
    :param known: ids that were listed just before the request, None where that isn't known.
    :param created_by: the user to whom the API key belongs, where that is known.
    """
    found = [
        job
        for job in listed
        if job.id not in (known or ())
        and (not job.workflow_id or same_id(job.workflow_id, workflow_id))
        and (not created_by or not job.created_by or job.created_by == created_by)
        and (since is None or job.created_at is None or job.created_at >= _moment(since - CLOCK_SKEW))
        and (until is None or job.created_at is None or job.created_at <= _moment(until + CLOCK_SKEW))
    ]
    return sorted({job.id: job for job in found}.values(), key=lambda job: job.created_at or _moment(0))


def worth_remembering(listed: Iterable[Job], since: float) -> list[str]:
    """Return the ids of a list without which :func:`candidates` would take an older job for a new one."""
    # Twice: the one who reads them may have begun a little before.
    before = _moment(since - 2 * CLOCK_SKEW)
    return sorted({job.id for job in listed if job.created_at is None or job.created_at >= before})


def describe(jobs: Iterable[Job]) -> str:
    """Return a list of jobs for a message: ``job-7 (running, of 2025-06-30T10:00:00+00:00 by user-1)``."""
    found = list(jobs)
    words = [
        f"{job.id} ({status_of(job)}"
        + (f", of {job.created_at.isoformat()}" if job.created_at else "")
        + (f" by {job.created_by}" if job.created_by else "")
        + ")"
        for job in found[:_SHOWN]
    ]
    more = len(found) - _SHOWN
    return ", ".join(words) + (f", and {more} more" if more > 0 else "")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(0, timezone.utc) + timedelta(seconds=max(seconds, 0.0))


@dataclass(frozen=True)
class Match:
    """What a search has found: the jobs it may be, None where the list couldn't be had, and why not."""

    jobs: list[Job] | None
    trouble: PixxelError | None = None


@dataclass
class JobSearch:
    """Looks for jobs that a request may have created.

    :param created_by: the user to whom the API key belongs, where that is known.
    :param grace: seconds during which a job that was created may be missing from the list.
    """

    hook: PixxelHook
    workflow_id: str
    created_by: str | None = None
    grace: float = 60.0
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = time.sleep

    def once(self, record: Record, retry_for: float = RETRY_FOR) -> list[Job]:
        """Return the jobs that the request of a record may have created, oldest first.

        :raises PixxelError: the list can't be had.
        """
        listed = self.hook.send(calls.list_jobs(self.workflow_id), retry_for=retry_for)
        return candidates(
            listed,
            self.workflow_id,
            since=record.began_at,
            until=record.over_by,
            known=record.known,
            created_by=self.created_by,
        )

    def until_settled(self, record: Record, since: float) -> Match:
        """Look until there is a job, or the grace is over; where the list can't be read, for a minute.

        :param since: when the grace began, in Unix seconds.
        """
        began = self.monotonic()
        until = began + min(max(since + self.grace - self.now(), 0.0), self.grace)
        pause = 1.0
        while True:
            found = self._look(record)
            # A list that can't be read says nothing, however late it is.
            left = (until if found.jobs is not None else began + RETRY_FOR) - self.monotonic()
            if found.jobs or left <= 0 or (found.trouble is not None and not found.trouble.transient):
                return found
            self.pause(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def job(self, job_id: str) -> Job:
        """Return a job, asked for by its id; while it is missing, ask again until the grace is over.

        :raises PixxelNotFoundError: it was missing for as long as the grace, each time.
        :raises PixxelError: it can't be read.
        """
        call = calls.get_job(self.workflow_id, job_id)
        began, since, pause = self.monotonic(), None, 1.0
        while True:
            try:
                return self.hook.send(call, retry_for=RETRY_FOR if since is None else 0)
            except PixxelNotFoundError:
                since = self.monotonic() if since is None else since
                left = since + self.grace - self.monotonic()
                if left <= 0:
                    raise
            except PixxelError as error:
                if since is None or not error.transient or self.monotonic() - began > self.grace + RETRY_FOR:
                    raise
                # As in a wait, any other answer ends the row of 404s.
                since, left = None, pause
            self.pause(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _look(self, record: Record) -> Match:
        try:
            return Match(self.once(record, retry_for=0))
        except PixxelError as error:
            return Match(None, error)


def beyond_doubt(jobs: list[Job] | None, record: Record) -> Job | None:
    """Return the only job that it may be, where it is known what was there before the request."""
    # Without that, the only one found may be older than the request.
    if not jobs or len(jobs) > 1 or record.known is None:
        return None
    return jobs[0] if calls.can_be_sent(jobs[0].id) else None
