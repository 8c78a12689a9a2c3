"""What waits for a job in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timezone
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pixxel_provider.api.errors import PixxelConnectionError, PixxelError
from pixxel_provider.api.messages import name_of
from pixxel_provider.api.polling import SHORTEST_DELAY, PollResult, PollState, WaitPlan, check_plan
from pixxel_provider.outcome import event_of
from pixxel_provider.poller import Subscription, subscribe
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID
from pixxel_provider.triggers import start_from_trigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class PixxelJobTrigger(BaseTrigger):
    """Wait until a job has ended, then fire one event that says how.

    It only reads, so a restarted triggerer may run it again.

    :param workflow_id: the workflow the job belongs to.
    :param job_id: the job.
    :param pixxel_conn_id: the Airflow connection.
    :param started_at: when the wait began, in Unix seconds; now where it isn't given.
    :param not_before: don't ask before this moment, in Unix seconds: the server's Retry-After.
    :param missing_since: when the worker got a 404, in Unix seconds, where it was the last thing it got.
    :param deferred_for: the seconds after which Airflow ends the deferral, given where the scheduler starts
        the trigger without a worker. Then ids may be templates, and when the wait began follows from the
        deferral's end, which outlives a triggerer.
    :param task_end: what :func:`~pixxel_provider.triggers.start_from_trigger.last_event` needs to end the
        task without a worker; without it a worker does.
    :param plan: the other fields of :class:`~pixxel_provider.api.polling.WaitPlan`.
    """

    def __init__(
        self,
        workflow_id: str,
        job_id: str,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        started_at: float | None = None,
        not_before: float | None = None,
        missing_since: float | None = None,
        deferred_for: float | None = None,
        task_end: dict[str, Any] | None = None,
        **plan: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.workflow_id = workflow_id
        self.job_id = job_id
        self.pixxel_conn_id = pixxel_conn_id
        self.started_at = time.time() if started_at is None else started_at
        self.not_before = not_before
        self.missing_since = missing_since
        self.deferred_for = deferred_for
        self.task_end = task_end
        self.plan = WaitPlan(workflow_id=workflow_id, job_id=job_id, **plan)
        self._context: Context | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and every argument, all of them JSON."""
        arguments = {
            **self.plan.fields(),
            "workflow_id": self.workflow_id,
            "job_id": self.job_id,
            "pixxel_conn_id": self.pixxel_conn_id,
            "started_at": self.started_at,
            "not_before": self.not_before,
            "missing_since": self.missing_since,
            "deferred_for": self.deferred_for,
            "task_end": self.task_end,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Keep the context for :meth:`run`: rendering may ask, and may have to be cut short."""
        self._context = context

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the job until it has ended, then yield the one event."""
        result: PollResult | None = None
        try:
            try:
                await self._begin()
                result = await self._wait()
            except PixxelError as error:
                result = PollResult.from_error(error)
            event = self._event(result)
        except start_from_trigger.NeedsWorker as reason:
            self.log.info(f"A worker takes over: {reason}.")
            event = start_from_trigger.hand_over(reason, result, self.started_at)
        except Exception as error:
            # Whatever it was, the task must be told: without an event it would stay deferred.
            self.log.exception("The wait for job %s broke", self.job_id)
            broken = PixxelError(f"The trigger broke: {type(error).__name__}: {error}")
            event = TriggerEvent(event_of(result or PollResult.from_error(broken)))
        yield event

    async def on_kill(self) -> None:
        """Say that the job goes on, where a person ended or cleared the task during its wait."""
        if await start_from_trigger.task_goes_on(self.task_instance):
            return
        name = name_of(self.workflow_id, self.job_id)
        self.log.warning(f"{name} goes on running: Pixxel can't cancel a job")

    # Tests hand in fake ones.
    _pause = staticmethod(asyncio.sleep)
    _monotonic = staticmethod(time.monotonic)
    _now = staticmethod(time.time)

    async def _begin(self) -> None:
        """Do what a worker does before it defers, where none did."""
        if self.deferred_for is None:
            return
        over = getattr(self, "timeout_after", None)
        if over is not None:
            # First, as it holds also where a worker has to go on.
            self.started_at = over.replace(tzinfo=over.tzinfo or timezone.utc).timestamp() - self.deferred_for
        if self._context is None:
            raise start_from_trigger.NeedsWorker("the triggerer gave no context to render templates with")
        await start_from_trigger.render(self, ("workflow_id", "job_id", "pixxel_conn_id"), self._context)
        self.plan = replace(self.plan, workflow_id=self.workflow_id, job_id=self.job_id)
        check_plan(self.plan)

    async def _publish(self, jobs: Subscription, begins: bool) -> None:
        """Let people see which job this is, where no worker has.

        :param begins: whether the wait begins with this, and isn't one that another triggerer has left.
        """
        if self.deferred_for is None or self._context is None:
            return
        link = None
        try:
            if jobs.unread is not None:
                raise jobs.unread
            link = (await jobs.poller.hook.get_settings()).console_link(self.workflow_id, self.job_id)
        except PixxelError as error:
            # Airflow that is busy costs the button, and not the wait; so does anything in the middle of it.
            busy = isinstance(error, PixxelConnectionError) and error.reason != "definition"
            if begins and not busy:
                raise
        start_from_trigger.publish(self._context, self.workflow_id, self.job_id, self.pixxel_conn_id, link)

    def _event(self, result: PollResult) -> TriggerEvent:
        if self.task_end is None or self._context is None:
            return TriggerEvent(event_of(result))
        return start_from_trigger.last_event(result, self._context, log=self.log, **self.task_end)

    async def _wait(self) -> PollResult:
        # A clock that jumps moves neither the deadline nor the gaps once the trigger runs.
        begun = self._monotonic()
        passed = min(max(self._now() - self.started_at, 0.0), self.plan.timeout)

        def elapsed() -> float:
            return passed + self._monotonic() - begun

        wait = PollState(self.plan, log=self.log)
        if self.missing_since is not None:
            wait.resume_not_found(self.missing_since - self.started_at, elapsed())
        # The task has just looked, and after a restart many begin together: spread them over one gap.
        spread = wait.next_delay(elapsed())
        begins = self.deferred_for is not None and passed < self.plan.poke_interval
        if begins:
            # Nobody has looked yet, and the job may have ended long ago.
            spread = min(spread, SHORTEST_DELAY)
        delay = max(spread * wait.jitter(), wait.initial_delay(self.not_before, self._now(), elapsed()))
        async with subscribe(
            self.pixxel_conn_id,
            self.workflow_id,
            self.job_id,
            ended=wait.has_ended,
            pause=self._pause,
            monotonic=self._monotonic,
        ) as jobs:
            wait.jitter = jobs.jitter
            await self._publish(jobs, begins)
            while True:
                # In no variable: a parsed job costs 85 kB across the sleep, times a thousand triggers.
                result = wait.judge(
                    await jobs.next_answer(delay, wait.until_deadline(elapsed()))
                ) or wait.overdue(elapsed())
                if result is not None:
                    return result
                delay = wait.next_delay(elapsed())
