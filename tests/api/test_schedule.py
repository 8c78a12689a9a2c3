from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.api.job import Job
from pixxel_provider.api.schedule import TaskSpan, _in_order, expected_end, started_at, task_spans
from pixxel_provider.simulator import plans, render
from pixxel_provider.simulator.jobs import SimulatedJob

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=timezone.utc)
ZERO = "0001-01-01T00:00:00Z"


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def job(*tasks: dict[str, Any], status: str = "running", **fields: Any) -> Job:
    return Job.read({"id": "j", "status": status, "tasks": list(tasks), **fields})


def task(name: str, status: str = "created", after: str = "", **fields: Any) -> dict[str, Any]:
    """Return a task that should take ten minutes; in its fields, minutes stand for moments."""
    moments = ("created_at", "finished_at", "send_time", "block_inf_start_time")
    read = {key: at(value).isoformat() if key in moments else value for key, value in fields.items()}
    return {
        "name": name,
        "status": status,
        "depends_on": after.split(),
        "estimated_time_duration": 600,
        "created_at": NOON.isoformat(),
        "finished_at": ZERO,
        **read,
    }


def spans(*tasks: dict[str, Any], **fields: Any) -> dict[str, TaskSpan]:
    return {span.task.name: span for span in task_spans(job(*tasks, **fields))}


def depths(**after: str) -> dict[str, int]:
    return {
        name: span.depth
        for name, span in spans(*(task(name, after=words) for name, words in after.items())).items()
    }


# ------------------------------------------------------------------------------------------------- the job


def test_a_job_starts_when_its_execution_is_created() -> None:
    both = {"created_at": at(0).isoformat(), "exec_created_at": at(1).isoformat()}
    assert started_at(job(**both)) == at(1)
    assert started_at(job(**{**both, "exec_created_at": ZERO})) == at(0)
    assert started_at(job()) is None


def test_a_job_should_end_its_estimate_after_its_start() -> None:
    assert expected_end(job(created_at=NOON.isoformat(), estimated_duration=90)) == at(1.5)


@pytest.mark.parametrize("estimate", [None, "", 0, -5, 2**62, "soon"])
def test_without_a_usable_estimate_no_end_is_expected(estimate: Any) -> None:
    assert expected_end(job(created_at=NOON.isoformat(), estimated_duration=estimate)) is None


def test_without_a_start_no_end_is_expected() -> None:
    assert expected_end(job(estimated_duration=90)) is None


# ----------------------------------------------------------------------------------------------- the tasks


def test_a_task_that_has_not_begun_has_no_start() -> None:
    for status in ("created", "queued", "pending", "scheduled", "submitted", "left_out"):
        assert spans(task("a", status, send_time=1))["a"].start is None


@pytest.mark.parametrize("status", ["running", "In Progress", "completed", "failed", "paused"])
def test_the_start_is_the_one_that_pixxel_sends(status: str) -> None:
    assert spans(task("a", status, send_time=3, block_inf_start_time=4))["a"].start == at(3)
    assert spans(task("a", status, block_inf_start_time=4))["a"].start == at(4)


def test_else_a_task_starts_when_the_last_of_those_before_it_has_ended() -> None:
    found = spans(
        task("a", "completed", finished_at=7),
        task("b", "completed", finished_at=5),
        task("c", "inprogress", after="a b"),
        task("d", "inprogress", created_at=8, after="a"),
    )
    assert [found[name].start for name in "abcd"] == [at(0), at(0), at(7), at(8)]
    assert found["c"].expected_end == at(17)


def test_a_start_is_not_made_up_where_what_came_before_has_no_end() -> None:
    found = spans(task("a", "completed"), task("b", "inprogress", after="a"))
    assert found["b"] == TaskSpan(found["b"].task, None, None, None, 1)


def test_a_start_after_the_end_is_none() -> None:
    assert spans(task("a", "completed", created_at=0, send_time=9, finished_at=5))["a"].start == at(0)
    assert spans(task("a", "completed", created_at=6, finished_at=5))["a"].start is None


def test_a_task_that_waits_should_end_after_those_before_it() -> None:
    found = spans(
        task("a", "completed", finished_at=4),
        task("b", "inprogress", after="a"),
        task("c", after="a b"),
        task("d", after="c"),
    )
    assert [(found[name].start, found[name].expected_end) for name in "bcd"] == [
        (at(4), at(14)),
        (None, at(24)),
        (None, at(34)),
    ]


def test_the_first_task_waits_for_its_job() -> None:
    assert spans(task("a"), exec_created_at=at(2).isoformat())["a"].expected_end == at(12)


@pytest.mark.parametrize(
    ("first", "fields"),
    [
        ({"status": "failed", "finished_at": 1}, {}),
        ({"estimated_time_duration": None}, {}),
        ({"name": "another"}, {}),
        ({"depends_on": ["b"]}, {}),
        ({}, {"status": "failed"}),
        ({}, {"status": "archived", "finished_at": NOON.isoformat()}),
    ],
    ids=["failed before", "no estimate before", "unknown name", "circle", "job failed", "job ended"],
)
def test_no_end_is_expected_of_a_task_that_may_never_begin(first: Any, fields: Any) -> None:
    found = spans(task(**{"name": "a", **first}), task("b", after="a"), **fields)
    assert found["b"].expected_end is None


def test_spans_come_in_the_order_of_the_job() -> None:
    assert list(spans(task("c", after="b"), task("b", after="a"), task("a"))) == ["c", "b", "a"]


def test_a_job_of_a_list_has_no_spans() -> None:
    assert task_spans(Job.read({"id": "j", "status": "running"})) == ()


