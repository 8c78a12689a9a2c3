"""A requests session that reads nothing past a deadline and nothing past a limit.

requests has no deadline: its timeout is the longest silence, so a slow answer may never end.
Here every read of a socket, from a proxy's first byte to the last trailer, is limited to the time and
the bytes left of the exchange.
"""

from __future__ import annotations

import contextlib
import io
import re
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from typing import TYPE_CHECKING, Any, Protocol

from pixxel_provider.api.calls import ANSWER_LIMIT
from pixxel_provider.connection import Settings
from pixxel_provider.hooks.protocol import HEAD_LIMIT, HEADERS_LIMIT, LINE_LIMIT

if TYPE_CHECKING:
    import requests


class TooLarge(Exception):
    """The server sent more than the limit."""


class Limits(Protocol):
    """How much of a connection may still be read."""

    def left(self) -> float:
        """Return the seconds that are left.

        :raises TimeoutError: none are.
        """

    def read(self, count: int) -> None:
        """Count received bytes, and raise an exception if they are too many."""


@dataclass
class _Budget:
    deadline: float
    """On the monotonic clock."""
    size: int

    def left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of the exchange has passed")
        return left

    def read(self, count: int) -> None:
        self.size -= count
        if self.size < 0:
            raise TooLarge


_BUDGET: ContextVar[_Budget | None] = ContextVar("pixxel_exchange", default=None)

# aiohttp's parser accepts these, http.client more: both clients have to read the same answer.
_STATUS_LINE = re.compile(rb"HTTP/(?:0\.9|1\.[01]) [1-9][0-9]{2}(?: [^\r\n\x00]*)?\r?\n")
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\x00]*\r?\n|[ \t][^\r\n\x00]*\r?\n")
_TRAILER = re.compile(rb"(?!content-length:)(?:" + _HEADER.pattern + rb")", re.I)
_CHUNK_SIZE = re.compile(rb"0*[0-9A-Fa-f]{1,16}[ \t]*(?:;[^\r\n\x00]*)?\r?\n")
_LENGTH = re.compile(r"[0-9]{1,19}")
_BLANK = (b"\r\n", b"\n")
#: What ends the head of an answer; without limits on its lines, the end of the connection does too.
_HEAD_ENDS = (*_BLANK, b"")
_INTERIM = range(102, 200)


@contextlib.contextmanager
def budget(seconds: float, size: int) -> Iterator[None]:
    """Limit this thread's requests to these seconds and these bytes.

    Reading beyond them raises :class:`TimeoutError` and :class:`TooLarge`.
    """
    token = _BUDGET.set(_Budget(time.monotonic() + seconds, size))
    try:
        yield
    finally:
        _BUDGET.reset(token)


def new_session(settings: Settings, connection: type[Any] | None = None) -> requests.Session:
    """Return a session with the TLS and proxy settings of a connection; it keeps no key and no cookie.

    :param connection: the first base of its connections; by default one whose answers keep to :func:`budget`.
    """
    from http.cookiejar import DefaultCookiePolicy

    import requests

    session = requests.Session()
    # Settings has read the environment already, the same for both clients; a .netrc would replace the key.
    session.trust_env = False
    session.verify = settings.verify
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    # requests would read the whole body of a redirect, and keep it, even if it is told not to follow.
    session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    pools = _pools(connection) if connection else _budgeted_pools()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _adapter()(pools))
    return session


class KeptConnectionBroke(ConnectionResetError):
    """The server had closed a connection that was kept for the next request."""


class _Raw(io.RawIOBase):
    """The bytes of a socket, within limits."""

    def __init__(self, raw: io.RawIOBase, sock: Any, limits: Callable[[], Limits | None]) -> None:
        self._raw, self._sock, self._limits = raw, sock, limits
        self._silence = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        limits = self._limits()
        if limits is not None:
            left = limits.left()
            self._sock.settimeout(left if self._silence is None else min(left, self._silence))
        count: int | None = self._raw.readinto(buffer)
        if limits is not None and count:
            limits.read(count)
        return count

    def close(self) -> None:
        # Only of the raw one: the socket is closed once both it and the connection are.
        self._raw.close()
        super().close()


