"""The sensor for a job."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from pixxel_provider.api.errors import PixxelError, PixxelInputError
from pixxel_provider.outcome import result_of
from pixxel_provider.sensors.start_trigger_args import AsItStands, needs_worker, start_trigger_args
from pixxel_provider.waiting.sensor import PixxelWaitingOperator, listed
from pixxel_provider.xcom import CONNECTION, WORKFLOW, push

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from pixxel_provider.api.polling import Poll, PollResult
    from pixxel_provider.connection import Settings


class PixxelJobSensor(PixxelWaitingOperator):
    """Wait until a job has ended; return its metadata if the job succeeded, fail if it failed.

    Transient errors (no connection, a timeout, 429, 5xx, an unreadable answer) never end the wait;
    400, 401 and 403 do, at once. All arguments and outcomes are the same in poke, reschedule and deferrable
    mode, and if the scheduler starts the wait in the triggerer.

    :param workflow_id: the workflow the job belongs to (templated).
    :param job_id: the job (templated). Without it, ``ended_after`` is required.
    :param ended_after: wait for the first job of the workflow that ended after this moment: an ISO 8601 time
        with zone, or a datetime with one (templated). Jobs that Pixxel doesn't list aren't seen.
    :param created_by: with ``ended_after``: id of a user; jobs of others don't count (templated).
    :param statuses: with ``ended_after``: jobs that ended in other statuses don't count.
    :param pixxel_conn_id: id of the Airflow connection (templated).
    :param success_statuses: statuses that mean success, in place of the default ones. Compared without
        case, spaces, hyphens and underscores.
    :param failure_statuses: statuses that mean failure, in place of the default ones.
    :param not_found_grace: seconds, from the first 404 in a row, for which a job may be missing: it may be
        new, or a gateway may have lost its route. After that a 404 ends the wait.
    :param deferrable: wait in the triggerer, without a worker.
    :param start_from_trigger: wait in the triggerer from the start: one short run on a worker, at the end,
        instead of two. From Airflow 3.3 on; otherwise a worker starts the wait and logs the reason.
    :param end_from_trigger: with ``start_from_trigger``, end the task without a worker too, unless something
        has to be done that only a worker can do, such as callbacks. Experimental.
    :param poke_interval: the longest time between two polls in seconds, with jitter; at least 0.5.
    :param timeout: seconds the wait may take. A job that has ended by the last poll counts as ended.
    :param exponential_backoff: increase the time between polls: the interval plus the time waited so far.
    :param max_wait: the longest time between polls with ``exponential_backoff``; seconds or a timedelta.
    :param soft_fail: skip instead of failing if the job failed or the timeout is over. Errors still fail.
    :param never_fail: skip instead of failing, whatever the error.
    :param silent_fail: keep waiting after errors that would end the wait; a failed job still ends it.

    :raises PixxelJobFailedError: the job failed; Airflow doesn't retry the task.
    :raises AirflowSensorTimeout: the job hadn't ended in time; Airflow doesn't retry the task.
    :raises PixxelError: the API refused, an argument or the connection can't be used, or the job ended in an
        unknown status.
    """

    template_fields: Sequence[str] = ("workflow_id", "job_id", "pixxel_conn_id", "ended_after", "created_by")
    start_trigger_args = AsItStands(None, start_trigger_args)
    start_from_trigger = AsItStands(False, lambda sensor: sensor.start_trigger_args is not None)

    def __init__(
        self,
        *,
        workflow_id: str,
        job_id: str | EllipsisType | None = ...,
        ended_after: str | datetime.datetime | None = None,
        created_by: str | None = None,
        statuses: Sequence[str] | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(workflow_id=workflow_id, deferrable=deferrable or start_from_trigger, **kwargs)
        self._finds_job = ended_after is not None
        if not self._finds_job and job_id is ...:
            raise PixxelInputError("job_id", "is missing: name a job, or a moment in ended_after")
        if self._finds_job and job_id is not ... and job_id is not None:
            raise PixxelInputError("ended_after", "waits for a job whose id isn't known: leave out job_id")
        for name, value in (("created_by", created_by), ("statuses", statuses)):
            if value is not None and not self._finds_job:
                raise PixxelInputError(name, "chooses among jobs that ended: it needs ended_after")
        # Empty until it is known.
        self.job_id: Any = "" if self._finds_job else job_id
        self.ended_after = ended_after
        self.created_by = created_by
        self.statuses = statuses
        self.end_from_trigger = end_from_trigger
        self.start_from_trigger = start_from_trigger
        if end_from_trigger and not start_from_trigger:
            raise PixxelInputError(
                "end_from_trigger", "ends in the triggerer what began there: set start_from_trigger too"
            )

    def execute(self, context: Context) -> Any:
        """Wait, in whichever mode, and return the job's metadata."""
        if vars(self)["start_from_trigger"]:
            why = needs_worker(self) or "Airflow starts mapped tasks and test runs no other way"
            self.log.info("This wait starts on a worker: %s.", why)
        if self._finds_job:
            # Another run of the same object finds its own.
            self.job_id = ""
        return super().execute(context)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Take over from the trigger, whose event says how the wait ended, or which job it is for."""
        result = result_of(event)
        if result is not None and result.kind == "identified":
            self._identify(result)
        return super().execute_complete(context, event)

    @property
    def _is_searching(self) -> bool:
        """Whether it isn't known yet which job this wait is for."""
        return self._finds_job and not self.job_id

    def make_poll(self) -> Poll[Any]:  # type: ignore[override]
        if not self._is_searching:
            return super().make_poll()
        from pixxel_provider.api.judges import EndedJobPoll

        moment: Any = self.ended_after
        return EndedJobPoll(
            self.workflow_id,
            moment.isoformat() if isinstance(moment, datetime.datetime) else moment,
            self.created_by,
            *map(listed, (self.statuses, self.success_statuses, self.failure_statuses)),
        )

    def _ask(self, retry_for: float = 0.0) -> Any:
        """Ask for the job; as soon as the list shows which one it is, read it in full."""
        answer = super()._ask(retry_for)
        if not self._is_searching or isinstance(answer, PixxelError):
            return answer
        result = self._state.poll.result(answer)
        if result is None or isinstance(result, PixxelError):
            return answer
        self._identify(result)
        from dataclasses import replace

        # Without what is recorded of the list: the job has a grace period of its own.
        self._state = replace(self._state, poll=self.make_poll())
        self._publish(self._context, self._settings(self._context, resumed=True))
        return super()._ask(retry_for)

    def _identify(self, result: PollResult) -> None:
        self.log.info(result.message)
        self.job_id = (result.metadata or {})["id"]

    def _publish(self, context: Context, settings: Settings | None) -> None:
        if self._is_searching:
            push(context, {WORKFLOW: self.workflow_id, CONNECTION: self.pixxel_conn_id})
        else:
            super()._publish(context, settings)

    def _trigger(self, **wait: Any) -> BaseTrigger:
        if not self._is_searching:
            return super()._trigger(**wait)
        from pixxel_provider.triggers.pixxel import PixxelEndedJobTrigger

        return PixxelEndedJobTrigger(self._state.poll, **wait)
