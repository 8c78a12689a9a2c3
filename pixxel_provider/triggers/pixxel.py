"""What waits for a job in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.api.wait import Ending, Wait, WaitPlan
from pixxel_provider.outcome import event_of
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID
from pixxel_provider.watch import subscribe


class PixxelJobTrigger(BaseTrigger):
    """Wait until a job has ended, then fire one event that says how.

    It only reads, so a restarted triggerer may run it again.

    :param workflow_id: the workflow the job belongs to.
    :param job_id: the job.
    :param pixxel_conn_id: the Airflow connection.
    :param started_at: when the wait began, in Unix seconds; now where it isn't given.
    :param not_before: don't ask before this moment, in Unix seconds: the server's Retry-After.
    :param plan: the other fields of :class:`~pixxel_provider.api.wait.WaitPlan`.
    """

    def __init__(
        self,
        workflow_id: str,
        job_id: str,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        started_at: float | None = None,
        not_before: float | None = None,
        **plan: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.workflow_id = workflow_id
        self.job_id = job_id
        self.pixxel_conn_id = pixxel_conn_id
        self.started_at = time.time() if started_at is None else started_at
        self.not_before = not_before
        self.plan = WaitPlan(workflow_id=workflow_id, job_id=job_id, **plan)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and every argument, all of them JSON."""
        arguments = {
            **self.plan.fields(),
            "workflow_id": self.workflow_id,
            "job_id": self.job_id,
            "pixxel_conn_id": self.pixxel_conn_id,
            "started_at": self.started_at,
            "not_before": self.not_before,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the job until it has ended, then yield the one event."""
        try:
            ending = await self._wait()
        except Exception as error:
            # Whatever it was, the task must be told: without an event it would stay deferred.
            self.log.exception("The wait for job %s broke", self.job_id)
            ending = Ending.from_error(PixxelError(f"The trigger broke: {type(error).__name__}: {error}"))
        yield TriggerEvent(event_of(ending))

    # Tests hand in fake ones.
    _pause = staticmethod(asyncio.sleep)
    _monotonic = staticmethod(time.monotonic)
    _now = staticmethod(time.time)

    async def _wait(self) -> Ending:
        # A clock that jumps moves neither the deadline nor the gaps once the trigger runs.
        begun = self._monotonic()
        passed = min(max(self._now() - self.started_at, 0.0), self.plan.timeout)

        def elapsed() -> float:
            return passed + self._monotonic() - begun

        wait = Wait(self.plan, say=self._say)
        # The task has just looked, and after a restart many begin together: spread them over one gap.
        delay = wait.gap(elapsed()) * wait.chance()
        if self.not_before is not None:
            delay = max(delay, min(self.not_before - self._now(), self.plan.timeout - elapsed()))
        async with subscribe(
            self.pixxel_conn_id,
            self.workflow_id,
            self.job_id,
            ended=wait.has_ended,
            pause=self._pause,
            monotonic=self._monotonic,
        ) as jobs:
            while True:
                # In no variable: a parsed job costs 85 kB across the sleep, times a thousand triggers.
                ending = wait.look(await jobs.look(delay, wait.left(elapsed()))) or wait.overdue(elapsed())
                if ending is not None:
                    return ending
                delay = wait.gap(elapsed())

    def _say(self, level: str, words: str) -> None:
        getattr(self.log, level)(words)
