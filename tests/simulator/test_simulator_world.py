from __future__ import annotations

import base64
import json
import math
import uuid
from typing import Any

import pytest

from pixxel_provider.simulator import render
from pixxel_provider.simulator.clock import FROZEN_AT, SimulatedClock, frozen
from pixxel_provider.simulator.world import TakenIdError, UnknownIdError, World


def make(**options: Any) -> World:
    return World(clock=SimulatedClock(frozen()), **options)


def read_bytes(value: list[int]) -> Any:
    return json.loads(bytes(value))


def test_a_job_changes_only_when_the_clock_moves() -> None:
    world = make()
    job = world.create_job("wf-succeeds", job_id="j")
    first = world.full(job)

    assert world.full(job) == first
    world.clock.advance(50)
    assert world.full(job) != first


def test_a_job_in_the_middle_of_its_life() -> None:
    world = make()
    job = world.create_job("wf-succeeds", job_id="j")
    world.clock.advance(60)
    body = world.full(job)

    assert (body["status"], body["progress"], body["time_taken"]) == ("running", "55%", "55s")
    assert body["created_at"] == "2026-01-01T00:00:00.000Z"
    assert body["updated_at"] == "2026-01-01T00:01:00.000Z"
    assert body["finished_at"] == render.ZERO_TIME
    assert (body["cost"], body["estimated_duration"]) == (120, 120)
    assert [task["status"] for task in body["tasks"]] == ["completed"] * 3 + ["inprogress", "created"]
    stress, mosaic = body["tasks"][3:]
    assert stress["depends_on"] == ["Surface reflectance", "Cloud mask"]
    assert stress["block_info"] == {
        "id": "block-spectral-index",
        "name": "spectral-index",
        "version": "3.0.1",
    }
    assert stress["progress"] == 16.7
    assert mosaic["state_msg"] == "waiting for Crop stress index"
    assert mosaic["finished_at"] == mosaic["block_inf_start_time"] == render.ZERO_TIME


def test_a_completed_job_says_when_it_finished_and_what_came_out() -> None:
    world = make()
    body = world.full(world.create_job("wf-succeeds", job_id="j", age=1000))

    assert (body["status"], body["progress"], body["time_taken"]) == ("completed", "100%", "1m55s")
    assert body["finished_at"] == body["updated_at"] == render.timestamp(FROZEN_AT - 880)
    assert read_bytes(body["tasks"][3]["result"]) == {"mean": 0.62, "stressed_hectares": 184}
    assert bytes(body["tasks"][3]["info_logs"]).decode().splitlines()[-1] == "index written"
    assert read_bytes(body["spec"])["workflow"] == "wf-succeeds"


def test_a_failed_job_says_which_block_failed_and_why() -> None:
    world = make()
    body = world.full(world.job("wf-fails", "job-failed"))

    (failed,) = (task for task in body["tasks"] if task["status"] == "failed")
    assert body["status"] == "failed"
    assert failed["block_info"]["name"] == "spectral-index"
    assert failed["failure_type"] == "runtime_exception"
    assert "band 112" in failed["err_msg"] == failed["state_msg"]
    assert body["tasks"][-1]["state_msg"] == "the job has ended"


def test_an_invalid_job_lists_its_validation_errors() -> None:
    world = make()
    body = world.full(world.create_job("wf-invalid"))

    (error,) = body["val_errors"]
    assert error.keys() == {"from", "to", "err", "reason", "component_name"}
    assert body["status"] == "failed"
    assert body["finished_at"] == body["created_at"]
    assert body["tasks"] == []


def test_odd_jobs_have_a_status_nobody_knows_with_and_without_an_end() -> None:
    world = make()
    stays = world.create_job("wf-odd-status", age=9999)
    ended = world.create_job("wf-odd-ended", age=9999)

    assert (world.full(stays)["status"], world.full(stays)["finished_at"]) == (
        "awaiting_tasking",
        render.ZERO_TIME,
    )
    assert world.full(ended)["status"] == "archived"
    assert world.full(ended)["finished_at"] > "2025"


def test_a_list_shows_the_same_as_the_job_but_for_what_only_a_job_has() -> None:
    world = make()
    job = world.create_job("wf-succeeds", age=40)

    full, slim = world.full(job), world.slim(job)
    assert slim == {key: value for key, value in full.items() if key not in render.FULL_ONLY}
    assert full.keys() - slim.keys() == render.FULL_ONLY


