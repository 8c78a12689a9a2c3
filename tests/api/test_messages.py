from __future__ import annotations

import json
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.api.job import Job
from pixxel_provider.api.messages import (
    METADATA_LIMIT,
    RAW_FIELDS,
    check_include,
    failure_text,
    metadata,
    name_of,
    plain,
    progress_line,
    status_line,
    status_of,
    time_left,
)


def job(status: str = "running", **fields: Any) -> Job:
    return Job.read({"id": "j", "status": status, **fields})


def size(value: Any) -> int:
    return len(json.dumps(value, allow_nan=False))


# ----------------------------------------------------------------------------------------------- metadata


def test_metadata_has_the_names_of_the_api_and_json_types() -> None:
    found = metadata(
        job(
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
            val_errors=[
                {"from": "a", "to": "b", "err": "e", "reason": "r", "component_name": "c", "more": 1}
            ],
            spec=list(b"{}"),
            unknown="left out",
        )
    )

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

    assert metadata(full, ["spec"])["spec"] == [255]
    assert "spec" not in metadata(full, ["inputs"])
    assert [task["inputs"] for task in metadata(full, ["inputs"])["tasks"]] == [{"band": 3}, None]
    assert "result" not in metadata(full, ["inputs"])["tasks"][0]
    first = metadata(full, RAW_FIELDS)["tasks"][0]
    assert (first["result"], first["info_logs"]) == ([1], list(b"a\x00b"))


def test_raw_fields_are_made_strict_json() -> None:
    full = job(spec='{"a": NaN, "b": 1e999, "c": "\\ud800\\u0000"}')

    assert metadata(full, ["spec"])["spec"] == {"a": None, "b": None, "c": "?\ufffd"}


@pytest.mark.parametrize("include", ["spec", b"spec", None, 7, iter(["spec"])])
def test_include_is_a_collection_of_names(include: Any) -> None:
    with pytest.raises(PixxelInputError, match=r"^include must be a list of field names, not ") as caught:
        metadata(job(), include)
    assert caught.value.field == "include"


@pytest.mark.parametrize("include", [["specs"], ["spec", "id"], [None], [["spec"]], {"tasks"}])
def test_include_names_only_raw_fields(include: Any) -> None:
    with pytest.raises(
        PixxelInputError, match=r"^include names .*; it may name spec, inputs, result, info_logs$"
    ):
        metadata(job(), include)


@pytest.mark.parametrize("include", [["inputs", "spec"], ("inputs", "spec", "inputs"), {"spec", "inputs"}])
def test_include_is_put_in_order(include: Any) -> None:
    assert check_include(include) == ("spec", "inputs")


def test_what_fits_is_not_truncated() -> None:
    assert METADATA_LIMIT == 65_536
    room = METADATA_LIMIT - size(metadata(job(created_by="")))

    assert "truncated" not in metadata(job(created_by="x" * room))
    assert metadata(job(created_by="x" * (room + 1)))["truncated"] == ["created_by"]


def test_the_largest_raw_field_goes_first_and_the_others_stay() -> None:
    full = job(spec=json.dumps(["s" * 20_000]), tasks=[{"inputs": "x" * 50_000, "result": "small"}] * 2)
    found = metadata(full, RAW_FIELDS)

    assert found["truncated"] == ["tasks.inputs"]
    assert found["spec"] == ["s" * 20_000]
    assert [("inputs" in task, task["result"]) for task in found["tasks"]] == [(False, "small")] * 2
    assert size(found) <= METADATA_LIMIT


def test_a_large_spec_goes() -> None:
    found = metadata(job(spec=json.dumps(["s" * 70_000]), tasks=[{"inputs": "kept"}]), RAW_FIELDS)

    assert found["truncated"] == ["spec"]
    assert "spec" not in found
    assert found["tasks"][0]["inputs"] == "kept"


def test_long_texts_lose_their_ends_before_any_task_goes() -> None:
    full = job(
        tasks=[{"id": str(n), "err_msg": "e" * 9_000, "block_info": {"name": "b" * 3_000}} for n in range(9)],
        val_errors=["v" * 3_000],
    )
    found = metadata(full)

    assert found["truncated"] == ["tasks.err_msg", "tasks.block.name", "val_errors.err"]
    assert [task["id"] for task in found["tasks"]] == list("012345678")
    assert {task["err_msg"] for task in found["tasks"]} == {"e" * 1_999 + "…"}
    assert size(found) <= METADATA_LIMIT


def test_texts_are_cut_again_where_once_is_not_enough() -> None:
    found = metadata(job(tasks=[{"id": str(n), "err_msg": "e" * 9_000} for n in range(60)]))

    assert found["truncated"] == ["tasks.err_msg"]
    assert len(found["tasks"]) == 60
    assert {task["err_msg"] for task in found["tasks"]} == {"e" * 199 + "…"}


