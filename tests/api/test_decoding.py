from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest

from pixxel_provider.api import calls, decoding
from pixxel_provider.api.decoding import OBJECTS_LIMIT, decode
from pixxel_provider.api.errors import PixxelResponseError
from pixxel_provider.api.job import ENTRIES_LIMIT, Job
from pixxel_provider.api.parsing import LIMITS, SMALL
from pixxel_provider.api.truncation import METADATA_LIMIT
from tests.hostile import HOSTILE, job_of

MIB = 2**20


def padded(found: Any) -> bytes:
    """Make JSON so large that it is no longer decoded as it comes."""
    return json.dumps(found).encode() + b" " * SMALL


@pytest.mark.parametrize("found", [{"a": [1, {"b": None}]}, {}, [{}, 1], [], "text", 7, None, True])
def test_a_large_answer_is_decoded_like_a_small_one(found: Any) -> None:
    assert decode(json.dumps(found).encode()) == decode(padded(found)) == found


@pytest.mark.parametrize("size", [0, SMALL])
@pytest.mark.parametrize("body", [b"{", b"nope", b"{} {}", b"[1,]", b"\xff", b'{"a":"\x80"}'])
def test_what_is_no_json_is_a_value_error_however_large(body: bytes, size: int) -> None:
    with pytest.raises(ValueError, match=r"^") as caught:
        decode(body + b" " * size)
    assert not isinstance(caught.value, PixxelResponseError)


@pytest.mark.parametrize("sign", LIMITS)
def test_an_answer_with_too_many_values_is_refused_before_it_is_decoded(
    sign: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = LIMITS[sign]
    # Who counts them can't tell that these are no values.
    words = sign.decode() * limit
    assert decode(padded(words)) == words
    monkeypatch.setattr(decoding.json, "loads", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(PixxelResponseError) as caught:
        decode(padded(f"{words}{sign.decode()}"))
    assert f"the answer holds more than {limit:,} of '{sign.decode()}'" in str(caught.value)


def test_objects_beyond_the_limit_are_empty_and_the_whole_is_kept() -> None:
    found = decode(job_of(b",".join([b'{"id":"t"}'] * (OBJECTS_LIMIT + 2))))
    assert (found["id"], found["progress"], len(found["tasks"])) == ("j", 100, OBJECTS_LIMIT + 2)
    assert found["tasks"][:OBJECTS_LIMIT] == [{"id": "t"}] * OBJECTS_LIMIT
    assert found["tasks"][OBJECTS_LIMIT:] == [{}, {}]


def test_a_list_with_more_objects_than_are_kept_can_not_be_read() -> None:
    slim = [{"id": "j", "status": "running"}] * (OBJECTS_LIMIT + 1)
    with pytest.raises(PixxelResponseError, match="usable 'id'"):
        calls.list_jobs("w").read(decode(json.dumps({"jobs": slim}).encode()))


#: Those that are refused, and not read.
REFUSED = {"30 MiB of empty tasks", "lists in lists"}


def read(body: bytes) -> Job | None:
    try:
        return calls.get_job("w", "j").read(decode(body))
    except (PixxelResponseError, RecursionError):
        return None


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_the_time_that_an_answer_costs_is_bounded(name: str) -> None:
    body = HOSTILE[name]()
    start = time.thread_time()
    job = read(body)
    # Two are promised; machines differ.
    assert time.thread_time() - start < 6
    assert (job is None) == (name in REFUSED)
    if job is None:
        return
    start = time.thread_time()
    found = job.metadata()
    assert time.thread_time() - start < 1
    assert len(json.dumps(found)) <= METADATA_LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_the_memory_that_an_answer_costs_is_bounded(name: str) -> None:
    body = HOSTILE[name]()
    tracemalloc.start()
    try:
        if (job := read(body)) is not None:
            job.metadata()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 320 * MIB


@pytest.mark.parametrize(
    ("name", "sent"), [("3 MiB with 150,000 tasks", 150_000), ("28 MiB with 300,000 tasks", 300_000)]
)
def test_a_job_with_more_tasks_than_are_read_says_so(name: str, sent: int) -> None:
    job = read(HOSTILE[name]())
    assert job is not None
    assert (job.id, job.count("tasks"), len(job.tasks)) == ("j", sent, ENTRIES_LIMIT)
    found = job.metadata()
    assert found["truncated"] == ["tasks"]
    assert 0 < len(found["tasks"]) < ENTRIES_LIMIT
