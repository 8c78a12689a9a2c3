"""Run a sensor to its end in each of Airflow's modes, with a clock that doesn't wait."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import BaseSensorOperator, TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from pixxel_provider.compat import triggerer
from pixxel_provider.sensors.pixxel import PixxelJobSensor
from pixxel_provider.triggers.base import PixxelWaitTrigger
from pixxel_provider.waiting.base import WaitMixin
from tests.support import RecordingLog, outlet_events

#: The last two begin in the triggerer, and the very last ends there too; before Airflow 3.3 on workers.
MODES = ("poke", "reschedule", "deferred", "started", "unaided")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke", "deferrable": False},
    "reschedule": {"mode": "reschedule", "deferrable": False},
    "deferred": {"deferrable": True},
    "started": {"start_from_trigger": True},
    "unaided": {"start_from_trigger": True, "end_from_trigger": True},
}
STATES = {"success": "success", "AirflowSkipException": "skipped"}


@dataclass
class Ended:
    """How a task ended, as Airflow and a person see it."""

    kind: str
    message: str = ""
    returned: Any = None
    xcoms: dict[str, Any] = field(default_factory=dict)

    @property
    def visible(self) -> tuple[Any, ...]:
        # When a job was looked at last depends on the jitter, and these fields on that.
        when = {"updated_at": None, "exec_updated_at": None}
        returned = {**self.returned, **when} if self.returned else self.returned
        return self.kind, self.message, returned, self.xcoms

    @property
    def state(self) -> str:
        """The state that Airflow gives the task."""
        return STATES.get(self.kind, "failed")

    @property
    def told(self) -> tuple[Any, ...]:
        """The same where no worker raised an exception: the task's state stands for its kind."""
        return (self.state, *self.visible[1:])

    def tells_as(self, other: Ended) -> bool:
        """Whether both say the same, as far as the one whose end no worker saw can say it."""
        if "failed" in (self.kind, other.kind):
            return self.told == other.told
        return self.visible == other.visible


class FakeXCom:
    """The XComs of one task instance, reached as the triggerer reaches them."""

    def __init__(self, ti: Any) -> None:
        self.xcoms: dict[str, Any] = ti.xcoms

    def set(self, *, key: str, value: Any, **_: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value, allow_nan=False))

    def get_one(self, *, key: str, **_: Any) -> Any:
        return self.xcoms.get(key)

    def delete(self, *, key: str, **_: Any) -> None:
        del self.xcoms[key]


class Runner:
    """Plays Airflow for one task, a sensor: workers, the scheduler's reschedules, and the triggerer."""

    def __init__(self, mode: str, pixxel: Any, clock: Any, monkeypatch: pytest.MonkeyPatch, ti: Any) -> None:
        self.mode, self.pixxel, self.clock, self.ti = mode, pixxel, clock, ti
        self.workers = 0
        self.deferrals: list[TaskDeferred] = []
        self.events: list[dict[str, Any]] = []
        self.lose_trigger = False
        self.lost_with = "Trigger timeout"
        self.error: BaseException | None = None
        self.said: list[str] = []
        self.ends_unaided = mode == "unaided" and AIRFLOW_V_3_3_PLUS
        clock.on_sleep.append(pixxel.advance)
        fake_time = SimpleNamespace(sleep=clock.sleep, monotonic=clock, time=clock)
        base = sys.modules[BaseSensorOperator.__module__]
        monkeypatch.setattr(base, "time", fake_time)
        monkeypatch.setattr(base, "timezone", SimpleNamespace(utcnow=self._utcnow))
        if hasattr(base, "_orig_start_date"):
            monkeypatch.setattr(base, "_orig_start_date", lambda **_: ti.first_reschedule_date)
            monkeypatch.setattr(base, "_is_metadatabase_mysql", lambda: False)
        clock.put_in(monkeypatch)
        for speaker in (WaitMixin, PixxelWaitTrigger):
            monkeypatch.setattr(speaker, "log", RecordingLog(self.said, levels=False), raising=False)
        monkeypatch.setattr(triggerer, "XCom", FakeXCom(ti))

    def operator(self, **arguments: Any) -> Any:
        usual = {"workflow_id": "wf-succeeds", "job_id": "job-1", "task_id": "wait"}
        return PixxelJobSensor(**{**usual, **arguments, **ARGUMENTS[self.mode]})

    def run(self, **arguments: Any) -> Ended:
        """Run a task with these arguments until Airflow would call it ended."""
        context: Any = {"ti": self.ti}
        resume: Any = None
        task = self.operator(**arguments)
        if getattr(task, "start_from_trigger", False):
            start = task.start_trigger_args
            resume = self._triggerer((start.trigger_cls, start.trigger_kwargs), start)
        while True:
            if isinstance(resume, Ended):
                return resume
            if self.workers or resume is not None:
                task = self.operator(**arguments)
            self.workers += 1
            context["outlet_events"] = self.outlet_events = outlet_events()
            try:
                if resume is None:
                    returned = task.execute(context)
                else:
                    returned = task.resume_execution(resume[0], resume[1], context)
                return Ended("success", returned=returned, xcoms=self.ti.xcoms)
            except AirflowRescheduleException as pause:
                self.ti.first_reschedule_date = self.ti.first_reschedule_date or self._utcnow()
                self.clock.sleep((pause.reschedule_date - self._utcnow()).total_seconds())
            except TaskDeferred as deferral:
                self.deferrals.append(deferral)
                resume = self._triggerer(deferral.trigger.serialize(), deferral)
            except BaseException as error:
                self.error = error
                return Ended(type(error).__name__, str(error), xcoms=self.ti.xcoms)

    def _triggerer(self, stored: tuple[str, dict[str, Any]], deferral: Any) -> Any:
        """Run a trigger; return what a worker goes on with, or how the task ended without one."""
        if self.lose_trigger:
            self.clock.sleep(deferral.timeout.total_seconds() if deferral.timeout else 0)
            return "__fail__", {"error": self.lost_with}
        module, _, name = stored[0].rpartition(".")
        trigger = getattr(import_module(module), name)(**json.loads(json.dumps(stored[1])))
        trigger.clock = self.clock
        trigger.timeout_after = self._utcnow() + deferral.timeout
        if hasattr(trigger, "render_template_fields"):
            # Those of other classes have it only where Airflow calls it.
            trigger.render_template_fields({"ti": self.ti})

        async def first_event() -> Any:
            events = trigger.run()
            try:
                return await anext(events)
            finally:
                await events.aclose()

        event = asyncio.run(first_event())
        state = getattr(event, "task_instance_state", None)
        if state is not None:
            returned = self.ti.xcoms.pop("return_value", None)
            kind = {"skipped": "AirflowSkipException"}.get(str(state), str(state))
            return Ended(kind, "" if kind == "success" else self.said[-1], returned, self.ti.xcoms)
        self.events.append(json.loads(json.dumps(event.payload, allow_nan=False)))
        return getattr(deferral, "method_name", None) or deferral.next_method, {"event": self.events[-1]}

    def _utcnow(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now, timezone.utc)
