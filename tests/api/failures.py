"""Errors that may pass, and such as stay."""

from __future__ import annotations

from pixxel_provider.api.errors import (
    PixxelApiError,
    PixxelAuthError,
    PixxelBadRequestError,
    PixxelConnectionError,
    PixxelError,
    PixxelInputError,
    PixxelRateLimitError,
    PixxelResponseError,
    PixxelServerError,
    PixxelTemporaryError,
)

BUSY = PixxelServerError("busy", status_code=503)
LIMITED = PixxelRateLimitError("slow down", status_code=429)
UNSENT = PixxelConnectionError("GET /x: no answer.", reason="dns", sent=False)
PASSING: list[PixxelError] = [
    BUSY,
    LIMITED,
    UNSENT,
    PixxelServerError("broken", status_code=500),
    PixxelTemporaryError("slow", status_code=408),
    PixxelTemporaryError("early", status_code=425),
    PixxelConnectionError("GET /x: dropped.", reason="dropped"),
    PixxelConnectionError("GET /x: took too long.", reason="timeout"),
    PixxelResponseError("GET /x: the answer isn't JSON."),
]
LASTING: list[PixxelError] = [
    PixxelBadRequestError("malformed", status_code=400),
    PixxelAuthError("who are you", status_code=401),
    PixxelAuthError("not yours", status_code=403),
    PixxelApiError("conflict", status_code=409),
    PixxelInputError("pixxel_conn_id", "is 'x', and no such connection is defined"),
    PixxelError("something else"),
]


def limited(retry_after: float) -> PixxelError:
    return PixxelRateLimitError("slow down", status_code=429, retry_after=retry_after)
