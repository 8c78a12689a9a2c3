from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.sensors.waiting import MODES, Ended, Runner
from tests.support import FakeClock, FakeTaskInstance


@pytest.fixture(params=MODES)
def runner(request: pytest.FixtureRequest, pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """A sensor's surroundings in each mode in turn."""
    return Runner(request.param, pixxel, FakeClock(), monkeypatch, FakeTaskInstance())


@pytest.fixture
def in_every_mode(pixxel: Any) -> Callable[..., dict[str, Ended]]:
    """Do the same in every mode, each from a fresh start; return what was seen in each."""

    def do(arrange: Callable[[Any], None], **arguments: Any) -> dict[str, Ended]:
        found = {}
        for mode in MODES:
            pixxel.reset()
            arrange(pixxel)
            with pytest.MonkeyPatch.context() as patch:
                found[mode] = Runner(mode, pixxel, FakeClock(), patch, FakeTaskInstance()).run(**arguments)
        return found

    return do
