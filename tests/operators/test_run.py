"""One task instance, one bill: whatever is lost, refused, or dies in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelAuthError, PixxelInputError
from pixxel_provider.assets import create_asset
from pixxel_provider.hooks.pixxel import PixxelHook
from pixxel_provider.operators.pixxel import PixxelRunJobOperator
from tests.operators.running import LOST, Killed, RunRunner, once

MODES = ("poke", "reschedule", "deferred")


@pytest.fixture(params=MODES)
def runner(request: pytest.FixtureRequest, make: Callable[..., RunRunner], monkeypatch: Any) -> RunRunner:
    """A task's surroundings in each mode in turn, with a store that outlives its tries."""
    monkeypatch.setattr("pixxel_provider.operators.run.HAS_TASK_STATE_STORE", True)
    return make(request.param)  # type: ignore[no-any-return]


@pytest.fixture
def storeless(make: Callable[..., RunRunner]) -> RunRunner:
    """As before Airflow 3.3: nothing outlives a try."""
    return make(store=False)


# ------------------------------------------------------------------------------------------------ all is well


def test_a_job_is_created_waited_for_and_returned_as_the_sensor_does(runner: RunRunner) -> None:
    ended = runner.run()
    assert (ended.kind, ended.message) == ("success", "")
    (created,) = runner.jobs()
    assert (ended.returned["id"], ended.returned["status"]) == (created, "completed")
    assert ended.xcoms == {
        "_link_PixxelJobLink": "https://aurora.pixxel.space/",
        "job_id": created,
        "workflow_id": "wf-succeeds",
        "pixxel_conn_id": "pixxel_default",
        "status": "completed",
        "cost": 120,
    }
    assert runner.pixxel.requests("create_job") == 1
    assert runner.pixxel.requests("estimate_cost") == 0


def test_the_events_of_outlets_hold_the_job_that_was_created(runner: RunRunner) -> None:
    outlet = create_asset(workflow_id="wf-succeeds")
    runner.run(outlets=[outlet])
    assert runner.outlet_events[outlet].extra == {
        "workflow_id": "wf-succeeds",
        "job_id": runner.jobs()[0],
        "status": "completed",
        "cost": 120,
    }


def test_without_waiting_they_hold_its_id_alone(make: Callable[..., RunRunner]) -> None:
    runner, outlet = make("poke"), create_asset(workflow_id="wf-succeeds")
    job_id = runner.run(wait=False, outlets=[outlet]).returned
    assert runner.outlet_events[outlet].extra == {"workflow_id": "wf-succeeds", "job_id": job_id}


def test_that_a_job_may_come_is_stored_before_it_is_asked_for_and_its_id_at_once(runs: RunRunner) -> None:
    runs.run()
    asked = runs.steps.index("after create_job")
    assert runs.steps.index("after set asking") < runs.steps.index("before create_job") < asked
    after = runs.steps[asked + 1 :]
    assert after[:2] == ["before set created", "after set created"]
    assert after.index("before xcom job_id") < after.index("before get_job")
    assert after.index("before xcom _link_PixxelJobLink") < after.index("before get_job")


def test_without_waiting_the_id_is_returned_at_once(make: Callable[..., RunRunner]) -> None:
    runner = make("poke")
    ended = runner.run(wait=False)
    assert [ended.returned] == runner.jobs()
    assert runner.pixxel.requests("get_job") == 0
    assert ended.xcoms["job_id"] == ended.returned


def test_a_reschedule_asks_no_more_than_a_look_each_time(
    make: Callable[..., RunRunner], monkeypatch: Any
) -> None:
    monkeypatch.setattr("pixxel_provider.operators.run.HAS_TASK_STATE_STORE", True)
    runner = make("reschedule")
    runner.run()
    assert runner.workers > 3
    assert runner.pixxel.requests("get_job") == runner.workers
    assert runner.pixxel.requests("list_jobs") == 1


# -------------------------------------------------------------------------------------------------- the price


def test_an_estimate_within_max_cost_lets_the_job_be_created(runner: RunRunner) -> None:
    ended = runner.run(max_cost=120)
    assert ended.kind == "success"
    assert (ended.xcoms["estimated_cost"], ended.xcoms["cost"]) == (120, 120)


