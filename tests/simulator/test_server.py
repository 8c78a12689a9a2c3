from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.clock import frozen
from pixxel_provider.simulator.server import Server, Simulator, base_url, listen
from tests.simulator.client import Client, ping, wait_for
from tests.support import run_python


def get(pixxel: Simulator, path: str = "/ping") -> requests.Response:
    return requests.get(pixxel.url + path, headers={"Authorization": pixxel.key}, timeout=10)


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "pixxel-simulator"}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No test leaves a thread; those of other tests' simulators may run beside it."""
    before = threads()
    yield
    assert threads() <= before


def test_importing_the_package_loads_neither_fastapi_nor_uvicorn() -> None:
    code = (
        "import sys, pixxel_provider.simulator\n"
        "print([name for name in ('fastapi', 'uvicorn', 'starlette', 'airflow') if name in sys.modules])"
    )
    assert run_python(code, timeout=60) == "[]\n"


def test_two_simulators_live_side_by_side() -> None:
    with serve(key="one") as first, serve(key="two") as second:
        first.create_job(job_id="only-here")
        assert first.url != second.url
        assert get(first, "/v0/workflows/wf-succeeds/jobs/only-here").status_code == 200
        assert get(second, "/v0/workflows/wf-succeeds/jobs/only-here").status_code == 404


def test_the_thread_and_the_port_are_gone_afterwards() -> None:
    before = threads()
    with serve() as pixxel:
        place = urlsplit(pixxel.url)
        assert threads() > before
    assert threads() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((place.hostname, place.port), timeout=5).close()


def test_an_error_in_the_block_comes_through_and_the_thread_still_ends() -> None:
    with pytest.raises(KeyError, match="mine"), serve():
        raise KeyError("mine")


def test_it_stops_at_once_with_open_connections_and_slow_answers() -> None:
    with serve() as pixxel:
        idle = requests.Session()
        idle.get(f"{pixxel.url}/ping", timeout=10)
        place = urlsplit(pixxel.url)
        half = socket.create_connection((place.hostname, place.port), timeout=10)
        pixxel.fail_next("ping", latency=600)
        slow = ping(pixxel)
        half.sendall(b"GET /ping HTTP/1.1\r\n")
        wait_for(lambda: pixxel.requests("ping") == 2)
    assert pixxel.counters.snapshot()["open_connections"] == 0
    for connection in (idle, slow, half):
        connection.close()


def test_a_taken_port_is_an_oserror() -> None:
    with serve() as pixxel, pytest.raises(OSError, match="in use"):
        serve(port=urlsplit(pixxel.url).port or 0).__enter__()


@pytest.mark.parametrize(
    "options",
    [{"speed": 0}, {"bytes_as": "hex"}, {"faults": ["status=x"]}, {"control": "nobody"}]
    + [{"list_delay": seconds} for seconds in (-1, 1e12)],
    ids=str,
)
def test_bad_options_are_refused_before_anything_starts(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"speed|bytes|status|control|list_delay"), serve(**options):
        pass


def test_a_server_that_doesnt_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "run", lambda *args, **kwargs: None)
    with pytest.raises(RuntimeError, match="didn't start"), serve():
        pass


def test_a_server_that_doesnt_stop_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from pixxel_provider.simulator import server

    release = threading.Event()
    before = threads()

    def deaf(self: Server, sockets: object = None) -> None:
        self._on_listening()
        release.wait(30)

    monkeypatch.setattr(server, "STOP_SECONDS", 0.3)
    monkeypatch.setattr(Server, "run", deaf)
    with pytest.raises(RuntimeError, match="didn't stop"), serve():
        pass
    release.set()
    wait_for(lambda: threads() == before)


def test_faults_given_at_the_start_are_met_and_armed_again_by_reset() -> None:
    with serve(faults=["route=ping,status=500", {"route": "ping", "status": 501}]) as pixxel:
        assert [get(pixxel).status_code for _ in range(3)] == [500, 501, 200]
        pixxel.reset()
        assert get(pixxel).status_code == 500


def test_jobs_run_at_the_given_speed() -> None:
    with serve(speed=1200) as pixxel:
        client = Client(pixxel)
        job_id = client.create().json()["id"]
        wait_for(lambda: client.job(job_id).json()["status"] == "completed")
        assert client.job(job_id).json()["progress"] == "100%"


def test_the_airflow_connection_leads_to_the_simulator() -> None:
    with serve(key="p@ss/wörd") as pixxel:
        connection = json.loads(pixxel.connection_json())
        uri = pixxel.connection_uri()
        assert connection == pixxel.airflow_connection
        assert connection == {"conn_type": "pixxel", "host": pixxel.url, "password": "p@ss/wörd"}
        kind, scheme, rest = uri.split("://")
        password, _, place = rest.removeprefix(":").partition("@")
        assert (kind, f"{scheme}://{place}", unquote(password)) == ("pixxel", pixxel.url, "p@ss/wörd")


def test_helpers_change_and_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(clock=frozen()) as pixxel:
        pixxel.create_job("wf-fails", "j")
        path = "/v0/workflows/wf-fails/jobs/j"
        assert get(pixxel, path).json()["status"] == "created"
        pixxel.change_job("j", status="paused", omit=["cost"])
        assert get(pixxel, path).json()["status"] == "paused"
        assert "cost" not in get(pixxel, path).json()
        pixxel.world.change_job("j", {}, restore=True)
        pixxel.finish_job("j")
        assert get(pixxel, path).json()["status"] == "failed"
        assert (pixxel.requests(), pixxel.requests("get_job"), pixxel.requests("ping")) == (4, 4, 0)
        of_job = (pixxel.requests("get_job", "j"), pixxel.requests(job_id="j"), pixxel.requests(job_id="k"))
        assert of_job == (4, 4, 0)


def test_it_can_be_used_inside_an_event_loop() -> None:
    async def ask() -> bytes:
        with serve() as pixxel:
            place = urlsplit(pixxel.url)
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return answer

    assert asyncio.run(ask()).endswith(b'"pong"')


def test_answers_on_one_connection_arent_delayed() -> None:
    # asyncio only switches Nagle's algorithm off, and its 40 ms per answer, for sockets that name TCP.
    with listen("127.0.0.1", 0) as sock:
        assert sock.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize(
    ("name", "url"),
    [
        (("127.0.0.1", 80), "http://127.0.0.1:80"),
        (("0.0.0.0", 81), "http://127.0.0.1:81"),  # noqa: S104 - nothing is bound
        (("::1", 82, 0, 0), "http://[::1]:82"),
        (("::", 83, 0, 0), "http://[::1]:83"),
    ],
)
def test_the_url_is_one_that_reaches_the_socket_from_here(name: tuple[object, ...], url: str) -> None:
    assert base_url(SimpleNamespace(getsockname=lambda: name)) == url  # type: ignore[arg-type]
