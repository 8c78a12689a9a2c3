from __future__ import annotations

import math
import uuid
from typing import Any

import pytest

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.clock import FROZEN_AT, SimulatedClock, frozen
from pixxel_provider.simulator.server import Simulator
from pixxel_provider.simulator.world import Bill, TakenIdError, UnknownIdError, World
from tests.simulator.client import JOBS, PROJECT, Client, make


def test_a_job_changes_only_when_the_clock_moves() -> None:
    world = make()
    job = world.create_job("wf-succeeds", job_id="j")
    first = world.full(job)
    assert world.full(job) == first
    world.clock.advance(50)
    assert world.full(job) != first


def test_ids_are_uuids_and_a_seed_repeats_them() -> None:
    ids = [[make(seed=seed).create_job("wf-succeeds").id for _ in range(2)] for seed in (7, 7, 8)]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]
    assert uuid.UUID(ids[0][0]).version == 4
    assert make().create_job("wf-succeeds").id != make().create_job("wf-succeeds").id


def test_seconds_set_how_long_the_whole_job_lasts() -> None:
    world = make()
    job = world.create_job("wf-fails", seconds=6)
    world.clock.advance(5.99)
    assert world.full(job)["status"] == "running"
    world.clock.advance(0.02)
    assert world.full(job)["status"] == "failed"


def test_speed_is_the_worlds_unless_the_job_has_its_own() -> None:
    world = make(speed=60)
    fast, slow = world.create_job("wf-succeeds"), world.create_job("wf-succeeds", speed=1)
    world.clock.advance(2)
    assert (world.full(fast)["status"], world.full(slow)["status"]) == ("completed", "queued")
    assert (world.full(fast)["estimated_duration"], world.full(slow)["estimated_duration"]) == (2, 120)


def test_a_job_can_take_another_workflows_course_at_its_own_cost() -> None:
    world = make()
    job = world.create_job("wf-succeeds", course="wf-fails", age=500)
    body = world.full(job)
    assert (body["status"], body["cost"], body["workflow_id"]) == ("failed", 120, "wf-succeeds")


def test_a_job_can_be_made_to_end_now_unless_it_has_no_end() -> None:
    world = make()
    world.create_job("wf-fails", job_id="j")
    assert world.full(world.finish_job("j"))["status"] == "failed"
    world.clock.advance(10)
    finished = world.full(world.jobs["j"])["finished_at"]
    assert world.full(world.finish_job("j"))["finished_at"] == finished
    world.create_job("wf-endless", job_id="k")
    with pytest.raises(ValueError, match="no end"):
        world.finish_job("k")


def test_a_clock_that_jumps_back_shows_the_job_as_just_created() -> None:
    now = [FROZEN_AT]
    world = World(clock=SimulatedClock(lambda: now[0]))
    job = world.create_job("wf-succeeds")
    now[0] -= 1e6
    body = world.full(job)
    assert (body["status"], body["progress"], body["time_taken"]) == ("created", "0%", "0s")
    assert body["updated_at"] == body["created_at"]


def test_a_package_is_pending_at_first_and_ready_after_a_while() -> None:
    world = make()
    job = world.job("wf-succeeds", "job-finished")
    assert not world.package(job)
    world.clock.advance(2.9)
    assert not world.package(job)
    world.clock.advance(0.2)
    assert world.package(job)
    assert not world.package(job, "job-finished-task-1")


def test_added_workflows_are_like_others_but_for_the_given_fields() -> None:
    world = make()
    world.add_workflow("wf-mine", like="wf-fails", cost=7, name="Mine")
    assert world.full(world.create_job("wf-mine", age=500))["status"] == "failed"
    assert (world.workflow("wf-mine").cost, world.workflow("wf-mine").name) == (7, "Mine")


def test_an_id_that_is_taken_is_refused() -> None:
    world = make()
    with pytest.raises(TakenIdError, match="wf-fails"):
        world.add_workflow("wf-fails")
    with pytest.raises(TakenIdError, match="job-failed"):
        world.create_job("wf-succeeds", job_id="job-failed")


