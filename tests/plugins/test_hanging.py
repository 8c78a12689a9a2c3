"""Answers that never end or are far too large don't block Airflow's API server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelResponseError
from pixxel_provider.plugins.client import AT_ONCE, JobKey, PageClient
from tests.loopback import Part, Raw, RawServer, dripping, reply
from tests.plugins.pages import require_pages
from tests.support import CANARY, FakeClock, run_python

require_pages()

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#: What comes first, and then again and again.
DRIPS = {
    "status line": (b"HTTP/1.1 ", b"2"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "body": (HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}
MIB = 2**20


@pytest.fixture(params=DRIPS)
def endless(request: pytest.FixtureRequest) -> Iterator[RawServer]:
    """A server whose answers have no end."""
    with RawServer() as found:
        found.answer_with(dripping(*DRIPS[request.param], pause=0.05))
        yield found


def connection(url: str) -> str:
    return json.dumps({"conn_type": "pixxel", "host": url, "password": CANARY})


def test_a_fifth_caller_has_an_answer_while_four_have_none(
    endless: RawServer, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DRIPPING", connection(endless.origin))
    client = PageClient()

    async def callers() -> tuple[list[Any], Any, Any]:
        four = [
            asyncio.ensure_future(client.jobs.get(JobKey("dripping", "w", f"j{number}"), 0.1))
            for number in range(AT_ONCE)
        ]
        await asyncio.to_thread(endless.wait_for_requests, AT_ONCE)
        fifth = await client.jobs.get(JobKey("pixxel_default", "wf-succeeds", "job-finished"), 20)
        listed = await client.batch.get([JobKey("pixxel_default", "wf-succeeds", "job-finished-earlier")], 20)
        return await asyncio.gather(*four), fifth, listed

    four, fifth, listed = asyncio.run(callers())
    assert [each.value for each in four] == [None] * AT_ONCE
    assert fifth.value is not None
    assert fifth.error is None
    assert listed


SERVER = """
import signal, sys, uvicorn
from pixxel_provider.plugins.app import JOB_WAIT
from pixxel_provider.plugins.client import PageClient, JobKey

client = PageClient()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await client.jobs.get(JobKey("dripping", "w", scope["path"]), JOB_WAIT)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"shown"})

# As Airflow's command does: then Python ends in the usual way, and waits for threads that aren't daemons.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
uvicorn.run(app, fd=int(sys.argv[1]), log_level="warning")
"""


def test_an_api_server_ends_on_sigterm_while_requests_hang() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, RawServer() as endless:
        endless.answer_with(dripping(*DRIPS["body"], pause=0.05))
        environ = {**os.environ, "AIRFLOW_CONN_DRIPPING": connection(endless.origin)}
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(listener.fileno())],
            env=environ,
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            readers = [socket.create_connection(listener.getsockname(), 60) for _ in range(4)]
            for number, reader in enumerate(readers):
                reader.sendall(f"GET /{number} HTTP/1.1\r\nHost: airflow\r\n\r\n".encode())
            endless.wait_for_requests(len(readers), 120)
            server.send_signal(signal.SIGTERM)
            _, said = server.communicate(timeout=30)
            for reader in readers:
                # A client that was waiting still gets an answer.
                assert b"200" in reader.recv(1_000)
                reader.close()
        finally:
            server.kill()
            server.wait()
    assert "Traceback" not in said


# ------------------------------------------------------------------------------------- answers that are large


def huge(filling: str, count: int) -> bytes:
    # Without an id of its own: the server fills in whose job was asked for.
    return b'{"id": "%s", "status": "running", "log": [' + b", ".join([filling.encode()] * count) + b"]}"


@contextlib.contextmanager
def serving(body: Callable[[str], bytes]) -> Iterator[str]:
    def answer(head: bytes) -> list[Part]:
        path = head.split()[1].decode()
        return [reply(body=body(path).replace(b"%s", path.rpartition("/")[2].encode(), 1))]

    with RawServer() as server:
        server.answer_with(Raw(answer))
        yield server.origin


def test_an_answer_is_read_up_to_four_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = huge("1", MIB), huge("1", 4 * MIB // 3)
    assert len(small) < 4 * MIB < len(large)
    with serving(lambda path: large if path.endswith("large") else small) as url:
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection(url))
        client = PageClient()

        def answer(job_id: str) -> Any:
            return asyncio.run(client.jobs.get(JobKey("pixxel_default", "w", job_id), 60))

        assert answer("small").value is not None
        error = answer("large").error
    assert isinstance(error, PixxelResponseError)
    assert "larger than 4 MiB" in str(error)


BROWSER = """
import asyncio, json, sys, time
from datetime import datetime, timezone

