"""How an operator waits for a job, on a worker or in the triggerer: what the sensor and the run share."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from pixxel_provider.api.errors import PixxelError, PixxelNotFoundError
from pixxel_provider.api.polling import PollResult, PollState, WaitPlan, check_plan
from pixxel_provider.links.pixxel import PixxelJobLink, publish_link
from pixxel_provider.outcome import (
    conclude,
    push_end,
    push_job,
    result_of,
    started_at,
    why_no_result,
    without_causes,
)
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from pixxel_provider.api.job import Job
    from pixxel_provider.hooks.pixxel import PixxelHook

# What Airflow resumes a task with whose trigger crashed, or never answered.
_TRIGGER_FAILED = "__fail__"
# The trigger keeps the deadline itself; Airflow's comes this many seconds later, if the triggerer is gone.
_SLACK = 120.0
#: Seconds for which reschedule mode keeps its worker while a job is missing.
LONGEST_STAY = 300.0
#: Airflow can't add more than this to a date.
LONGEST_DEFERRAL = datetime.timedelta(days=3650)


class _EndedBetweenPokes(Exception):
    """Takes a job's metadata out of Airflow's loop, which ends only with a look."""


class PixxelWaitingOperator(BaseSensorOperator):
    """Wait until a job has ended; a subclass says which, and from when on it is known.

    :param workflow_id: the workflow the job belongs to (templated).
    :param pixxel_conn_id: id of the Airflow connection (templated).

    The other arguments are described at :class:`~pixxel_provider.sensors.pixxel.PixxelJobSensor`.
    """

    #: The job that is waited for, as soon as it is known.
    job_id: str = ""
    end_from_trigger = False
    operator_extra_links = (PixxelJobLink(),)
    ui_color = "#dfe9e2"

    def __init__(
        self,
        *,
        workflow_id: str,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        success_statuses: Sequence[str] | None = None,
        failure_statuses: Sequence[str] | None = None,
        not_found_grace: float = 60.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: datetime.timedelta | float = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.workflow_id = workflow_id
        self.pixxel_conn_id = pixxel_conn_id
        self.success_statuses = success_statuses
        self.failure_statuses = failure_statuses
        self.not_found_grace = not_found_grace
        self.deferrable = deferrable

    @without_causes()
    def execute(self, context: Context) -> Any:
        """Wait, in whichever mode, and return the job's metadata."""
        self._begin(context)
        if self.deferrable:
            return self._defer(context)
        # The wait itself goes on after what silent_fail is about. Airflow would go on after anything.
        silent_fail, self.silent_fail = self.silent_fail, False
        try:
            return super().execute(context)
        except _EndedBetweenPokes as end:
            return end.args[0]
        except (AirflowSensorTimeout, AirflowSkipException) as error:
            # Whatever ends the wait sets _result, and execution_timeout comes as a cause. Else time is over.
            if self._result is not None or error.__cause__ is not None:
                raise
        finally:
            self.silent_fail = silent_fail
        return self._conclude(self._poll.timed_out(), context)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look at the job once."""
        if not hasattr(self, "_poll"):
            self._begin(context)
        result = self._poll.judge(self._ask())
        return False if result is None else PokeReturnValue(True, self._conclude(result, context))

    @without_causes()
    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Take over from the trigger, whose event says how the wait ended."""
        result = result_of(event)
        if result is None:
            self.log.warning("Looking again, on a worker: %s.", why_no_result(event))
            self._begin(context, resumed=True)
            began = started_at(event)
            if began is not None:
                self._begun -= max(time.time() - began, 0.0)
            return self._defer(context)
        return self._conclude(result, context)

    @without_causes()
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the trigger; where that broke or never answered, look at the job before giving up."""
        if next_method == _TRIGGER_FAILED:
            why = str((next_kwargs or {}).get("error", ""))
            self._begin(context, resumed=True)
            result = self._poll.judge(self._ask())
            if result is None and "timeout" in why.lower():
                result = self._poll.timed_out(self._deferral_limit())
            elif result is None and self.never_fail:
                result = PollResult("error", f"The trigger could not be run: {why}.")
            if result is not None:
                return self._conclude(result, context)
        # Past BaseSensorOperator, which would replace what we say on a skip by a sentence without the reason.
        return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)

    def _deferral_limit(self) -> float:
        # execution_timeout too ends a deferral of Airflow 2, or of the scheduler, and none says which it was.
        if self.execution_timeout is None or (AIRFLOW_V_3_0_PLUS and not self.start_from_trigger):
            return self.timeout
        return min(self.timeout, self.execution_timeout.total_seconds())

    def _deferral_timeout(self) -> datetime.timedelta:
        return datetime.timedelta(seconds=min(self.timeout + _SLACK, LONGEST_DEFERRAL.total_seconds()))

    def _as_plan(self) -> WaitPlan:
        # What was set after __init__, as by a cluster policy, Airflow hasn't turned into seconds.
        self.timeout, self.poke_interval = _seconds(self.timeout), _seconds(self.poke_interval)
        return WaitPlan(
            workflow_id=self.workflow_id,
            job_id=self.job_id,
            success_statuses=_listed(self.success_statuses),
            failure_statuses=_listed(self.failure_statuses),
            poke_interval=self.poke_interval,
            timeout=self.timeout,
            exponential_backoff=bool(self.exponential_backoff),
            max_wait=_seconds(self.max_wait) if self.max_wait else None,
            not_found_grace=self.not_found_grace,
            silent_fail=bool(self.silent_fail),
        )

    def _begin(self, context: Context, *, resumed: bool = False) -> None:
        self._context = context
        self._result: PollResult | None = None
        self._begun = time.monotonic()
        self._plan = self._as_plan()
        try:
            check_plan(self._plan)
            self._poll = PollState(self._plan, log=self.log)
            if self.reschedule and not self.deferrable:
                self._poll.retries_soon, self._poll.longest_not_found = False, self._longest_stay()
            self._connect(context, resumed)
        except PixxelError as error:
            self._conclude(PollResult.from_error(error), context)
            raise

    def _connect(self, context: Context, resumed: bool) -> None:
        """Read the connection, and let people see which job this is."""
        self._hook = self._open_hook()
        if link := self._link(context, resumed):
            publish_link(context, link)
        push_job(context, self.workflow_id, self.job_id, self.pixxel_conn_id)

    def _open_hook(self) -> PixxelHook:
        # Imported here, like the trigger: a DAG file that is only parsed never needs it.
        from pixxel_provider.hooks.pixxel import PixxelHook

        return PixxelHook(self.pixxel_conn_id, monotonic=time.monotonic)

    def _link(self, context: Context, resumed: bool = False) -> str:
        """Return the job's page, which is the first thing that needs the connection.

        In the middle of a wait it is empty where the connection can't be read: its secrets backend may be
        away for a moment, and each look tells.
        """
        try:
            return self._hook.settings.console_link(self.workflow_id, self.job_id)
        except PixxelError:
            if resumed or self._was_rescheduled(context):
                return ""
            raise

    def _was_rescheduled(self, context: Context) -> bool:
        if self.deferrable or not self.reschedule:
            return False
        ti: Any = context["ti"]
        if AIRFLOW_V_3_0_PLUS:
            return ti.get_first_reschedule_date(context) is not None
        # Airflow 2 asks its database, and only so.
        base = sys.modules[BaseSensorOperator.__module__]
        first_try = ti.max_tries - (self.retries or 0) + 1
        key = {name: getattr(ti, name) for name in ("dag_id", "task_id", "run_id", "map_index")}
        return base._orig_start_date(**key, try_number=first_try) is not None

    def _ask(self) -> Job | PixxelError:
        from pixxel_provider.api import calls
        from pixxel_provider.hooks.connection_lookup import as_transient

        try:
            # Once: the wait itself decides when to try again.
            return self._hook.send(calls.get_job(self.workflow_id, self.job_id), retry_for=0)
        except PixxelError as error:
            return as_transient(error)

    def _defer(self, context: Context) -> Any:
        elapsed = time.monotonic() - self._begun
        answer = self._ask()
        result = self._poll.judge(answer) or self._poll.overdue(time.monotonic() - self._begun)
        if result is not None:
            return self._conclude(result, context)
        from pixxel_provider.triggers.pixxel import PixxelJobTrigger

        now = time.time()
        retry_after = answer.retry_after if isinstance(answer, PixxelError) else None
        self.defer(
            trigger=PixxelJobTrigger(
                **self._plan.fields(),
                pixxel_conn_id=self.pixxel_conn_id,
                started_at=now - elapsed,
                not_before=now + retry_after if retry_after else None,
                missing_since=now if isinstance(answer, PixxelNotFoundError) else None,
            ),
            method_name="execute_complete",
            timeout=self._deferral_timeout(),
        )

    def _conclude(self, result: PollResult, context: Context) -> dict[str, Any]:
        self._result = result
        if result.metadata is not None:
            push_end(context, result.metadata)
        if result.kind == "succeeded":
            self.log.info(result.message)
        return conclude(result, soft_fail=self.soft_fail, never_fail=self.never_fail)

    def _get_next_poke_interval(
        self,
        started_at: datetime.datetime | float,
        run_duration: Callable[[], float],
        poke_count: int,
    ) -> float:
        # Airflow calls this after each look that left the job unfinished, with the time since the first one,
        # which in reschedule mode only Airflow knows.
        result = self._poll.overdue(run_duration())
        if result is None and self.reschedule:
            result = self._stay(run_duration)
        if result is not None:
            raise _EndedBetweenPokes(self._conclude(result, self._context))
        return self._poll.next_delay(run_duration())

    def _longest_stay(self) -> float:
        limit = self.execution_timeout
        return LONGEST_STAY if limit is None else min(LONGEST_STAY, limit.total_seconds() / 2)

    def _stay(self, run_duration: Callable[[], float]) -> PollResult | None:
        """Look on in this process while the job is missing: the next one wouldn't know since when it is."""
        result = None
        self._poll.retries_soon = True
        while result is None and self._poll.keeps_worker(run_duration()):
            gap = self._poll.next_delay(run_duration())
            if gap > self._longest_stay():
                # The server asked for it; a worker isn't held for that.
                break
            time.sleep(gap)
            result = self._poll.judge(self._ask()) or self._poll.overdue(run_duration())
        self._poll.retries_soon = False
        return result


def _seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, datetime.timedelta) else value


def _listed(statuses: Sequence[str] | None) -> Any:
    return list(statuses) if isinstance(statuses, (list, tuple, set, frozenset)) else statuses
