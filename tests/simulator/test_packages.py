from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from typing import Any

import pytest

from pixxel_provider.simulator.packages import (
    CHECKSUMS,
    CHUNK,
    OF_WHOLE_ANSWERS,
    PERIOD,
    Content,
    PackagePlan,
    made_up,
    stored,
)
from pixxel_provider.simulator.server import Simulator
from tests.simulator.client import DOWNLOAD, TASK, TEN, Client, fetch, whole


def test_made_up_bytes_are_the_same_each_time_and_for_each_part() -> None:
    size = PERIOD + CHUNK + 5
    content = whole(made_up(size))
    assert len(content) == size
    assert content == whole(made_up(size))
    for start, end in ((0, 1), (PERIOD - 1, PERIOD + 2), (CHUNK, size), (size - 3, size), (7, 7)):
        assert whole(made_up(size), start, end) == content[start:end]


def test_made_up_bytes_differ_by_seed_and_by_place() -> None:
    content = whole(made_up(4 * CHUNK))
    assert content != whole(made_up(4 * CHUNK, seed=1))
    assert len({content[at * CHUNK : (at + 1) * CHUNK] for at in range(4)}) == 4


@pytest.mark.parametrize("content", [stored(TEN), made_up(CHUNK + 10)])
def test_a_digest_is_that_of_all_bytes(content: Content) -> None:
    assert content.digest("sha256") == hashlib.sha256(whole(content)).digest()


def test_a_part_of_gigabytes_is_made_without_the_rest() -> None:
    content = made_up(1 << 50)
    assert len(whole(content, (1 << 50) - 10)) == 10


def test_a_package_has_its_size_and_can_be_fetched_in_two_parts(pixxel: Simulator, client: Client) -> None:
    size = 2 * CHUNK + 12_345
    pixxel.set_package("job-finished", size=size, seed=3, seconds=0)
    url = client.signed_url()
    answer = fetch(url)
    assert answer.content == whole(made_up(size, seed=3))
    assert answer.headers["content-length"] == str(size)
    assert fetch(url, Range=f"bytes={CHUNK - 7}-").content == answer.content[CHUNK - 7 :]
    pixxel.set_package("job-finished", content=b"", seconds=0)
    empty = fetch(client.signed_url())
    assert (empty.status_code, empty.content, empty.headers["content-length"]) == (200, b"", "0")


def test_the_nearest_plan_holds(pixxel: Simulator, client: Client) -> None:
    pixxel.set_package(content=b"all", seconds=0)
    assert fetch(client.signed_url()).content == b"all"
    pixxel.set_package("job-finished", content=b"job", seconds=0)
    assert [fetch(client.signed_url(path)).content for path in (DOWNLOAD, TASK)] == [b"job", b"job"]
    pixxel.set_package("job-finished", "job-finished-task-1", content=b"task", seconds=0)
    assert [fetch(client.signed_url(path)).content for path in (DOWNLOAD, TASK)] == [b"job", b"task"]


def test_a_plan_without_content_serves_the_usual_zip(pixxel: Simulator, client: Client) -> None:
    pixxel.set_package(seconds=0, filename="../x.zip", content_type="application/octet-stream")
    answer = fetch(client.signed_url())
    assert len(zipfile.ZipFile(io.BytesIO(answer.content)).namelist()) == 5
    assert answer.headers["content-disposition"] == 'attachment; filename="../x.zip"'
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("path", [DOWNLOAD, TASK])
@pytest.mark.parametrize(("plan", "seconds"), [({"seconds": 50}, 50), ({"status": "failed"}, 3)])
def test_a_package_is_ready_or_fails_after_the_time_of_its_plan(
    pixxel: Simulator, client: Client, path: str, plan: dict[str, Any], seconds: int
) -> None:
    pixxel.set_package(**plan)
    for pause in (0, seconds - 1):
        pixxel.advance(pause)
        assert client("PUT", path).json()["status"] == "pending"
    pixxel.advance(1)
    answer = client("PUT", path).json()
    assert answer["status"] == plan.get("status", "ready")
    assert bool(answer["signed_url"]) == (answer["status"] == "ready")


def test_the_control_route_sets_what_python_sets(client: Client) -> None:
    ids = {"job_id": "job-finished", "task_id": "job-finished-task-1"}
    prepared = {"content": base64.b64encode(TEN).decode(), "seed": 1, "seconds": 0, "status": "ready"}
    served = {"lifetime": 2.5, "ranges": False, "etag": False, "checksum": "Digest", "wrong_checksum": True}
    named = {"filename": "x.zip", "content_type": "text/plain"}
    assert {*prepared, *served, *named, "size"} == PackagePlan.model_fields.keys()
    assert client.control("POST", "/packages", {**ids, **prepared, **served, **named}).json() == ids
    assert fetch(client.signed_url(TASK)).content == TEN
    client.control("POST", "/packages", {"size": 12, "seconds": 0})
    assert len(fetch(client.signed_url()).content) == 12


def test_content_that_isnt_bytes_is_refused_in_python(pixxel: Simulator) -> None:
    with pytest.raises(ValueError, match="content: Input should be a valid bytes"):
        pixxel.set_package(content="text")


def b64(algorithm: str, content: bytes = TEN) -> str:
    return base64.b64encode(hashlib.new(algorithm, content).digest()).decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-MD5", b64("md5")),
        ("x-goog-hash", f"md5={b64('md5')}"),
        ("Digest", f"sha-256={b64('sha256')}"),
        ("Repr-Digest", f"sha-256=:{b64('sha256')}:"),
        ("Content-Digest", f"sha-256=:{b64('sha256')}:"),
        ("x-amz-checksum-sha256", b64("sha256")),
    ],
)
def test_a_checksum_comes_in_the_wanted_header_right_or_wrong(
    pixxel: Simulator, client: Client, name: str, value: str
) -> None:
    pixxel.set_package(content=TEN, seconds=0, checksum=name)
    url = client.signed_url()
    assert fetch(url).headers[name] == value
    part = fetch(url, Range="bytes=5-")
    assert part.headers.get(name) == (None if name in OF_WHOLE_ANSWERS else value)
    pixxel.set_package(content=TEN, seconds=0, checksum=name, wrong_checksum=True)
    wrong = fetch(client.signed_url()).headers[name]
    assert (wrong != value, len(wrong)) == (True, len(value))


def test_a_package_without_checksum_or_etag_has_no_such_header(pixxel: Simulator, client: Client) -> None:
    pixxel.set_package(content=TEN, seconds=0, etag=False)
    headers = {name.lower() for name in fetch(client.signed_url()).headers}
    assert not headers & {"etag", *(name.lower() for name in CHECKSUMS)}
