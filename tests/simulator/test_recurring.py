"""Jobs that the simulator starts by itself."""

from __future__ import annotations

import pytest

from pixxel_provider.simulator.recurring import RecurringJobs
from pixxel_provider.simulator.world import World
from tests.simulator.client import make


def started(world: World, workflow_id: str = "wf-succeeds") -> dict[str, str]:
    jobs = [job for job in world.jobs_of(workflow_id) if job.id.startswith("job-outside")]
    return {job.id: world.full(job)["status"] for job in reversed(jobs)}


def test_jobs_start_every_so_many_seconds_and_each_once() -> None:
    world = make(recurring=["every=30,seconds=10,created_by=ana"])
    assert started(world) == {}
    world.clock.advance(29)
    assert started(world) == {}
    world.clock.advance(1)
    assert list(started(world)) == ["job-outside-1-1"]
    world.clock.advance(35)
    # However seldom it is asked, each has begun in time.
    assert started(world) == {"job-outside-1-1": "completed", "job-outside-1-2": "running"}
    assert world.job("wf-succeeds", "job-outside-1-2").created_by == "ana"
    assert world.bill().jobs == ()


@pytest.mark.parametrize(
    ("outcome", "status"), [("succeeded", "completed"), ("failed", "failed"), ("unknown", "archived")]
)
def test_the_outcome_is_that_which_was_asked_for(outcome: str, status: str) -> None:
    world = make(recurring=[{"every": 30.0, "outcome": outcome, "workflow": "wf-endless", "seconds": 1.0}])
    world.clock.advance(59)
    assert started(world, "wf-endless") == {"job-outside-1-1": status}


def test_mixed_outcomes_are_the_same_with_the_same_seed_and_after_a_reset() -> None:
    def outcomes(world: World) -> dict[str, str]:
        world.clock.advance(655)
        return started(world)

    world = make(seed=7, recurring=["every=10,outcome=mixed,seconds=1"])
    first = outcomes(world)
    world.reset()
    assert len(first) == 65
    assert set(first.values()) == {"completed", "failed", "archived"}
    assert outcomes(world) == first
    assert outcomes(make(seed=8, recurring=["every=10,outcome=mixed,seconds=1"])) != first


def test_a_jump_of_the_clock_starts_the_newest_thousand_only() -> None:
    world = make(recurring=["every=1"])
    world.clock.advance(5_000)
    assert list(started(world))[0::999] == ["job-outside-1-4001", "job-outside-1-5000"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("every=0", "every"),
        ("outcome=failed", "every: is required"),
        ("every=3,outcome=odd", "outcome"),
        ("every", "field=value"),
        ("every=3,color=red", "no such field"),
    ],
)
def test_what_cannot_be_is_refused(spec: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RecurringJobs.read(spec)


def test_a_workflow_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        make(recurring=["every=3,workflow=nowhere"])
