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
            clock = FakeClock()
            began = clock.now
            with pytest.MonkeyPatch.context() as patch:
                found[mode] = Runner(mode, pixxel, clock, patch, FakeTaskInstance()).run(**arguments)
            # However it ends: one poll in the shortest interval, and some retries and requests for the end.
            polls = (clock.now - began) / (0.8 * arguments.get("poke_interval", 30))
            assert pixxel.requests() <= polls + 20, mode
        return found

    return do


@pytest.fixture
def all_succeed(in_every_mode: Callable[..., dict[str, Ended]]) -> Callable[..., None]:
    """Do the same in every mode, and see that each wait ends well, with the job that it was for."""

    def do(arrange: Callable[[Any], None], **arguments: Any) -> None:
        for mode, ended in in_every_mode(arrange, **arguments).items():
            assert ended.kind == "success", (mode, ended.message)
            assert (ended.returned["id"], ended.returned["workflow_id"]) == ("job-1", "wf-succeeds")
            assert ended.returned["finished_at"], mode

    return do
