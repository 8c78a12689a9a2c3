"""Which listed job was created by a request whose answer was lost.

Creating a job is billed and has no idempotency key, so such a request is never sent again. The list is the
only source, and it may lack a job: a missing entry never proves that there is none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from pixxel_provider.api import calls
from pixxel_provider.api.calls import same_id
from pixxel_provider.api.errors import (
    PixxelApiError,
    PixxelConnectionError,
    PixxelError,
    PixxelNotFoundError,
    PixxelRateLimitError,
    PixxelResponseError,
    PixxelTemporaryError,
)
from pixxel_provider.api.messages import status_of
from pixxel_provider.api.retry import RETRY_FOR
from pixxel_provider.clock import CLOCK, Clock

if TYPE_CHECKING:
    from pixxel_provider.api.job import Job
    from pixxel_provider.hooks.pixxel import PixxelHook
    from pixxel_provider.job_creation.checkpoint import Record

#: The largest difference between Pixxel's clock and the worker's, in seconds, for a job to be of a request.
CLOCK_SKEW = 300.0
#: The longest delay between two requests for the list, in seconds.
_LONGEST_PAUSE = 10.0
#: How many jobs a message lists.
_SHOWN = 5
# The last one that Python has a date for, in Unix seconds.
_LAST_SECOND = 253_402_300_799


def may_have_been_accepted(error: PixxelError) -> bool:
    """Return whether a request that ended in this error may have been carried out all the same.

    It can't have been if it was never sent, was rejected with 429, or was refused by the API itself.
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
    :param until: when it was over at the latest, in Unix seconds, None if that isn't known. A job
        that was created more than five minutes later belongs to another run.
    :param known: ids that were listed just before the request, None if that isn't known.
    :param created_by: the user to whom the API key belongs, if that is known.
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
    """Return the ids of a list without which :func:`candidates` would treat an older job as new."""
    # Twice the difference: the request of the record may have begun a little earlier.
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


def possible(jobs: list[Job] | None) -> str:
    """Return a sentence on the jobs that a search brought, None for a list that couldn't be read."""
    if jobs is None:
        return "The list of jobs couldn't be read."
    # Newest first: of many, the older ones are less likely.
    return f"It may be one of these: {describe(jobs[::-1])}." if jobs else "No new job is listed."


def refuses_the_list(error: PixxelApiError) -> bool:
    """Return whether the key may create jobs but not list them; 401 and 404 are about more than the list."""
    return not error.transient and error.status_code not in (401, 404)


def _moment(seconds: float) -> datetime:
    # A stored record may hold any number.
    return datetime.fromtimestamp(0, timezone.utc) + timedelta(seconds=min(max(seconds, 0.0), _LAST_SECOND))


@dataclass(frozen=True)
class Match:
    """The result of a search: the possible jobs, None if the list couldn't be read, and the reason."""

    jobs: list[Job] | None
    error: PixxelError | None = None


@dataclass
class JobSearch:
    """Searches for jobs that a request may have created.

    :param created_by: the user to whom the API key belongs, if that is known.
    :param grace: seconds for which a created job may be missing from the list.
    """

    hook: PixxelHook
    workflow_id: str
    created_by: str | None = None
    grace: float = 60.0
    clock: Clock = CLOCK

    def once(self, record: Record, retry_for: float = RETRY_FOR) -> list[Job]:
        """Return the jobs that the request of a record may have created, oldest first.

        :raises PixxelError: the list can't be read.
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
        """Search until there is a job, or the grace period is over; for a minute if the list can't be read.

        :param since: when the grace period began, in Unix seconds.
        """
        began = self.clock.monotonic()
        until = began + min(max(since + self.grace - self.clock.time(), 0.0), self.grace)
        pause = 1.0
        while True:
            match = self._once(record)
            # A list that can't be read says nothing, however late it is.
            left = (until if match.jobs is not None else began + RETRY_FOR) - self.clock.monotonic()
            if match.jobs or left <= 0 or (match.error is not None and not match.error.transient):
                return match
            self.clock.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def job(self, job_id: str) -> Job:
        """Return a job by its id; while it is missing, request it again until the grace period is over.

        :raises PixxelNotFoundError: it was missing for the whole grace period, each time.
        :raises PixxelError: it can't be read.
        """
        call = calls.get_job(self.workflow_id, job_id)
        began, since, pause = self.clock.monotonic(), None, 1.0
        while True:
            try:
                return self.hook.send(call, retry_for=RETRY_FOR if since is None else 0)
            except PixxelNotFoundError:
                since = self.clock.monotonic() if since is None else since
                left = since + self.grace - self.clock.monotonic()
                if left <= 0:
                    raise
            except PixxelError as error:
                too_late = self.clock.monotonic() - began > self.grace + RETRY_FOR
                if since is None or not error.transient or too_late:
                    raise
                # As in a wait, any other answer interrupts the row of 404s.
                since, left = None, pause
            self.clock.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _once(self, record: Record) -> Match:
        try:
            return Match(self.once(record, retry_for=0))
        except PixxelError as error:
            return Match(None, error)


def beyond_doubt(jobs: list[Job] | None, record: Record) -> Job | None:
    """Return the only possible job, if it is known which jobs existed before the request."""
    # Without that, the only one may be older than the request.
    if not jobs or len(jobs) > 1 or record.known is None:
        return None
    return jobs[0] if calls.can_be_sent(jobs[0].id) else None
