"""Exceptions of both client libraries, mapped to this package's errors by type."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from http.client import BadStatusLine, HTTPException, IncompleteRead
from typing import Any, NamedTuple

from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import PixxelConnectionError
from pixxel_provider.connection import Settings


def unreachable(settings: Settings, call: Call[Any], error: BaseException) -> PixxelConnectionError:
    """Turn a client library's exception into ours: the same message for the same cause, in both libraries."""
    found = _reason(error)
    if settings.proxy and found.reason in ("dns", "refused"):
        # With a proxy, the proxy is the only host that a client resolves and connects to itself.
        found = _PROXY
    message = settings.redact(f"{call}: could not get an answer from {settings.origin}: {found.words}.")
    return PixxelConnectionError(message, reason=found.reason, sent=found.sent)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, wherever the libraries keep them.

    Not ``__context__``: that may be what the caller was handling, which isn't about this exchange.
    """
    left: list[Any] = [error]
    seen: set[int] = set()
    while left and len(seen) < 50:
        found = left.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        names = ("reason", "os_error", "certificate_error", "_os_error")
        left += [found.__cause__, *found.args, *(getattr(found, name, None) for name in names)]


class _Reason(NamedTuple):
    reason: str
    words: str
    sent: bool = True
    """False if the request was certainly never sent."""


_PROXY = _Reason("proxy", "the proxy can't be reached or refuses", sent=False)
_PROXY_NAMES = {"ClientProxyConnectionError", "ClientHttpProxyError"}
_CONNECTING = {"NewConnectionError", "ConnectTimeoutError", "ConnectTimeout"}
_DROPPED = _Reason("dropped", "the connection was dropped before the answer was complete")
# The names of exceptions of requests, urllib3, http.client, asyncio and aiohttp, by their meaning.
_BY_NAME = {
    "ConnectTimeoutError ConnectTimeout ConnectionTimeoutError": _Reason(
        "timeout", "connecting took too long", sent=False
    ),
    "TimeoutError ReadTimeoutError ReadTimeout ServerTimeoutError SocketTimeoutError": _Reason(
        "timeout", "the answer took too long"
    ),
    "RemoteDisconnected IncompleteRead ServerDisconnectedError ClientPayloadError ProtocolError": _DROPPED,
}
_NOT_HTTP = {"ClientResponseError", "HttpProcessingError", "InvalidChunkLength"}


def _without_the_proxy(chain: list[BaseException]) -> bool:
    """Return whether a client got no further than its proxy.

    urllib3's ``ProxyError`` alone doesn't show that: it also stands for a connection that was dropped
    after the request had been sent.
    """
    names = {type(found).__name__ for found in chain}
    if "ProxyError" not in names:
        return bool(names & _PROXY_NAMES)
    return bool(names & _CONNECTING) or any(
        isinstance(found, (socket.gaierror, ConnectionRefusedError))
        or (isinstance(found, OSError) and str(found).startswith("Tunnel connection failed"))
        for found in chain
    )


def _reason(error: BaseException) -> _Reason:
    chain = list(causes(error))
    names = {type(found).__name__ for found in chain}

    def first(kind: type[BaseException]) -> Any:
        return next((found for found in chain if isinstance(found, kind)), None)

    def detail(kind: type[BaseException], attribute: str) -> str:
        # aiohttp's exceptions derive from ssl's without having their attributes.
        found = (getattr(found, attribute, None) for found in chain if isinstance(found, kind))
        return next((str(words).replace("_", " ").lower() for words in found if words), "no reason given")

    if first(ssl.SSLCertVerificationError):
        why = detail(ssl.SSLCertVerificationError, "verify_message")
        return _Reason("tls", f"TLS: the certificate isn't trusted ({why})", sent=False)
    if first(ssl.SSLError):
        return _Reason("tls", f"TLS: {detail(ssl.SSLError, 'reason')}")
    if _without_the_proxy(chain):
        return _PROXY
    if lookup := first(socket.gaierror):
        again = lookup.errno == socket.EAI_AGAIN
        words = "the host's name could not be looked up" if again else "no such host"
        return _Reason("dns", words, sent=False)
    if first(ConnectionRefusedError):
        return _Reason("refused", "the connection was refused", sent=False)
    if names & _NOT_HTTP or any(map(_is_not_http, chain)):
        return _Reason("other", "what came isn't valid HTTP")
    for known, meaning in _BY_NAME.items():
        if not names.isdisjoint(known.split()):
            return meaning
    if first(ConnectionError):
        return _DROPPED
    numbered = next((found for found in chain if isinstance(found, OSError) and found.errno), None)
    if numbered is not None:
        return _Reason("other", errno.errorcode.get(numbered.errno or 0, type(numbered).__name__))
    return _Reason("other", f"what came isn't valid HTTP ({type(error).__name__})")


def _is_not_http(error: BaseException) -> bool:
    # Includes a connection that was dropped before the answer, within a status line or in the body.
    dropped = isinstance(error, (ConnectionError, IncompleteRead)) or (
        isinstance(error, BadStatusLine) and not str(error).endswith("\n")
    )
    return isinstance(error, HTTPException) and not dropped
