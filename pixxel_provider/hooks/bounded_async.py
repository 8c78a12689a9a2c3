"""An aiohttp connector whose connections read no more of an answer than the limits allow."""

from __future__ import annotations

import functools
import inspect
import re
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp.client_exceptions import ServerDisconnectedError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from pixxel_provider.api.calls import ANSWER_LIMIT
from pixxel_provider.hooks.protocol import HEAD_LIMIT, HEADERS_LIMIT, LINE_LIMIT

_END_OF_HEAD = re.compile(rb"\n\r?\n")
# Older versions take fewer of them, and none has a limit for all heads together.
_WANTED = {"max_line_size": LINE_LIMIT, "max_field_size": LINE_LIMIT, "max_headers": HEADERS_LIMIT}
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
    """Reads answers, and hangs up on those that are too large."""

    _requests = 0
    _read = 0
    _in_head = False
    _asked = False
    #: Bytes of the body that are still to come, where its length is known.
    _left: int | None = None

    def set_response_params(self, **options: Any) -> None:
        self._requests += 1
        self._read, self._in_head, self._asked, self._left = 0, True, True, None
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        if not data:
            # The parser goes on with what it had put aside.
            super().data_received(data)
            return
        if not self._asked:
            # An answer that nobody asked for would be taken for that to the next request.
            self._hang_up(HttpProcessingError())
            return
        self._read += len(data)
        start = 0
        while self._in_head and (end := _END_OF_HEAD.search(data, start)):
            super().data_received(data[start : end.end()])
            start = end.end()
        data = data[start:]
        if self._left is not None and len(data) >= self._left:
            # More is ignored, as on a worker; the parser would lose the whole answer over it.
            if len(data) > self._left:
                self.force_close()
            data = data[: self._left]
        if data:
            if self._left is not None:
                self._left -= len(data)
            super().data_received(data)
        if self._in_head and self._read > HEAD_LIMIT:
            self._hang_up(HttpProcessingError())
        elif self._read > ANSWER_LIMIT + HEAD_LIMIT:
            self._hang_up(TooLargeError())

    def feed_data(self, data: Any, size: int = 0) -> None:
        message, payload = data
        if not self._asked:
            self.force_close()
            return
        sizes = [len(name) + len(value) + len(": \r\n") for name, value in message.raw_headers]
        too_large = sum(sizes) > HEAD_LIMIT or max(sizes, default=0) >= LINE_LIMIT
        if message.code < 100 or len(sizes) > HEADERS_LIMIT or too_large:
            self._hang_up(HttpProcessingError())
            return
        if message.code >= 200 or message.code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._in_head = False
            length = message.headers.get("Content-Length", "")
            if message.code in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
                self._left = 0
            elif not message.chunked and length.isdecimal():
                self._left = int(length)
            payload.on_eof(self._complete)
        super().feed_data(data, size)

    def set_exception(self, exc: Any, *cause: Any) -> None:
        # The first says what was wrong; that the connection was lost is what follows.
        if self.exception() is not None:
            return
        if self._requests > 1 and self._in_head and isinstance(exc, (ServerDisconnectedError, OSError)):
            exc = KeptConnectionBrokeError()
        super().set_exception(exc, *cause)
        # Else who reads a body whose chunks can't be read waits until the deadline. Whatever comes after a
        # complete body is ignored, as on a worker.
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(exc)

    def _complete(self) -> None:
        self._asked = False

    def _hang_up(self, error: Exception) -> None:
        self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()
