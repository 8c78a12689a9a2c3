"""The sensor for a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.sensors.start_trigger_args import AsItStands, needs_worker, start_trigger_args
from pixxel_provider.waiting.sensor import PixxelWaitingOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class PixxelJobSensor(PixxelWaitingOperator):
    """Wait until a job has ended; return its metadata if the job succeeded, fail if it failed.

    Transient errors (no connection, a timeout, 429, 5xx, an unreadable answer) never end the wait;
    400, 401 and 403 do, at once. All arguments and outcomes are the same in poke, reschedule and deferrable
    mode, and if the scheduler starts the wait in the triggerer.

    :param workflow_id: the workflow the job belongs to (templated).
    :param job_id: the job (templated).
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
