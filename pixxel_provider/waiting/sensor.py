"""What waits in a sensor, in the modes that Airflow gives it: poke, reschedule and deferrable."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from pixxel_provider.clock import CLOCK
from pixxel_provider.compat.tasks import PokeLoop, was_rescheduled
from pixxel_provider.outcome import without_causes
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID
from pixxel_provider.waiting.base import JobMixin, WaitMixin
from pixxel_provider.xcom import END_KEYS, JOB, push_end

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from pixxel_provider.api.judges import JobPoll
    from pixxel_provider.api.polling import PollResult, WaitPlan

#: Seconds for which reschedule mode keeps its worker while a job is missing.
LONGEST_STAY = 300.0


class _EndedBetweenPokes(Exception):
    """Takes what a task returns out of Airflow's loop, which ends only with a poke."""


class PixxelWaitingSensor(WaitMixin, PokeLoop, BaseSensorOperator):
    """Wait in each mode of a sensor; a subclass says what for.

    :param pixxel_conn_id: id of the Airflow connection (templated).

    The other arguments are described at :class:`~pixxel_provider.sensors.pixxel.PixxelJobSensor`.
    """

    ui_color = "#dfe9e2"

    def __init__(
        self,
        *,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        not_found_grace: float = 60.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: datetime.timedelta | float = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.pixxel_conn_id = pixxel_conn_id
        self.not_found_grace = not_found_grace
        self.deferrable = deferrable

    @without_causes
    def execute(self, context: Context) -> Any:
        """Wait, in whichever mode."""
        if self.deferrable:
            return self._wait(context)
        self._begin(context)
        # The wait itself goes on after what silent_fail is about. Airflow would go on after anything.
        silent_fail, self.silent_fail = self.silent_fail, False
        try:
            return super().execute(context)
        except _EndedBetweenPokes as end:
            return end.args[0]
        except (AirflowSensorTimeout, AirflowSkipException) as error:
            # A result ends the wait, and execution_timeout comes as a cause. Else time is over.
            if self._has_ended or error.__cause__ is not None:
                raise
        finally:
            self.silent_fail = silent_fail
        return self._conclude(self._state.timed_out(), context)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Ask once."""
        if not hasattr(self, "_state"):
            self._begin(context)
        answer = self._ask()
        result = self._state.judge(answer)
        return False if result is None else PokeReturnValue(True, self._conclude(result, context, answer))

    def make_plan(self) -> WaitPlan:
        from pixxel_provider.api.polling import WaitPlan

        # What was set after __init__, as by a cluster policy, Airflow hasn't turned into seconds.
        self.timeout, self.poke_interval = _seconds(self.timeout), _seconds(self.poke_interval)
        return WaitPlan(
            poke_interval=self.poke_interval,
            timeout=self.timeout,
            exponential_backoff=bool(self.exponential_backoff),
            max_wait=_seconds(self.max_wait) if self.max_wait else None,
            not_found_grace=self.not_found_grace,
            silent_fail=bool(self.silent_fail),
        )

    def _conclude(self, result: PollResult, context: Context, answer: Any = None) -> Any:
        self._has_ended = True
        return super()._conclude(result, context, answer)

    def _begin(self, context: Context, passed: float | None = None) -> None:
        self._has_ended = False
        super()._begin(context, passed)
        if self.reschedule and not self.deferrable:
            self._state.retries_soon, self._state.longest_not_found = False, self._longest_stay()

    def _was_rescheduled(self, context: Context) -> bool:
        return self.reschedule and not self.deferrable and was_rescheduled(self, context)

    def delay_after_poke(self, elapsed: Callable[[], float]) -> float:
        """Return the seconds to the next poke, after one that didn't end the wait."""
        result = self._state.overdue(elapsed())
        if result is None and self.reschedule:
            result = self._stay(elapsed)
        if result is not None:
            raise _EndedBetweenPokes(self._conclude(result, self._context))
        return self._state.next_delay(elapsed())

    def _longest_stay(self) -> float:
        limit = self.execution_timeout
        return LONGEST_STAY if limit is None else min(LONGEST_STAY, limit.total_seconds() / 2)

    def _stay(self, elapsed: Callable[[], float]) -> PollResult | None:
        """Ask on in this process while the answer is 404: the next one wouldn't know since when it is."""
        result = None
        self._state.retries_soon = True
        while result is None and self._state.keeps_worker(elapsed()):
            gap = self._state.next_delay(elapsed())
            if gap > self._longest_stay():
                # The server asked for it; a worker isn't held for that.
                break
            CLOCK.sleep(gap)
            # First, as it may replace the state.
            answer = self._ask()
            result = self._state.judge(answer) or self._state.overdue(elapsed())
        self._state.retries_soon = False
        return result


class PixxelWaitingOperator(JobMixin, PixxelWaitingSensor):
    """Wait until a job has ended; a subclass says which, and from when on it is known.

    :param workflow_id: the workflow the job belongs to (templated).

    The other arguments are described at :class:`~pixxel_provider.sensors.pixxel.PixxelJobSensor`.
    """

    end_from_trigger = False

    def __init__(
        self,
        *,
        workflow_id: str,
        success_statuses: Sequence[str] | None = None,
        failure_statuses: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_id = workflow_id
        self.success_statuses = success_statuses
        self.failure_statuses = failure_statuses

    def make_poll(self) -> JobPoll:
        from pixxel_provider.api.judges import JobPoll

        statuses = listed(self.success_statuses), listed(self.failure_statuses)
        return JobPoll(self.workflow_id, self.job_id, *statuses)

    def _trigger(self, **wait: Any) -> BaseTrigger:
        from pixxel_provider.triggers.pixxel import PixxelJobTrigger

        return PixxelJobTrigger(**self._state.poll.fields(), **wait)

    def _conclude(self, result: PollResult, context: Context, answer: Any = None) -> Any:
        if result.metadata is not None:
            push_end(context, result.metadata)
        metadata = super()._conclude(result, context, answer)
        # The process that resumes a wait whose id wasn't given has it from the answer alone.
        identified = {JOB: metadata.get("id") or self.job_id}
        self._describe_outlets(context, {**identified, **{key: metadata.get(key) for key in END_KEYS}})
        return metadata


def _seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, datetime.timedelta) else value


def listed(statuses: Sequence[str] | None) -> Any:
    """Return statuses as JSON has them; what can't be statuses unchanged, to be refused later."""
    return list(statuses) if isinstance(statuses, (list, tuple, set, frozenset)) else statuses
