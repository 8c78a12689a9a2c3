"""Play Airflow for a task that downloads a package: worker, triggerer, a clock that does not wait."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider.operators.pixxel import PixxelDownloadJobOperator
from tests.download.hosting import everything_said
from tests.sensors.waiting import Ended, Runner
from tests.support import CANARY, FakeClock, FakeTaskInstance

MODES = ("worker", "deferred")


class DownloadRunner(Runner):
    """Runs a :class:`PixxelDownloadJobOperator` to its end; each run looks for secrets in all that it shows.

    ``path`` is the usual destination.
    """

    def __init__(
        self, mode: str, pixxel: Any, monkeypatch: pytest.MonkeyPatch, path: Path = Path("/nowhere/p")
    ) -> None:
        super().__init__(mode, pixxel, FakeClock(), monkeypatch, FakeTaskInstance())
        self.path = path

    def operator(self, **arguments: Any) -> PixxelDownloadJobOperator:
        usual = {"task_id": "download", "workflow_id": "wf-succeeds", "job_id": "job-finished"}
        usual |= {"destination": str(self.path), "deferrable": self.mode == "deferred"}
        return PixxelDownloadJobOperator(**{**usual, **arguments})

    def run(self, **arguments: Any) -> Ended:
        ended = super().run(**arguments)
        ended.returned = json.loads(json.dumps(ended.returned))
        self._hold_no_secret(ended)
        return ended

    def lines(self, words: str) -> list[str]:
        return [line for line in self.said if words in line]

    def _hold_no_secret(self, ended: Ended) -> None:
        shown = [repr(vars(ended)), json.dumps(self.ti.xcoms), json.dumps(self.events), *self.said]
        shown.append(str(self.outlet_events))
        shown += [repr(each.trigger) + str(each.trigger.serialize()) for each in self.deferrals]
        if self.error is not None:
            shown.append(everything_said(self.error))
        for place in shown:
            assert CANARY not in place
            assert "signature=" not in place
