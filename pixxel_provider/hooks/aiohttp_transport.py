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

# Older versions of aiohttp accept fewer of these arguments, and none limits the total size of headers.
_WANTED = {"max_line_size": LINE_LIMIT, "max_field_size": LINE_LIMIT, "max_headers": HEADERS_LIMIT}
# Including the end of a line that an earlier part began, and all further blank lines.
_END_OF_HEAD = re.compile(rb"(?:\A|\n)(?:\r?\n)+")
# What aiohttp accepts and http.client doesn't: RTSP, and malformed line endings.
_NOT_HTTP, _LONE_CR = re.compile(rb"[\r\n]*[^H\r\n]"), re.compile(rb"\r[^\n]")
#: The arguments for a session.
LIMITS = {
    name: value
    for name, value in _WANTED.items()
    if name in inspect.signature(aiohttp.ClientSession).parameters
}


class Connector(aiohttp.TCPConnector):
    """Creates connections that enforce the limits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # aiohttp can't count received bytes: with timeouts alone, a fast server could send gigabytes.
        self._factory: Any = functools.partial(_Bounded, loop=self._loop)


class TooLargeError(aiohttp.ClientError):
    """The server sent more than the limit."""


class KeptConnectionBrokeError(aiohttp.ClientError):
    """The server had closed a connection that was kept for the next request."""


class _Bounded(ResponseHandler):
    """Reads answers, and closes the connection if one is too large or wasn't requested."""

    _head = _read = _requests = 0
    _begun = False
    """Whether a head has begun and is incomplete."""
    _body: Any = None
    _left: int | None = None
    """Missing bytes of the body, if the head has its length."""

    def set_response_params(self, **options: Any) -> None:
        self._head, self._read, self._body, self._left, self._begun = 0, 0, None, None, False
        self._requests += 1
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        if not data:
            # aiohttp's own way to continue with what it has.
            super().data_received(data)
        self._read += len(data)
        if self._read > ANSWER_LIMIT + 2 * HEAD_LIMIT:
            self._give_up(TooLargeError())
        while data and self._body is None and self.exception() is None:
            # Each head by itself: data that follows an answer in the same piece would spoil it.
            end = _END_OF_HEAD.search(data)
            part, data = (data[: end.end()], data[end.end() :]) if end else (data, b"")
            if (not self._begun and _NOT_HTTP.match(part)) or _LONE_CR.search(part):
                self._give_up(HttpProcessingError(message="the answer isn't valid HTTP"))
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
            self._hang_up()
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
            # A second answer in one piece with the first: it must not become the next request's.
            self._hang_up()
            return
        self._begun = False
        if message.code >= 200 or message.code == 101:
            self._body = body
            length = message.headers.get("Content-Length", "")
            if length.isdecimal() and not message.chunked:
                self._left = int(length)
        if _is_odd(message):
            self._give_up(HttpProcessingError(message="the head of the answer is invalid"))
        else:
            super().feed_data(data, size)

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None and self._body is not None and not self._body.is_eof():
            # Without a length, aiohttp takes what has arrived for the whole body.
            self._body.set_exception(aiohttp.ClientPayloadError("the connection was reset"))
        super().connection_lost(exc)

    def _give_up(self, error: Exception) -> None:
        self.set_exception(error)
        self._hang_up()

    def _hang_up(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.abort()

    def set_exception(self, exc: Any, *cause: Any) -> None:
        # The first error has the cause; the lost connection is its consequence.
        if self.exception() is not None:
            return
        if self._requests > 1 and not self._head and isinstance(exc, (ServerDisconnectedError, OSError)):
            exc = KeptConnectionBrokeError()
        super().set_exception(exc, *cause)
        # Otherwise the reader of a body with invalid chunks waits until the deadline. Data after a complete
        # body is ignored.
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(exc)


def _is_odd(message: Any) -> bool:
    """Return whether http.client refuses a head that aiohttp accepts: both clients read the same answers."""
    sizes = [len(name) + len(value) + 4 for name, value in message.raw_headers]
    return (
        message.version > (1, 1)
        or message.code < 100
        or "\0" in message.reason
        or len(sizes) > HEADERS_LIMIT
        or max(sizes, default=0) >= LINE_LIMIT
        or sum(sizes) > HEAD_LIMIT
        # With two different lengths, different readers would see different answers.
        or ("Content-Length" in message.headers and "Transfer-Encoding" in message.headers)
        or any(name != name.strip() for name, _ in message.raw_headers)
    )