def test_failed_tasks_are_the_last_to_go() -> None:
    tasks = [{"id": str(n), "name": "n" * 100, "status": "completed"} for n in range(1_000)]
    tasks[900] = {"id": "900", "status": "failed"}
    tasks[950] = {"id": "950", "status": "odd", "err_msg": "disk full"}
    tasks[990] = {"id": "990", "status": "odd", "failure_type": "unknown"}
    found = metadata(job(tasks=tasks))

    assert found["truncated"] == ["tasks"]
    assert [task["id"] for task in found["tasks"][:5]] == ["900", "950", "990", "0", "1"]
    assert 100 < len(found["tasks"]) < 1_000
    assert METADATA_LIMIT / 3 < size(found) <= METADATA_LIMIT


def test_validation_errors_go_after_the_tasks_and_from_the_end() -> None:
    errors = [{"err": f"{n} " + "v" * 150} for n in range(1_000)]
    found = metadata(job(tasks=[{"id": "t"}], val_errors=errors))

    assert found["truncated"] == ["tasks", "val_errors"]
    assert found["tasks"] == []
    assert [error["err"].split()[0] for error in found["val_errors"][:2]] == ["0", "1"]
    assert size(found) <= METADATA_LIMIT


def test_even_a_job_that_is_all_text_fits() -> None:
    long = "😀" * 100_000
    found = metadata(
        Job.read(dict.fromkeys(("id", "status", "workflow_id", "created_by", "time_taken"), long))
    )

    assert found["truncated"] == ["id", "workflow_id", "status", "created_by", "time_taken"]
    assert found["id"] == "😀" * 199 + "…"
    assert size(found) <= METADATA_LIMIT


# ------------------------------------------------------------------------------------------- failure_text


def test_a_failure_names_the_task_its_block_and_the_reasons() -> None:
    failed = {
        "name": "mask",
        "status": "failed",
        "block_info": {"name": "cloud-mask", "version": "1.2"},
        "failure_type": "runtime_exception",
        "err_msg": "out of\n memory",
    }
    words = failure_text(job("failed", tasks=[{"name": "read", "status": "completed"}, failed]))

    assert words == (
        "status 'failed'; task 'mask' failed in block cloud-mask 1.2: runtime_exception: out of memory"
    )


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"id": "t", "status": "Errored"}, "task 't' failed"),
        ({"name": "n", "failure_type": "unknown"}, "task 'n' failed: unknown"),
        ({"name": "n", "err_msg": "boom"}, "task 'n' failed: boom"),
        ({"name": "n", "status": "failed", "block_info": {"id": "b"}}, "task 'n' failed in block b"),
    ],
)
def test_whatever_a_task_says_of_its_failure_is_said(task: Any, words: str) -> None:
    assert failure_text(job("failed", tasks=[task])) == f"status 'failed'; {words}"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"err": "e", "reason": "r", "from": "a", "to": "b", "component_name": "c"}, "e: r (a -> b, c)"),
        ({"err": "e", "from": "a"}, "e (a)"),
        ({"reason": "r", "component_name": "c"}, "r (c)"),
        ("plain", "plain"),
        ({}, "no reason given"),
    ],
)
def test_validation_errors_are_said(error: Any, words: str) -> None:
    assert failure_text(job("failed", val_errors=[error])) == f"status 'failed'; validation: {words}"


def test_a_failure_without_a_reason_says_so() -> None:
    assert (
        failure_text(job("failed", tasks=[{"status": "queued"}])) == "status 'failed'; Pixxel gave no reason"
    )


def test_more_than_five_of_a_kind_are_counted() -> None:
    tasks = [{"name": f"t{n}", "status": "failed"} for n in range(7)]
    words = failure_text(job("failed", tasks=tasks, val_errors=["v"] * 6))

    assert words.count(" failed;") == 5
    assert "'t4'" in words
    assert "'t5'" not in words
    assert words.count("validation:") == 5
    assert words.endswith("; and 3 more")


def test_a_long_failure_is_cut_and_every_reason_has_its_room() -> None:
    tasks = [{"name": f"t{n}", "status": "failed", "err_msg": "e" * 10_000} for n in range(3)]
    words = failure_text(job("failed" + " " * 10_000, tasks=tasks))

    assert len(words) <= 2_000
    assert all(f"'t{n}'" in words for n in range(3))
    assert len(failure_text(job("failed", tasks=[{"name": "n" * 9_000, "status": "failed"}]))) == 2_000


# ------------------------------------------------------------------------------------------ progress_line


