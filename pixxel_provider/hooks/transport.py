"""The brain both clients share: what goes over the wire, and what comes back, as plain values.

Nothing here does I/O. A client sends what :func:`url` and :func:`headers` say, and hands over the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urljoin

from pixxel_provider import __version__
from pixxel_provider.api import reading
from pixxel_provider.api.addresses import scrubbed, without_secrets
from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import (
    PixxelApiError,
    PixxelResponseError,
    api_error_class,
)
from pixxel_provider.api.retry import read_retry_after
from pixxel_provider.connection import Settings, origin_of

T = TypeVar("T")

USER_AGENT = f"airflow-provider-pixxel/{__version__}"
#: The largest answer that is read, in bytes. A job with 1,000 tasks has about half a MiB.
ANSWER_LIMIT = 32 * 1024 * 1024
#: How many redirects within the same host are followed.
REDIRECTS = 3
#: How much of an answer is read at a time, in bytes.
CHUNK = 64 * 1024

_SNIPPET = 120


@dataclass(frozen=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def url(settings: Settings, call: Call[Any]) -> str:
    """Return the address of a call, every id quoted."""
    query = f"?{urlencode(call.params, quote_via=quote)}" if call.params else ""
    return f"{settings.base_url}{call.path}{query}"


def headers(settings: Settings, call: Call[Any]) -> dict[str, str]:
    """Return the headers of a call; only here does the key enter a request."""
    found = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
    if call.keyed:
        found["Authorization"] = settings.authorization
    return found


class Body:
    """An answer's body as it arrives; it refuses to grow past the limit."""

    def __init__(self, call: Call[Any]) -> None:
        self._call = call
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Take in a part.

        :raises PixxelResponseError: the answer is larger than 32 MiB.
        """
        self._size += len(chunk)
        if self._size > ANSWER_LIMIT:
            self._parts.clear()
            limit = ANSWER_LIMIT // 2**20
            raise PixxelResponseError(
                f"{self._call}: the answer is larger than {limit} MiB, which no job is."
            )
        self._parts.append(chunk)

    def whole(self) -> bytes:
        """Return what has arrived."""
        return b"".join(self._parts)


def redirect(settings: Settings, call: Call[Any], asked: str, answer: Answer) -> str | None:
    """Return the address to ask instead, None where the answer isn't a redirect.

    :raises PixxelResponseError: it leads to another origin, where the key must not go, or the call isn't
        safe.
    """
    location = answer.headers.get("location")
    if not 300 <= answer.status < 400 or not location:
        return None
    try:
        target = urljoin(asked, location)
        origin = origin_of(target)
    except ValueError:
        raise bad_redirect(call) from None
    if origin != settings.origin:
        raise PixxelResponseError(
            f"{call}: the server redirects to {settings.redact(origin)}, and the key stays with "
            f"{settings.origin}. If the API has moved, change the host of connection {settings.conn_id!r}."
        )
    if not call.safe:
        raise PixxelResponseError(f"{call}: the server redirects a request that must not be sent twice.")
    return target


def bad_redirect(call: Call[Any]) -> PixxelResponseError:
    """Return the error for a redirect that can't be read."""
    return PixxelResponseError(f"{call}: the server redirects to something that isn't an address.")


def read(settings: Settings, call: Call[T], answer: Answer) -> T:
    """Turn an answer into what the call promises.

    :raises PixxelApiError: the API answered with an error.
    :raises PixxelResponseError: the answer isn't what the API promises.
    """
    body = settings.redact_bytes(answer.body)
    if answer.status >= 400:
        raise _api_error(settings, call, answer, body)
    if not 200 <= answer.status < 300:
        raise PixxelResponseError(f"{call}: HTTP {answer.status} is no answer that the API documents.")
    if not body.strip():
        raise PixxelResponseError(f"{call}: the answer is empty.")
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        raise PixxelResponseError(
            f"{call}: the answer isn't JSON but {_kind_of_body(answer, body if call.quotable else b'')}."
        ) from None
    try:
        return call.read(decoded)
    except PixxelResponseError as error:
        raise PixxelResponseError(f"{call}: {error}.") from None


def _api_error(settings: Settings, call: Call[Any], answer: Answer, body: bytes) -> PixxelApiError:
    code, message, details = _envelope(answer, body, call.quotable)
    if not call.quotable:
        code, message, details = without_secrets(code), without_secrets(message), scrubbed(details)
    return api_error_class(answer.status)(
        settings.redact(message),
        status_code=answer.status,
        code=settings.redact(code),
        details=details,
        request=str(call),
        retry_after=read_retry_after(answer.headers.get("retry-after"), datetime.now(timezone.utc)),
    )


def _envelope(answer: Answer, body: bytes, quotable: bool) -> tuple[str, str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        decoded = None
    found = decoded.get("error", decoded) if isinstance(decoded, Mapping) else decoded
    if isinstance(found, Mapping):
        message = reading.text(found.get("message") or found.get("detail") or found.get("error"))
        code, details = reading.text(found.get("code")), reading.json_safe(found.get("details"))
        if message or code or details:
            return code[:200], message[:2_000] or _phrase(answer.status), details
    elif isinstance(found, str) and found.strip():
        return "", reading.text(found)[:2_000], None
    if decoded is None and body.strip():
        return "", f"{_phrase(answer.status)}, with {_kind_of_body(answer, body if quotable else b'')}", None
    return "", _phrase(answer.status), None


def _kind_of_body(answer: Answer, body: bytes) -> str:
    kind = answer.headers.get("content-type", "").split(";")[0].strip() or "a body without a type"
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