def test_reset_undoes_jobs_workflows_changes_and_skipped_time() -> None:
    world = make(seed=3)
    first = world.create_job("wf-succeeds").id
    world.add_workflow("wf-mine")
    world.change_job("job-failed", {"status": "odd"})
    world.clock.advance(100)
    world.reset()
    assert set(world.jobs) == {"job-finished", "job-finished-earlier", "job-failed"}
    assert "wf-mine" not in world.workflows
    assert world.full(world.jobs["job-failed"])["status"] == "failed"
    assert world.clock.now() == FROZEN_AT
    assert world.create_job("wf-succeeds").id == first


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda world: world.workflow("nope"), "workflow 'nope' was not found"),
        (lambda world: world.workflow("wf-succeeds", "nope"), "project 'nope' was not found"),
        (lambda world: world.workflow("wf-succeeds", "project-coast"), "in project 'project-coast'"),
        (lambda world: world.job("wf-succeeds", "a/b"), "job 'a/b' was not found in workflow 'wf-succeeds'"),
        (lambda world: world.job("wf-fails", "job-finished"), "job 'job-finished' was not found"),
        (lambda world: world.jobs_of("nope"), "workflow 'nope'"),
        (lambda world: world.finish_job("nope"), "job 'nope'"),
        (lambda world: world.create_job("wf-succeeds", course="nope"), "workflow 'nope'"),
        (lambda world: world.task_number(world.jobs["job-finished"], "nope"), "task 'nope' was not found in"),
    ],
)
def test_an_unknown_id_is_named(call: Any, words: str) -> None:
    with pytest.raises(UnknownIdError, match=words):
        call(make())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seconds": 0}, "seconds: "),
        ({"seconds": math.nan}, "seconds: "),
        ({"seconds": 1, "speed": 1}, "can't both"),
        ({"speed": 0}, "speed must be"),
        ({"speed": True}, "speed: "),
        ({"colour": 1}, "colour: there is no such field"),
        ({"age": math.inf}, "age"),
        ({"age": math.nan}, "age"),
        ({"course": "wf-endless", "seconds": 3}, "no length"),
        ({"course": "wf-invalid", "seconds": 3}, "no length"),
    ],
)
def test_bad_options_are_refused_by_name(options: dict[str, Any], words: str) -> None:
    world = make()
    with pytest.raises(ValueError, match=words):
        world.create_job("wf-succeeds", job_id="j", **options)
    assert "j" not in world.jobs


def test_the_bill_names_each_users_jobs_and_credits(pixxel: Simulator, client: Client) -> None:
    first, second = (client.create().json()["id"] for _ in range(2))
    other = client.create(headers={"Authorization": "second-key"}).json()["id"]
    assert pixxel.bill() == Bill((first, second, other), 360)
    assert pixxel.bill("user-simulator-1") == Bill((first, second), 240)
    assert pixxel.bill("user-simulator-2") == Bill((other,), 120)
    assert pixxel.bill("nobody") == Bill((), 0)
    assert client.control("GET", "/bill").json() == {
        "jobs": [first, second, other],
        "credits": 360,
        "users": {
            "user-simulator-1": {"jobs": [first, second], "credits": 240},
            "user-simulator-2": {"jobs": [other], "credits": 120},
        },
    }


def test_the_bill_has_the_cost_of_each_workflow_but_no_job_made_behind_the_api(
    pixxel: Simulator, client: Client
) -> None:
    pixxel.create_job(job_id="j")
    client.control("POST", "/jobs", {"workflow_id": "wf-succeeds"})
    assert client.control("GET", "/bill").json() == {"jobs": [], "credits": 0, "users": {}}
    client.create()
    client("POST", "/v0/workflows/wf-fails/jobs", params=PROJECT)
    assert pixxel.bill().credits == 120 + 80


def test_a_list_shows_an_ordered_job_after_the_delay(pixxel: Simulator, client: Client) -> None:
    assert client.control("POST", "/settings", {"list_delay": 30}).json() == {"list_delay": 30}
    job_id = client.create().json()["id"]
    assert job_id not in client.listed()
    assert client.get(JOBS, id=job_id).json() == {"jobs": []}
    assert client.job(job_id).status_code == 200
    pixxel.advance(29)
    assert job_id not in client.listed()
    pixxel.advance(1)
    assert job_id in client.listed()


def test_jobs_made_behind_the_api_are_listed_at_once_by_default(pixxel: Simulator, client: Client) -> None:
    pixxel.world.list_delay = 30
    pixxel.create_job(job_id="at-once", created_by="someone")
    client.control("POST", "/jobs", {"workflow_id": "wf-succeeds", "id": "later", "list_delay": 5})
    assert "at-once" in client.listed()
    assert "later" not in client.listed()
    assert client.get(JOBS, created_by="someone").json()["jobs"][0]["id"] == "at-once"
    pixxel.advance(5)
    assert "later" in client.listed()


def test_a_reset_brings_back_the_delay_of_the_start() -> None:
    with serve(clock=frozen(), list_delay=7) as pixxel:
        pixxel.world.list_delay = 0
        pixxel.reset()
        assert pixxel.world.list_delay == 7
