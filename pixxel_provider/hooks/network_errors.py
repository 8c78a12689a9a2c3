"""Why no answer came, in the same words whichever client library said it."""

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
    """Turn a client library's exception into ours: same words for the same trouble, whichever the library."""
    trouble = _reason(error)
    if settings.proxy and trouble.reason in ("dns", "refused"):
        # With a proxy, that is the only host a client looks up and connects to itself.
        trouble = _PROXY
    return PixxelConnectionError(
        settings.redact(f"{call}: could not get an answer from {settings.origin}: {trouble.words}."),
        reason=trouble.reason,
        sent=trouble.sent,
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all it was made from, wherever the libraries keep that.

    Not ``__context__``: that may be whatever the caller was handling, which says nothing of this exchange.
    """
    left: list[Any] = [error]
    seen: set[int] = set()
    while left and len(seen) < 50:
        found = left.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        left += [found.__cause__, *found.args]
        left += [
            getattr(found, name, None) for name in ("reason", "os_error", "certificate_error", "_os_error")
        ]


class _Reason(NamedTuple):
    reason: str
    words: str
    sent: bool = True
    """False where the request is known never to have left."""


_PROXY = _Reason("proxy", "the proxy can't be reached or refuses", sent=False)
_PROXY_NAMES = {"ClientProxyConnectionError", "ClientHttpProxyError"}
_CONNECTING = {"NewConnectionError", "ConnectTimeoutError", "ConnectTimeout"}
# The names of exceptions of requests, urllib3, http.client, asyncio and aiohttp, by what they mean.
_BY_NAME = (
    (
        {"ConnectTimeoutError", "ConnectTimeout", "ConnectionTimeoutError"},
        _Reason("timeout", "connecting took too long", sent=False),
    ),
    (
        {"TimeoutError", "ReadTimeoutError", "ReadTimeout", "ServerTimeoutError", "SocketTimeoutError"},
        _Reason("timeout", "the answer took too long"),
    ),
    (
        {
            "RemoteDisconnected",
            "IncompleteRead",
            "ServerDisconnectedError",
            "ClientPayloadError",
            "ProtocolError",
        },
        _Reason("dropped", "the connection was dropped before the answer was complete"),
    ),
)
_DROPPED = _BY_NAME[-1][1]
_NOT_HTTP = {"ClientResponseError", "HttpProcessingError", "InvalidChunkLength"}


def _without_the_proxy(chain: list[BaseException]) -> bool:
    """Tell whether a client got no further than its proxy.

    urllib3's ``ProxyError`` alone doesn't say so: it also stands for a connection that was dropped when the
    request had gone through.
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
        return _Reason("other", "what came isn't HTTP that can be read")
    for known, trouble in _BY_NAME:
        if names & known:
            return trouble
    if first(ConnectionError):
        return _DROPPED
    numbered = next((found for found in chain if isinstance(found, OSError) and found.errno), None)
    if numbered is not None:
        return _Reason("other", errno.errorcode.get(numbered.errno or 0, type(numbered).__name__))
    return _Reason("other", f"what came isn't HTTP that can be read ({type(error).__name__})")


def _is_not_http(error: BaseException) -> bool:
    # A connection that was dropped is among them: before the answer, within a status line or in the body.
    dropped = isinstance(error, (ConnectionError, IncompleteRead)) or (
        isinstance(error, BadStatusLine) and not str(error).endswith("\n")
    )
    return isinstance(error, HTTPException) and not dropped
