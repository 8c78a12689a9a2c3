from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.simulator.plans import WORKFLOWS, TaskPlan, WorkflowPlan
from pixxel_provider.simulator.timeline import estimate, length, state_at

PLANS = {plan.id: plan for plan in WORKFLOWS}
ORDER = ["created", "queued", "running", "awaiting_tasking", "completed", "failed", "archived"]


def plan_of(*tasks: TaskPlan) -> WorkflowPlan:
    return WorkflowPlan(
        id="wf", name="name", description="text", project_id="project-coast", cost=1, tasks=tasks
    )


@pytest.mark.parametrize(
    ("workflow", "course"),
    [
        (
            "wf-succeeds",
            [(0, "created"), (2, "queued"), (5, "running"), (119.9, "running"), (120, "completed")],
        ),
        ("wf-fails", [(0, "created"), (5, "running"), (64.9, "running"), (65, "failed"), (1e6, "failed")]),
        ("wf-invalid", [(0, "failed"), (1e6, "failed")]),
        ("wf-endless", [(0, "created"), (5, "running"), (1e9, "running")]),
        (
            "wf-odd-status",
            [(0, "created"), (2, "queued"), (5, "awaiting_tasking"), (1e9, "awaiting_tasking")],
        ),
        ("wf-odd-ended", [(5, "running"), (89.9, "running"), (90, "archived"), (1e9, "archived")]),
    ],
)
def test_each_workflow_takes_its_course(workflow: str, course: list[tuple[float, str]]) -> None:
    assert [(at, state_at(PLANS[workflow], at).status) for at, _ in course] == course


def test_a_job_that_succeeds_takes_two_minutes() -> None:
    assert length(PLANS["wf-succeeds"]) == 120
    assert estimate(PLANS["wf-succeeds"]) == 120


@pytest.mark.parametrize("workflow", ["wf-endless", "wf-odd-status"])
def test_a_job_that_never_ends_has_an_estimate_and_no_end(workflow: str) -> None:
    assert length(PLANS[workflow]) == math.inf
    assert math.isfinite(estimate(PLANS[workflow]))
    assert state_at(PLANS[workflow], 1e9).ended is None
    assert state_at(PLANS[workflow], 1e9).progress < 100


def test_one_named_block_fails_and_what_comes_after_it_never_starts() -> None:
    state = state_at(PLANS["wf-fails"], 1000)
    by_status = {
        status: [t.plan.name for t in state.tasks if t.status == status] for status in ("failed", "created")
    }
    assert by_status == {"failed": ["Crop stress index"], "created": ["Mosaic"]}
    (failed,) = (task for task in state.tasks if task.status == "failed")
    assert failed.plan.failure is not None
    assert failed.plan.failure.failure_type == "runtime_exception"
    assert 0 < failed.progress < 100
    assert 0 < state.progress < 100


def test_a_job_that_fails_validation_runs_nothing() -> None:
    state = state_at(PLANS["wf-invalid"], 0)
    assert (state.tasks, state.ended, state.started, state.progress) == ((), 0.0, None, 0.0)


def test_a_failure_lets_a_task_that_runs_run_out() -> None:
    failing = next(task for task in PLANS["wf-fails"].tasks if task.failure)
    plan = plan_of(
        failing.model_copy(update={"name": "breaks", "seconds": 10, "depends_on": ()}),
        TaskPlan(name="goes on", block="b", seconds=30),
        TaskPlan(name="never", block="b", seconds=1, depends_on=("goes on",)),
    )
    assert length(plan) == 35
    assert [task.status for task in state_at(plan, 20).tasks] == ["failed", "inprogress", "created"]
    assert state_at(plan, 20).status == "running"
    assert [task.status for task in state_at(plan, 35).tasks] == ["failed", "completed", "created"]
    assert state_at(plan, 35).status == "failed"


def test_a_failure_beside_a_task_without_end_leaves_the_job_running() -> None:
    failing = next(task for task in PLANS["wf-fails"].tasks if task.failure)
    plan = plan_of(
        failing.model_copy(update={"depends_on": ()}),
        TaskPlan(name="endless", block="b", seconds=math.inf, estimate=5),
    )
    assert length(plan) == math.inf
    assert state_at(plan, 1e6).status == "running"


def test_a_workflow_without_tasks_completes() -> None:
    assert state_at(plan_of(), 5).status == "completed"
    assert estimate(plan_of()) == 5


@pytest.mark.parametrize("needs", ["b", "nowhere"])
def test_tasks_that_wait_for_each_other_or_for_nothing_are_refused(needs: str) -> None:
    first, second = (
        TaskPlan(name=a, block="x", seconds=1, depends_on=(b,)) for a, b in (("a", needs), ("b", "a"))
    )
    with pytest.raises(ValueError, match="wait for each other, or for one that isn't there"):
        plan_of(first, second)


def test_a_task_without_length_is_done_at_once() -> None:
    state = state_at(plan_of(TaskPlan(name="a", block="x", seconds=0)), 5)
    assert (state.status, state.progress) == ("completed", 100.0)


@pytest.mark.parametrize("speed", [0, -1, math.nan, math.inf, 1e-9, 1e9])
def test_a_speed_out_of_bounds_is_refused(speed: float) -> None:
    from pixxel_provider.simulator.plans import check_speed

    with pytest.raises(ValueError, match="speed"):
        check_speed(speed)


@given(
    plan=st.sampled_from(WORKFLOWS),
    speed=st.floats(1e-6, 1e6),
    times=st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=12),
)
def test_a_job_only_moves_forward(plan: WorkflowPlan, speed: float, times: list[float]) -> None:
    fast = plan.faster(speed)
    states = [state_at(fast, at) for at in sorted(times)]
    for before, after in pairwise(states):
        assert ORDER.index(before.status) <= ORDER.index(after.status)
        assert before.progress <= after.progress
        assert before.ended is None or after.ended == before.ended
        for old, new in zip(before.tasks, after.tasks, strict=False):
            assert old.progress <= new.progress
            assert (old.started is None) >= (new.started is None)


@given(plan=st.sampled_from(WORKFLOWS), at=st.floats(-10, 1e9))
def test_a_task_runs_only_when_all_it_depends_on_is_done(plan: WorkflowPlan, at: float) -> None:
    state = state_at(plan, at)
    status = {task.plan.name: task.status for task in state.tasks}
    for task in state.tasks:
        assert 0 <= task.progress <= 100
        if task.status != "created":
            assert all(status[name] == "completed" for name in task.plan.depends_on)
    assert (state.progress == 100) == (state.ended is not None and "failed" not in state.status)


@given(plan=st.sampled_from(WORKFLOWS), speed=st.floats(0.01, 1000))
def test_speed_divides_the_length_and_nothing_else(plan: WorkflowPlan, speed: float) -> None:
    fast = plan.faster(speed)
    assert length(fast) == pytest.approx(length(plan) / speed)
    assert estimate(fast) == pytest.approx(estimate(plan) / speed)
    assert (fast.id, fast.cost, fast.name) == (plan.id, plan.cost, plan.name)
