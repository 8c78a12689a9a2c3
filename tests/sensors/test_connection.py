"""A connection that is mended, or can't be read for a while, in the middle of a wait: in every mode."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.sensors.waiting import MODES, Ended, Runner
from tests.support import CANARY, FakeClock, FakeTaskInstance
from tests.vault import Vault

LONG = 24 * 3600.0


class Wait:
    """One wait through a connection of the vault, and what happens to that meanwhile."""

    def __init__(self, mode: str, pixxel: Any, vault: type[Vault], patch: pytest.MonkeyPatch) -> None:
        self.clock, self.vault, self.pixxel = FakeClock(), vault, pixxel
        self.runner = Runner(mode, pixxel, self.clock, patch, FakeTaskInstance())
        self.mode, self.began = mode, self.clock.now
        self.plan: list[tuple[float, Callable[[], Any]]] = []
        self.clock.on_sleep.append(self._pass)

    def after(self, seconds: float, change: Callable[[], Any]) -> None:
        """Let something happen so long after the wait's start."""
        self.plan.append((self.began + seconds, change))

    def run(self, **arguments: Any) -> Ended:
        return self.runner.run(pixxel_conn_id="in_vault", **arguments)

    def set(self, value: Any) -> None:
        self.vault.values["in_vault"] = value

    def be_away(self, away: bool) -> None:
        self.vault.away = away

    def _pass(self, _: float) -> None:
        while self.plan and self.plan[0][0] <= self.clock.now:
            self.plan.pop(0)[1]()


@pytest.fixture(params=MODES)
def wait(request: pytest.FixtureRequest, pixxel: Any, vault: type[Vault], monkeypatch: Any) -> Wait:
    return Wait(request.param, pixxel, vault, monkeypatch)


def other(url: str, **extra: Any) -> str:
    return json.dumps({"conn_type": "pixxel", "host": url, "password": CANARY, "extra": extra})


