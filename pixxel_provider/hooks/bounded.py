"""A requests session that reads nothing past a deadline, and nothing past a limit.

requests knows no deadline: its time-out is the longest silence, so that an answer which drips never ends.
Here every read of a socket, from a proxy's first word to the last trailer, has the time and the bytes that
are left of the exchange.
"""

from __future__ import annotations

import contextlib
import io
import re
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from typing import TYPE_CHECKING, Any

from pixxel_provider.connection import Settings
from pixxel_provider.hooks.protocol import HEAD_LIMIT, HEADERS_LIMIT, LINE_LIMIT

if TYPE_CHECKING:
    import requests


class TooLarge(Exception):
    """More was sent than may be read."""


@dataclass
class _Budget:
    deadline: float
    """On the monotonic clock."""
    left: int
    """Bytes."""


_BUDGET: ContextVar[_Budget | None] = ContextVar("pixxel_exchange", default=None)

# What aiohttp's parser takes, where http.client takes more: both clients have to read the same answer.
_STATUS_LINE = re.compile(rb"HTTP/(?:0\.9|1\.[01]|2\.0) [1-9][0-9]{2}(?: [^\r\n]*)?\r?\n")
_HEADER = re.compile(
    rb"(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|((?i:connection|content-length|transfer-encoding|upgrade)) +)"
    rb":([^\r\n\x00]*\r?\n)|[ \t][^\r\n\x00]*\r?\n"
)
_CHUNK_SIZE = re.compile(rb"0*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\x00]*)?\r?\n")
_LENGTH = re.compile(r"[0-9]{1,19}", re.ASCII)
_FRAMING = (b"content-length", b"transfer-encoding")
_BLANK = (b"\r\n", b"\n")
_INTERIM = range(102, 200)


@contextlib.contextmanager
def budget(seconds: float, size: int) -> Iterator[None]:
    """Give this thread's requests so many seconds, and so many bytes to read.

    Reading on raises :class:`TimeoutError` and :class:`TooLarge`.
    """
    token = _BUDGET.set(_Budget(time.monotonic() + seconds, size))
    try:
        yield
    finally:
        _BUDGET.reset(token)


def new_session(settings: Settings) -> requests.Session:
    """Return a session with the TLS and proxy settings of a connection; it keeps no key and no cookie."""
    from http.cookiejar import DefaultCookiePolicy

    import requests

    session = requests.Session()
    # Settings has read the environment already, the same for both clients; a .netrc would replace the key.
    session.trust_env = False
    session.verify = settings.verify
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    # requests would read the whole body of a redirect, and keep it, even where it is told not to follow.
    session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    for scheme in ("http://", "https://"):
        session.mount(scheme, _adapter()())
    return session


class KeptConnectionBroke(ConnectionResetError):
    """The server had closed a connection that was kept for the next request."""


class _Raw(io.RawIOBase):
    """What a socket sends, for as long as the budget lasts."""

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        self._raw = raw
        self._sock = sock
        self._silence = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        limits = _BUDGET.get()
        if limits is not None:
            left = limits.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the deadline of the exchange has passed")
            self._sock.settimeout(left if self._silence is None else min(left, self._silence))
        count: int | None = self._raw.readinto(buffer)
        if limits is not None and count:
            limits.left -= count
            if limits.left < 0:
                raise TooLarge
        return count

    def close(self) -> None:
        # Of the raw one alone: the socket is closed once it and the connection are.
        self._raw.close()
        super().close()


