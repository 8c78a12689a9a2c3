from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest

from pixxel_provider.simulator import render
from pixxel_provider.simulator.clock import FROZEN_AT
from tests.simulator.client import make


def read_bytes(value: list[int]) -> Any:
    return json.loads(bytes(value))


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


def test_a_completed_job_has_its_end_and_its_results() -> None:
    world = make()
    body = world.full(world.create_job("wf-succeeds", job_id="j", age=1000))
    assert (body["status"], body["progress"], body["time_taken"]) == ("completed", "100%", "1m55s")
    assert body["finished_at"] == body["updated_at"] == render.timestamp(FROZEN_AT - 880)
    assert read_bytes(body["tasks"][3]["result"]) == {"mean": 0.62, "stressed_hectares": 184}
    assert bytes(body["tasks"][3]["info_logs"]).decode().splitlines()[-1] == "index written"
    assert read_bytes(body["spec"])["workflow"] == "wf-succeeds"


def test_a_failed_job_names_its_failed_block_and_the_reason() -> None:
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


def test_odd_jobs_have_an_unknown_status_with_and_without_an_end() -> None:
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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0001, "1ms"), (0.35, "350ms"), (1, "1s"), (59.9, "59s"), (60, "1m0s"), (3605, "1h0m5s")],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


def test_times_that_havent_come_are_gos_zero_time() -> None:
    assert render.timestamp(None) == render.timestamp(math.inf) == "0001-01-01T00:00:00Z"
    assert render.timestamp(FROZEN_AT + 0.5) == "2026-01-01T00:00:00.500Z"
