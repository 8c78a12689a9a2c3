"""Pixxel's error envelope, and the one exception that handlers raise to send it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    416: "range_not_satisfiable",
    429: "too_many_requests",
    500: "internal_error",
    502: "bad_gateway",
    503: "service_unavailable",
    504: "gateway_timeout",
}


class Problem(Exception):
    """An answer other than 200: ``status``, and the three fields of the envelope."""

    def __init__(
        self,
        status: int,
        message: str,
        details: Any = None,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.envelope = envelope(status, message, details, code)


def envelope(status: int, message: str, details: Any = None, code: str | None = None) -> dict[str, Any]:
    """The body of every error."""
    return {
        "error": {"code": code or CODES.get(status, f"http_{status}"), "message": message, "details": details}
    }


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in ASCII, so that any text at all, half a surrogate pair included, can be sent."""
    content = json.dumps(body, separators=(",", ":")).encode("ascii")
    return Response(content, status, dict(headers or {}), media_type="application/json")
