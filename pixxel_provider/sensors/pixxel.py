"""Hold a pipeline until a job has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.sensors.start_trigger_args import AsItStands, needs_worker, start_trigger_args
from pixxel_provider.waiting import PixxelWaitingOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class PixxelJobSensor(PixxelWaitingOperator):
    """Wait until a job has ended; succeed with its metadata where the job succeeded, fail where it failed.

    Trouble that may pass (no connection, a time-out, 429, 5xx, an unreadable answer) never ends the wait;
    400, 401 and 403 do, at once. All arguments and outcomes are the same in poke, reschedule and deferrable
    mode, and where the scheduler starts the wait in the triggerer.

    :param workflow_id: the workflow the job belongs to (templated).
    :param job_id: the job (templated).
    :param pixxel_conn_id: id of the Airflow connection (templated).
    :param success_statuses: statuses that end the wait well, instead of the default ones. Compared without
        case, spaces, hyphens and underscores.
    :param failure_statuses: statuses that fail the task, instead of the default ones.
    :param not_found_grace: seconds, from the first 404 in a row, that a job may be missing: it may be new, or
        a gateway have lost its way for a moment. After that a 404 ends the wait.
    :param deferrable: wait in the triggerer, without a worker.
    :param start_from_trigger: wait in the triggerer from the start: one short run on a worker, at the end,
        instead of two. From Airflow 3.3 on; where it can't be, a worker starts the wait and says why.
    :param end_from_trigger: with ``start_from_trigger``, end the task without a worker too, where nothing is
        due that only a worker does, such as callbacks. Experimental.
    :param poke_interval: seconds between two looks at the most, 0.5 at the least, jittered.
    :param timeout: seconds the wait may take. A job that has ended by then has ended, whoever looked when.
    :param exponential_backoff: let the gap between looks grow: the interval plus the time waited so far.
    :param max_wait: the longest gap with ``exponential_backoff``, in seconds or as a timedelta.
    :param soft_fail: skip instead of failing where the job failed or the time was over. Errors still fail.
    :param never_fail: skip instead of failing, whatever happened.
    :param silent_fail: go on waiting after errors that would end the wait; a failed job still ends it.

    :raises PixxelJobFailedError: the job failed; Airflow doesn't retry the task.
    :raises AirflowSensorTimeout: the job had not ended in time; Airflow doesn't retry the task.
    :raises PixxelError: the API refused, an argument or the connection can't be used, or the job ended in an
        unknown status.
    """

    template_fields: Sequence[str] = ("workflow_id", "job_id", "pixxel_conn_id")
    start_trigger_args = AsItStands(None, start_trigger_args)
    start_from_trigger = AsItStands(False, lambda sensor: sensor.start_trigger_args is not None)

    def __init__(
        self,
        *,
        workflow_id: str,
        job_id: str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(workflow_id=workflow_id, deferrable=deferrable or start_from_trigger, **kwargs)
        self.job_id = job_id
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
        return super().execute(context)