BROKEN: dict[str, Callable[[str], str]] = {
    "host": lambda url: other("http://127.0.0.1:9"),
    "proxy": lambda url: other(url, proxy="http://127.0.0.1:9"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_connection_that_is_mended_is_heard_of(wait: Wait, what: str) -> None:
    good = wait.pixxel.connection_json()
    wait.pixxel.create_job("wf-succeeds", "job-1", seconds=1, age=100)
    wait.set(BROKEN[what](wait.pixxel.url))
    wait.after(3600, lambda: wait.set(good))
    ended = wait.run(timeout=LONG, poke_interval=30)
    assert ended.kind == "success", ended.message
    assert wait.clock.now - wait.began <= 3600 + 150
    # A look each 24 to 30 seconds; a look of reschedule mode is a process that has to read it.
    assert len(wait.vault.asked) <= (160 if wait.mode == "reschedule" else 80)


def test_one_that_breaks_and_is_mended_in_mid_wait_is_heard_of(wait: Wait) -> None:
    good = wait.pixxel.connection_json()
    wait.pixxel.create_job("wf-succeeds", "job-1", seconds=1000)
    wait.after(200, lambda: wait.set(other("http://127.0.0.1:9")))
    # The server is away for a while, so that who has read it before reads it again.
    wait.after(200, lambda: wait.pixxel.fail_next(status=503, times=6))
    wait.after(1200, lambda: wait.set(good))
    ended = wait.run(timeout=LONG, poke_interval=30)
    assert ended.kind == "success", ended.message


@pytest.mark.parametrize(
    ("what", "flag"),
    [
        ("away", ""),
        ("away", "soft_fail"),
        ("away", "never_fail"),
        ("away", "silent_fail"),
        ("deleted", "soft_fail"),
        ("cut short", "never_fail"),
        ("a wrong field", ""),
    ],
)
def test_a_connection_that_can_not_be_read_for_a_while_ends_no_wait(wait: Wait, what: str, flag: str) -> None:
    good = wait.pixxel.connection_json()
    wait.pixxel.create_job("wf-succeeds", "job-1", seconds=900)

    def lose() -> None:
        wait.be_away(what == "away")
        if what == "deleted":
            del wait.vault.values["in_vault"]
        elif what == "cut short":
            wait.set(good[:-5])
        elif what == "a wrong field":
            wait.set(other("ftp://pixxel.invalid"))

    def release() -> None:
        wait.be_away(False)
        wait.set(good)

    wait.after(100, lose)
    wait.after(700, release)
    ended = wait.run(timeout=LONG, poke_interval=60, **({flag: True} if flag else {}))
    assert ended.kind == "success", ended.message
    assert ended.xcoms["status"] == "completed"


@pytest.mark.parametrize("soft_fail", [False, True])
def test_one_that_is_never_back_ends_at_the_deadline_and_says_why(
    pixxel: Any, vault: type[Vault], monkeypatch: pytest.MonkeyPatch, soft_fail: bool
) -> None:
    # In other modes what was read before stays in use.
    wait = Wait("reschedule", pixxel, vault, monkeypatch)
    pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
    wait.after(100, vault.values.clear)
    ended = wait.run(timeout=3600, poke_interval=60, soft_fail=soft_fail)
    assert ended.kind == ("AirflowSkipException" if soft_fail else "AirflowSensorTimeout")
    assert "no such connection is defined" in ended.message


@pytest.mark.parametrize("what", ["away", "deleted", "cut short"])
def test_at_the_start_it_is_an_error_at_once(wait: Wait, what: str) -> None:
    wait.pixxel.create_job("wf-succeeds", "job-1", seconds=1, age=100)
    if what == "away":
        wait.be_away(True)
    elif what == "deleted":
        wait.vault.values.clear()
    else:
        wait.set('{"conn_type": "pixxel"')
    ended = wait.run(timeout=LONG, poke_interval=60, soft_fail=True)
    # Where no worker ends the task, all there is to see is its state.
    assert ended.kind in ("PixxelConnectionError", "PixxelInputError", "failed")
    assert "in_vault" in ended.message
    assert wait.clock.now - wait.began < 5
    assert wait.pixxel.requests() == 0


class TestTakingOver:
    """A worker takes over from a trigger while the vault is away."""

    @pytest.fixture
    def wait(self, pixxel: Any, vault: type[Vault], monkeypatch: Any) -> Wait:
        return Wait("deferred", pixxel, vault, monkeypatch)

    @pytest.mark.parametrize("event", [None, {"version": 99}], ids=["lost", "of another version"])
    def test_it_defers_again(self, wait: Wait, event: Any) -> None:
        from airflow.providers.common.compat.sdk import TaskDeferred

        from pixxel_provider.sensors.pixxel import PixxelJobSensor

        sensor = PixxelJobSensor(
            task_id="wait",
            workflow_id="wf-succeeds",
            job_id="job-1",
            pixxel_conn_id="in_vault",
            deferrable=True,
            soft_fail=True,
        )
        wait.be_away(True)
        context: Any = {"ti": wait.runner.ti}
        with pytest.raises(TaskDeferred) as deferral:
            sensor.resume_execution("execute_complete", {"event": event}, context)
        assert deferral.value.trigger.serialize()[1]["pixxel_conn_id"] == "in_vault"
        assert wait.runner.ti.xcoms["job_id"] == "job-1"
        assert any("the secrets backend Vault raised ConnectionError" in words for words in wait.runner.said)

    def test_a_triggerers_restart_outlives_it(self, wait: Wait) -> None:
        from pixxel_provider.triggers.pixxel import PixxelJobTrigger

        wait.pixxel.create_job("wf-succeeds", "job-1", seconds=1, age=100)
        wait.be_away(True)
        wait.after(600, lambda: wait.be_away(False))
        trigger = PixxelJobTrigger(
            "wf-succeeds", "job-1", pixxel_conn_id="in_vault", started_at=wait.began - 7200, timeout=LONG
        )
        _, kwargs = wait.runner._triggerer(trigger.serialize(), _Deferral())
        assert kwargs["event"]["kind"] == "succeeded"
        # Each attempt is two look-ups of Airflow's and one of ours.
        assert len(wait.vault.asked) <= 3 * 20


class _Deferral:
    from datetime import timedelta

    timeout, method_name = timedelta(days=1), "execute_complete"
