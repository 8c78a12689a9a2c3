"""Play Airflow for a task that runs a job: tries that are killed at any moment, deferrals, clearings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    TaskDeferred,
)

from pixxel_provider.api.errors import (
    PixxelConnectionError,
    PixxelError,
    PixxelResponseError,
    PixxelServerError,
)
from pixxel_provider.clock import CLOCK
from pixxel_provider.hooks.pixxel import PixxelHook
from pixxel_provider.operators.pixxel import PixxelRunJobOperator
from tests.sensors.waiting import Ended, Runner
from tests.support import FakeClock, FakeTaskInstance, outlet_events

FINAL = (AirflowFailException, AirflowSensorTimeout, AirflowSkipException)
#: In place of an answer to the request that is billed.
LOST: dict[str, PixxelError] = {
    "timeout": PixxelConnectionError("No answer in 60 s.", reason="timeout", sent=True),
    "server": PixxelServerError("bad gateway", status_code=502),
    "unreadable": PixxelResponseError("The answer isn't JSON."),
}


class Killed(BaseException):
    """The worker's process is gone; nothing of it runs any more."""


class TriggererGone(SystemExit):
    """The triggerer's process is gone, and with it the event loop: no task of the loop may go on."""


class FakeStore:
    """Airflow's ``task_state_store`` of one task instance; it outlives the tries, and takes JSON only."""

    def __init__(self, step: Callable[[str], None]) -> None:
        self.values: dict[str, str] = {}
        self.step = step
        self.broken = False

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, **_: Any) -> None:
        self.step(f"before set {value.get('state')}")
        if self.broken:
            raise RuntimeError("the supervisor is gone")
        self.values[key] = json.dumps(value, allow_nan=False)
        self.step(f"after set {value.get('state')}")

    def delete(self, key: str) -> None:
        self.step("before delete")
        self.values.pop(key, None)
        self.step("after delete")


