"""Look for a job whose creation is in doubt, in the list of its workflow, for as long as that makes sense."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pixxel_provider.api import adoption, calls
from pixxel_provider.api.errors import PixxelError, PixxelNotFoundError
from pixxel_provider.api.retry import PATIENCE

if TYPE_CHECKING:
    from pixxel_provider.api.job import Job
    from pixxel_provider.hooks.pixxel import PixxelHook
    from pixxel_provider.operators.memory import Record

#: The longest pause between two looks, in seconds.
_LONGEST_PAUSE = 10.0


@dataclass(frozen=True)
class Finding:
    """What a search has found: the jobs it may be, None where the list couldn't be had, and why not."""

    jobs: list[Job] | None
    trouble: PixxelError | None = None


@dataclass
class Search:
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

    def once(self, record: Record, patience: float = PATIENCE) -> list[Job]:
        """Return the jobs that the request of a record may have created, oldest first.

        :raises PixxelError: the list can't be had.
        """
        listed = self.hook.send(calls.list_jobs(self.workflow_id), patience=patience)
        return adoption.candidates(
            listed,
            self.workflow_id,
            since=record.began_at,
            until=record.over_by,
            known=record.known,
            created_by=self.created_by,
        )

    def until_settled(self, record: Record, since: float) -> Finding:
        """Look until there is a job, or the grace is over; where the list can't be read, for a minute.

        :param since: when the grace began, in Unix seconds.
        """
        began = self.monotonic()
        until = began + min(max(since + self.grace - self.now(), 0.0), self.grace)
        pause = 1.0
        while True:
            found = self._look(record)
            # A list that can't be read says nothing, however late it is.
            left = (until if found.jobs is not None else began + PATIENCE) - self.monotonic()
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
                return self.hook.send(call, patience=PATIENCE if since is None else 0)
            except PixxelNotFoundError:
                since = self.monotonic() if since is None else since
                left = since + self.grace - self.monotonic()
                if left <= 0:
                    raise
            except PixxelError as error:
                if since is None or not error.transient or self.monotonic() - began > self.grace + PATIENCE:
                    raise
                # As in a wait, any other answer ends the row of 404s.
                since, left = None, pause
            self.pause(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _look(self, record: Record) -> Finding:
        try:
            return Finding(self.once(record, patience=0))
        except PixxelError as error:
            return Finding(None, error)


def beyond_doubt(jobs: list[Job] | None, record: Record) -> Job | None:
    """Return the only job that it may be, where it is known what was there before the request."""
    # Without that, the only one found may be older than the request.
    if not jobs or len(jobs) > 1 or record.known is None:
        return None
    return jobs[0] if calls.can_be_sent(jobs[0].id) else None
