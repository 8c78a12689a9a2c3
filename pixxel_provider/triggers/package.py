"""What waits in the triggerer until a package can be fetched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.api.models import Download
from pixxel_provider.api.polling import PollResult, WaitPlan
from pixxel_provider.download.package_poll import PackagePoll, request
from pixxel_provider.outcome import event_of
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID


class PixxelPackageTrigger(BaseTrigger):
    """Ask for a package until it is ready, then fire one event that says so, or why it never will be.

    Asking may be repeated, so a restarted triggerer may run it again. The signed URL is a secret that stays
    here: whoever takes over asks for one of its own.

    :param workflow_id: the workflow the job belongs to.
    :param job_id: the job.
    :param pixxel_task_id: the job's task whose package it is; None for the whole job's.
    :param pixxel_conn_id: the Airflow connection.
    :param poke_interval: seconds between two looks at the most.
    :param timeout: seconds from the wait's start.
    :param not_found_grace: seconds, from the first 404 in a row, during which a 404 doesn't end the wait.
    :param started_at: when the wait began, in Unix seconds; now where it isn't given.
    :param not_before: don't ask before this moment, in Unix seconds: the server's Retry-After.
    :param missing_since: when the worker got a 404, in Unix seconds, where it was the last thing it got.
    """

    def __init__(
        self,
        workflow_id: str,
        job_id: str,
        pixxel_task_id: str | None = None,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        poke_interval: float = 30.0,
        timeout: float = 3600.0,
        not_found_grace: float = 60.0,
        started_at: float | None = None,
        not_before: float | None = None,
        missing_since: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.workflow_id = workflow_id
        self.job_id = job_id
        self.pixxel_task_id = pixxel_task_id
        self.pixxel_conn_id = pixxel_conn_id
        self.poke_interval = poke_interval
        self.timeout = timeout
        self.not_found_grace = not_found_grace
        self.started_at = time.time() if started_at is None else started_at
        self.not_before = not_before
        self.missing_since = missing_since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and every argument, all of them JSON."""
        names = (
            "workflow_id job_id pixxel_task_id pixxel_conn_id poke_interval timeout not_found_grace "
            "started_at not_before missing_since"
        ).split()
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until the package is ready, then yield the one event."""
        try:
            result = await self._wait()
        except PixxelError as error:
            result = PollResult.from_error(error)
        except Exception as error:
            # Whatever it was, the task must be told: without an event it would stay deferred.
            self.log.exception("The wait for the package of job %s broke", self.job_id)
            broken = PixxelError(f"The trigger broke: {type(error).__name__}: {error}")
            result = PollResult.from_error(broken)
        # Whoever takes over may have to wait again, and that by the same deadline.
        yield TriggerEvent({**event_of(result), "started_at": self.started_at})

    # Tests hand in fake ones.
    _pause = staticmethod(asyncio.sleep)
    _monotonic = staticmethod(time.monotonic)
    _now = staticmethod(time.time)

    async def _wait(self) -> PollResult:
        from pixxel_provider.hooks.connection_lookup import as_transient
        from pixxel_provider.hooks.pixxel import PixxelAsyncHook

        # A clock that jumps moves neither the deadline nor the gaps once the trigger runs.
        begun = self._monotonic()
        passed = min(max(self._now() - self.started_at, 0.0), self.timeout)

        def elapsed() -> float:
            return passed + self._monotonic() - begun

        plan = WaitPlan(
            self.workflow_id,
            self.job_id,
            poke_interval=self.poke_interval,
            timeout=self.timeout,
            not_found_grace=self.not_found_grace,
        )
        wait = PackagePoll(plan, log=self.log, pixxel_task_id=self.pixxel_task_id)
        call = request(plan, self.pixxel_task_id)
        hook = PixxelAsyncHook(self.pixxel_conn_id, monotonic=self._monotonic)
        if self.missing_since is not None:
            wait.resume_not_found(self.missing_since - self.started_at, elapsed())
        # The task has just asked, and after a restart many begin together: spread them over one gap.
        spread = wait.next_delay(elapsed()) * wait.jitter()
        delay = max(spread, wait.initial_delay(self.not_before, self._now(), elapsed()))
        while True:
            await self._pause(delay)
            answer: Download | PixxelError
            try:
                # Once: the wait itself decides when to try again.
                answer = await hook.send(call, retry_for=0)
            except PixxelError as error:
                answer = as_transient(error)
            result = wait.judge(answer) or wait.overdue(elapsed())
            if result is not None:
                return result
            delay = wait.next_delay(elapsed())
