"""What waits in any operator, on a worker or in the triggerer, with its deadline, deferral and resumption."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from pixxel_provider.api.errors import PixxelError, PixxelNotFoundError
from pixxel_provider.api.retry import RETRY_FOR
from pixxel_provider.assets import describe_outlets
from pixxel_provider.clock import CLOCK
from pixxel_provider.compat.openlineage import reports_lineage
from pixxel_provider.compat.tasks import TRIGGER_FAILED
from pixxel_provider.compat.versions import EXECUTION_TIMEOUT_ENDS_DEFERRAL
from pixxel_provider.links.pixxel import PixxelJobLink, publish_link
from pixxel_provider.outcome import conclude, result_of, started_at, why_no_result, without_causes
from pixxel_provider.xcom import JOB, WORKFLOW, push_job

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.triggers.base import BaseTrigger

    from pixxel_provider.api.polling import Poll, PollResult, WaitPlan
    from pixxel_provider.connection import Settings
    from pixxel_provider.hooks.pixxel import PixxelHook

    _Operator = BaseOperator
else:
    # Airflow's metaclass gives each operator an __init__, which would come before that of BaseSensorOperator.
    _Operator = object

# The trigger keeps the deadline itself; Airflow's comes this many seconds later, if the triggerer is gone.
_SLACK = 120.0
#: Airflow can't add more than this to a date.
LONGEST_DEFERRAL = datetime.timedelta(days=3650)


def deferral_timeout(seconds: float) -> datetime.timedelta:
    """Return when Airflow ends the deferral of a wait that has so many seconds left."""
    return datetime.timedelta(seconds=min(max(seconds, 0.0) + _SLACK, LONGEST_DEFERRAL.total_seconds()))


class WaitMixin(_Operator):
    """What waits, in any operator: a request, and then the loop on a worker or the deferral.

    A subclass has the arguments ``pixxel_conn_id`` and ``deferrable``, and gives the judge and the plan.
    """

    pixxel_conn_id: str
    deferrable: bool
    soft_fail = never_fail = False
    #: Whether the worker has to ask again after a trigger's success: the event doesn't hold the answer.
    needs_answer = False
    #: How the wait ended, and the error that ended the try; set in the process that ends the task.
    _result: PollResult | None = None
    raised_error: BaseException | None = None

    def make_poll(self) -> Poll[Any]:
        """Return the judge of what is waited for, unchecked."""
        raise NotImplementedError

    def make_plan(self) -> WaitPlan:
        """Return how to wait, unchecked."""
        raise NotImplementedError

    def _publish(self, context: Context, settings: Settings | None) -> None:
        """Show what is waited for.

        :param settings: None where the connection can't be read at the moment.
        """

    def _conclude(self, result: PollResult, context: Context, answer: Any = None) -> Any:
        """Return what the task returns; raise what Airflow should see otherwise."""
        self._result = result
        if result.kind == "succeeded":
            self.log.info(result.message)
        return conclude(result, soft_fail=self.soft_fail, never_fail=self.never_fail)

    @without_causes
    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Take over from the trigger, whose event says how the wait ended."""
        result = result_of(event)
        if result is None:
            self.log.warning("Polling again, on a worker: %s.", why_no_result(event))
        elif result.kind != "identified" and (result.kind != "succeeded" or not self.needs_answer):
            if reports_lineage():
                # Read here, as the report itself may not look up anything.
                self._hook = self._open_hook()
                self._settings(context, resumed=True)
            return self._conclude(result, context)
        return self._wait(context, _passed(context, event))

    @without_causes
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the trigger; where that broke or never answered, ask once more before giving up."""
        if next_method == TRIGGER_FAILED:
            why = str((next_kwargs or {}).get("error", ""))
            self._begin(context, _passed(context))
            answer = self._ask()
            result = self._state.judge(answer)
            if result is None and "timeout" in why.lower():
                result = self._state.timed_out(self._deferral_limit())
            elif result is None and self.never_fail:
                from pixxel_provider.api.polling import PollResult

                result = PollResult("error", f"The trigger could not be run: {why}.")
            if result is not None:
                return self._conclude(result, context, answer)
        # Past BaseSensorOperator, which would replace what we say on a skip by a sentence without the reason.
        return BaseOperator.resume_execution(self, next_method, next_kwargs, context)

    def _wait(self, context: Context, passed: float | None = None) -> Any:
        """Ask until the wait has ended, or defer after the first request; return what the task returns.

        :param passed: seconds of the wait that are over, where it is resumed.
        """
        self._begin(context, passed)
        # What ended in time isn't lost to one request that fails after the deadline.
        answer = self._ask(RETRY_FOR if (passed or 0.0) > self._state.plan.timeout else 0.0)
        while True:
            result = self._state.judge(answer) or self._state.overdue(self._elapsed())
            if result is not None:
                return self._conclude(result, context, answer)
            if self.deferrable:
                self._defer(answer)
            self._pause(self._state.next_delay(self._elapsed()))
            answer = self._ask()

    def _begin(self, context: Context, passed: float | None = None) -> None:
        # Imported here, like hooks, triggers and judges: a DAG file that is only parsed never needs them.
        from pixxel_provider.api.polling import PollResult, PollState

        self._context = context
        self._begun = CLOCK.monotonic() - (passed or 0.0)
        try:
            poll, plan = self.make_poll(), self.make_plan()
            poll.check()
            plan.check()
            self._state = PollState(poll, plan, log=self.log)
            self._connect(context, passed is not None)
        except PixxelError as error:
            if self.never_fail:
                self._conclude(PollResult.from_error(error), context)
            raise

    def _elapsed(self) -> float:
        return CLOCK.monotonic() - self._begun

    def _pause(self, seconds: float) -> None:
        CLOCK.sleep(seconds)

    def _connect(self, context: Context, resumed: bool) -> None:
        self._hook = self._open_hook()
        self._publish(context, self._settings(context, resumed))

    def _open_hook(self) -> PixxelHook:
        from pixxel_provider.hooks.pixxel import PixxelHook

        return PixxelHook(self.pixxel_conn_id)

    def _settings(self, context: Context, resumed: bool = False) -> Settings | None:
        """Return what the connection says.

        In the middle of a wait None where it can't be read: its secrets backend may be away for a moment, and
        each request says so.
        """
        try:
            return self._hook.settings
        except PixxelError:
            if resumed or self._was_rescheduled(context):
                return None
            raise

    def _was_rescheduled(self, context: Context) -> bool:
        return False

    def _ask(self, retry_for: float = 0.0) -> Any:
        from pixxel_provider.hooks.connection_lookup import as_transient

        try:
            # Once, most often: the wait itself decides when to try again.
            return self._hook.send(self._state.poll.call(), retry_for=retry_for)
        except PixxelError as error:
            return as_transient(error)

    def _trigger(self, **wait: Any) -> BaseTrigger:
        from pixxel_provider.triggers.base import PixxelWaitTrigger

        return PixxelWaitTrigger(self._state.poll, **wait)

    def _defer(self, answer: Any) -> None:
        now, elapsed, plan = CLOCK.time(), self._elapsed(), self._state.plan
        retry_after = answer.retry_after if isinstance(answer, PixxelError) else None
        self.defer(
            trigger=self._trigger(
                **vars(plan),
                pixxel_conn_id=self.pixxel_conn_id,
                started_at=now - elapsed,
                not_before=now + retry_after if retry_after else None,
                missing_since=now if isinstance(answer, PixxelNotFoundError) else None,
            ),
            method_name="execute_complete",
            timeout=deferral_timeout(plan.timeout - elapsed),
        )

    def _deferral_limit(self) -> float:
        # execution_timeout too ends a deferral of Airflow 2, or of the scheduler, and none says which it was.
        timeout = self._state.plan.timeout
        if self.execution_timeout is None or not (EXECUTION_TIMEOUT_ENDS_DEFERRAL or self.start_from_trigger):
            return timeout
        return min(timeout, self.execution_timeout.total_seconds())


class JobMixin(WaitMixin):
    """What concerns one job of a workflow.

    A subclass has the argument ``workflow_id``.
    """

    workflow_id: str
    #: The job, as soon as it is known.
    job_id: str = ""
    operator_extra_links = (PixxelJobLink(),)

    def _publish(self, context: Context, settings: Settings | None) -> None:
        push_job(context, self.workflow_id, self.job_id, self.pixxel_conn_id)
        if settings is not None and (link := settings.console_link(self.workflow_id, self.job_id)):
            publish_link(context, link)

    def _describe_outlets(self, context: Context, values: Mapping[str, Any]) -> None:
        describe_outlets(self, context, {WORKFLOW: self.workflow_id, JOB: self.job_id, **values})

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Report to OpenLineage which job it is, as far as it is known."""
        return self._lineage()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Report to OpenLineage how the task ended, what it read and what it wrote."""
        return self._lineage()

    get_openlineage_facets_on_failure = get_openlineage_facets_on_complete

    def _lineage(self) -> OperatorLineage[Any, Any]:
        from pixxel_provider.lineage import report

        # Nothing is looked up: this runs in a forked process, in which a question to Airflow may hang.
        hook = getattr(self, "_hook", None)
        return report(
            workflow_id=self.workflow_id,
            job_id=self.job_id,
            project_id=getattr(self, "project_id", None),
            settings=None if hook is None else vars(hook).get("settings"),
            metadata=None if self._result is None else self._result.metadata,
            error=self.raised_error,
            outputs=self._outputs(),
        )

    def _outputs(self) -> list[OutputDataset]:
        """Return what was stored, as OpenLineage's datasets."""
        return []


def _passed(context: Context, event: Any = None) -> float:
    """Return the seconds since the wait began, by the trigger's event or else by the task's own start."""
    began = started_at(event)
    if began is None and isinstance(start := getattr(context["ti"], "start_date", None), datetime.datetime):
        began = start.timestamp()
    return 0.0 if began is None else max(CLOCK.time() - began, 0.0)
