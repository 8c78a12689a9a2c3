"""A loopback server that sends bytes, well-formed or not, and the answers that it is given."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

#: What goes out, piece by piece; a number is a pause in seconds, a function is handed the connection.
Part = bytes | float | Callable[[socket.socket], object]


class End(Enum):
    """What a server does with a connection when it has sent its answer."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    HOLD = "hold"


@dataclass(frozen=True)
class Raw:
    """One answer: its parts (a function makes them of each request's head), and what comes after them."""

    parts: Iterable[Part] | Callable[[bytes], Iterable[Part]]
    end: End = End.CLOSE

    def to(self, head: bytes) -> Iterator[Part]:
        return iter(self.parts(head) if callable(self.parts) else self.parts)


Reply = bytes | Raw | Iterable[Part]


def raw(answer: Reply) -> Raw:
    """Make an answer of bytes or parts; the connection is closed after it."""
    if isinstance(answer, Raw):
        return answer
    return Raw((answer,) if isinstance(answer, bytes) else tuple(answer))


def reply(status: str = "200 OK", body: bytes = b"", **headers: str) -> bytes:
    """Return an answer with its length, unless another one is given."""
    given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    if "transfer-encoding" not in given:
        given.setdefault("content-length", str(len(body)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def then_silence(start: bytes) -> Raw:
    """Send this, and nothing more while the connection lasts."""
    return Raw((start,), End.HOLD)


def then_reset(start: bytes) -> Raw:
    """Send this, wait until the other side has it, and reset the connection."""
    return Raw((start,), End.RESET)


def dripping(start: bytes, *parts: bytes, pause: float = 0.03) -> Raw:
    """Send this, and then these parts over and over, with a pause after each."""
    again = [piece for part in parts for piece in (part, pause)]
    return Raw(lambda _: itertools.chain([start], itertools.cycle(again)), End.HOLD)


def pouring(start: bytes, *parts: bytes) -> Raw:
    """Send this, and then these parts over and over, as fast as they are taken."""
    return Raw(lambda _: itertools.chain([start], itertools.cycle(parts)), End.HOLD)


def read_head(peer: socket.socket) -> bytes:
    """Return a request's head, or nothing where the connection is closed before its end."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = peer.recv(65536)
        if not part:
            return b""
        head += part
    return head


def server_context(certificate: Path) -> ssl.SSLContext:
    """Return a server's side of TLS with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class RawServer:
    """Gives its answers one by one, the last one over and over; keeps every request's head.

    ``sent`` counts the bytes that went out, ``connections`` those who came.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server((host, port), backlog=128)
        self._tls = tls
        self.host, self.port = host, int(self._listener.getsockname()[1])
        self.origin = f"{'https' if tls else 'http'}://{host}:{self.port}"
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

    def answer_with(self, *answers: Reply) -> None:
        """Forget what was, and give these answers from now on."""
        with self._lock:
            self.requests: list[bytes] = []
            self.connections = self.sent = 0
        self.go_on_with(*answers)

    def go_on_with(self, *answers: Reply) -> None:
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

    def wait_for_requests(self, count: int, seconds: float = 20.0) -> None:
        """Wait until so many requests have come.

        :raises AssertionError: they haven't in this time.
        """
        end = time.monotonic() + seconds
        while len(self.requests) < count:
            assert time.monotonic() < end, f"{len(self.requests)} of {count} requests within {seconds} s"
            time.sleep(0.001)

    def _serve(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            if self.closing.is_set():
                peer.close()
                return
            with self._lock:
                self.connections += 1
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer, self._tls_of(peer) as inner:
            with self._lock:
                self._peers.add(inner)
            try:
                inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while self._one(inner) is End.KEEP:
                    pass
            finally:
                with self._lock:
                    self._peers.discard(inner)
                    self._answering.discard(inner)

    def _tls_of(self, peer: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(peer, server_side=True) if self._tls else peer

    def _next(self) -> Raw:
        return next(self._answers)

    def _one(self, peer: socket.socket) -> End:
        self._answering.discard(peer)
        head = read_head(peer)
        if not head:
            return End.CLOSE
        with self._lock:
            self._answering.add(peer)
            self.requests.append(head)
            answer = self._next()
        for piece in answer.to(head):
            if isinstance(piece, bytes):
                peer.sendall(piece)
                self.sent += len(piece)
            elif callable(piece):
                piece(peer)
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
