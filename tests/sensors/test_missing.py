"""A job that is missing for a moment ends no wait, and one that stays missing ends it, in every mode."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pixxel_provider.waiting.sensor import LONGEST_STAY
from tests.sensors.waiting import Runner

#: How gateways say 404; the first is Pixxel's own.
BODIES: list[dict[str, Any]] = [{}, {"body": "html"}, {"body": "plain"}, {"body": "none"}]
#: Longer than the grace, and than any interval of these tests.
LONG = 2000


def job_of(seconds: float, **faults: Any) -> Callable[[Any], None]:
    """Return what arranges a job of so many seconds, which faults meet later."""

    def arrange(pixxel: Any) -> None:
        pixxel.create_job("wf-succeeds", "job-1", seconds=seconds)
        if faults:
            pixxel.fail_next("get_job", **faults)

    return arrange


@pytest.mark.parametrize("body", BODIES, ids=str)
@pytest.mark.parametrize("times", [1, 3])
def test_a_blip_of_404_long_after_the_start_ends_no_wait(
    all_succeed: Any, body: dict[str, Any], times: int
) -> None:
    arrange = job_of(LONG, status=404, after=5, times=times, **body)
    all_succeed(arrange, timeout=3600, poke_interval=90)


def test_blips_at_every_second_look_end_no_wait(all_succeed: Any) -> None:
    def arrange(pixxel: Any) -> None:
        job_of(LONG)(pixxel)
        for look in range(12):
            pixxel.fail_next("get_job", status=404, after=look)

    all_succeed(arrange, timeout=3600, poke_interval=90)


@pytest.mark.parametrize("interval", [10, 90, 900])
def test_a_job_that_vanishes_for_good_ends_the_wait_just_after_the_grace(
    runner: Runner, interval: float
) -> None:
    runner.pixxel.create_job("wf-succeeds", "job-1", seconds=LONG)
    runner.pixxel.fail_next("get_job", status=404, after=2, times=0)
    seen: list[float] = []
    runner.clock.on_sleep.append(
        lambda _: seen.append(runner.clock.now) if runner.pixxel.requests("get_job") == 3 else None
    )
    ended = runner.run(timeout=36000, poke_interval=interval)
    assert ended.state == "failed"
    assert "HTTP 404" in ended.message
    # The first sleep after the third look, the first 404, took at most two seconds.
    assert 58 <= runner.clock.now - seen[0] <= 62


@pytest.mark.parametrize("trouble", [{"status": 503}, {"status": 429}, {"drop": "reset"}, {"body": "html"}])
def test_other_trouble_in_between_begins_the_grace_anew(all_succeed: Any, trouble: dict[str, Any]) -> None:
    def arrange(pixxel: Any) -> None:
        job_of(LONG, status=404, after=3)(pixxel)
        pixxel.fail_next("get_job", after=3, times=8, **trouble)
        pixxel.fail_next("get_job", status=404, after=3)

    all_succeed(arrange, timeout=7200, poke_interval=90)


def test_a_deadline_within_the_grace_is_a_time_out_in_every_mode(in_every_mode: Any) -> None:
    found = in_every_mode(lambda pixxel: None, timeout=40, not_found_grace=60, poke_interval=90)
    for mode, ended in found.items():
        assert ended.state == "failed", mode
        assert "had not ended when the timeout of 40 s was over" in ended.message, mode


def test_a_job_that_has_ended_when_it_is_back_ends_the_wait_at_once(in_every_mode: Any) -> None:
    def arrange(pixxel: Any) -> None:
        pixxel.create_job("wf-succeeds", "job-1", course="wf-fails", seconds=95)
        pixxel.fail_next("get_job", status=404, after=1, times=4)

    for mode, ended in in_every_mode(arrange, timeout=3600, poke_interval=90).items():
        assert (mode, ended.state) == (mode, "failed")
        assert "runtime_exception" in ended.message


# ----------------------------------------------------------------------------------------- in reschedule mode

RESCHEDULE = pytest.mark.parametrize("runner", ["reschedule"], indirect=True)


@RESCHEDULE
def test_a_missing_job_is_looked_for_in_the_same_process(runner: Runner) -> None:
    ended = runner.run(timeout=36000, poke_interval=900)
    assert (ended.kind, runner.workers) == ("PixxelNotFoundError", 1)
    assert 60 < sum(runner.clock.slept) <= 61
    assert runner.pixxel.requests("get_job") >= 6


@RESCHEDULE
def test_a_process_that_saw_the_job_come_back_gives_its_worker_back(runner: Runner) -> None:
    job_of(LONG, status=404, after=1)(runner.pixxel)
    assert runner.run(timeout=36000, poke_interval=900).kind == "success"
    # 0, about 900 and about 1,800 s, and a last one; the second one looked twice.
    assert runner.pixxel.requests("get_job") == runner.workers + 1
    assert min(runner.clock.slept) <= 2
    assert sorted(runner.clock.slept)[1] >= 720


@RESCHEDULE
def test_a_job_that_ends_while_a_process_looks_for_it_ends_the_task_there(runner: Runner) -> None:
    # The six delays have full jitter: together they take 19 s or more in 60 runs.
    runner.pixxel.create_job("wf-succeeds", "job-1", seconds=5)
    runner.pixxel.fail_next("get_job", status=404, times=6)
    ended = runner.run(timeout=36000, poke_interval=900)
    assert (ended.kind, ended.returned["id"], runner.workers) == ("success", "job-1", 1)
    assert ended.xcoms["status"] == "completed"


@RESCHEDULE
def test_a_long_grace_holds_no_worker_until_it_is_over(runner: Runner) -> None:
    ended = runner.run(timeout=36000, poke_interval=900, not_found_grace=7200)
    assert ended.kind == "PixxelNotFoundError"
    assert runner.workers >= 8
    assert 7200 + LONGEST_STAY <= sum(runner.clock.slept) <= 7200 + 900 + LONGEST_STAY + 1


@RESCHEDULE
def test_a_blip_after_a_long_grace_ends_no_wait(runner: Runner) -> None:
    job_of(4 * LONG, status=404, after=5, times=4)(runner.pixxel)
    assert runner.run(timeout=36000, poke_interval=900, not_found_grace=1000).kind == "success"


@RESCHEDULE
@pytest.mark.parametrize("limit", [30, 60, 90])
def test_no_process_outlives_half_of_its_execution_timeout_for_a_missing_job(
    runner: Runner, limit: float
) -> None:
    arguments = {"timeout": 36000, "poke_interval": 900, "execution_timeout": timedelta(seconds=limit)}
    ended = runner.run(**arguments)
    assert ended.kind == "PixxelNotFoundError"
    in_process: list[float] = []
    for slept in runner.clock.slept:
        if slept > 600:
            in_process.clear()
        else:
            in_process.append(slept)
            assert sum(in_process) <= limit / 2 + 1
    assert sum(runner.clock.slept) > 60


@RESCHEDULE
def test_a_404_that_asks_for_a_long_pause_holds_no_worker(runner: Runner) -> None:
    job_of(LONG, status=404, after=1, retry_after=400)(runner.pixxel)
    assert runner.run(timeout=36000, poke_interval=90).kind == "success"
    assert runner.pixxel.requests("get_job") == runner.workers


# ----------------------------------------------------------------------------- from a worker to the triggerer

DEFERRED = pytest.mark.parametrize("runner", ["deferred"], indirect=True)


@DEFERRED
def test_the_grace_goes_on_in_the_triggerer_from_the_workers_404(runner: Runner) -> None:
    ended = runner.run(timeout=36000, poke_interval=900)
    assert ended.kind == "PixxelNotFoundError"
    assert len(runner.deferrals) == 1
    assert 60 < sum(runner.clock.slept) <= 61
    assert runner.pixxel.requests("get_job") >= 5


@DEFERRED
def test_a_worker_that_saw_the_job_hands_over_no_404(runner: Runner) -> None:
    job_of(LONG)(runner.pixxel)
    assert runner.run(timeout=36000).kind == "success"
    assert runner.deferrals[0].trigger.missing_since is None


@DEFERRED
def test_a_trigger_that_begins_again_hours_later_outlives_a_404(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_of(4 * LONG, status=404)(runner.pixxel)
    triggerer = runner._triggerer

    def after_hours(stored: Any, deferral: Any) -> Any:
        runner.clock.sleep(7200)
        runner.pixxel.fail_next("get_job", status=404)
        return triggerer(stored, deferral)

    monkeypatch.setattr(runner, "_triggerer", after_hours)
    assert runner.run(timeout=36000, poke_interval=90).kind == "success"