@pytest.mark.parametrize("max_cost", [119, 119.5, "119", 0])
def test_an_estimate_above_max_cost_creates_nothing_and_names_both(runner: RunRunner, max_cost: Any) -> None:
    ended = runner.run(max_cost=max_cost)
    assert ended.kind == "PixxelCostError"
    assert "120 credits" in ended.message
    assert f"max_cost is {max_cost}" in ended.message
    assert ended.xcoms["estimated_cost"] == 120
    assert runner.jobs() == []
    assert runner.workers == 1


def test_a_job_that_cost_more_than_estimated_is_a_warning(runs: RunRunner) -> None:
    runs.pixxel.fail_next("estimate_cost", json={"estimated_cost": 50})
    ended = runs.run(max_cost=100)
    assert ended.kind == "success"
    assert (ended.xcoms["estimated_cost"], ended.xcoms["cost"]) == (50, 120)
    assert any("cost 120 credits" in line and "max_cost is 100" in line for line in runs.said)


def test_without_an_estimate_nothing_is_created(runs: RunRunner) -> None:
    runs.pixxel.fail_next("estimate_cost", times=0)
    assert runs.run(max_cost=1000).kind == "PixxelServerError"
    assert runs.jobs() == []


# -------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, ["", " ", 7, "a\nb"]) for name in ("workflow_id", "project_id", "created_by")),
        ("max_cost", [-1, float("nan"), float("inf"), "much", True, [1]]),
        ("success_statuses", ["completed"]),
    ],
)
def test_an_argument_that_can_not_be_used_is_refused_before_anything_is_asked(
    make: Callable[..., RunRunner], name: str, values: list[Any]
) -> None:
    runs = make(retries=0)
    for value in values:
        ended = runs.run(**{name: value})
        assert ended.kind == "PixxelInputError"
        assert name in ended.message
    assert runs.pixxel.counters.total == 0


@pytest.mark.parametrize(("airflow", "durable"), [(False, True), (True, False)])
def test_reschedule_mode_needs_a_store(monkeypatch: pytest.MonkeyPatch, airflow: bool, durable: bool) -> None:
    monkeypatch.setattr("pixxel_provider.operators.run.HAS_TASK_STATE_STORE", airflow)
    with pytest.raises(PixxelInputError, match="mode"):
        PixxelRunJobOperator(
            task_id="run",
            workflow_id="w",
            project_id="p",
            mode="reschedule",
            deferrable=False,
            durable=durable,
        )


def test_a_cluster_policy_can_not_have_each_look_pay_for_a_job(make: Callable[..., RunRunner]) -> None:
    runner = make("poke")
    operator = runner.operator(durable=False)
    operator.mode = "reschedule"
    with pytest.raises(PixxelInputError, match="mode can be 'reschedule' only"):
        operator.execute({"ti": runner.ti})
    assert runner.jobs() == []


# ----------------------------------------------------------------------------------------- refused, or failed


@pytest.mark.parametrize(("status", "kind"), [(400, "PixxelBadRequestError"), (403, "PixxelAuthError")])
def test_a_refusal_creates_nothing_and_is_tried_again_from_the_start(
    runs: RunRunner, status: int, kind: str
) -> None:
    runs.pixxel.fail_next("create_job", status=status, times=0)
    assert runs.run().kind == kind
    assert runs.jobs() == []
    assert runs.pixxel.requests("create_job") == 4
    assert runs.store is not None
    assert runs.store.values == {}


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 429, "retry_after": 2}])
def test_what_was_turned_away_is_sent_again(runs: RunRunner, fault: dict[str, Any]) -> None:
    runs.pixxel.fail_next("create_job", times=2, **fault)
    assert runs.run().kind == "success"
    assert runs.pixxel.requests("create_job") == 3
    assert len(runs.jobs()) == 1


def test_a_failed_job_fails_the_task_and_is_not_run_again(runner: RunRunner) -> None:
    ended = runner.run(workflow_id="wf-fails")
    assert ended.kind == "PixxelJobFailedError"
    assert "failed in block spectral-index 3.0.1: runtime_exception: band 112" in ended.message
    assert len(runner.jobs("wf-fails")) == 1


