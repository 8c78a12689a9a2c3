"""Whatever the API answers: a typed answer or PixxelResponseError, and a summary that every store takes."""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixxel_provider.api import calls, messages, truncation
from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import PixxelResponseError
from pixxel_provider.api.job import RAW_FIELDS, BlockInfo, Job, Late, Task, ValidationError
from pixxel_provider.api.judges import JobPoll
from pixxel_provider.api.models import Download, Page, Project, Workflow
from pixxel_provider.api.polling import PollState, WaitPlan
from pixxel_provider.api.truncation import METADATA_LIMIT
from tests.support import RecordingLog

FULL_JOB = (
    "created_by status time_taken id tasks val_errors spec cost workflow_id updated_at finished_at "
    "exec_created_at exec_updated_at created_at estimated_duration progress"
).split()
TASK = (
    "id name status state_msg progress depends_on estimated_time_duration time_taken created_at updated_at "
    "finished_at recv_time send_time block_inf_start_time block_inf_end_time block_info inputs result "
    "info_logs disclaimer err_msg failure_type"
).split()
OTHERS = "jobs workflows projects pagination total count name title description project_id signed_url".split()


def deep(levels: int, leaf: Any = "end") -> Any:
    value = leaf
    for level in range(levels):
        value = {"id": value} if level % 3 == 0 else [value]
    return value


TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    [
        "\ud800",
        "\x00",
        "0001-01-01T00:00:00Z",
        "0000-12-31T19:00:00-05:00",
        "2026-01-02T03:04:05+05:30",
        "Fri, 02 Jan 2026 03:04:05 GMT",
        "75%",
        "1e999",
        "nan",
        "-0",
        "1" * 4_000,
        "eyJhIjogTmFOfQ==",
        '{"a": NaN, "b": "\\ud800\\u0000"}',
        "[" * 5_000,
        "completed",
        "Fai-led",
        "running",
        "archived",
    ]
)
LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**64), 10**4_000, 1e308, float("nan"), float("inf"), float("-inf"), -0.0])
    | st.floats()
    | TEXT
    | st.binary(max_size=20).map(list)
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from([*FULL_JOB, *TASK, *OTHERS, "estimated_cost"]) | TEXT
    return st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4)


ANY = st.recursive(LEAF, containers, max_leaves=8) | st.integers(41, 400).map(deep)
BLOCK = st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "name", "version"), LEAF)) | ANY
TASKS = st.lists(
    st.fixed_dictionaries({}, optional={key: BLOCK if key == "block_info" else ANY for key in TASK}) | ANY,
    max_size=3,
)
NAMES = TEXT.filter(str.strip) | st.integers()
# Documented fields in their places, any of them of a wrong type.
JOB = st.fixed_dictionaries(
    {"id": NAMES, "status": NAMES},
    optional={
        key: (TASKS if key == "tasks" else ANY) | ANY for key in FULL_JOB if key not in ("id", "status")
    },
)
OBJECT = st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "status", "estimated_cost", *OTHERS), ANY))
LISTS = st.fixed_dictionaries(
    {},
    optional={
        "jobs": st.lists(JOB, max_size=2) | ANY,
        "workflows": st.lists(OBJECT, max_size=2) | ANY,
        "projects": st.lists(OBJECT, max_size=2) | ANY,
        "pagination": st.fixed_dictionaries({"total": LEAF}) | ANY,
        "count": ANY,
    },
)

EVERY_CALL: dict[str, tuple[Call[Any], Any]] = {
    name: (
        function(*["x" for p in inspect.signature(function).parameters.values() if p.default is p.empty]),
        typing.get_args(typing.get_type_hints(function)["return"])[0],
    )
    for name, function in vars(calls).items()
    if inspect.isfunction(function) and str(function.__annotations__.get("return", "")).startswith("Call[")
}