@pytest.mark.parametrize("encoding", render.BYTE_ENCODINGS)
def test_byte_fields_hold_the_same_in_each_encoding(encoding: str) -> None:
    world = make(encoding=encoding)
    task = world.full(world.job("wf-succeeds", "job-finished"))["tasks"][3]

    decode: dict[str, Any] = {
        "integers": read_bytes,
        "base64": lambda text: json.loads(base64.b64decode(text, validate=True)),
        "json": lambda value: value,
    }
    assert decode[encoding](task["result"]) == {"mean": 0.62, "stressed_hectares": 184}


def test_byte_fields_without_content_are_empty() -> None:
    assert [render.encode_bytes(None, encoding) for encoding in render.BYTE_ENCODINGS] == [[], "", None]


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


def test_raw_fields_replace_and_leave_out_what_was_worked_out() -> None:
    world = make()
    world.create_job("wf-succeeds", job_id="j", fields={"status": ["odd"], "colour": "red"}, omit=["cost"])

    body, slim = world.full(world.jobs["j"]), world.slim(world.jobs["j"])
    assert body["status"] == slim["status"] == ["odd"]
    assert body["colour"] == "red"
    assert "cost" not in body
    assert "cost" not in slim
    changed = world.full(world.change_job("j", {"tasks": None}, omit=["progress"]))
    assert (changed["tasks"], changed["status"]) == (None, ["odd"])
    assert "progress" not in changed
    assert "tasks" not in world.slim(world.jobs["j"])
    assert world.full(world.change_job("j", {}, restore=True))["status"] == "created"


def test_a_job_can_be_made_to_end_now() -> None:
    world = make()
    world.create_job("wf-fails", job_id="j")

    assert world.full(world.finish_job("j"))["status"] == "failed"
    world.clock.advance(10)
    finished = world.full(world.jobs["j"])["finished_at"]
    assert world.full(world.finish_job("j"))["finished_at"] == finished


def test_a_job_without_end_cant_be_made_to_end() -> None:
    world = make()
    world.create_job("wf-endless", job_id="j")

    with pytest.raises(ValueError, match="no end"):
        world.finish_job("j")


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


def test_added_workflows_are_like_others_but_for_what_is_said() -> None:
    world = make()
    world.add_workflow("wf-mine", like="wf-fails", cost=7, name="Mine")

    assert world.full(world.create_job("wf-mine", age=500))["status"] == "failed"
    assert (world.workflow("wf-mine").cost, world.workflow("wf-mine").name) == (7, "Mine")
    with pytest.raises(TakenIdError, match="wf-mine"):
        world.add_workflow("wf-mine")


def test_reset_forgets_jobs_workflows_changes_and_skipped_time() -> None:
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
        (
            lambda world: world.task_number(world.jobs["job-finished"], "nope"),
            "task 'nope' was not found in job",
        ),
    ],
)
def test_an_unknown_id_is_named(call: Any, words: str) -> None:
    with pytest.raises(UnknownIdError, match=words):
        call(make())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seconds": 0}, "seconds must be"),
        ({"seconds": math.nan}, "seconds must be"),
        ({"seconds": 1, "speed": 1}, "can't both"),
        ({"speed": 0}, "speed must be"),
        ({"age": math.inf}, "age"),
        ({"age": math.nan}, "age"),
        ({"course": "wf-endless", "seconds": 3}, "no length"),
        ({"course": "wf-invalid", "seconds": 3}, "no length"),
    ],
)
def test_bad_numbers_are_refused_by_name(options: dict[str, Any], words: str) -> None:
    world = make()

    with pytest.raises(ValueError, match=words):
        world.create_job("wf-succeeds", job_id="j", **options)
    assert "j" not in world.jobs


def test_an_id_that_is_taken_is_refused() -> None:
    with pytest.raises(TakenIdError, match="job-failed"):
        make().create_job("wf-succeeds", job_id="job-failed")


@pytest.mark.parametrize("options", [{"encoding": "hex"}, {"speed": 0}])
def test_a_world_refuses_what_it_cant_do(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"bytes|speed"):
        make(**options)


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, 1e12])
def test_the_clock_only_advances_by_sensible_times(seconds: float) -> None:
    clock = SimulatedClock(frozen(5.0))

    with pytest.raises(ValueError, match="advances"):
        clock.advance(seconds)
    assert clock.now() == 5.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0001, "1ms"), (0.35, "350ms"), (1, "1s"), (59.9, "59s"), (60, "1m0s"), (3605, "1h0m5s")],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


def test_times_that_havent_come_are_gos_zero_time() -> None:
    assert render.timestamp(None) == render.timestamp(math.inf) == "0001-01-01T00:00:00Z"
    assert render.timestamp(FROZEN_AT + 0.5) == "2026-01-01T00:00:00.500Z"