def test_validation_errors_fail_the_task_at_once_in_words(runner: RunRunner) -> None:
    ended = runner.run(workflow_id="wf-invalid")
    assert ended.kind == "PixxelJobFailedError"
    for word in ("Cloud mask", "Crop stress index", "output and input don't match", "raster of reflectance"):
        assert word in ended.message
    assert runner.pixxel.requests("get_job") == 0
    assert ended.xcoms["status"] == "failed"


def test_clearing_after_a_failed_job_creates_a_new_one(runs: RunRunner) -> None:
    runs.run(workflow_id="wf-fails")
    runs.clear()
    runs.run(workflow_id="wf-fails")
    assert len(runs.jobs("wf-fails")) == 2


def test_a_time_out_leaves_the_job_and_clearing_takes_it_up(runner: RunRunner) -> None:
    assert runner.run(timeout=30).kind == "AirflowSensorTimeout"
    runner.clear()
    ended = runner.run()
    assert [ended.returned["id"]] == runner.jobs()
    assert runner.pixxel.requests("create_job") == 1


# ---------------------------------------------------------------------------------------------- a lost answer


@pytest.mark.parametrize("kind", LOST)
def test_a_lost_answer_adopts_the_one_new_job_and_says_so(runner: RunRunner, kind: str) -> None:
    runner.lose(kind)
    ended = runner.run()
    (created,) = runner.jobs()
    assert (ended.kind, ended.returned["id"]) == ("success", created)
    assert runner.pixxel.requests("create_job") == 1
    assert sum(f"Adopting {created}" in line for line in runner.said) == 1


def test_a_job_that_is_listed_late_is_adopted_within_the_grace(runs: RunRunner) -> None:
    runs.lose("timeout")
    runs.pixxel.fail_next("list_jobs", hide=1.0, after=1, times=4)
    assert runs.run().kind == "success"
    assert runs.pixxel.requests("create_job") == 1
    assert runs.pixxel.requests("list_jobs") == 6


def test_where_no_job_appears_a_person_is_asked_and_nothing_is_sent_again(runner: RunRunner) -> None:
    runner.lose("server", accepted=False)
    began = runner.clock.now
    ended = runner.run()
    assert ended.kind == "PixxelUnconfirmedJobError"
    assert "bad gateway" in ended.message
    assert "No new job is listed" in ended.message
    assert runner.jobs() == []
    assert 60 <= runner.clock.now - began <= 75
    assert runner.workers == 1