class _Lines(io.BufferedReader):
    """Checks the lines of an answer: its heads, the sizes of its chunks, and its trailers."""

    _size = 0
    _count = 0
    _expected = _STATUS_LINE
    _trailers = False

    def readline(self, size: int | None = -1, /) -> bytes:
        while True:
            line = self._whole_line(size)
            if self._expected is _CHUNK_SIZE:
                return self._chunk_size(line)
            self._size += len(line)
            if self._size > HEAD_LIMIT or len(line) >= LINE_LIMIT:
                raise HTTPException("the head of the answer is too large")
            if self._expected is _HEADER and not self._count and line[:1] in (b" ", b"\t"):
                # It goes on with a header before the first, and urllib3 would log all that follow.
                continue
            if line not in _BLANK:
                return self._line_of_a_head(line)
            if self._expected is _HEADER:
                self._expected, self._count = _STATUS_LINE, 0
                return line
            # Empty lines before an answer are skipped.

    def expect_chunks(self) -> None:
        """Take the next line for the size of a chunk."""
        self._expected = _CHUNK_SIZE

    def _whole_line(self, size: int | None) -> bytes:
        line = super().readline(size if self._expected is not _CHUNK_SIZE else HEAD_LIMIT)
        if not line.endswith(b"\n") and len(line) < LINE_LIMIT:
            strange = self._expected is _STATUS_LINE and not b"HTTP/".startswith(line[:5])
            if strange or b"\r" in line[:-1]:
                raise HTTPException("a line of the answer can't be read")
            raise RemoteDisconnected("the connection was closed within a line")
        return line

    def _chunk_size(self, line: bytes) -> bytes:
        found = _CHUNK_SIZE.fullmatch(line)
        if found is None:
            raise HTTPException("the size of a chunk can't be read")
        if int(found[1], 16) == 0:
            self._expected, self._trailers = _HEADER, True
        # Without its extension, of which urllib3 takes less than aiohttp.
        return found[1] + b"\r\n"

    def _line_of_a_head(self, line: bytes) -> bytes:
        found = self._expected.fullmatch(line)
        self._count += 1
        if found is None or self._count > HEADERS_LIMIT:
            raise HTTPException("the head of the answer can't be read")
        if self._expected is _STATUS_LINE:
            self._expected, self._count = _HEADER, 0
        elif name := found[1] or found[2]:
            if self._trailers and name.lower() in _FRAMING:
                raise HTTPException("a trailer of the answer says how long it is")
            # Without the space before a colon, at which the headers would end for http.client.
            return name + b":" + found[3]
        return line


class _Response(HTTPResponse):
    """An answer that is read within the budget."""

    fp: Any

    def __init__(self, sock: Any, debuglevel: int = 0, method: str | None = None, url: str | None = None):
        # Not debuglevel: http.client would print what the answer echoes.
        super().__init__(sock, 0, method, url)
        self.fp = _Lines(_Raw(self.fp.detach(), sock))

    def begin(self) -> None:
        super().begin()
        lengths = [value.strip() for value in self.headers.get_all("Content-Length", [])]
        encoded = self.headers.get("Transfer-Encoding") is not None
        if len(lengths) + encoded > 1 or not all(map(_LENGTH.fullmatch, lengths)):
            raise HTTPException("the length of the answer can't be told")
        if encoded and self.length == 0:
            # An answer without a body, such as 204, has no chunks either, whatever it says.
            self.chunked = False
            del self.headers["Transfer-Encoding"]
        if self.fp is not None:
            self.fp.expect_chunks()

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status not in _INTERIM or status == HTTPStatus.SWITCHING_PROTOCOLS:
                # Some gateways name the version that they have spoken to the server.
                return "HTTP/1.1" if version == "HTTP/2.0" else version, status, reason
            # 102 and 103 come before the answer; http.client skips 100 alone.
            while self.fp.readline(LINE_LIMIT) not in _BLANK:
                pass


@cache
def _adapter() -> type[Any]:
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Bounded(HTTPConnection):
        response_class = _Response
        # Whatever a process sets for all connections: the key isn't printed.
        debuglevel = 0
        _kept = False

        def connect(self) -> None:
            self._kept = False
            super().connect()

        def getresponse(self) -> Any:
            kept, self._kept = self._kept, True
            try:
                return super().getresponse()
            except ConnectionError as error:
                if not kept:
                    raise
                raise KeptConnectionBroke from error

    class Plain(Bounded):
        pass

    class Secure(Bounded, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    pools = {"http": PlainPool, "https": SecurePool}

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            manager.pool_classes_by_scheme = pools
            return manager

    return Adapter
