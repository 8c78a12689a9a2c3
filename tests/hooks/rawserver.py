"""A loopback server that sends bytes, well-formed or not, and what both clients make of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import PixxelError
from pixxel_provider.hooks.pixxel import PixxelAsyncHook, PixxelHook
from tests.support import CANARY

#: What goes out, piece by piece; a number is a pause in seconds.
Part = bytes | float


class End(Enum):
    """What a server does with a connection when it has sent its answer."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    HOLD = "hold"


@dataclass(frozen=True)
class Raw:
    """One answer: its parts (a function makes them anew for each request), and what comes after them."""

    parts: Iterable[Part] | Callable[[], Iterable[Part]]
    end: End = End.CLOSE

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts() if callable(self.parts) else self.parts)


def raw(answer: bytes | Raw | Iterable[Part]) -> Raw:
    """Make an answer of bytes or parts; the connection is closed after it."""
    if isinstance(answer, Raw):
        return answer
    return Raw((answer,) if isinstance(answer, bytes) else tuple(answer))


class RawServer:
    """Gives its answers one by one, the last one over and over; keeps every request's head.

    ``sent`` counts the bytes that went out, ``connections`` those who came.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._listener = socket.create_server((host, port), backlog=128)
        self.host, self.port = host, int(self._listener.getsockname()[1])
        self.origin = f"http://{host}:{self.port}"
        self.closing = threading.Event()
        self._peers: set[socket.socket] = set()
        self._answering: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.answer_with(b"")
        self._thread = threading.Thread(target=self._serve, name=f"raw server {self.port}", daemon=True)
        self._thread.start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), 1).close()
        self._thread.join(5)
        self._listener.close()
        self.hang_up()

    def answer_with(self, *answers: bytes | Raw | Iterable[Part]) -> None:
        """Forget what was, and give these answers from now on."""
        with self._lock:
            self.requests: list[bytes] = []
            self.connections = self.sent = 0
        self.go_on_with(*answers)

    def go_on_with(self, *answers: bytes | Raw | Iterable[Part]) -> None:
        """Give these answers from now on."""
        with self._lock:
            self._answers = itertools.chain(map(raw, answers[:-1]), itertools.repeat(raw(answers[-1])))

    def hang_up(self) -> None:
        """Close all connections, from under whoever still sends on them."""
        with self._lock:
            peers = list(self._peers)
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def settle(self, seconds: float = 0.5) -> None:
        """Wait until all that was asked is answered, and closed where it should be."""
        end = time.monotonic() + seconds
        while self._answering and time.monotonic() < end:
            time.sleep(0.001)

    def _serve(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            if self.closing.is_set():
                peer.close()
                return
            with self._lock:
                self._peers.add(peer)
                self.connections += 1
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        try:
            with peer, contextlib.suppress(OSError):
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while self._one(peer) is End.KEEP:
                    pass
        finally:
            with self._lock:
                self._peers.discard(peer)
                self._answering.discard(peer)

    def _one(self, peer: socket.socket) -> End:
        self._answering.discard(peer)
        head = b""
        while b"\r\n\r\n" not in head:
            part = peer.recv(65536)
            if not part:
                return End.CLOSE
            head += part
        with self._lock:
            self._answering.add(peer)
            self.requests.append(head)
            answer = next(self._answers)
        for piece in answer:
            if isinstance(piece, bytes):
                peer.sendall(piece)
                self.sent += len(piece)
            elif self.closing.wait(piece):
                return End.CLOSE
        if answer.end is End.HOLD:
            # Until the other side has had enough of it.
            self._answering.discard(peer)
            peer.recv(1)
        elif answer.end is End.RESET:
            # Whoever is sent a reset at once may lose what came before it.
            self.closing.wait(0.05)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return answer.end


def connection_to(server: RawServer, seconds: float = 1.0, **extras: Any) -> str:
    """Return a connection to a server as its environment variable; an exchange may take four times that."""
    times = {"connect_timeout": seconds, "read_timeout": seconds, "verify": "false"}
    return json.dumps(
        {"conn_type": "pixxel", "host": server.origin, "password": CANARY, "extra": {**times, **extras}}
    )


@dataclass(frozen=True)
class Outcome:
    """What a client made of an answer, with all in which the two must agree."""

    kind: str
    """``answer``, or the name of the error's class."""
    answer: Any = None
    fields: Any = None
    """The answer's own JSON, where it keeps that."""
    reason: str | None = None
    sent: bool | None = None
    status: int | None = None
    retry_after: float | None = None
    transient: bool | None = None
    words: str = field(default="", compare=False)

    @classmethod
    def of(cls, ask: Callable[[], Any]) -> Outcome:
        try:
            found = ask()
        except PixxelError as error:
            return cls(
                type(error).__name__,
                reason=getattr(error, "reason", None),
                sent=getattr(error, "sent", None),
                status=getattr(error, "status_code", None),
                retry_after=error.retry_after,
                transient=error.transient,
                words=str(error),
            )
        except Exception as error:
            return cls(f"foreign: {type(error).__module__}.{type(error).__qualname__}", words=str(error))
        return cls("answer", found, getattr(found, "raw", None))

    @property
    def gist(self) -> str:
        """The message without what may differ: numbers, and what stands in brackets."""
        return re.sub(r"\([^()]*\)|\d+", "", self.words)


class Asking:
    """A client at work in a thread of its own, so that one that never ends is noticed."""

    def __init__(self, ask: Callable[[], list[Outcome]], name: str | None = None) -> None:
        self._found: list[list[Outcome]] = []
        self._thread = threading.Thread(target=lambda: self._found.append(ask()), name=name, daemon=True)
        self._thread.start()

    def result(self, seconds: float) -> list[Outcome]:
        """Return what came of it.

        :raises AssertionError: nothing did in this time.
        """
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"no end within {seconds:.1f} s"
        return self._found[0]


Steps = Iterable["Call[Any] | float"]


def ask_worker(steps: Steps, conn_id: str = "pixxel_default") -> list[Outcome]:
    """Send calls one after another with the client of tasks; a number is a pause between two."""
    hook = PixxelHook(conn_id)
    found = []
    try:
        for step in steps:
            if isinstance(step, Call):
                found.append(Outcome.of(partial(hook.send, step, retry_for=0)))
            else:
                time.sleep(step)
    finally:
        hook.close()
    return found


async def ask_in_loop(steps: Steps, conn_id: str = "pixxel_default") -> list[Outcome]:
    """Send calls one after another with the client of triggers; a number is a pause between two."""
    hook = PixxelAsyncHook(conn_id)
    found = []
    for step in steps:
        if isinstance(step, Call):
            sending = asyncio.ensure_future(hook.send(step, retry_for=0))
            await asyncio.wait([sending])
            found.append(Outcome.of(sending.result))
        else:
            await asyncio.sleep(step)
    return found


def ask_triggerer(steps: Steps, conn_id: str = "pixxel_default") -> list[Outcome]:
    """Do the same as :func:`ask_in_loop`, in a loop of its own."""
    return asyncio.run(ask_in_loop(steps, conn_id))


CLIENTS = {"worker": ask_worker, "triggerer": ask_triggerer}