def test_where_several_appear_a_person_chooses(runs: RunRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.lose("timeout")
    send = PixxelHook.exchange

    def exchange(hook: Any, settings: Any, call: Any, request: Any) -> Any:
        if call.name == "create_job":
            runs.pixxel.create_job("wf-succeeds", "somebody-elses", created_by="user-other")
        return send(hook, settings, call, request)

    monkeypatch.setattr(PixxelHook, "exchange", exchange)
    ended = runs.run()
    assert ended.kind == "PixxelUnconfirmedJobError"
    for created in runs.jobs():
        assert created in ended.message
    assert "user-other" in ended.message
    assert runs.pixxel.requests("create_job") == 1
    # And who says whose key it is needs nobody to choose.
    runs.clear()
    assert runs.run(created_by="user-simulator-1").kind == "success"
    assert runs.pixxel.requests("create_job") == 1


def there_before(runs: RunRunner) -> None:
    runs.pixxel.create_job("wf-succeeds", "just-before")


def there_before_a_list_that_fails(runs: RunRunner) -> None:
    there_before(runs)
    runs.pixxel.fail_next("list_jobs", status=403)


def old_and_left_out_of_the_list(runs: RunRunner) -> None:
    runs.pixxel.fail_next("list_jobs", hide=["job-finished", "job-finished-earlier"])


def of_an_earlier_clearing_and_left_out_of_the_list(runs: RunRunner) -> None:
    runs.run()
    runs.clear()
    runs.pixxel.fail_next("list_jobs", hide=1.0)


@pytest.mark.parametrize(
    ("arrange", "words"),
    [
        (there_before, "No new job is listed"),
        (there_before_a_list_that_fails, "It may be one of these: just-before"),
        (old_and_left_out_of_the_list, ""),
        (of_an_earlier_clearing_and_left_out_of_the_list, ""),
    ],
)
def test_a_job_that_may_be_older_is_not_adopted(
    runs: RunRunner, arrange: Callable[[RunRunner], None], words: str
) -> None:
    arrange(runs)
    runs.lose("timeout", accepted=False)
    ended = runs.run()
    assert (ended.kind, words in ended.message) == ("PixxelUnconfirmedJobError", True), ended.message


def test_nothing_is_adopted_while_two_requests_are_in_doubt(runs: RunRunner) -> None:
    runs.lose("timeout", times=2)
    runs.pixxel.world.list_delay = 100
    assert runs.run().kind == "PixxelUnconfirmedJobError"
    runs.clear()
    # By now the first job is listed, and the second isn't.
    ended = runs.run()
    assert ended.kind == "PixxelUnconfirmedJobError"
    assert runs.pixxel.bill().jobs[0] in ended.message


def test_a_job_that_came_long_after_the_request_is_somebody_elses(runs: RunRunner) -> None:
    runs.kill = once("before create_job")
    next_try = runs._next_try

    def an_hour_later() -> None:
        runs.clock.sleep(3600)
        runs.pixxel.create_job("wf-succeeds", "of-another-run")
        next_try()

    runs._next_try = an_hour_later  # type: ignore[method-assign]
    ended = runs.run()
    assert ended.kind == "PixxelUnconfirmedJobError"
    assert "No new job is listed" in ended.message
    runs._next_try = next_try  # type: ignore[method-assign]
    runs.clear()
    ended = runs.run()
    assert ended.kind == "success"
    assert runs.pixxel.requests("create_job") == 1
    assert ended.returned["id"] != "of-another-run"


def test_what_is_known_of_one_workflow_says_nothing_of_another(runs: RunRunner) -> None:
    runs.lose("server", accepted=False)
    assert runs.run(workflow_id="wf-fails").kind == "PixxelUnconfirmedJobError"
    runs.clear()
    runs.pixxel.create_job("wf-succeeds", "of-another-run")
    ended = runs.run(workflow_id="wf-succeeds")
    assert ended.kind == "success"
    assert ended.returned["id"] != "of-another-run"
    assert runs.pixxel.requests("create_job") == 1


@pytest.mark.parametrize("step", ["after create_job", "after get_job"])
def test_a_try_that_is_about_another_workflow_is_for_a_person(runs: RunRunner, step: str) -> None:
    runs.kill = once(step)
    make = runs.operator
    runs.operator = lambda **given: make(  # type: ignore[method-assign]
        workflow_id="wf-fails" if runs.ti.try_number == 1 else "wf-succeeds", **given
    )
    runs.mode = "poke"
    ended = runs.run()
    assert ended.kind == "PixxelUnconfirmedJobError"
    assert "An earlier try was about workflow wf-fails" in ended.message
    (created,) = runs.jobs("wf-fails")
    assert (f"Its job is {created}" in ended.message) is (step == "after get_job")
    assert runs.jobs() == []


def test_an_adopted_job_that_pixxel_refused_to_run_fails_at_once(runs: RunRunner) -> None:
    runs.lose("server")
    ended = runs.run(workflow_id="wf-invalid", wait=False)
    assert ended.kind == "PixxelJobFailedError"
    assert "validation: " in ended.message
    assert len(runs.jobs("wf-invalid")) == 1


def test_an_adopted_job_that_can_not_be_read_is_adopted_all_the_same(runs: RunRunner) -> None:
    runs.lose("server")
    runs.pixxel.fail_next("get_job", status=403)
    ended = runs.run()
    assert (ended.kind, [ended.returned["id"]]) == ("success", runs.jobs())


def test_of_many_candidates_the_newest_are_named(runs: RunRunner) -> None:
    for number in range(6):
        runs.pixxel.create_job("wf-succeeds", f"before-{number}", age=200 - number)
    runs.pixxel.fail_next("list_jobs", status=403)
    runs.lose("timeout")
    ended = runs.run()
    assert ended.kind == "PixxelUnconfirmedJobError"
    (created,) = runs.pixxel.bill().jobs
    assert f"It may be one of these: {created} (" in ended.message
    assert "before-0" not in ended.message
    assert "and 2 more" in ended.message


def test_what_was_in_doubt_stays_so_where_a_later_request_is_turned_away(runs: RunRunner) -> None:
    runs.lose("timeout")
    runs.pixxel.world.list_delay = 100
    assert runs.run().kind == "PixxelUnconfirmedJobError"
    runs.clear()
    runs.pixxel.fail_next("create_job", status=403)
    runs.clock.on_sleep.append(lambda _: runs.pixxel.advance(60))
    ended = runs.run()
    assert (ended.kind, [ended.returned["id"]]) == ("success", runs.jobs())


def test_clearing_what_a_person_was_asked_about_creates_a_job(runs: RunRunner) -> None:
    runs.lose("server", accepted=False)
    runs.run()
    runs.clear()
    assert runs.run().kind == "success"
    assert len(runs.jobs()) == 1


def ask_a_person_and_clear(runs: RunRunner) -> None:
    """Lose an answer while the list hides the job; then let it be listed, and the person clear the task."""
    runs.lose("timeout")
    runs.pixxel.fail_next("list_jobs", hide=1.0, after=1, times=30)
    assert runs.run().kind == "PixxelUnconfirmedJobError"
    runs.pixxel.faults.clear()
    runs.clear()


@pytest.mark.parametrize("unreadable", [0, 12])
def test_clearing_finds_a_job_that_is_listed_after_all(runs: RunRunner, unreadable: int) -> None:
    ask_a_person_and_clear(runs)
    if unreadable:
        # A list that can't be read isn't one that lacks the job.
        runs.pixxel.fail_next("list_jobs", body="html", times=unreadable)
    ended = runs.run()
    assert (ended.kind, [ended.returned["id"]]) == ("success", runs.jobs())
    assert runs.pixxel.requests("create_job") == 1


@pytest.mark.parametrize(("times", "next_try"), [(3, False), (15, True)])
def test_a_list_that_fails_is_read_again_within_the_grace_and_then_by_the_next_try(
    runs: RunRunner, times: int, next_try: bool
) -> None:
    runs.lose("timeout")
    runs.pixxel.fail_next("list_jobs", status=503, after=1, times=times)
    assert runs.run().kind == "success"
    assert (runs.ti.try_number > 1) is next_try
    assert runs.pixxel.requests("create_job") == 1


def test_a_list_that_goes_on_failing_asks_a_person_where_no_next_try_would_know(
    storeless: RunRunner,
) -> None:
    storeless.lose("timeout")
    storeless.pixxel.fail_next("list_jobs", status=503, after=1, times=0)
    ended = storeless.run()
    assert ended.kind == "PixxelUnconfirmedJobError"
    assert "503" in ended.message
    assert "The list of jobs couldn't be read" in ended.message
    assert storeless.pixxel.requests("create_job") == 1


def test_a_list_that_the_key_may_not_read_lets_jobs_run_but_not_be_found_again(runs: RunRunner) -> None:
    runs.pixxel.fail_next("list_jobs", status=403, times=0)
    assert runs.run().kind == "success"
    assert any("Without the list of jobs" in line for line in runs.said)
    runs.clear()
    runs.lose("timeout")
    ended = runs.run()
    assert ended.kind == "PixxelUnconfirmedJobError"
    assert "403" in ended.message
    asked = runs.pixxel.requests("create_job")
    runs.clear()
    assert runs.run().kind == "success"
    assert runs.pixxel.requests("create_job") == asked + 1


def test_a_list_that_can_not_be_read_now_creates_nothing_yet(runs: RunRunner) -> None:
    runs.pixxel.fail_next("list_jobs", status=503, times=0)
    assert runs.run().kind == "PixxelServerError"
    assert runs.pixxel.requests("create_job") == 0


# ---------------------------------------------------------------------------------------------- a dead worker


def test_wherever_the_worker_dies_the_task_ends_with_one_job(
    runner: RunRunner, pixxel: Any, make: Callable[..., RunRunner]
) -> None:
    runner.run()
    steps = [(name, runner.steps[:number].count(name)) for number, name in enumerate(runner.steps)]
    assert len(steps) > 10
    ends = {}
    for name, before in steps:
        pixxel.reset()
        again = make(runner.mode)
        seen = [0]

        def kill(at: str, name: str = name, before: int = before, seen: list[int] = seen) -> bool:
            seen[0] += at == name
            return at == name and seen[0] == before + 1

        again.kill = kill
        ended = again.run()
        ends[name, before] = (ended.kind, len(again.jobs()))
    # Between these two the request may have been sent: nobody can know, so a person must look.
    doubtful = {("after set asking", 0), ("before create_job", 0)}
    assert {step: end for step, end in ends.items() if step not in doubtful} == dict.fromkeys(
        ends.keys() - doubtful, ("success", 1)
    )
    assert {ends[step] for step in doubtful} == {("PixxelUnconfirmedJobError", 0)}


def test_the_next_try_reconnects_to_a_running_job(runs: RunRunner) -> None:
    runs.kill = once("before get_job")
    ended = runs.run()
    assert ended.kind == "success"
    assert runs.ti.try_number == 2
    assert any("Resuming job" in line and "no new one is created" in line for line in runs.said)
    assert ended.xcoms["_link_PixxelJobLink"]
    assert ended.xcoms["pixxel_conn_id"] == "pixxel_default"


def test_the_next_try_knows_what_was_estimated_before_the_worker_died(runs: RunRunner) -> None:
    runs.kill = once("after create_job")
    ended = runs.run(max_cost=500)
    assert ended.kind == "success"
    assert ended.xcoms["estimated_cost"] == 120
    assert runs.pixxel.requests("estimate_cost") == 1


def test_the_next_try_takes_over_the_result_of_a_job_that_has_ended(runs: RunRunner) -> None:
    runs.kill = once("after set created")
    runs.clock.on_sleep.append(lambda _: runs.pixxel.advance(1000))
    ended = runs.run(max_cost=500)
    assert ended.kind == "success"
    assert (ended.xcoms["estimated_cost"], ended.xcoms["cost"]) == (120, 120)
    assert runs.deferrals == []
    assert runs.pixxel.requests("estimate_cost") == 1


def test_the_next_try_creates_a_job_only_where_the_old_one_failed(runs: RunRunner) -> None:
    runs.kill = once("after set created")
    runs.clock.on_sleep.append(lambda _: runs.pixxel.advance(1000))
    ended = runs.run(workflow_id="wf-fails")
    assert ended.kind == "PixxelJobFailedError"
    assert len(runs.jobs("wf-fails")) == 2
    assert any("of an earlier try failed: a new job is created" in line for line in runs.said)


@pytest.mark.parametrize("retries", [0, 1, 2, 3, 4])
def test_clearing_after_success_runs_a_new_job_however_many_retries_there_are_now(
    make: Callable[..., RunRunner], retries: int
) -> None:
    runs = make(retries=2)
    for _ in range(3):
        assert runs.run().kind == "success"
        runs.retries = runs.ti.task.retries = retries
        runs.clear()
    assert runs.run().kind == "success"
    assert len(runs.jobs()) == 4


@pytest.mark.parametrize("retries", [3, 1, 0])
def test_a_next_try_with_fewer_retries_is_no_clearing(make: Callable[..., RunRunner], retries: int) -> None:
    runs = make(retries=3)
    runs.kill = once("before success")
    next_try = runs._next_try

    def with_fewer() -> None:
        next_try()
        runs.ti.task.retries = retries

    runs._next_try = with_fewer  # type: ignore[method-assign]
    ended = runs.run()
    assert (ended.kind, [ended.returned["id"]]) == ("success", runs.jobs())


def test_clearing_where_the_job_was_started_without_waiting_starts_another(
    make: Callable[..., RunRunner],
) -> None:
    runner = make("poke")
    runner.kill = once("before success")
    first = runner.run(wait=False).returned
    assert runner.jobs() == [first]
    runner.clear()
    assert runner.run(wait=False).returned != first


def test_a_stored_job_that_is_gone_is_an_error_and_clearing_runs_a_new_one(runs: RunRunner) -> None:
    runs.kill = once("after set created")
    runs.pixxel.fail_next("get_job", status=404, times=0)
    ended = runs.run()
    assert ended.kind == "PixxelNotFoundError"
    (gone,) = runs.jobs()
    runs.clear()
    runs.pixxel.faults.clear()
    runs.pixxel.fail_next("get_job", status=404, job_id=gone, times=0)
    assert runs.run().kind == "success"
    assert len(runs.jobs()) == 2


def test_a_store_that_breaks_after_the_job_was_created_costs_a_warning(runs: RunRunner) -> None:
    assert runs.store is not None
    store = runs.store

    def break_it(step: str) -> bool:
        store.broken = store.broken or step == "before create_job"
        return False

    runs.kill = break_it
    assert runs.run().kind == "success"
    assert any("couldn't be stored" in line for line in runs.said)
    assert len(runs.jobs()) == 1


def test_a_store_that_breaks_before_creates_nothing(runs: RunRunner) -> None:
    assert runs.store is not None
    runs.store.broken = True
    assert runs.run().kind == "RuntimeError"
    assert runs.pixxel.requests("create_job") == 0


@pytest.mark.parametrize("stored", [{"version": 99}, "job-1", {"version": 1, "state": "odd"}])
def test_a_record_of_another_version_asks_a_person_once(runs: RunRunner, stored: Any) -> None:
    assert runs.store is not None
    runs.store.values["pixxel_job"] = json.dumps(stored)
    ended = runs.run()
    assert ended.kind == "PixxelUnconfirmedJobError"
    assert runs.pixxel.requests("create_job") == 0
    runs.clear()
    assert runs.run().kind == "success"


def test_without_durable_each_try_has_a_job_of_its_own(make: Callable[..., RunRunner]) -> None:
    runner = make("poke")
    runner.kill = once("before get_job")
    assert runner.run(durable=False).kind == "success"
    assert len(runner.jobs()) == 2
    assert runner.store is not None
    assert runner.store.values == {}


# ----------------------------------------------------------------------------------------- before Airflow 3.3


@pytest.mark.parametrize("step", ["before create_job", "before get_job", "", "clear"])
def test_without_a_store_too_a_run_has_one_job_until_it_is_cleared(storeless: RunRunner, step: str) -> None:
    if step == "":
        storeless.lose("timeout")
    elif step == "clear":
        storeless.run()
        storeless.clear()
    else:
        storeless.kill = once(step)
    assert storeless.run().kind == "success"
    assert len(storeless.jobs()) == (2 if step == "clear" else 1)


def test_a_retry_without_a_store_asks_a_person_where_there_are_several(storeless: RunRunner) -> None:
    storeless.kill = once("before get_job")
    storeless.pixxel.create_job("wf-succeeds", "somebody-elses")
    ended = storeless.run()
    assert ended.kind == "PixxelUnconfirmedJobError"
    assert "somebody-elses" in ended.message


# ----------------------------------------------------------------------------------------------- being killed


def test_a_killed_task_names_the_job_that_goes_on(make: Callable[..., RunRunner]) -> None:
    runner = make("poke")
    operator = runner.operator(wait=False)
    operator.on_kill()
    assert runner.said == []
    job_id = operator.execute({"ti": runner.ti})
    operator.on_kill()
    assert job_id in runner.said[-1]
    assert "goes on running" in runner.said[-1]
    assert "https://aurora.pixxel.space/" in runner.said[-1]


def test_a_task_killed_while_it_asks_says_that_there_may_be_a_job(
    make: Callable[..., RunRunner],
) -> None:
    runner = make("poke")
    operator = runner.operator()
    runner.kill = once("after create_job")
    with pytest.raises(Killed):
        operator.execute({"ti": runner.ti})
    operator.on_kill()
    assert "there may be one" in runner.said[-1]


def test_a_wrong_key_is_told_before_anything_is_created(runs: RunRunner) -> None:
    runs.pixxel.fail_next("list_jobs", status=401, times=0)
    assert runs.run().kind == PixxelAuthError.__name__
    assert runs.pixxel.requests("create_job") == 0
