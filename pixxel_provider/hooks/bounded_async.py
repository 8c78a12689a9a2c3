"""An aiohttp connector whose connections read no more of an answer than the limits allow."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from pixxel_provider.api.calls import ANSWER_LIMIT
from pixxel_provider.hooks.protocol import HEAD_LIMIT, HEADERS_LIMIT, LINE_LIMIT

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


class _Bounded(ResponseHandler):
    """Reads answers, and hangs up on those that are too large."""

    _head = 0
    _read = 0
    _in_head = True

    def set_response_params(self, **options: Any) -> None:
        self._head, self._read, self._in_head = 0, 0, True
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        self._read += len(data)
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
        # Heads are counted while no answer is complete: a first part of the body that came with one isn't.
        if self._read > ANSWER_LIMIT + 2 * HEAD_LIMIT or (self._in_head and self._head > HEAD_LIMIT):
            self.set_exception(TooLargeError())
            if self.transport is not None:
                self.transport.abort()

    def feed_data(self, data: Any, size: int = 0) -> None:
        if data[0].code >= 200:
            self._in_head = False
        super().feed_data(data, size)

    def set_exception(self, exc: Any, *cause: Any) -> None:
        # The first says what was wrong; that the connection was lost is what follows.
        if self.exception() is not None:
            return
        super().set_exception(exc, *cause)
        # Else who reads a body whose chunks can't be read waits until the deadline.
        if self._payload is not None:
            self._payload.set_exception(exc)
