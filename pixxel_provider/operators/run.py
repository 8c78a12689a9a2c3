"""Run a workflow: create one job, and only one, and wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.api.messages import failure_text, name_of, plain
from pixxel_provider.api.polling import PollResult
from pixxel_provider.api.status import Verdict
from pixxel_provider.clock import CLOCK
from pixxel_provider.compat.versions import HAS_TASK_STATE_STORE
from pixxel_provider.job_creation.cost_limit import read_max_cost
from pixxel_provider.outcome import result_of, without_causes
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID
from pixxel_provider.waiting.sensor import PixxelWaitingOperator
from pixxel_provider.xcom import ESTIMATED_COST, pull_job_id, push

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from pixxel_provider.api.job import Job
    from pixxel_provider.job_creation.creator import JobCreator


class PixxelRunJobOperator(PixxelWaitingOperator):
    """Create one job of a workflow, which is billed, and wait until it has ended.

    One task instance pays for one job, whatever process dies: after a lost answer, no second request is
    sent, and from Airflow 3.3 on a task whose worker died resumes the job of its earlier try. A
    new one is created only if the old one failed, or after a task that had succeeded was cleared.

    XCom: the job's metadata as ``return_value``, ``job_id``, ``workflow_id``, ``pixxel_conn_id``,
    ``status``, ``cost`` one by one, and ``estimated_cost`` if ``max_cost`` is set. ``job_id`` is pushed
    before the wait begins.

    :param workflow_id: the workflow to run (templated).
    :param project_id: the project it belongs to (templated).
    :param pixxel_conn_id: id of the Airflow connection (templated).
    :param max_cost: credits; if Pixxel's estimate is above, nothing is created and the task fails
        (templated).
    :param wait: wait until the job has ended. Without it the task ends as soon as the job is created, and
        its id.
    :param durable: keep a checkpoint across tries; without it each try creates a job of its own.
    :param created_by: id of the user to whom the API key belongs (templated). If it is given, jobs of
        other users are never adopted after a lost answer.
    :param not_found_grace: seconds after a creation for which the job may be missing from the list, and
        seconds, from the first 404 in a row, for which polls may miss it.
    :param success_statuses: as of :class:`~pixxel_provider.sensors.pixxel.PixxelJobSensor`, like all other
        arguments that concern the wait: ``failure_statuses``, ``deferrable``, ``poke_interval``,
        ``timeout``, ``mode``, ``exponential_backoff``, ``max_wait``, ``soft_fail``, ``never_fail``,
        ``silent_fail``.

    :raises PixxelCostError: the estimate is above ``max_cost``, or negative; not retried.
    :raises PixxelUnconfirmedJobError: it isn't known whether a job was created; not retried.
    :raises PixxelJobFailedError: the job failed, or failed validation; not retried.
    :raises AirflowSensorTimeout: the job hadn't ended in time; not retried, and the job continues.
    :raises PixxelError: the API refused, or couldn't be reached before anything was created.
    """

    template_fields: Sequence[str] = ("workflow_id", "project_id", "pixxel_conn_id", "max_cost", "created_by")

    # An answer that can replace the wait's first poll.
    _just_read: Job | None = None

    def __init__(
        self,
        *,
        workflow_id: str,
        project_id: str,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        max_cost: int | float | str | None = None,
        wait: bool = True,
        durable: bool = True,
        created_by: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(workflow_id=workflow_id, pixxel_conn_id=pixxel_conn_id, **kwargs)
        self.project_id = project_id
        self.max_cost = max_cost
        self.wait = wait
        self.durable = durable
        self.created_by = created_by
        self._check_mode()

    @without_causes
    def execute(self, context: Context) -> Any:
        """Create the job or resume that of an earlier try, and wait for it."""
        # Again: a cluster policy may have set it after __init__.
        self._check_mode()
        self._context = context
        self._creation = self._prepare(context)
        started = self._creation.job()
        job = started.job
        self._just_read = job if started.read else None
        if (
            job is not None
            and job.val_errors
            and job.verdict(self.make_poll().rules) is not Verdict.SUCCEEDED
        ):
            words = f"{name_of(self.workflow_id, job.id)} failed: {failure_text(job)}"
            self._conclude(PollResult("failed", words, job.metadata()), context)
        if self.wait:
            return super().execute(context)
        self._remember_done(context)
        self._describe_outlets(context, {})
        return started.job_id

    def _check_mode(self) -> None:
        if (
            self.reschedule
            and self.wait
            and not self.deferrable
            and not (self.durable and HAS_TASK_STATE_STORE)
        ):
            # Each poll of that mode is a process of its own, which would have to know the job.
            raise PixxelInputError(
                "mode", "can be 'reschedule' only from Airflow 3.3 on and with durable; use deferrable=True"
            )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the trigger; where that broke or never answered, ask for the job before giving up."""
        self._recall(context, (next_kwargs or {}).get("event"))
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Log which job continues: Pixxel can't cancel one."""
        job_id, hook = self.job_id, getattr(self, "_hook", None)
        if job_id:
            settings = self._settings(self._context, resumed=True) if hook is not None else None
            link = "" if settings is None else settings.console_link(self.workflow_id, job_id)
            name = name_of(self.workflow_id, job_id)
            self.log.warning(f"{name} goes on running and is billed: Pixxel can't cancel it. {link}")
        elif hasattr(self, "_creation") and self._creation.asking:
            self.log.warning(
                f"A request to create a job of workflow {self.workflow_id} was in progress: there may be one",
            )

    def _check_arguments(self) -> None:
        from pixxel_provider.api import calls

        # There is no job yet whose id could be checked.
        replace(self.make_poll(), job_id="job").check()
        self.make_plan().check()
        calls.create_job(self.workflow_id, self.project_id)
        if self.created_by is not None:
            calls.check_id("created_by", self.created_by)

    def _prepare(self, context: Context) -> JobCreator:
        from pixxel_provider.job_creation.checkpoint import Checkpoint
        from pixxel_provider.job_creation.creator import JobCreator
        from pixxel_provider.job_creation.reconcile import JobSearch

        self._check_arguments()
        self._hook = self._open_hook()
        # Read now, so that a connection that can't be used is found before anything is created.
        self._settings(context)

        def publish(job_id: str) -> None:
            self.job_id = job_id
            self._publish(context, self._settings(context))

        search = JobSearch(
            hook=self._hook,
            workflow_id=self.workflow_id,
            created_by=self.created_by,
            grace=self.not_found_grace,
        )
        return JobCreator(
            hook=self._hook,
            checkpoint=Checkpoint(context, self.durable),
            search=search,
            workflow_id=self.workflow_id,
            project_id=self.project_id,
            rules=self.make_poll().rules,
            log=self.log,
            publish=publish,
            publish_estimate=lambda credits: push(context, {ESTIMATED_COST: credits}),
            max_cost=read_max_cost(self.max_cost),
            durable=self.durable,
            begun=getattr(context.get("dag_run"), "start_date", None),
        )

    def _connect(self, context: Context, resumed: bool) -> None:
        # If this process has created or resumed the job, the connection was read and the XComs pushed.
        if not hasattr(self, "_creation"):
            super()._connect(context, resumed)

    def _ask(self, retry_for: float = 0.0) -> Any:
        job, self._just_read = self._just_read, None
        return super()._ask(retry_for) if job is None else job

    def _recall(self, context: Context, event: Any) -> None:
        """Set the job's id after a deferral: from the event, or from the task's own XCom or checkpoint."""
        if self.job_id:
            return
        result = result_of(event)
        found = (result.metadata or {}).get("id") if result is not None else None
        self.job_id = found or pull_job_id(context)

    def _conclude(self, result: PollResult, context: Context, answer: Any = None) -> Any:
        metadata = super()._conclude(result, context, answer)
        cost, limit = metadata.get("cost"), read_max_cost(self.max_cost)
        if limit is not None and isinstance(cost, (int, float)) and cost > limit:
            self.log.warning(
                f"{name_of(self.workflow_id, self.job_id)} cost {plain(cost)} credits, and max_cost is "
                f"{plain(limit)}: Pixxel's estimate was lower",
            )
        self._remember_done(context)
        return metadata

    def _remember_done(self, context: Context) -> None:
        from pixxel_provider.job_creation.checkpoint import Checkpoint

        try:
            Checkpoint(context, self.durable).finish(self.job_id, CLOCK.time())
        except Exception as error:
            self.log.warning(
                "The end of the job couldn't be stored, so clearing the task will resume "
                f"it instead of creating a new one: {type(error).__name__}: {error}",
            )
