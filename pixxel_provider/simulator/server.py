"""What a test holds of a simulator, and its server: uvicorn in this thread or in one of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from pixxel_provider.simulator.app import Access, SimulatorApp
from pixxel_provider.simulator.clock import SimulatedClock
from pixxel_provider.simulator.counters import Counters
from pixxel_provider.simulator.faults import WAYS, Fault, FaultBook
from pixxel_provider.simulator.injector import TRANSPORT
from pixxel_provider.simulator.packages import PackagePlan
from pixxel_provider.simulator.timeline import SimulatedJob
from pixxel_provider.simulator.world import Bill, World

DEFAULT_KEY = "simulator-key"
STOP_SECONDS = 10.0  # how long serve() waits for its thread to start, and to end
GRACE_SECONDS = 1  # how long requests that are being answered may hold up the end


class Simulator:
    """A running simulator: where it is, what it holds, and what tests do with it."""

    def __init__(
        self,
        *,
        key: str = DEFAULT_KEY,
        keys: Iterable[str] = (),
        no_access_keys: Iterable[str] = (),
        speed: float = 1.0,
        bytes_as: str = "integers",
        faults: Iterable[Mapping[str, Any] | str] = (),
        seed: int | None = None,
        clock: Callable[[], float] | None = None,
        control: str = "loopback",
        list_delay: float = 0.0,
        recurring: Iterable[Mapping[str, Any] | str] = (),
    ) -> None:
        self.key = key
        own_clock = SimulatedClock(clock)
        self.world = World(
            clock=own_clock,
            speed=speed,
            encoding=bytes_as,
            seed=seed,
            list_delay=list_delay,
            recurring=recurring,
        )
        self.faults = FaultBook(faults, seed)
        self.counters = Counters()
        users = {each: f"user-simulator-{number}" for number, each in enumerate((key, *keys), start=1)}
        self.access = Access(users, tuple(no_access_keys), control)
        self.app = SimulatorApp(self.world, self.faults, self.counters, self.access)
        self.url = ""

    def create_job(
        self, workflow_id: str = "wf-succeeds", job_id: str | None = None, **options: Any
    ) -> SimulatedJob:
        """Create a job behind the API's back; ``options`` are the fields of JobOptions."""
        return self.world.create_job(workflow_id, job_id=job_id, **options)

    def change_job(self, job_id: str, /, *, omit: Iterable[str] = (), **fields: Any) -> SimulatedJob:
        """Put raw ``fields`` over a job's JSON, whatever they are, and leave out those of ``omit``."""
        return self.world.change_job(job_id, fields, omit=omit)

    def set_package(self, job_id: str | None = None, task_id: str | None = None, **options: Any) -> None:
        """Say how a task's package, all those of a job, or all turn out; ``options`` are PackagePlan's."""
        self.world.set_package(PackagePlan.read(options), job_id, task_id)

    def finish_job(self, job_id: str) -> SimulatedJob:
        """Let a job end now, the way its workflow ends."""
        return self.world.finish_job(job_id)

    def fail_next(self, route: str = "*", **fault: Any) -> Fault:
        """Let the next request of a route go wrong: 503 if nothing else is said. Raises ValueError."""
        default = {} if WAYS & fault.keys() else {"status": 503}
        (added,) = self.faults.add(Fault.read({"route": route, **default, **fault}))
        return added

    def advance(self, seconds: float) -> float:
        """Let ``seconds`` of simulated time pass at once; returns the simulated Unix time."""
        return self.world.clock.advance(seconds)

    def bill(self, user: str | None = None) -> Bill:
        """The jobs created through the API and their credits, as World.bill gives them."""
        return self.world.bill(user)

    def requests(self, route: str | None = None, job_id: str | None = None) -> int:
        """How many requests have come since the start or since ``counters.clear()``."""
        return self.counters.requests(route, job_id)

    def reset(self) -> None:
        """Back to the state at the start: jobs, clock, bill, faults, counters, keys."""
        self.world.reset()
        self.faults.reset()
        self.access.reset()
        self.counters.clear()

    @property
    def airflow_connection(self) -> dict[str, str]:
        """The Airflow connection to this simulator, in the form of an ``AIRFLOW_CONN_...`` variable."""
        return {"conn_type": "pixxel", "host": self.url, "password": self.key}

    def connection_json(self) -> str:
        """The same as text, for an ``AIRFLOW_CONN_...`` variable."""
        return json.dumps(self.airflow_connection)

    def connection_uri(self) -> str:
        """The same as a URI, for an ``AIRFLOW_CONN_...`` variable."""
        scheme, _, place = self.url.partition("://")
        return f"pixxel://{scheme}://:{quote(self.key, safe='')}@{place}"


class Server(uvicorn.Server):
    """uvicorn that says when it listens, ends delays when it stops, and survives its signals."""

    def __init__(self, config: uvicorn.Config, app: SimulatorApp, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: what waits stops waiting first."""
        self._app.injector.stopping.set()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the server. uvicorn's own would raise them once more at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        ours = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in ours}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns off Nagle's algorithm, and its 40 ms per answer, only where the socket names its protocol.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1024)
    except OSError:
        sock.close()
        raise
    return sock


def base_url(sock: socket.socket) -> str:
    """The URL under which a client on this machine reaches the socket."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _protocol(counters: Counters) -> type[Any]:
    """Uvicorn's protocol, counted, with the connection's transport in the scope for faults to end it."""

    class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        app: Any

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # Whatever logging was set up to do: uvicorn would write the queries of signed URLs.
            self.access_log = False
            inner = self.app

            async def with_transport(scope: Any, receive: Any, send: Any) -> None:
                await inner({**scope, TRANSPORT: self.transport}, receive, send)

            self.app = with_transport

        def connection_made(self, transport: Any) -> None:
            counters.connected()
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            counters.disconnected()
            super().connection_lost(exc)

    return Protocol


def server_for(simulator: Simulator, on_listening: Callable[[], None]) -> Server:
    """The server of a simulator. It leaves logging as it is; requests are logged by ``app``."""
    config = uvicorn.Config(
        simulator.app,
        http=_protocol(simulator.counters),
        ws="none",
        loop="asyncio",
        lifespan="off",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS,
        log_config=None,
        access_log=False,
    )
    return Server(config, simulator.app, on_listening)


@contextlib.contextmanager
def serve(*, host: str = "127.0.0.1", port: int = 0, **options: Any) -> Iterator[Simulator]:
    """See ``pixxel_provider.simulator.serve``."""
    simulator = Simulator(**options)
    sock = listen(host, port)
    listening = threading.Event()
    simulator.url = base_url(sock)
    server = server_for(simulator, listening.set)
    thread = threading.Thread(target=server.run, args=([sock],), name="pixxel-simulator", daemon=False)
    thread.start()
    try:
        deadline = time.monotonic() + STOP_SECONDS
        while not listening.wait(0.05):
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the simulator didn't start")
        yield simulator
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        sock.close()
        if thread.is_alive():
            raise RuntimeError("the simulator didn't stop")