def assert_is(value: Any, hint: Any) -> None:
    """Check a value against a type, through lists, unions and dataclasses."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        assert any(type(value) is kind for kind in inner), (value, hint)
    elif origin is list:
        assert type(value) is list
        for entry in value:
            assert_is(entry, inner[0])
    elif origin is tuple:
        assert type(value) is tuple
        for entry in value:
            assert_is(entry, inner[0])
    elif origin is Page:
        assert_is(value.items, tuple[inner[0], ...])
        assert_is(value.total, int | None)
    elif origin in (Mapping, typing.get_origin(Mapping[str, Any])):
        assert isinstance(value, Mapping)
    elif hint is not Any:
        assert type(value) is hint, (value, hint)
        if dataclasses.is_dataclass(hint):
            for name, kind in HINTS[hint].items():
                assert_is(getattr(value, name), kind)
            for name, kind in LATE.get(hint, {}).items():
                assert_is(getattr(value, name), kind)


MOMENT = datetime | None
NUMBER = int | float | None
# What is read when it is first asked for has no annotation that could be looked up.
LATE: dict[type, dict[str, Any]] = {
    Job: {
        "created_by": str,
        "time_taken": str,
        "estimated_duration": NUMBER,
        "tasks": tuple[Task, ...],
        "val_errors": tuple[ValidationError, ...],
        "created_at": MOMENT,
        "updated_at": MOMENT,
        "finished_at": MOMENT,
        "exec_created_at": MOMENT,
        "exec_updated_at": MOMENT,
        "spec": Any,
    },
    Task: {
        "progress": NUMBER,
        "time_taken": str,
        "block": BlockInfo,
        "err_msg": str,
        "failure_type": str,
        "state_msg": str,
        "depends_on": tuple[str, ...],
        "estimated_time_duration": NUMBER,
        "created_at": MOMENT,
        "updated_at": MOMENT,
        "finished_at": MOMENT,
        "inputs": Any,
        "result": Any,
        "info_logs": Any,
    },
}
HINTS = {
    kind: typing.get_type_hints(kind)
    for kind in (BlockInfo, Download, Job, Project, Task, ValidationError, Workflow)
}


def answer_of(call: Call[Any], answer: Any) -> Any:
    try:
        return call.read(answer)
    except PixxelResponseError as error:
        words = str(error)
    assert 0 < len(words) < 200
    return None


def test_every_endpoint_is_tried() -> None:
    assert sorted(EVERY_CALL) == sorted(
        (
            "create_job download_job download_task estimate_cost get_job get_workflow list_jobs "
            "list_projects list_workflows ping"
        ).split()
    )
    assert EVERY_CALL["get_job"][1] is Job


@pytest.mark.parametrize("name", EVERY_CALL)
@settings(max_examples=40)
@given(answer=LISTS | OBJECT | JOB | ANY)
def test_any_json_is_a_typed_answer_or_a_response_error(name: str, answer: Any) -> None:
    call, promised = EVERY_CALL[name]
    found = answer_of(call, answer)

    if found is not None:
        assert_is(found, promised)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        yield from texts(list(value.values()))
    elif isinstance(value, list):
        for entry in value:
            yield from texts(entry)


def assert_storable(value: Any) -> None:
    written = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()

    assert not any("\x00" in words for words in texts(value))
    assert len(json.dumps(value)) <= METADATA_LIMIT
    assert len(written) <= METADATA_LIMIT
    assert json.loads(written) == value


def assert_nothing_lost_unnamed(job: Job, include: tuple[str, ...] = RAW_FIELDS) -> dict[str, Any]:
    """Check a job's metadata; what it lacks of what there is must be named under ``truncated``."""
    found = job.metadata(include)
    with patch.object(truncation, "METADATA_LIMIT", 10**12):
        whole = job.metadata(include)
    assert_storable(found)
    gone = found.pop("truncated", [])
    assert "truncated" not in whole
    assert len(gone) == len(set(gone))
    for key, value in whole.items():
        if key in ("tasks", "val_errors"):
            if key not in gone:
                assert len(found[key]) == len(value)
                for mine, theirs in zip(found[key], value, strict=True):
                    cut = {k for k in theirs if mine.get(k, ...) != theirs[k]}
                    assert cut <= {name.split(".")[1] for name in gone if name.startswith(f"{key}.")}
        elif key not in gone:
            assert found[key] == value
    assert "id" in gone or found["id"] == job.id
    assert "status" in gone or found["status"] == job.status
    return found


def one_paragraph(words: str, limit: int) -> bool:
    return 0 < len(words) <= limit and " ".join(words.split()) == words and bool(words.encode())


@settings(max_examples=100)
@given(JOB)
def test_any_job_with_an_id_and_a_status_is_read_stored_and_told(answer: Any) -> None:
    job = Job.read(answer)

    assert_is(job, Job)
    assert_nothing_lost_unnamed(job)
    assert_nothing_lost_unnamed(job, ())
    assert one_paragraph(messages.failure_text(job), 2_000)
    assert one_paragraph(messages.progress_line(job), 500)


@settings(max_examples=50)
@given(
    job=st.just({"id": "j", "status": "failed"}) | JOB,
    tasks=TASKS,
    times=st.integers(1, 1_500),
    long=st.sampled_from(["x", "é", "😀", '"', "\n", "\x00", "\ud800"]),
    length=st.integers(0, 90_000),
    places=st.sets(st.sampled_from([*FULL_JOB, *TASK]), max_size=6),
)
def test_any_large_job_is_cut_to_fit_and_says_where(
    job: Any, tasks: Any, times: int, long: str, length: int, places: set[str]
) -> None:
    words = "x" + long * length
    entries = [
        {**(t if isinstance(t, dict) else {}), **dict.fromkeys(places & set(TASK), words)} for t in tasks
    ]
    answer = {**job, **{key: words for key in places & set(FULL_JOB) if key != "val_errors"}}
    answer["tasks"] = entries[:1] + [entry if n % 2 else {"id": str(n)} for n, entry in enumerate(entries)]
    answer["val_errors"] = [words] * (times % 7) + [{"err": "e" * 100}] * times

    assert_nothing_lost_unnamed(Job.read(answer))


