"""What waits for a job in the triggerer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from pixxel_provider.api.errors import PixxelConnectionError, PixxelError
from pixxel_provider.api.job import Job
from pixxel_provider.api.judges import JobPoll
from pixxel_provider.api.polling import SHORTEST_DELAY, PollResult, PollState, check_seconds
from pixxel_provider.compat.triggerer import deferral_end
from pixxel_provider.hooks.shared_hooks import acquire
from pixxel_provider.outcome import UNSTARTED
from pixxel_provider.poller import Subscription
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID
from pixxel_provider.triggers import start_from_trigger
from pixxel_provider.triggers.base import PixxelWaitTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class _SharedPollTrigger(PixxelWaitTrigger):
    """A wait whose requests are those of all waits of the triggerer for the workflow."""

    _jobs: Any = None

    async def _join(self, state: PollState, job_id: str | None, ended: Callable[[Job], bool]) -> None:
        connection = acquire(self.pixxel_conn_id, self.clock)
        self._jobs = Subscription(connection, self.poll.workflow_id, job_id, ended)
        await self._jobs.join()
        state.jitter = self._jobs.jitter

    async def _close(self) -> None:
        if self._jobs is not None:
            await self._jobs.leave()

    def _next_answer(self, delay: float, at_most: float) -> Any:
        return self._jobs.next_answer(delay, at_most)


class PixxelEndedJobTrigger(_SharedPollTrigger):
    """Wait until a workflow has a job that ended after a moment; the event has the job's id.

    A worker goes on with that job, as only a worker can push the id to XCom in every version of Airflow.
    Triggers for one workflow share their requests, also with those that wait for a job by its id.

    :param poll: an :class:`~pixxel_provider.api.judges.EndedJobPoll`, or its name.

    The other arguments are those of :class:`~pixxel_provider.triggers.base.PixxelWaitTrigger`.
    """

    async def _open(self, state: PollState) -> None:
        await self._join(state, None, lambda job: False)


class PixxelJobTrigger(_SharedPollTrigger):
    """Wait until a job has ended, then fire one event that says how.

    Triggers for jobs of one workflow share their requests.

    :param workflow_id: the workflow the job belongs to.
    :param job_id: the job.
    :param pixxel_conn_id: the Airflow connection.
    :param success_statuses: statuses that end the wait well, instead of the default ones.
    :param failure_statuses: statuses that mean a failure, instead of the default ones.
    :param deferred_for: the seconds after which Airflow ends the deferral, given where the scheduler starts
        the trigger without a worker. Then ids may be templates, and when the wait began follows from the
        deferral's end, which outlives a triggerer.
    :param task_end: what :func:`~pixxel_provider.triggers.start_from_trigger.last_event` needs to end the
        task without a worker; without it a worker does.
    :param wait: the other arguments of :class:`~pixxel_provider.triggers.base.PixxelWaitTrigger`.
    """

    def __init__(
        self,
        workflow_id: str,
        job_id: str,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        success_statuses: list[str] | None = None,
        failure_statuses: list[str] | None = None,
        deferred_for: float | None = None,
        task_end: dict[str, Any] | None = None,
        **wait: Any,
    ) -> None:
        poll = JobPoll(workflow_id, job_id, success_statuses, failure_statuses)
        super().__init__(poll, pixxel_conn_id=pixxel_conn_id, **wait)
        self.workflow_id = workflow_id
        self.job_id = job_id
        self.deferred_for = deferred_for
        self.task_end = task_end
        self._context: Context | None = None

    def _target(self) -> dict[str, Any]:
        return {**self.poll.fields(), "deferred_for": self.deferred_for, "task_end": self.task_end}

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Keep the context for :meth:`run`: rendering may ask, and may have to be cut short."""
        self._context = context

    async def on_kill(self) -> None:
        """Say that the job goes on, where a person ended or cleared the task during its wait."""
        if await start_from_trigger.task_goes_on(self.task_instance):
            return
        self.log.warning(f"{self.poll.name} goes on running: Pixxel can't cancel a job")

    async def _begin(self) -> None:
        """Do what a worker does before it defers, where none did."""
        if self.deferred_for is None:
            return
        check_seconds("deferred_for", self.deferred_for)
        self.plan.check()
        if (end := deferral_end(self)) is not None:
            # First, as it holds also where a worker has to go on.
            self.started_at = end - self.deferred_for
        if self._context is None:
            raise start_from_trigger.NeedsWorker("the triggerer gave no context to render templates with")
        self._context = start_from_trigger.with_xcoms(self._context)
        await start_from_trigger.render(self, self._context)
        self.poll = replace(self.poll, workflow_id=self.workflow_id, job_id=self.job_id)
        self._begins = self.clock.time() - self.started_at < self.plan.poke_interval
        if self._begins:
            # Nobody has asked yet, and the job may have ended long ago.
            self._longest_first_delay = SHORTEST_DELAY

    async def _publish(self) -> None:
        """Show which job this is, where no worker has."""
        if self.deferred_for is None or self._context is None:
            return
        link = None
        try:
            if self._jobs.unread is not None:
                raise self._jobs.unread
            link = (await self._jobs.poller.hook.get_settings()).console_link(self.workflow_id, self.job_id)
        except PixxelError as error:
            # Airflow that is busy costs the button, and not the wait; so does anything in the middle of it.
            busy = isinstance(error, PixxelConnectionError) and error.reason != "definition"
            if self._begins and not busy:
                raise
        start_from_trigger.publish(self._context, self.workflow_id, self.job_id, self.pixxel_conn_id, link)

    def _event(self, result: PollResult) -> TriggerEvent:
        if self.task_end is None or self._context is None:
            return super()._event(result)
        return start_from_trigger.last_event(result, self._context, log=self.log, **self.task_end)

    def _event_of_error(self, error: Exception, result: PollResult | None) -> TriggerEvent:
        if not isinstance(error, start_from_trigger.NeedsWorker):
            return super()._event_of_error(error, result)
        self.log.info(f"A worker takes over: {error}.")
        return super()._event(result or PollResult(UNSTARTED, str(error)))

    async def _open(self, state: PollState) -> None:
        await self._join(state, self.job_id, self.poll.has_ended)
        await self._publish()