class _Lines(io.BufferedReader):
    """Checks the lines of an answer: its heads, the sizes of its chunks, and its trailers."""

    _size = _fields = 0
    _expected = _STATUS_LINE

    def readline(self, size: int | None = -1, /) -> bytes:
        line = self._next(size)
        while self._expected is _STATUS_LINE and line in _BLANK:
            line = self._next(size)
        if self._expected in (_HEADER, _TRAILER):
            self._fields += 1
            if line in _BLANK:
                self._expected = _STATUS_LINE
                return line
        if self._fields == 1:
            # It continues without one; urllib3 would log the line, whatever it contains.
            line = line.lstrip(b" \t")
        if not self._expected.fullmatch(line) or self._fields > HEADERS_LIMIT:
            raise HTTPException("the answer isn't HTTP that can be read")
        if self._expected is _HEADER and len(line) > LINE_LIMIT - 8:
            # Counted as aiohttp does, which knows nothing of spaces and the end of the line.
            name, _, value = line.partition(b":")
            if len(name) + len(value.strip(b" \t\r\n")) + 4 >= LINE_LIMIT:
                raise HTTPException("the head of the answer is too large")
        if self._expected is _STATUS_LINE:
            self._expected, self._fields = _HEADER, 0
        elif self._expected is _CHUNK_SIZE:
            # Without its extension, which http.client limits and aiohttp doesn't.
            line = line.split(b";")[0].rstrip() + b"\r\n"
            if int(line, 16) == 0:
                self._expected, self._fields = _TRAILER, 0
        return line

    def _next(self, size: int | None) -> bytes:
        limit = LINE_LIMIT
        if self._expected is _CHUNK_SIZE:
            size, limit = -1, ANSWER_LIMIT
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) < limit:
            if self._may_go_on(line.removesuffix(b"\r")):
                raise RemoteDisconnected("the connection was closed within a line")
            raise HTTPException("the answer isn't valid HTTP")
        if self._expected is not _CHUNK_SIZE:
            self._size += len(line)
        if self._size > HEAD_LIMIT or len(line) >= limit:
            raise HTTPException("the head of the answer is too large")
        return line

    def _may_go_on(self, line: bytes) -> bool:
        if self._expected is _STATUS_LINE:
            line += b"HTTP/1.1 200"[len(line) :]
        elif line:
            line += b"0" if self._expected is _CHUNK_SIZE else b":"
        return not line or self._expected.fullmatch(line + b"\n") is not None

    def expect_chunks(self) -> None:
        """Treat the next line as the size of a chunk."""
        self._expected = _CHUNK_SIZE


class BoundedResponse(HTTPResponse):
    """An answer that is read within limits."""

    reader: type[Any] = io.BufferedReader
    limits: Callable[[], Limits | None] = staticmethod(_BUDGET.get)

    def __init__(self, sock: Any, debuglevel: int = 0, method: str | None = None, url: str | None = None):
        # Not debuglevel: http.client would print a key that the answer repeats.
        super().__init__(sock, 0, method, url)
        self.fp: Any = self.reader(_Raw(self.fp.detach(), sock, self.limits))

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if line[1] not in _INTERIM:
                return line
            # 102 and 103 come before the answer; http.client skips 100 alone.
            while self.fp.readline(LINE_LIMIT) not in _HEAD_ENDS:
                pass


class _Response(BoundedResponse):
    """An answer of the API, in the form of HTTP that both clients read."""

    reader = _Lines

    def begin(self) -> None:
        super().begin()
        lengths = [value.strip(" \t\r\n") for value in self.headers.get_all("Content-Length", [])]
        # With two different lengths, different readers would see different answers.
        if lengths and (
            lengths[1:] or "Transfer-Encoding" in self.headers or not _LENGTH.fullmatch(lengths[0])
        ):
            raise HTTPException("the length of the answer is invalid")
        if self.status in (101, 204, 304):
            # They have no body, whatever their headers are.
            self.length, self.chunked = 0, False
            del self.headers["Transfer-Encoding"], self.headers["Content-Length"]
        if self.fp is not None:
            self.fp.expect_chunks()


class _Budgeted:
    """A connection whose answers are read within the budget."""

    response_class = _Response
    # Even if a process sets it for all connections, the key isn't printed.
    debuglevel = 0
    _kept = False

    def connect(self) -> None:
        self._kept = False
        super().connect()  # type: ignore[misc]

    def getresponse(self) -> Any:
        kept, self._kept = self._kept, True
        try:
            return super().getresponse()  # type: ignore[misc]
        except ConnectionError as error:
            if not kept:
                raise
            raise KeptConnectionBroke from error


def _pools(connection: type[Any]) -> dict[str, type[Any]]:
    """Return urllib3's pools by scheme, with this class before those of their connections."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    kinds = {"http": (HTTPConnectionPool, HTTPConnection), "https": (HTTPSConnectionPool, HTTPSConnection)}
    return {
        scheme: type("Pool", (pool,), {"ConnectionCls": type("Connection", (connection, kind), {})})
        for scheme, (pool, kind) in kinds.items()
    }


@cache
def _budgeted_pools() -> dict[str, type[Any]]:
    return _pools(_Budgeted)


@cache
def _adapter() -> type[Any]:
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def __init__(self, pools: dict[str, type[Any]]) -> None:
            self._pools = pools
            super().__init__()

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = self._pools

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            manager.pool_classes_by_scheme = self._pools
            return manager

    return Adapter
