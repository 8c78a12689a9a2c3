"""One exchange with the API as a generator, which both clients drive: requests out, answers in.

Nothing here does I/O. Redirects, reading the key again after a 401, limits and the deadline are decided
here, so that the two clients can't differ in them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode, urljoin

from pixxel_provider import __version__
from pixxel_provider.api import parsing, urls
from pixxel_provider.api.calls import Call
from pixxel_provider.api.decoding import decode
from pixxel_provider.api.errors import (
    PixxelApiError,
    PixxelConnectionError,
    PixxelResponseError,
    api_error_class,
)
from pixxel_provider.api.redaction import scrubbed, without_secrets
from pixxel_provider.api.retry import read_retry_after
from pixxel_provider.connection import Settings
from pixxel_provider.hooks.content_encoding import decoded_body
from pixxel_provider.hooks.network_errors import unreachable

T = TypeVar("T")

USER_AGENT = f"airflow-provider-pixxel/{__version__}"
#: The largest total of status lines and headers of an exchange, in bytes, including interim answers.
HEAD_LIMIT = 256 * 1024
#: The longest header, and the most headers of one answer: the limits of Python's http.client.
LINE_LIMIT, HEADERS_LIMIT = 65_536, 99
#: How many redirects within the same host are followed.
REDIRECTS = 3
#: How many bytes of an answer are read at a time.
CHUNK = 64 * 1024
#: The largest body of an error that is searched for the API's message, in bytes.
ERROR_LIMIT = 64 * 1024

_SNIPPET = 120
_SMALL_ENCODED = 8 * 1024


@dataclass(frozen=True)
class Request:
    """What a client has to send now."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    """Seconds left for the whole exchange."""
    fresh: bool
    """Whether it needs a connection of its own."""


@dataclass(frozen=True)
class ReadConnection:
    """Asks a client to read the Airflow connection again and to send in its settings."""

    before: Settings = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """The server's answer; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_large(self) -> bool:
        """Whether decoding it may take long."""
        return len(self.body) > (_SMALL_ENCODED if "content-encoding" in self.headers else parsing.SMALL)


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by their names in lower case; several of one name are one list (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        found[key] = f"{found[key]}, {value.strip()}" if key in found else value.strip()
    return found


def is_redirect(status: int) -> bool:
    """Return whether only an answer's address counts, so that its body isn't read."""
    return 300 <= status < 400


def exchange(
    settings: Settings, call: Call[Any], clock: Callable[[], float] = time.monotonic
) -> Generator[Request | ReadConnection, Any, tuple[Settings, Answer]]:
    """Yield the steps up to the final answer; return it with the settings that were used.

    Sent in are an :class:`Answer` for each :class:`Request`, or None if a kept connection
    broke before any of the answer arrived, and :class:`Settings` for a :class:`ReadConnection`.

    :raises PixxelConnectionError: the deadline of the exchange has passed.
    :raises PixxelResponseError: the server redirects to where the key must not be sent, or in circles.
    """
    deadline = clock() + settings.exchange_timeout
    answer: Answer = yield from _follow(settings, call, deadline, clock)
    if answer.status == 401 and call.keyed:
        # The key may have been changed since the connection was read, and a wait may be long.
        renewed: Settings = yield ReadConnection(settings)
        # Any change but timeouts (which the pages shorten) means another address or identity.
        connect, read = renewed.connect_timeout, renewed.read_timeout
        if renewed != replace(settings, connect_timeout=connect, read_timeout=read):
            settings = renewed
            answer = yield from _follow(settings, call, deadline, clock)
    return settings, answer


def _follow(
    settings: Settings, call: Call[Any], deadline: float, clock: Callable[[], float]
) -> Generator[Request, Answer | None, Answer]:
    target = url(settings, call)
    for _ in range(REDIRECTS + 1):
        left = deadline - clock()
        if left <= 0:
            raise unreachable(settings, call, TimeoutError())
        request = Request(call.method, target, headers(settings, call), left, fresh=not call.safe)
        found = yield request
        if found is None:
            left = max(deadline - clock(), 0.001)
            found = yield replace(request, timeout=left, fresh=True)
        answer = cast(Answer, found)
        following = redirect(settings, call, target, answer)
        if following is None:
            return answer
        target = following
    raise PixxelResponseError(f"{call}: the server redirects in circles.")


def url(settings: Settings, call: Call[Any]) -> str:
    """Return the address of a call, with every id percent-encoded."""
    query = f"?{urlencode(call.params, quote_via=quote)}" if call.params else ""
    return f"{settings.base_url}{call.path}{query}"


def headers(settings: Settings, call: Call[Any]) -> dict[str, str]:
    """Return the headers of a call; only here does the key enter a request."""
    found = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
    if call.keyed:
        found["Authorization"] = settings.authorization
    return found


class Body:
    """An answer's body as it arrives, up to the call's limit."""

    def __init__(self, call: Call[Any]) -> None:
        self._call = call
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Add a part.

        :raises PixxelResponseError: the answer is larger than the limit.
        """
        self._size += len(chunk)
        if self._size > self._call.limit:
            self._parts.clear()
            raise too_large(self._call)
        self._parts.append(chunk)

    def whole(self) -> bytes:
        """Return what has arrived, still encoded."""
        return b"".join(self._parts)


def too_large(call: Call[Any]) -> PixxelResponseError:
    """Return the error of an answer that is larger than the call's limit."""
    limit = f"{call.limit / 2**20:g} MiB"
    return PixxelResponseError(f"{call}: the answer is larger than {limit}, which no job is.")


def redirect(settings: Settings, call: Call[Any], asked: str, answer: Answer) -> str | None:
    """Return the address to redirect to, None if the answer isn't a redirect.

    It consists of our own origin, and of the path and query of the redirect.

    :raises PixxelResponseError: it leads to another origin, where the key must not be sent, or the call isn't
        safe.
    """
    location = answer.headers.get("location")
    if not is_redirect(answer.status) or not location:
        return None
    try:
        target = urls.parse(urljoin(asked, location))
        if target.userinfo is not None:
            raise ValueError
    except ValueError:
        raise PixxelResponseError(
            f"{call}: the server redirects to something that isn't an address which can be followed."
        ) from None
    if target.origin != settings.origin:
        raise PixxelResponseError(
            f"{call}: the server redirects to {settings.redact(target.origin)}, and the key stays with "
            f"{settings.origin}. If the API has moved, change the host of connection {settings.conn_id!r}."
        )
    if not call.safe:
        raise PixxelResponseError(f"{call}: the server redirects a request that must not be sent twice.")
    query = "" if target.query is None else f"?{urls.requoted(target.query)}"
    found = f"{settings.origin}{urls.normal_path(target.path)}{query}"
    if settings.redact(found) != found:
        # Addresses are logged, here and by servers on the way.
        raise PixxelResponseError(f"{call}: the server redirects to an address that holds the key.")
    return found


def read(settings: Settings, call: Call[T], answer: Answer) -> T:
    """Turn an answer into what the call promises.

    :raises PixxelApiError: the API answered with an error.
    :raises PixxelResponseError: the answer isn't what the API promises.
    :raises PixxelConnectionError: a proxy requires authentication.
    """
    try:
        encoding = answer.headers.get("content-encoding")
        body = settings.redact_bytes(decoded_body(answer.body, encoding, call.limit))
    except ValueError as error:
        raise PixxelResponseError(f"{call}: the answer {error}.") from None
    if answer.status == 407 and settings.proxy:
        # Only a proxy sends this status, as it does for a tunnel: it isn't Pixxel's message.
        raise PixxelConnectionError(
            f"{call}: could not get an answer from {settings.origin}: the proxy can't be reached or refuses.",
            reason="proxy",
            sent=False,
        )
    if answer.status >= 400:
        raise _api_error(settings, call, answer, body)
    if not 200 <= answer.status < 300:
        raise PixxelResponseError(f"{call}: HTTP {answer.status} is no answer that the API documents.")
    if not body.strip():
        raise PixxelResponseError(f"{call}: the answer is empty.")
    try:
        decoded = decode(body)
    except (ValueError, RecursionError):
        kind = settings.redact(_kind_of_body(answer, body if call.quotable else b""))
        raise PixxelResponseError(f"{call}: the answer isn't JSON but {kind}.") from None
    except PixxelResponseError as error:
        raise PixxelResponseError(f"{call}: {error}.") from None
    try:
        return call.read(decoded)
    except PixxelResponseError as error:
        raise PixxelResponseError(settings.redact(f"{call}: {error}.")) from None


def _api_error(settings: Settings, call: Call[Any], answer: Answer, body: bytes) -> PixxelApiError:
    code, message, details = _envelope(answer, body, call.quotable)
    if not call.quotable:
        code, message, details = without_secrets(code), without_secrets(message), scrubbed(details)
    return api_error_class(answer.status)(
        settings.redact(message),
        status_code=answer.status,
        code=settings.redact(code),
        details=scrubbed(details, settings.redact),
        request=str(call),
        retry_after=read_retry_after(
            answer.headers.get("retry-after"), datetime.now(timezone.utc), answer.headers.get("date")
        ),
    )


def _envelope(answer: Answer, body: bytes, quotable: bool) -> tuple[str, str, Any]:
    try:
        decoded = json.loads(body) if len(body) <= ERROR_LIMIT else None
    except (ValueError, RecursionError):
        decoded = None
    found = decoded.get("error", decoded) if isinstance(decoded, Mapping) else decoded
    if isinstance(found, Mapping):
        message = parsing.text(found.get("message") or found.get("detail") or found.get("error"))
        code, details = parsing.text(found.get("code")), parsing.json_safe(found.get("details"))
        if message or code or details:
            return code[:200], message[:2_000] or _phrase(answer.status), details
    elif isinstance(found, str) and found.strip():
        return "", parsing.text(found)[:2_000], None
    if decoded is None and body.strip():
        return "", f"{_phrase(answer.status)}, with {_kind_of_body(answer, body if quotable else b'')}", None
    return "", _phrase(answer.status), None


def _kind_of_body(answer: Answer, body: bytes) -> str:
    kind = answer.headers.get("content-type", "").split(";")[0].strip()[:100] or "a body without a type"
    words = body[:4_096].decode("utf-8", "replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", words, re.IGNORECASE | re.DOTALL)
    begins = " ".join((title.group(1) if title else words).split())
    begins = "".join(c if c.isprintable() else "\ufffd" for c in begins)
    return f"{kind} ({begins[:_SNIPPET]!r})" if begins else kind


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"
