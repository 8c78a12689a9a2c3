"""A storage host that says byte for byte what a test tells it to, and settings that lead to it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import requests

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.connection import Settings
from pixxel_provider.download.checksums import PART
from pixxel_provider.download.storage_client import Answer, StorageClient
from tests.support import CANARY

#: Part of every signed URL of these tests; whoever finds it in what people can see has found a leak.
SIGNATURE = "51gnatur3-0f-a-s1gned-ur1"

Reply = bytes | Callable[["Host", socket.socket], None]


def settings_for(base_url: str, **changes: Any) -> Settings:
    """Return the settings of a connection to an API."""
    usual: dict[str, Any] = {
        "conn_id": "pixxel_default",
        "base_url": base_url,
        "authorization": f"Bearer {CANARY}",
        "secrets": (CANARY,),
        "connect_timeout": 5.0,
        "read_timeout": 5.0,
        "verify": True,
        "proxy": None,
        "console_url": "https://aurora.pixxel.space/",
    }
    return Settings(**{**usual, **changes})


def reply(status: str = "200 OK", body: bytes = b"", **headers: str) -> bytes:
    """Return an answer with its length, unless another one is given."""
    given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    if "transfer-encoding" not in given:
        given.setdefault("content-length", str(len(body)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


class Host:
    """Gives its replies one by one, each over a connection that it closes, and keeps what it was asked.

    A reply is the bytes to send, or a function that is handed the host and the connection.
    """

    def __init__(self, *replies: Reply, tls: ssl.SSLContext | None = None) -> None:
        self.replies = list(replies)
        self._tls = tls
        self.heads: list[str] = []
        self.connections = 0
        self.closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/package?signature={SIGNATURE}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self._thread.join(5)
        self._listener.close()

    def asked(self, header: str) -> list[str | None]:
        """Return a header's value in each request."""
        found = []
        for head in self.heads:
            pairs = (line.partition(":") for line in head.splitlines()[1:])
            values = {name.lower(): value.strip() for name, _, value in pairs}
            found.append(values.get(header.lower()))
        return found

    def _serve(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            if self.closing.is_set():
                peer.close()
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.settimeout(10)
            if self._tls is not None:
                peer = self._tls.wrap_socket(peer, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                part = peer.recv(65536)
                if not part:
                    return
                head += part
            self.heads.append(head.decode("latin-1"))
            if not self.replies:
                return
            chosen = self.replies.pop(0)
            if isinstance(chosen, bytes):
                peer.sendall(chosen)
            else:
                chosen(self, peer)
            if self._tls is not None:
                peer.close()


def then_silence(start: bytes) -> Reply:
    """Send this, and nothing more while the connection lasts."""

    def answer(host: Host, peer: socket.socket) -> None:
        peer.sendall(start)
        host.closing.wait(10)

    return answer


def then_reset(start: bytes) -> Reply:
    """Send this, wait until the other side has it, and reset the connection."""

    def answer(host: Host, peer: socket.socket) -> None:
        peer.sendall(start)
        host.closing.wait(0.05)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return answer


def without_end(start: bytes, part: bytes) -> Reply:
    """Send this, then the same part over and over for as long as somebody takes it."""

    def answer(host: Host, peer: socket.socket) -> None:
        peer.sendall(start)
        while not host.closing.is_set():
            peer.sendall(part)

    return answer


def until_nobody_is_served(pixxel: Any) -> None:
    """Wait until the simulator has noticed that a client has gone."""
    for _ in range(300):
        if not pixxel.counters.snapshot()["in_flight"]:
            return
        requests.get(f"{pixxel.url}/ping", timeout=5)
    raise AssertionError("somebody still holds a connection on which a package is sent")


def everything_said(error: BaseException) -> str:
    """Return all that a log could show of an exception: it, what it was made from, and its attributes."""
    found = ["".join(traceback.format_exception(error))]
    found += [f"{each} {each!r} {each.args!r} {vars(each)!r}" for each in family(error)]
    return "\n".join(found)


def locals_of(error: BaseException) -> str:
    """Return what a traceback shows that has the local variables of every frame of the package and below."""
    frames = [frame for each in family(error) for frame, _ in traceback.walk_tb(each.__traceback__)]
    below = [frame for frame in frames if "/tests/" not in frame.f_code.co_filename]
    assert below, "no frame but those of the tests"
    return "\n".join(repr(dict(frame.f_locals)) for frame in below)


def family(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, and all that hang on it, shown or not."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        left += [each.__cause__, each.__context__]


def storage_for(api: str, stall_timeout: float = 5.0, **changes: Any) -> StorageClient:
    return StorageClient(settings_for(api, **changes), stall_timeout)


def parts_of(answer: Answer) -> Iterator[bytes]:
    """Yield the body as a transfer reads it, into the same memory again and again."""
    buffer = memoryview(bytearray(PART))
    while count := answer.readinto(buffer):
        yield bytes(buffer[:count])


def fetch(storage: StorageClient, url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    with storage.get(url, headers or {}) as answer:
        return answer.status, b"".join(parts_of(answer))


def failure(storage: StorageClient, url: str) -> PixxelError:
    """Return the error that a URL leads to, once it is certain that it gives nothing away."""
    with pytest.raises(PixxelError) as caught:
        fetch(storage, url)
    said = everything_said(caught.value)
    assert SIGNATURE not in said
    assert "signature=" not in said
    assert CANARY not in said
    return caught.value
