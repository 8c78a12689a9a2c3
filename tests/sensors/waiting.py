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

from pixxel_provider.sensors import pixxel as sensors
from pixxel_provider.sensors.pixxel import PixxelJobSensor
from pixxel_provider.triggers.pixxel import PixxelJobTrigger

MODES = ("poke", "reschedule", "deferred")


@dataclass
class Ended:
    """How a task ended, as Airflow and a person see it."""

    kind: str
    message: str = ""
    returned: Any = None
    xcoms: dict[str, Any] = field(default_factory=dict)

    @property
    def visible(self) -> tuple[Any, ...]:
        # When a job was looked at last depends on the jitter, and this field on that.
        returned = {**self.returned, "updated_at": None} if self.returned else self.returned
        return self.kind, self.message, returned, self.xcoms


class Runner:
    """Plays Airflow for one sensor: workers, the scheduler's reschedules, and the triggerer."""

    def __init__(self, mode: str, pixxel: Any, clock: Any, monkeypatch: pytest.MonkeyPatch, ti: Any) -> None:
        self.mode, self.pixxel, self.clock, self.ti = mode, pixxel, clock, ti
        self.workers = 0
        self.deferrals: list[TaskDeferred] = []
        self.lose_trigger = False
        self.said: list[str] = []
        clock.on_sleep.append(pixxel.advance)
        fake_time = SimpleNamespace(sleep=clock.sleep, monotonic=clock, time=clock)
        base = sys.modules[BaseSensorOperator.__module__]
        monkeypatch.setattr(base, "time", fake_time)
        monkeypatch.setattr(base, "timezone", SimpleNamespace(utcnow=self._utcnow))
        if hasattr(base, "_orig_start_date"):
            monkeypatch.setattr(base, "_orig_start_date", lambda **_: ti.first_reschedule_date)
            monkeypatch.setattr(base, "_is_metadatabase_mysql", lambda: False)
        monkeypatch.setattr(sensors, "time", fake_time)
        for speaker in (PixxelJobSensor, PixxelJobTrigger):
            monkeypatch.setattr(speaker, "_say", lambda _, level, words: self.said.append(words))

    def run(self, **arguments: Any) -> Ended:
        """Run a sensor with these arguments until Airflow would call the task ended."""
        arguments = {"workflow_id": "wf-succeeds", "job_id": "job-1", "task_id": "wait", **arguments}
        arguments.update(
            {"deferrable": True} if self.mode == "deferred" else {"mode": self.mode, "deferrable": False}
        )
        context: Any = {"ti": self.ti}
        resume: tuple[str, dict[str, Any]] | None = None
        while True:
            self.workers += 1
            sensor = PixxelJobSensor(**arguments)
            try:
                if resume is None:
                    returned = sensor.execute(context)
                else:
                    returned = sensor.resume_execution(resume[0], resume[1], context)
                return Ended("success", returned=returned, xcoms=self.ti.xcoms)
            except AirflowRescheduleException as pause:
                self.ti.first_reschedule_date = self.ti.first_reschedule_date or self._utcnow()
                self.clock.sleep((pause.reschedule_date - self._utcnow()).total_seconds())
            except TaskDeferred as deferral:
                self.deferrals.append(deferral)
                resume = self._triggerer(deferral)
            except BaseException as error:
                return Ended(type(error).__name__, str(error), xcoms=self.ti.xcoms)

    def _triggerer(self, deferral: TaskDeferred) -> tuple[str, dict[str, Any]]:
        if self.lose_trigger:
            self.clock.sleep(deferral.timeout.total_seconds())
            return "__fail__", {"error": "Trigger timeout"}
        path, stored = deferral.trigger.serialize()
        module, _, name = path.rpartition(".")
        trigger = getattr(import_module(module), name)(**json.loads(json.dumps(stored)))
        trigger._pause, trigger._monotonic, trigger._now = self.clock.asleep, self.clock, self.clock

        async def first_event() -> Any:
            events = trigger.run()
            try:
                return (await anext(events)).payload
            finally:
                await events.aclose()

        payload = asyncio.run(first_event())
        return deferral.method_name, {"event": json.loads(json.dumps(payload, allow_nan=False))}

    def _utcnow(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now, timezone.utc)
