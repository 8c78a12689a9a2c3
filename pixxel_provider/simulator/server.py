"""The simulator on a socket: uvicorn in this thread (the command line) or in one of its own (``serve``)."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from pixxel_provider.simulator.app import SimulatorApp
from pixxel_provider.simulator.handle import Simulator
from pixxel_provider.simulator.hanging_up import TRANSPORT

STOP_SECONDS = 10.0  # how long serve() waits for its thread to start, and to end
GRACE_SECONDS = 1  # how long requests that are being answered may hold up the end


class Server(uvicorn.Server):
    """uvicorn that says when it listens, ends delays when it stops, and survives its signals."""

    def __init__(self, config: uvicorn.Config, app: SimulatorApp, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
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
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
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


def server_for(simulator: Simulator, on_listening: Callable[[], None]) -> Server:
    """The server of a simulator. It leaves logging as it is; requests are logged by ``app``."""
    counters = simulator.counters

    class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        """uvicorn's protocol, counted, with the connection's transport in the scope for faults to end it."""

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

    config = uvicorn.Config(
        simulator.app,
        http=Protocol,
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
    """Run a simulator in a thread of its own; the thread has ended when the block is left.

    Raises OSError if the port is taken, RuntimeError if the server doesn't start or stop in ten seconds.
    """
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