def test_a_line_says_where_a_job_stands() -> None:
    tasks = [
        {"name": "read", "status": "done"},
        {"name": "clip", "status": "Completed"},
        {"name": "mask", "status": "inprogress", "block_info": {"name": "cloud-mask", "version": "1.2.0"}},
        {"name": "sum", "status": "created"},
        {"id": "t5", "status": "Running"},
    ]

    assert progress_line(job("running", progress="40%", tasks=tasks)) == (
        "running, 40 %, 2 of 5 tasks done, now cloud-mask 1.2.0 and t5"
    )


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "running"),
        ({"progress": 0}, "running, 0 %"),
        ({"progress": 33.333333333}, "running, 33.3333 %"),
        ({"tasks": [{"status": "queued"}]}, "running, 0 of 1 tasks done"),
        (
            {"tasks": [{"name": n, "status": "processing"} for n in "abcd"]},
            "running, 0 of 4 tasks done, now a and b and c",
        ),
    ],
)
def test_a_line_says_no_more_than_is_known(fields: Any, line: str) -> None:
    assert progress_line(job(**fields)) == line


def estimated(status: str = "running", **times: Any) -> Job:
    """Return a job that was created at noon, takes an hour by its estimate, and changed last at half past."""
    usual = {
        "created_at": "2026-01-02T12:00:00Z",
        "estimated_duration": 3600,
        "updated_at": "2026-01-02T12:30:00Z",
    }
    return job(status, **{**usual, **times})


def test_a_line_of_a_job_that_runs_ends_with_the_time_left() -> None:
    tasks = [{"name": "mask", "status": "running"}]
    assert progress_line(estimated(progress="40%", tasks=tasks)) == (
        "running, 40 %, 0 of 1 tasks done, now mask, about 30 min left"
    )
    assert status_line(estimated(progress="40%", tasks=tasks)) == "running, 40 %, 0 of 1 tasks done, now mask"


def test_the_estimate_counts_from_when_the_execution_was_created() -> None:
    assert time_left(estimated(exec_created_at="2026-01-02T12:10:00Z")) == "about 40 min left"


@pytest.mark.parametrize("status", ["In Progress", "processing", "started"])
def test_every_word_for_running_has_a_time_left(status: str) -> None:
    assert time_left(estimated(status)) == "about 30 min left"


@pytest.mark.parametrize(
    ("left", "words"),
    [
        *((1, "5 s"), (8, "10 s"), (38, "40 s"), (57, "55 s"), (58, "1 min"), (89, "1 min"), (95, "2 min")),
        *((185, "3 min"), (560, "9 min"), (590, "10 min"), (1_000, "15 min"), (5_300, "90 min")),
        *((5_600, "2 h"), (7_300, "2 h"), (86_400, "24 h"), (130_000, "36 h"), (132_000, "2 days")),
        (10 * 86_400 + 3_600, "10 days"),
    ],
)
def test_the_time_left_is_rounded_as_people_round(left: int, words: str) -> None:
    assert time_left(estimated(estimated_duration=1_800 + left)) == f"about {words} left"


def test_a_job_past_its_expected_end_takes_longer_than_estimated() -> None:
    assert progress_line(estimated(estimated_duration=1_800 - 1)) == "running, longer than estimated"
    assert time_left(estimated(estimated_duration=1_800)) == "about 5 s left"


@pytest.mark.parametrize(
    "unknown",
    [
        *({"status": status} for status in ("created", "queued", "paused", "completed", "failed", "odd")),
        *({"created_at": moment} for moment in (None, "0001-01-01T00:00:00Z", "soon")),
        *({"updated_at": moment} for moment in (None, "0001-01-01T00:00:00Z", "soon")),
        *({"estimated_duration": estimate} for estimate in (None, 0, -1, "long", 2**62)),
    ],
    ids=str,
)
def test_nothing_is_said_of_the_time_left_where_it_is_not_known(unknown: Any) -> None:
    assert time_left(estimated(**unknown)) == ""


def test_a_line_stays_one_short_line() -> None:
    tasks = [{"name": "two\nlines " + "n" * 5_000, "status": "running"}]
    line = progress_line(job("odd\r\nstatus" + "s" * 5_000, tasks=tasks))

    assert len(line) == 500
    assert line.startswith("odd status" + "s" * 89 + "…, 0 of 1 tasks done, now two lines nn")
    assert status_of(job(" a\n b ")) == "a b"


@pytest.mark.parametrize(
    ("value", "words"),
    [(1_234_567, "1234567"), (1_209_600.0, "1209600"), (0.1 + 0.2, "0.3"), (12, "12"), (2.5, "2.5")],
)
def test_numbers_are_written_as_people_write_them(value: float, words: str) -> None:
    assert plain(value) == words


def test_a_job_has_one_name_in_all_messages() -> None:
    assert name_of("w", "j") == "Pixxel job j of workflow w"


def test_a_remark_of_a_task_that_succeeded_is_no_failure() -> None:
    tasks = [
        {"name": "fine", "status": "completed", "err_msg": "2 pixels left out", "failure_type": "unknown"},
        {"name": "bad", "status": "failed", "err_msg": "no pixel left"},
    ]
    words = failure_text(Job.read({"id": "j", "status": "failed", "tasks": tasks}))
    assert "'bad'" in words
    assert "'fine'" not in words
