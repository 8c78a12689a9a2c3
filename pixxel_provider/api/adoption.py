"""Find the job that a request created whose answer was lost: what may be ours in a list, and what isn't.

Creating a job is billed and has no idempotency key, so such a request is never sent again. The list is all
there is to learn from, and it may lack a job: nothing here takes its silence for a "no".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from pixxel_provider.api.calls import same_id
from pixxel_provider.api.errors import (
    PixxelConnectionError,
    PixxelError,
    PixxelRateLimitError,
    PixxelResponseError,
    PixxelTemporaryError,
)
from pixxel_provider.api.summary import status_of

if TYPE_CHECKING:
    from pixxel_provider.api.job import Job

#: How far Pixxel's clock may be from the worker's, in seconds, before a job seems not to be of a request.
CLOCK_SKEW = 300.0
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