from pixxel_provider.plugins import views
from pixxel_provider.plugins.client import PageClient, JobKey
from pixxel_provider.plugins.queries import Instance

now = datetime.now(timezone.utc)
instance = Instance("d", "r", "t", -1, "running", 1, now, None, "PixxelJobSensor")

def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith(name))

def render(key, answer):
    page = json.dumps(views.job_page(instance, key, answer, None, now))
    return len(page) + (len(views.raw_text(answer.value)) if answer.value is not None else 0)

async def show(client, keys):
    shown = 0
    for key, answer in zip(keys, await asyncio.gather(*(client.jobs.get(key, 120) for key in keys))):
        shown += await asyncio.to_thread(render, key, answer)
    return shown

async def main():
    client, longest, done = PageClient(), 0.0, False

    async def tick():
        nonlocal longest
        while not done:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - began)

    ticking = asyncio.ensure_future(tick())
    await show(client, [JobKey("pixxel_default", "w", "small")])
    before, shown = memory("VmRSS"), {}
    for kind in sys.argv[1:]:
        keys = [JobKey("pixxel_default", "w", f"{kind}-{number}") for number in range(8)]
        shown[kind] = await show(client, keys)
    done = True
    await ticking
    left, peak = memory("VmRSS") - before, memory("VmHWM") - before
    print(json.dumps({"left": left, "peak": peak, "gap": longest, "shown": shown}))

asyncio.run(main())
"""
#: Jobs of about 4 MiB, of which each takes its own kind of memory and time, and one of 31 MiB.
LARGE = {
    "small": huge("1", 1),
    "bytes": huge("255", 3 * MIB // 4),
    "objects": huge("{}", 4 * MIB // 5),
    "addresses": huge('"https://a:b@c/?d"', 3 * MIB // 17),
    "enormous": huge("255", 31 * MIB // 5),
}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_many_large_jobs_take_little_memory_and_block_nobody() -> None:
    with serving(lambda path: LARGE[path.rpartition("/")[2].partition("-")[0]]) as url:
        printed = run_python(BROWSER, *LARGE, AIRFLOW_CONN_PIXXEL_DEFAULT=connection(url))
    found = json.loads(printed.splitlines()[-1])
    assert found["left"] < 250, found
    assert found["peak"] < 900, found
    # It was ten seconds, and is a third of one where nothing else runs.
    assert found["gap"] < 4, found
    assert found["shown"]["objects"] > 8_000_000, found
    print(found)


def test_the_list_shows_known_jobs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, go = threading.Event(), threading.Event()

    def body(path: str) -> bytes:
        if slow.is_set():
            go.wait(20)
        return b'{"id": "j", "status": "running"}'

    with serving(body) as url:
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection(url))
        clock = FakeClock()
        client, key = PageClient(clock), JobKey("pixxel_default", "w", "j")  # type: ignore[arg-type]

        async def refreshes() -> tuple[Any, float]:
            assert await client.batch.get([key], 20)
            slow.set()
            clock.sleep(60)
            began = time.monotonic()
            found = await client.batch.get([key], 20)
            took = time.monotonic() - began
            go.set()
            return found, took

        jobs, took = asyncio.run(refreshes())
    at, job = jobs[key]
    assert job.status == "running"
    assert datetime.now(timezone.utc) - at < timedelta(minutes=1)
    assert took < 2