def test_the_depth_is_the_longest_chain_before_a_task() -> None:
    assert depths(a="", b="a", c="a b", d="a", e="d c") == {"a": 0, "b": 1, "c": 2, "d": 1, "e": 3}


def test_names_that_no_task_has_make_nothing_deeper() -> None:
    assert depths(a="nobody", b="a nobody") == {"a": 0, "b": 1}
    assert [span.depth for span in task_spans(job({}, {"depends_on": [""]}))] == [0, 0]


def test_a_circle_is_cut_and_what_hangs_on_it_still_counts() -> None:
    assert depths(a="a") == {"a": 0}
    found = depths(behind="b", a="b", b="c", c="a", before="", beside="before")
    assert sorted(found[name] for name in "abc") == [0, 1, 2]
    assert found["behind"] == found["b"] + 1
    assert found["beside"] == 1


class Steps(list[int]):
    """A list that counts what is taken from it, with all others."""

    taken = 0

    def __iter__(self) -> Iterator[int]:
        for entry in super().__iter__():
            Steps.taken += 1
            yield entry


def test_circles_of_neighbours_are_cut_without_a_walk_for_each() -> None:
    size = 3_000
    before = [Steps(n for n in (at + 1, at - 1) if 0 <= n < size) for at in range(size)]
    Steps.taken = 0
    assert sorted(_in_order(cast("list[list[int]]", before))) == list(range(size))
    assert Steps.taken < 120_000


@pytest.mark.parametrize(("size", "depth"), [(141, 1), (142, 0)])
def test_more_links_than_any_workflow_has_do_not_count(size: int, depth: int) -> None:
    # A name that many tasks have is a link to each: 142 times 142 are more than 20,000.
    first = [task("a", "completed", finished_at=5)] * size
    found = task_spans(job(*first, *[task("b", after="a")] * size, task("c")))
    assert {span.depth for span in found[size:-1]} == {depth}
    # What a task waits for isn't known then, and so neither is its end.
    assert found[size].expected_end == (at(15) if depth else None)
    assert found[-1].expected_end == at(10)


def test_a_chain_of_any_length_is_followed() -> None:
    tasks = [task(str(number), after=str(number - 1) if number else "") for number in range(3_000)]
    found = task_spans(job(*reversed(tasks), created_at=NOON.isoformat()))
    assert found[0].depth == 2_999
    assert found[0].expected_end == at(30_000)


@pytest.mark.parametrize("seconds", [0, 5, 20, 60, 100, 200])
@pytest.mark.parametrize("plan", plans.WORKFLOWS, ids=lambda plan: plan.id)
@pytest.mark.parametrize("documented", [True, False])
def test_spans_are_those_that_the_simulator_keeps_to(
    plan: plans.WorkflowPlan, seconds: float, documented: bool
) -> None:
    began = NOON.timestamp()
    simulated = SimulatedJob("j", plan.id, "p", "u", began, plan)
    answer = render.full_job(simulated, began + seconds, "json")
    state = simulated.state(began + seconds)
    if not documented:
        for entry in answer["tasks"]:
            entry["send_time"] = entry["block_inf_start_time"] = ZERO
    for span, true in zip(task_spans(Job.read(answer)), state.tasks, strict=True):
        moments = [None if time is None else at(time / 60) for time in (true.started, true.ended)]
        if documented or true.plan.depends_on:
            assert [span.start, span.end] == moments
        else:
            # Of the first, nothing but its creation is known then.
            assert (span.start, span.end) == (at(0) if moments[0] else None, moments[1])


# --------------------------------------------------------------------------------------------- any nonsense

NAMES = st.sampled_from(["a", "b", "c", "d", "", "nobody"])
MOMENTS = st.sampled_from(
    [None, "", "soon", ZERO, "9999-12-31T23:59:59Z", "1971-01-01T00:00:00Z", 1.7e9, at(5).isoformat()]
) | st.integers(-(2**70), 2**70)
STATUSES = st.sampled_from(["created", "running", "completed", "failed", "odd", ""])
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
TASKS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "status": STATUSES},
        optional={
            "depends_on": st.lists(NAMES | ANYTHING, max_size=5) | ANYTHING,
            "estimated_time_duration": ANYTHING | st.sampled_from([60, 1e18, 10**400]),
            **dict.fromkeys(("created_at", "finished_at", "send_time", "block_inf_start_time"), MOMENTS),
        },
    )
    | ANYTHING,
    max_size=8,
)


@given(tasks=TASKS, status=STATUSES.filter(bool), times=st.tuples(MOMENTS, MOMENTS), estimate=ANYTHING)
def test_whatever_pixxel_sends_each_task_has_a_span_that_can_be(
    tasks: list[Any], status: str, times: Any, estimate: Any
) -> None:
    read = job(
        *tasks, status=status, created_at=times[0], exec_created_at=times[1], estimated_duration=estimate
    )
    found = task_spans(read)

    expected_end(read)
    assert [span.task for span in found] == list(read.tasks)
    for span in found:
        assert 0 <= span.depth < len(found)
        assert span.start is None or span.end is None or span.start <= span.end
        assert span.start is None or span.expected_end is None or span.start <= span.expected_end


@given(links=st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=8))
def test_without_circles_each_task_is_one_deeper_than_the_deepest_before_it(links: list[set[int]]) -> None:
    before = [{name for name in names if name < number} for number, names in enumerate(links)]
    tasks = [
        task(f"t{number}", after=" ".join(f"t{n}" for n in names)) for number, names in enumerate(before)
    ]
    # In reverse: each comes before those that it waits for.
    found = {span.task.name: span.depth for span in task_spans(job(*reversed(tasks)))}
    for number, names in enumerate(before):
        assert found[f"t{number}"] == max((found[f"t{name}"] + 1 for name in names), default=0)