@settings(max_examples=60)
@given(st.lists(JOB, max_size=3), st.booleans())
def test_a_wait_takes_any_job(answers: list[Any], silent_fail: bool) -> None:
    said: list[str] = []
    wait = PollState(
        JobPoll("w", "j"), WaitPlan(silent_fail=silent_fail), log=RecordingLog(said, levels=False)
    )
    for answer in answers:
        result = wait.judge(Job.read(answer))
        if result is not None:
            assert_storable(result.metadata)
            said.append(result.message)
        said.append(wait.timed_out().message)

    assert all(one_paragraph(words, 2_100) for words in said)


# ----------------------------------------------------------------------------------- bodies, as they come


def decode(body: str) -> Any:
    """Decode a body as the hook does."""
    try:
        return json.loads(body.encode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        raise PixxelResponseError("the answer isn't JSON") from None


BODIES: dict[str, str] = {
    "null": "null",
    "a list": "[]",
    "NaN": "NaN",
    "300 levels of lists": "[" * 300 + "]" * 300,
    "300 levels of objects": '{"id":' * 300 + "1" + "}" * 300,
    "100,000 levels of lists": "[" * 100_000 + "]" * 100_000,
    "100,000 levels of objects": '{"jobs":' * 100_000 + "1" + "}" * 100_000,
    "a number of 4,000 digits": "1" * 4_000,
    "a number of 100,000 digits": "1" * 100_000,
    "a lone surrogate": '"\\ud800"',
    "half a body": '{"jobs": [{"id": "j", "stat',
    "HTML": "<html><title>502 Bad Gateway</title></html>",
    "the same key twice": '{"id": "a", "status": "x", "id": "b"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("name", EVERY_CALL)
def test_a_body_is_a_typed_answer_or_a_response_error(name: str, body: str) -> None:
    call, promised = EVERY_CALL[name]
    try:
        found = call.read(decode(body))
    except PixxelResponseError:
        return
    assert_is(found, promised)


VALUES: dict[str, str] = {
    "300 levels of lists": "[" * 300 + "]" * 300,
    "300 levels of objects": '{"k":' * 300 + "1" + "}" * 300,
    "a string of 100,000 levels": json.dumps("[" * 100_000 + "]" * 100_000),
    "bytes of 1,500 levels": json.dumps(list(b"[" * 1_500)),
    "infinity": "1e999",
    "NaN": "NaN",
    "a number of 4,000 digits": "-" + "9" * 4_000,
    "NULs": '"\\u0000\\u0000"',
    "a lone surrogate": '"\\udc00"',
    "null": "null",
    "true": "true",
    "an empty list": "[]",
    "bytes": "[0, 255, 128]",
    "no bytes": "[0, 256]",
    "bytes that hold NaN": json.dumps(list(b'{"a": NaN, "b": [Infinity, 1e999]}')),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_each_documented_field_may_hold_anything(value: str) -> None:
    for key in FULL_JOB:
        if key not in ("id", "status"):
            job = Job.read(decode(f'{{"id": "j", "status": "failed", "{key}": {value}}}'))
            assert_is(job, Job)
            assert_nothing_lost_unnamed(job)
            assert one_paragraph(messages.failure_text(job), 2_000)
    for key in TASK:
        job = Job.read(decode(f'{{"id": "j", "status": "failed", "tasks": [{{"{key}": {value}}}, {value}]}}'))
        assert_is(job, Job)
        assert len(job.tasks) == 2
        assert_nothing_lost_unnamed(job)
        assert one_paragraph(messages.progress_line(job), 500)


@pytest.mark.parametrize("kind", [Job, Task])
def test_this_file_knows_all_that_is_read_late(kind: type) -> None:
    late = {name for name, found in vars(kind).items() if isinstance(found, Late)}
    assert late == set(LATE[kind])


def test_the_checks_of_this_file_can_fail() -> None:
    def job(**late: Any) -> Job:
        found = Job.read({"id": "j", "status": "done"})
        vars(found).update(late)
        return found

    broken: list[Callable[[], Any]] = [
        lambda: assert_is(job(cost="12"), Job),
        lambda: assert_is(job(tasks=[]), Job),
        lambda: assert_is(job(finished_at=datetime), Job),
        lambda: assert_is(job(val_errors=("x",)), Job),
        lambda: assert_storable([{"a\x00": 1}]),
        lambda: assert_storable(["x" * METADATA_LIMIT]),
        lambda: assert_storable((1,)),
    ]
    for check in broken:
        with pytest.raises(AssertionError):
            check()
    assert_is(job(), Job)
    assert not one_paragraph("a\nb", 9)
