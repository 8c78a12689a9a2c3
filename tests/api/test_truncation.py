"""A job as the dict that goes to XCom, and how it is cut to fit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.api.job import RAW_FIELDS, Job, check_include
from pixxel_provider.api.truncation import METADATA_LIMIT
from tests.support import job


def size(value: Any) -> int:
    return len(json.dumps(value, allow_nan=False))


def test_metadata_has_the_names_of_the_api_and_json_types() -> None:
    found = job(
        "Completed",
        workflow_id="w",
        progress="100%",
        cost=12,
        created_by="ada",
        time_taken="3m",
        estimated_duration=300,
        created_at="2026-01-02T08:34:05+05:30",
        updated_at="soon",
        finished_at="0001-01-01T00:00:00Z",
        exec_created_at=1767323045,
        exec_updated_at=None,
        tasks=[
            {
                "id": "t",
                "name": "mask",
                "status": "completed",
                "progress": 100,
                "time_taken": "9s",
                "block_info": {"id": "b", "name": "cloud-mask", "version": "1"},
                "err_msg": None,
                "failure_type": "",
                "state_msg": "left out",
                "inputs": list(b"[1]"),
                "disclaimer": ["left out"],
            }
        ],
        val_errors=[{"from": "a", "to": "b", "err": "e", "reason": "r", "component_name": "c", "more": 1}],
        spec=list(b"{}"),
        unknown="left out",
    ).metadata()

    assert found == {
        "id": "j",
        "workflow_id": "w",
        "status": "Completed",
        "progress": 100,
        "cost": 12,
        "created_by": "ada",
        "time_taken": "3m",
        "estimated_duration": 300,
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "soon",
        "finished_at": None,
        "exec_created_at": "2026-01-02T03:04:05Z",
        "exec_updated_at": None,
        "tasks": [
            {
                "id": "t",
                "name": "mask",
                "status": "completed",
                "progress": 100,
                "time_taken": "9s",
                "block": {"id": "b", "name": "cloud-mask", "version": "1"},
                "err_msg": "",
                "failure_type": "",
            }
        ],
        "val_errors": [{"from": "a", "to": "b", "err": "e", "reason": "r", "component_name": "c"}],
    }


def test_raw_fields_come_decoded_and_only_when_named() -> None:
    raw = {"inputs": list(b'{"band": 3}'), "result": list(b"[1]"), "info_logs": list(b"a\x00b")}
    full = job(spec=[255], tasks=[raw, {}])

    assert full.metadata(["spec"])["spec"] == [255]
    assert "spec" not in full.metadata(["inputs"])
    assert [task["inputs"] for task in full.metadata(["inputs"])["tasks"]] == [{"band": 3}, None]
    assert "result" not in full.metadata(["inputs"])["tasks"][0]
    first = full.metadata(RAW_FIELDS)["tasks"][0]
    assert (first["result"], first["info_logs"]) == ([1], list(b"a\x00b"))


def test_raw_fields_are_made_strict_json() -> None:
    full = job(spec='{"a": NaN, "b": 1e999, "c": "\\ud800\\u0000"}')

    assert full.metadata(["spec"])["spec"] == {"a": None, "b": None, "c": "?\ufffd"}


@pytest.mark.parametrize("include", ["spec", b"spec", None, 7, iter(["spec"])])
def test_include_is_a_collection_of_names(include: Any) -> None:
    with pytest.raises(PixxelInputError, match=r"^include must be a list of field names, not ") as caught:
        job().metadata(include)
    assert caught.value.field == "include"


@pytest.mark.parametrize("include", [["specs"], ["spec", "id"], [None], [["spec"]], {"tasks"}])
def test_include_names_only_raw_fields(include: Any) -> None:
    with pytest.raises(
        PixxelInputError, match=r"^include names .*; it may name spec, inputs, result, info_logs$"
    ):
        job().metadata(include)


@pytest.mark.parametrize("include", [["inputs", "spec"], ("inputs", "spec", "inputs"), {"spec", "inputs"}])
def test_include_is_put_in_order(include: Any) -> None:
    assert check_include(include) == ("spec", "inputs")


def test_what_fits_is_not_truncated() -> None:
    assert METADATA_LIMIT == 65_536
    room = METADATA_LIMIT - size(job(created_by="").metadata())

    assert "truncated" not in job(created_by="x" * room).metadata()
    assert job(created_by="x" * (room + 1)).metadata()["truncated"] == ["created_by"]


def test_the_largest_raw_field_goes_first_and_the_others_stay() -> None:
    full = job(spec=json.dumps(["s" * 20_000]), tasks=[{"inputs": "x" * 50_000, "result": "small"}] * 2)
    found = full.metadata(RAW_FIELDS)

    assert found["truncated"] == ["tasks.inputs"]
    assert found["spec"] == ["s" * 20_000]
    assert [("inputs" in task, task["result"]) for task in found["tasks"]] == [(False, "small")] * 2
    assert size(found) <= METADATA_LIMIT


def test_a_large_spec_goes() -> None:
    found = job(spec=json.dumps(["s" * 70_000]), tasks=[{"inputs": "kept"}]).metadata(RAW_FIELDS)

    assert found["truncated"] == ["spec"]
    assert "spec" not in found
    assert found["tasks"][0]["inputs"] == "kept"


def test_long_texts_lose_their_ends_before_any_task_goes() -> None:
    full = job(
        tasks=[{"id": str(n), "err_msg": "e" * 9_000, "block_info": {"name": "b" * 3_000}} for n in range(9)],
        val_errors=["v" * 3_000],
    )
    found = full.metadata()

    assert found["truncated"] == ["tasks.err_msg", "tasks.block.name", "val_errors.err"]
    assert [task["id"] for task in found["tasks"]] == list("012345678")
    assert {task["err_msg"] for task in found["tasks"]} == {"e" * 1_999 + "…"}
    assert size(found) <= METADATA_LIMIT


def test_texts_are_cut_again_where_once_is_not_enough() -> None:
    found = job(tasks=[{"id": str(n), "err_msg": "e" * 9_000} for n in range(60)]).metadata()

    assert found["truncated"] == ["tasks.err_msg"]
    assert len(found["tasks"]) == 60
    assert {task["err_msg"] for task in found["tasks"]} == {"e" * 199 + "…"}


def test_failed_tasks_are_the_last_to_go() -> None:
    tasks = [{"id": str(n), "name": "n" * 100, "status": "completed"} for n in range(1_000)]
    tasks[900] = {"id": "900", "status": "failed"}
    tasks[950] = {"id": "950", "status": "odd", "err_msg": "disk full"}
    tasks[990] = {"id": "990", "status": "odd", "failure_type": "unknown"}
    found = job(tasks=tasks).metadata()

    assert found["truncated"] == ["tasks"]
    assert [task["id"] for task in found["tasks"][:5]] == ["900", "950", "990", "0", "1"]
    assert 100 < len(found["tasks"]) < 1_000
    assert METADATA_LIMIT / 3 < size(found) <= METADATA_LIMIT


def test_validation_errors_go_after_the_tasks_and_from_the_end() -> None:
    errors = [{"err": f"{n} " + "v" * 150} for n in range(1_000)]
    found = job(tasks=[{"id": "t"}], val_errors=errors).metadata()

    assert found["truncated"] == ["tasks", "val_errors"]
    assert found["tasks"] == []
    assert [error["err"].split()[0] for error in found["val_errors"][:2]] == ["0", "1"]
    assert size(found) <= METADATA_LIMIT


def test_even_a_job_that_is_all_text_fits() -> None:
    long = "😀" * 100_000
    found = Job.read(
        dict.fromkeys(("id", "status", "workflow_id", "created_by", "time_taken"), long)
    ).metadata()

    assert found["truncated"] == ["id", "workflow_id", "status", "created_by", "time_taken"]
    assert found["id"] == "😀" * 199 + "…"
    assert size(found) <= METADATA_LIMIT
