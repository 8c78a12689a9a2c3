"""Play Airflow for a task that downloads a package: worker, triggerer, a clock that does not wait."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from pixxel_provider.operators.pixxel import PixxelDownloadJobOperator
from pixxel_provider.triggers.base import PixxelWaitTrigger
from tests.download.hosting import everything_said
from tests.sensors.waiting import Ended
from tests.support import CANARY, FakeClock, FakeTaskInstance, RecordingLog, outlet_events

MODES = ("worker", "deferred")


class DownloadRunner:
    """Runs a :class:`PixxelDownloadJobOperator` to its end; each run looks for secrets in all that it shows.

    ``path`` is the usual destination; ``said`` has the lines of the log, ``events`` what triggers fired,
    ``error`` the last exception.
    """

    def __init__(
        self, mode: str, pixxel: Any, monkeypatch: pytest.MonkeyPatch, path: Path = Path("/nowhere/p")
    ) -> None:
        self.mode, self.pixxel, self.path = mode, pixxel, path
        self.clock, self.ti = FakeClock(), FakeTaskInstance()
        self.clock.on_sleep.append(pixxel.advance)
        self.said: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.deferrals: list[TaskDeferred] = []
        self.error: BaseException | None = None
        self.trigger_fails_with: str | None = None
        self.clock.put_in(monkeypatch)
        for speaker in (PixxelDownloadJobOperator, PixxelWaitTrigger):
            monkeypatch.setattr(speaker, "log", RecordingLog(self.said))

    def operator(self, **arguments: Any) -> PixxelDownloadJobOperator:
        usual = {"task_id": "download", "workflow_id": "wf-succeeds", "job_id": "job-finished"}
        usual |= {"destination": str(self.path), "deferrable": self.mode == "deferred"}
        return PixxelDownloadJobOperator(**{**usual, **arguments})

    def run(self, **arguments: Any) -> Ended:
        """Run one try until Airflow would call it ended."""
        context: Any = {"ti": self.ti}
        resume: Any = None
        while True:
            operator = self.operator(**arguments)
            context["outlet_events"] = self.outlet_events = outlet_events()
            try:
                if resume is None:
                    returned = operator.execute(context)
                else:
                    returned = operator.resume_execution(resume[0], resume[1], context)
                ended = Ended("success", returned=json.loads(json.dumps(returned)), xcoms=self.ti.xcoms)
                break
            except TaskDeferred as deferral:
                self.deferrals.append(deferral)
                resume = self._triggerer(deferral)
            except Exception as error:
                self.error = error
                ended = Ended(type(error).__name__, str(error), xcoms=self.ti.xcoms)
                break
        self._hold_no_secret(ended)
        return ended

    def lines(self, words: str) -> list[str]:
        return [line for line in self.said if words in line]

    def _triggerer(self, deferral: TaskDeferred) -> Any:
        if self.trigger_fails_with is not None:
            self.clock.sleep(deferral.timeout.total_seconds() if deferral.timeout else 0)
            return "__fail__", {"error": self.trigger_fails_with}
        path, arguments = deferral.trigger.serialize()
        module, _, name = path.rpartition(".")
        trigger = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))
        trigger.clock = self.clock

        async def first_event() -> Any:
            events = trigger.run()
            try:
                return await anext(events)
            finally:
                await events.aclose()

        event = json.loads(json.dumps(asyncio.run(first_event()).payload, allow_nan=False))
        self.events.append(event)
        return deferral.method_name, {"event": event}

    def _hold_no_secret(self, ended: Ended) -> None:
        shown = [repr(vars(ended)), json.dumps(self.ti.xcoms), json.dumps(self.events), *self.said]
        shown.append(str(self.outlet_events))
        shown += [repr(each.trigger) + str(each.trigger.serialize()) for each in self.deferrals]
        if self.error is not None:
            shown.append(everything_said(self.error))
        for place in shown:
            assert CANARY not in place
            assert "signature=" not in place
