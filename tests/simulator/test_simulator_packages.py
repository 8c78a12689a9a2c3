"""Packages of any content and size, served whole or in part, with checksums that are right or wrong."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import zipfile
from typing import Any
from urllib.parse import quote

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.clock import frozen
from pixxel_provider.simulator.content import CHUNK, PERIOD, Content, Given, MadeUp
from pixxel_provider.simulator.package_plans import CHECKSUMS, OF_WHOLE_ANSWERS, PackagePlan
from pixxel_provider.simulator.ranges import UnsatisfiableError, wanted_part
from pixxel_provider.simulator.server import Simulator

DOWNLOAD = "/v0/workflows/wf-succeeds/jobs/job-finished/download"
TASK = "/v0/workflows/wf-succeeds/jobs/job-finished/tasks/job-finished-task-1/download"
TEN = b"0123456789"


def ask(client: Any, path: str = DOWNLOAD) -> str:
    """The signed URL of a package that takes no time."""
    answer = client("PUT", path).json()
    assert answer["status"] == "ready"
    return str(answer["signed_url"])


def fetch(url: str, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(url, headers=named, timeout=10)


def whole(content: Content, start: int = 0, end: int | None = None) -> bytes:
    return b"".join(content.chunks(start, content.size if end is None else end))


# ------------------------------------------------------------------------------------------------- content


def test_made_up_bytes_are_the_same_each_time_and_for_each_part() -> None:
    size = PERIOD + CHUNK + 5
    content = whole(MadeUp(size))

    assert len(content) == size
    assert content == whole(MadeUp(size))
    for start, end in ((0, 1), (PERIOD - 1, PERIOD + 2), (CHUNK, size), (size - 3, size), (7, 7)):
        assert whole(MadeUp(size), start, end) == content[start:end]


def test_made_up_bytes_differ_by_seed_and_by_place() -> None:
    content = whole(MadeUp(4 * CHUNK))

    assert content != whole(MadeUp(4 * CHUNK, seed=1))
    assert len({content[at * CHUNK : (at + 1) * CHUNK] for at in range(4)}) == 4


@pytest.mark.parametrize("content", [Given(TEN), MadeUp(CHUNK + 10)])
def test_a_digest_is_that_of_all_bytes(content: Content) -> None:
    assert content.digest("sha256") == hashlib.sha256(whole(content)).digest()


def test_a_part_of_gigabytes_is_made_without_the_rest() -> None:
    content = MadeUp(1 << 50)

    assert len(whole(content, (1 << 50) - 10)) == 10


# -------------------------------------------------------------------------------------------------- ranges


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 6)),
        ("bytes=4-", (4, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=8-99", (8, 10)),
        ("Bytes=2-5", (2, 6)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
    ],
)
def test_a_range_is_read_or_ignored(text: str | None, part: tuple[int, int] | None) -> None:
    assert wanted_part(text, 10) == part


@pytest.mark.parametrize(("text", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_range_without_a_byte_in_it_cant_be_satisfied(text: str, size: int) -> None:
    with pytest.raises(UnsatisfiableError, match=f"outside of {size} bytes"):
        wanted_part(text, size)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20))
def test_a_part_lies_within_what_there_is(first: int, last: int, size: int) -> None:
    try:
        part = wanted_part(f"bytes={first}-{last}", size)
    except UnsatisfiableError:
        assert first >= size
    else:
        assert (part is None) == (last < first)
        assert part is None or 0 <= part[0] < part[1] <= size


def test_a_part_is_answered_as_a_part(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(content=TEN, seconds=0)
    answer = fetch(ask(client), Range="bytes=2-5")

    assert (answer.status_code, answer.content) == (206, b"2345")
    assert answer.headers["content-range"] == "bytes 2-5/10"
    assert answer.headers["content-length"] == "4"


def test_a_part_outside_is_a_416_that_names_the_size(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(content=TEN, seconds=0)
    answer = fetch(ask(client), Range="bytes=10-")

    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */10")


def test_without_ranges_the_answer_is_the_whole_package(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(content=TEN, seconds=0, ranges=False)
    answer = fetch(ask(client), Range="bytes=2-5")

    assert (answer.status_code, answer.content) == (200, TEN)
    assert answer.headers["accept-ranges"] == "none"


def test_if_range_holds_for_the_same_package_only(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(content=TEN, seconds=0)
    url = ask(client)
    first = fetch(url)
    for name in ("etag", "last-modified"):
        assert fetch(url, Range="bytes=5-", If_Range=first.headers[name]).status_code == 206
    pixxel.set_package(content=TEN[::-1], seconds=0)
    answer = fetch(url, Range="bytes=5-", If_Range=first.headers["etag"])

    assert (answer.status_code, answer.content) == (200, TEN[::-1])
    assert answer.headers["etag"] != first.headers["etag"]


def test_a_package_can_come_without_an_etag(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(content=TEN, seconds=0, etag=False)

    assert "etag" not in fetch(ask(client)).headers


# ------------------------------------------------------------------------------------- how packages turn out


def test_a_package_of_a_size_is_that_long_and_can_be_fetched_in_two_parts(
    pixxel: Simulator, client: Any
) -> None:
    size = 2 * CHUNK + 12_345
    pixxel.set_package("job-finished", size=size, seed=3, seconds=0)
    url = ask(client)
    answer = fetch(url)

    assert answer.content == whole(MadeUp(size, seed=3))
    assert answer.headers["content-length"] == str(size)
    assert fetch(url, Range=f"bytes={CHUNK - 7}-").content == answer.content[CHUNK - 7 :]


def test_the_end_of_a_package_larger_than_memory_is_fetched(pixxel: Simulator, client: Any) -> None:
    size = 1 << 44
    pixxel.set_package(size=size, seconds=0)
    answer = fetch(ask(client), Range="bytes=-1000")

    assert answer.headers["content-range"] == f"bytes {size - 1000}-{size - 1}/{size}"
    assert answer.content == whole(MadeUp(size), size - 1000)


def test_a_client_that_leaves_ends_the_download(pixxel: Simulator, client: Any) -> None:
    size = 1 << 44
    pixxel.set_package(size=size, seconds=0)
    with requests.get(ask(client), stream=True, timeout=10) as answer:
        assert len(answer.raw.read(1000)) == 1000

    while pixxel.counters.snapshot()["in_flight"]:
        client.get("/ping")
    assert pixxel.counters.snapshot()["bytes_sent"] < size


def test_an_empty_package_has_no_byte(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(content=b"", seconds=0)
    answer = fetch(ask(client))

    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


def test_the_nearest_plan_holds(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(content=b"all", seconds=0)
    assert fetch(ask(client)).content == b"all"
    pixxel.set_package("job-finished", content=b"job", seconds=0)
    assert [fetch(ask(client, path)).content for path in (DOWNLOAD, TASK)] == [b"job", b"job"]
    pixxel.set_package("job-finished", "job-finished-task-1", content=b"task", seconds=0)
    assert [fetch(ask(client, path)).content for path in (DOWNLOAD, TASK)] == [b"job", b"task"]


def test_a_plan_without_content_serves_the_usual_zip(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(seconds=0, filename="../x.zip", content_type="application/octet-stream")
    answer = fetch(ask(client))

    assert len(zipfile.ZipFile(io.BytesIO(answer.content)).namelist()) == 5
    assert answer.headers["content-disposition"] == 'attachment; filename="../x.zip"'
    assert answer.headers["content-type"] == "application/octet-stream"


def test_a_package_takes_as_long_as_its_plan_says(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(seconds=50)
    assert client("PUT", DOWNLOAD).json()["status"] == "pending"
    pixxel.advance(49)
    assert client("PUT", DOWNLOAD).json()["status"] == "pending"
    pixxel.advance(1)
    assert client("PUT", DOWNLOAD).json()["status"] == "ready"


@pytest.mark.parametrize("path", [DOWNLOAD, TASK])
def test_a_package_can_fail(pixxel: Simulator, client: Any, path: str) -> None:
    pixxel.set_package(status="failed")
    assert client("PUT", path).json()["status"] == "pending"
    pixxel.advance(3)
    answer = client("PUT", path).json()

    assert (answer["status"], answer["signed_url"]) == ("failed", "")


def test_a_url_holds_for_its_lifetime_and_another_ask_gives_another(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(content=TEN, seconds=0, lifetime=5)
    first, second = ask(client), ask(client)
    assert first != second
    pixxel.advance(4)
    third = ask(client)
    assert [fetch(url).status_code for url in (first, second, third)] == [200, 200, 200]
    pixxel.advance(1)
    assert [fetch(url).status_code for url in (first, second, third)] == [403, 403, 200]


def test_a_reset_makes_packages_as_usual_again(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(status="failed", seconds=0)
    pixxel.reset()

    assert client("PUT", DOWNLOAD).json()["status"] == "pending"


def test_downloads_are_counted_and_disturbed_by_job(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(content=TEN, seconds=0)
    pixxel.fail_next("download_file", status=503, job_id="job-finished-earlier")

    assert fetch(ask(client)).status_code == 200
    assert fetch(ask(client, DOWNLOAD.replace("finished", "finished-earlier"))).status_code == 503
    assert pixxel.requests("download_file", "job-finished") == 1


@pytest.mark.parametrize("name", ["x", "[", "{}", "[1,2]", "[1,2,3]", "[" * 5000])
def test_a_file_that_is_none_is_refused(pixxel: Simulator, client: Any, name: str) -> None:
    assert fetch(f"{pixxel.url}/_files/{quote(name)}?expires=1&ask=1&signature=x").status_code == 403


def test_no_log_holds_a_signed_url(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
    for name in ("uvicorn.access", "uvicorn.error", "pixxel_provider.simulator"):
        caplog.set_level(logging.DEBUG, name)
    # A request is logged after its answer has gone out: only when the server has ended is all of it there.
    with serve(clock=frozen()) as pixxel:
        pixxel.set_package(content=TEN, seconds=0)
        url = requests.put(
            pixxel.url + DOWNLOAD, headers={"Authorization": f"Bearer {pixxel.key}"}, timeout=10
        ).json()["signed_url"]
        assert fetch(url).content == TEN

    assert "/_files/" in caplog.text
    assert "signature" not in caplog.text


# ----------------------------------------------------------------------------------------------- checksums


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
def test_a_checksum_comes_in_the_wanted_header(pixxel: Simulator, client: Any, name: str, value: str) -> None:
    pixxel.set_package(content=TEN, seconds=0, checksum=name)
    url = ask(client)

    assert fetch(url).headers[name] == value
    part = fetch(url, Range="bytes=5-")
    assert part.headers.get(name) == (None if name in OF_WHOLE_ANSWERS else value)


@pytest.mark.parametrize("name", CHECKSUMS)
def test_a_checksum_can_be_wrong(pixxel: Simulator, client: Any, name: str) -> None:
    pixxel.set_package(content=TEN, seconds=0, checksum=name)
    right = fetch(ask(client)).headers[name]
    pixxel.set_package(content=TEN, seconds=0, checksum=name, wrong_checksum=True)
    wrong = fetch(ask(client)).headers[name]

    assert wrong != right
    assert len(wrong) == len(right)


def test_a_package_without_checksum_has_no_such_header(pixxel: Simulator, client: Any) -> None:
    pixxel.set_package(content=TEN, seconds=0)

    assert not {name.lower() for name in CHECKSUMS} & {name.lower() for name in fetch(ask(client)).headers}


# --------------------------------------------------------------------------------------- the control route


def test_the_control_route_sets_what_python_sets(client: Any) -> None:
    wanted = {
        "job_id": "job-finished",
        "task_id": "job-finished-task-1",
        "content": base64.b64encode(TEN).decode(),
        "seconds": 0,
        "lifetime": 2.5,
        "ranges": False,
        "etag": False,
        "checksum": "Digest",
        "wrong_checksum": True,
        "filename": "x.zip",
        "content_type": "text/plain",
        "status": "ready",
        "seed": 1,
    }
    answer = client.control("POST", "/packages", wanted)

    assert answer.json() == {"job_id": "job-finished", "task_id": "job-finished-task-1"}
    assert wanted.keys() | {"size"} == {*PackagePlan.__dataclass_fields__, "job_id", "task_id"}
    assert fetch(ask(client, TASK)).content == TEN
    client.control("POST", "/packages", {"size": 12, "seconds": 0})
    assert len(fetch(ask(client)).content) == 12


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"size": -1}, "size: must be from 0"),
        ({"size": 1 << 60}, "size: must be from 0"),
        ({"size": 1.5}, "size: must be a whole number"),
        ({"size": 1, "content": ""}, "content and size can't both"),
        ({"content": "?"}, "content: is not base64"),
        ({"seconds": -1}, "seconds: must be from 0"),
        ({"lifetime": -1}, "lifetime: must be from 0"),
        ({"checksum": "sha-1"}, "checksum: 'sha-1' is not one of Content-MD5"),
        ({"wrong_checksum": True}, "wrong_checksum: needs a checksum"),
        ({"filename": "a\r\nb"}, "filename: must be printable ASCII"),
        ({"content_type": "é"}, "content_type: must be printable ASCII"),
        ({"task_id": "t"}, "task_id: needs the job_id"),
        ({"colour": "red"}, "colour: there is no such field"),
    ],
)
def test_a_package_that_cant_be_is_refused_by_field(client: Any, fields: Any, words: str) -> None:
    answer = client.control("POST", "/packages", fields)

    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_content_that_isnt_bytes_is_refused_in_python(pixxel: Simulator) -> None:
    with pytest.raises(ValueError, match="content: must be bytes, not str"):
        pixxel.set_package(content="text")


@pytest.mark.parametrize("ids", [{"job_id": "nope"}, {"job_id": "job-finished", "task_id": "nope"}])
def test_a_package_of_an_unknown_job_or_task_is_a_404(client: Any, ids: Any) -> None:
    assert client.control("POST", "/packages", {**ids, "size": 1}).status_code == 404