class RunRunner(Runner):
    """Plays Airflow for one task instance of a :class:`PixxelRunJobOperator`.

    ``steps`` holds every moment at which a worker, or the triggerer, may die, by name; ``kill`` is asked at
    each, and returns True to end the process there.
    """

    def __init__(
        self,
        mode: str,
        pixxel: Any,
        clock: Any,
        monkeypatch: Any,
        ti: Any,
        retries: int = 3,
        store: bool = True,
    ) -> None:
        super().__init__(mode, pixxel, clock, monkeypatch, ti)
        self.retries = retries
        self.dag_run = SimpleNamespace(start_date=self._utcnow())
        self.steps: list[str] = []
        self.kill: Callable[[str], bool] = lambda step: False
        self.store = FakeStore(self.step) if store else None
        ti.task_id, ti.try_number, ti.max_tries = "run", 1, retries
        ti.task.retries = retries
        fake_time = SimpleNamespace(sleep=self._nap, monotonic=clock, time=clock)
        monkeypatch.setattr(sys.modules[BaseSensorOperator.__module__], "time", fake_time)
        monkeypatch.setattr(clock, "async_sleep", self._asleep)
        push = type(ti).xcom_push

        def xcom_push(_: Any, key: str, value: Any, **more: Any) -> None:
            self.step(f"before xcom {key}")
            push(ti, key, json.loads(json.dumps(value, allow_nan=False)), **more)

        monkeypatch.setattr(type(ti), "xcom_push", xcom_push)
        send = PixxelHook.exchange
        self._lost: list[PixxelError] = []

        def exchange(hook: Any, settings: Any, call: Any, request: Any) -> Any:
            lost = self._lost.pop() if call.name == "create_job" and self._lost else None
            if lost is None or self._accepted:
                self.step(f"before {call.name}")
                answer = send(hook, settings, call, request)
                self.step(f"after {call.name}")
            if lost is not None:
                raise lost
            return answer

        monkeypatch.setattr(PixxelHook, "exchange", exchange)
        monkeypatch.setattr(CLOCK, "sleep", self._nap)

    def lose(self, kind: str, *, accepted: bool = True, times: int = 1) -> None:
        """Lose the next answers to requests to create a job, after Pixxel accepted them or before."""
        self._lost, self._accepted = [LOST[kind]] * times, accepted

    def jobs(self, workflow_id: str = "wf-succeeds") -> list[str]:
        """Return the jobs of a workflow that weren't there from the start."""
        return [job.id for job in self.pixxel.world.jobs_of(workflow_id) if not job.id.startswith("job-")]

    def step(self, name: str) -> None:
        self.steps.append(name)
        if self.kill(name):
            raise Killed(name)

    def run(self, resume: Any = None, **arguments: Any) -> Ended:
        """Run the task until Airflow would call it ended.

        :param resume: what its first process goes on with after a deferral: a method's name, its arguments.
        """
        while True:
            operator = self.operator(**arguments)
            context: Any = {"ti": self.ti, "dag_run": self.dag_run}
            context["outlet_events"] = self.outlet_events = outlet_events()
            if self.store is not None:
                context["task_state_store"] = self.store
            self.workers += 1
            try:
                if resume is None:
                    returned = operator.execute(context)
                else:
                    returned = operator.resume_execution(resume[0], resume[1], context)
                self.step("before success")
                return Ended("success", returned=returned, xcoms=dict(self.ti.xcoms))
            except AirflowRescheduleException as pause:
                self.ti.first_reschedule_date = self.ti.first_reschedule_date or self._utcnow()
                self.ti.xcoms.clear()
                self.clock.sleep((pause.reschedule_date - self._utcnow()).total_seconds())
            except TaskDeferred as deferral:
                self.deferrals.append(deferral)
                resume = self._triggerer(deferral.trigger.serialize(), deferral)
            except FINAL as error:
                return Ended(type(error).__name__, str(error), xcoms=dict(self.ti.xcoms))
            except (Exception, Killed) as error:
                if self.ti.try_number > self.ti.max_tries:
                    return Ended(type(error).__name__, str(error), xcoms=dict(self.ti.xcoms))
                self._next_try()
                resume = None

    def clear(self) -> None:
        """Clear the task, as a person does after the end of its DAG run, which then starts anew."""
        self.ti.max_tries = self.ti.try_number + self.retries
        self._next_try()
        self.dag_run.start_date = self._utcnow()

    def operator(self, **arguments: Any) -> PixxelRunJobOperator:
        given = {
            "task_id": "run",
            "workflow_id": "wf-succeeds",
            "project_id": "project-agriculture",
            "retries": self.retries,
            "deferrable": self.mode == "deferred",
            **arguments,
        }
        if self.mode == "reschedule":
            given["mode"] = "reschedule"
        return PixxelRunJobOperator(**given)

    def _nap(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.step("asleep")

    async def _asleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.steps.append("in the triggerer")
        if self.kill("in the triggerer"):
            raise TriggererGone

    def _triggerer(self, stored: tuple[str, dict[str, Any]], deferral: Any) -> Any:
        while True:
            try:
                return super()._triggerer(stored, deferral)
            except TriggererGone:
                # Until another triggerer takes over what this one had.
                self.clock.sleep(30)

    def _next_try(self) -> None:
        self.ti.try_number += 1
        self.ti.xcoms.clear()
        self.ti.first_reschedule_date = None
        # retry_delay
        self.clock.sleep(10)


def once(step: str) -> Callable[[str], bool]:
    """Kill the worker when it comes to this step for the first time."""
    left = [step]
    return lambda at: at in left and left.remove(at) is None  # type: ignore[func-returns-value]


@pytest.fixture
def make(pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunRunner]:
    """A task's surroundings, made by the test."""

    def made(mode: str = "deferred", **given: Any) -> RunRunner:
        return RunRunner(mode, pixxel, FakeClock(), monkeypatch, FakeTaskInstance(), **given)

    return made


@pytest.fixture
def runs(make: Callable[..., RunRunner]) -> RunRunner:
    return make()
