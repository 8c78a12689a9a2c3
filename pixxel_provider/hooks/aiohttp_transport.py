"""An aiohttp connector whose connections read no more of an answer than the limits allow."""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any

import aiohttp
from aiohttp.client_exceptions import ServerDisconnectedError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError

from pixxel_provider.api.calls import ANSWER_LIMIT
from pixxel_provider.hooks.protocol import HEAD_LIMIT, HEADERS_LIMIT, LINE_LIMIT

# Older versions take fewer of them, and none has a limit for all heads together.
_WANTED = {"max_line_size": LINE_LIMIT, "max_field_size": LINE_LIMIT, "max_headers": HEADERS_LIMIT}
# With the end of a line that a part before it began, and all further blank lines.
_END_OF_HEAD = re.compile(rb"(?:\A|\n)(?:\r?\n)+")
# What aiohttp takes and http.client doesn't: RTSP, and the end of a line that is none.
_NOT_HTTP, _LONE_CR = re.compile(rb"[\r\n]*[^H\r\n]"), re.compile(rb"\r[^\n]")
#: What a session is to be told.
LIMITS = {
    name: value
    for name, value in _WANTED.items()
    if name in inspect.signature(aiohttp.ClientSession).parameters
}


class Connector(aiohttp.TCPConnector):
    """Makes connections that keep the limits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # There is no public way to count what is read: timeouts alone let a fast server send gigabytes.
        self._factory: Any = functools.partial(_Bounded, loop=self._loop)


class TooLargeError(aiohttp.ClientError):
    """More was sent than may be read."""


class KeptConnectionBrokeError(aiohttp.ClientError):
    """The server had closed a connection that was kept for the next request."""


class _Bounded(ResponseHandler):
    """Reads answers, and hangs up on those that are too large, and on what nobody asked for."""

    _head = _read = _requests = 0
    _begun = False
    """Whether a head has begun, and isn't complete."""
    _body: Any = None
    _left: int | None = None
    """Bytes of the body that are still to come, where the head says so."""

    def set_response_params(self, **options: Any) -> None:
        self._head, self._read, self._body, self._left, self._begun = 0, 0, None, None, False
        self._requests += 1
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        if not data:
            # aiohttp's own: to go on with what it has.
            super().data_received(data)
        self._read += len(data)
        if self._read > ANSWER_LIMIT + 2 * HEAD_LIMIT:
            self._give_up(TooLargeError())
        while data and self._body is None and self.exception() is None:
            # Each head by itself: what follows an answer, in one piece with it, would spoil it.
            end = _END_OF_HEAD.search(data)
            part, data = (data[: end.end()], data[end.end() :]) if end else (data, b"")
            if (not self._begun and _NOT_HTTP.match(part)) or _LONE_CR.search(part):
                self._give_up(HttpProcessingError(message="the answer isn't HTTP that can be read"))
                return
            self._begun = self._begun or bool(part.strip(b"\r\n"))
            self._head += len(part)
            super().data_received(part)
            if self._body is None and self._head > HEAD_LIMIT:
                self._give_up(HttpProcessingError(message="the head of the answer is too large"))
        if data and self.exception() is None:
            self._receive_body(data)

    def _receive_body(self, data: bytes) -> None:
        if self._body.is_eof():
            # It must not become the answer to the next request.
            self.force_close()
            if self.transport is not None:
                self.transport.abort()
            return
        if self._left is not None and len(data) > self._left:
            self.force_close()
            data = data[: self._left]
        if self._left is not None:
            self._left -= len(data)
        if data:
            super().data_received(data)

    def feed_data(self, data: Any, size: int = 0) -> None:
        message, body = data
        if self._body is not None:
            # A second answer in one piece with the chunks of the first, which must not become the next one's.
            self.force_close()
            if self.transport is not None:
                self.transport.abort()
            return
        self._begun = False
        if message.code >= 200 or message.code == 101:
            self._body = body
            length = message.headers.get("Content-Length", "")
            if length.isdecimal() and not message.chunked:
                self._left = int(length)
        if _is_odd(message):
            self._give_up(HttpProcessingError(message="the head of the answer can't be read"))
        else:
            super().feed_data(data, size)

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None and self._body is not None and not self._body.is_eof():
            # aiohttp takes what has arrived for the whole where no length was given.
            self._body.set_exception(aiohttp.ClientPayloadError("the connection was reset"))
        super().connection_lost(exc)

    def _give_up(self, error: Exception) -> None:
        self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()

    def set_exception(self, exc: Any, *cause: Any) -> None:
        # The first says what was wrong; that the connection was lost is what follows.
        if self.exception() is not None:
            return
        if self._requests > 1 and not self._head and isinstance(exc, (ServerDisconnectedError, OSError)):
            exc = KeptConnectionBrokeError()
        super().set_exception(exc, *cause)
        # Else who reads a body whose chunks can't be read waits until the deadline. What follows a complete
        # body is ignored.
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(exc)


def _is_odd(message: Any) -> bool:
    """Tell whether http.client refuses a head that aiohttp takes: both clients read the same answers."""
    sizes = [len(name) + len(value) + 4 for name, value in message.raw_headers]
    return (
        message.version > (1, 1)
        or message.code < 100
        or "\0" in message.reason
        or len(sizes) > HEADERS_LIMIT
        or max(sizes, default=0) >= LINE_LIMIT
        or sum(sizes) > HEAD_LIMIT
        # Two ways to tell where an answer ends are two answers to somebody else.
        or ("Content-Length" in message.headers and "Transfer-Encoding" in message.headers)
        or any(name != name.strip() for name, _ in message.raw_headers)
    )
