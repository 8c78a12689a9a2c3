from __future__ import annotations

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
from pixxel_provider.simulator.downloads import wanted_part
from pixxel_provider.simulator.packages import made_up
from pixxel_provider.simulator.render import Problem
from pixxel_provider.simulator.server import Simulator
from tests.simulator.client import DOWNLOAD, JOBS, TEN, Client, fetch, message, whole


def ready(pixxel: Simulator, client: Client, path: str) -> str:
    assert client("PUT", path).json()["status"] == "pending"
    pixxel.advance(5)
    return str(client("PUT", path).json()["signed_url"])


def test_a_package_holds_the_results_of_the_jobs_tasks(pixxel: Simulator, client: Client) -> None:
    url = ready(pixxel, client, DOWNLOAD)
    answer = fetch(url)
    assert url.startswith(pixxel.url)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 5
    assert fetch(url).content == answer.content


def test_a_tasks_package_holds_that_task(pixxel: Simulator, client: Client) -> None:
    url = ready(pixxel, client, f"{JOBS}/job-finished/tasks/job-finished-task-4/download")
    with zipfile.ZipFile(io.BytesIO(fetch(url).content)) as archive:
        assert archive.namelist() == ["4-crop-stress-index.json"]


def test_a_signed_url_refuses_the_key(pixxel: Simulator, client: Client) -> None:
    url = ready(pixxel, client, DOWNLOAD)
    assert client.session.get(url, timeout=10).status_code == 400
    assert pixxel.counters.seen[-1].authorization == "bearer"
    assert pixxel.counters.seen[-1].query == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url[:-1], "signature"),
        (lambda url: url.split("?")[0], "signature"),
        (lambda url: url.replace("expires=", "expires=9"), "signature"),
        (lambda url: url, "expired"),
    ],
)
def test_a_signature_holds_for_its_url_and_time_only(
    pixxel: Simulator, client: Client, change: Any, words: str
) -> None:
    url = ready(pixxel, client, DOWNLOAD)
    pixxel.advance(900 if words == "expired" else 0)
    assert words in message(fetch(change(url)), 403)


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
    with pytest.raises(Problem, match=f"outside of {size} bytes"):
        wanted_part(text, size)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20))
def test_a_part_lies_within_what_there_is(first: int, last: int, size: int) -> None:
    try:
        part = wanted_part(f"bytes={first}-{last}", size)
    except Problem:
        assert first >= size
    else:
        assert (part is None) == (last < first)
        assert part is None or 0 <= part[0] < part[1] <= size


@pytest.mark.parametrize(
    ("wanted", "options", "status", "content", "headers"),
    [
        ("bytes=2-5", {}, 206, b"2345", {"content-range": "bytes 2-5/10", "content-length": "4"}),
        ("bytes=10-", {}, 416, None, {"content-range": "bytes */10"}),
        ("bytes=2-5", {"ranges": False}, 200, TEN, {"accept-ranges": "none"}),
    ],
    ids=["a part", "outside", "without ranges"],
)
def test_a_range_is_answered_with_a_part_if_there_is_one(
    pixxel: Simulator,
    client: Client,
    wanted: str,
    options: dict[str, Any],
    status: int,
    content: bytes | None,
    headers: dict[str, str],
) -> None:
    pixxel.set_package(content=TEN, seconds=0, **options)
    answer = fetch(client.signed_url(), Range=wanted)
    assert answer.status_code == status
    assert content is None or answer.content == content
    assert headers.items() <= {name.lower(): value for name, value in answer.headers.items()}.items()


def test_if_range_holds_for_the_same_package_only(pixxel: Simulator, client: Client) -> None:
    pixxel.set_package(content=TEN, seconds=0)
    url = client.signed_url()
    first = fetch(url)
    for name in ("etag", "last-modified"):
        assert fetch(url, Range="bytes=5-", If_Range=first.headers[name]).status_code == 206
    pixxel.set_package(content=TEN[::-1], seconds=0)
    answer = fetch(url, Range="bytes=5-", If_Range=first.headers["etag"])
    assert (answer.status_code, answer.content) == (200, TEN[::-1])
    assert answer.headers["etag"] != first.headers["etag"]


def test_the_end_of_a_package_larger_than_memory_is_fetched(pixxel: Simulator, client: Client) -> None:
    size = 1 << 44
    pixxel.set_package(size=size, seconds=0)
    answer = fetch(client.signed_url(), Range="bytes=-1000")
    assert answer.headers["content-range"] == f"bytes {size - 1000}-{size - 1}/{size}"
    assert answer.content == whole(made_up(size), size - 1000)


def test_a_client_that_disconnects_ends_the_download(pixxel: Simulator, client: Client) -> None:
    size = 1 << 44
    pixxel.set_package(size=size, seconds=0)
    with requests.get(client.signed_url(), stream=True, timeout=10) as answer:
        assert len(answer.raw.read(1000)) == 1000
    while pixxel.counters.snapshot()["in_flight"]:
        client.get("/ping")
    assert pixxel.counters.snapshot()["bytes_sent"] < size


def test_each_request_gives_another_url_for_its_lifetime(pixxel: Simulator, client: Client) -> None:
    pixxel.set_package(content=TEN, seconds=0, lifetime=5)
    first, second = client.signed_url(), client.signed_url()
    assert first != second
    pixxel.advance(4)
    third = client.signed_url()
    assert [fetch(url).status_code for url in (first, second, third)] == [200, 200, 200]
    pixxel.advance(1)
    assert [fetch(url).status_code for url in (first, second, third)] == [403, 403, 200]


def test_downloads_are_counted_and_disturbed_by_job(pixxel: Simulator, client: Client) -> None:
    pixxel.set_package(content=TEN, seconds=0)
    pixxel.fail_next("download_file", status=503, job_id="job-finished-earlier")
    assert fetch(client.signed_url()).status_code == 200
    assert fetch(client.signed_url(DOWNLOAD.replace("finished", "finished-earlier"))).status_code == 503
    assert pixxel.requests("download_file", "job-finished") == 1


@pytest.mark.parametrize("name", ["x", "[", "{}", "[1,2]", "[1,2,3]", "[" * 5000])
def test_an_unknown_file_is_refused(pixxel: Simulator, client: Client, name: str) -> None:
    assert fetch(f"{pixxel.url}/_files/{quote(name)}?expires=1&ask=1&signature=x").status_code == 403


def test_no_log_holds_a_signed_url(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
    for name in ("uvicorn.access", "uvicorn.error", "pixxel_provider.simulator"):
        caplog.set_level(logging.DEBUG, name)
    # A request is logged after its answer was sent: the log is complete when the server has ended.
    with serve(clock=frozen()) as pixxel:
        pixxel.set_package(content=TEN, seconds=0)
        assert fetch(Client(pixxel).signed_url()).content == TEN
    assert "/_files/" in caplog.text
    assert "signature" not in caplog.text
