"""The errors between this package and the API of Pixxel.

None of these derive from ``AirflowException``: Airflow skips a sensor with ``soft_fail`` on any of those,
and a wrong key must never look like a skipped task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from pixxel_provider.api.parsing import json_safe, number, text

_DETAILS_LIMIT = 2_000


class PixxelError(Exception):
    """Base of all errors of this package; ``transient``: whether the same request may succeed later."""

    transient: ClassVar[bool] = False

    @property
    def retry_after(self) -> float | None:
        """The server's Retry-After in seconds, None if there was none."""
        return None

    def fields(self) -> dict[str, Any]:
        """Return the error as JSON types, from which :func:`rebuild` creates it in another process."""
        return {"type": type(self).__name__, "message": str(self)}

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (self.fields(),)


class PixxelInputError(PixxelError, ValueError):
    """An argument or a field of the connection can't be used; ``field`` names it, never its secret value."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem

    def fields(self) -> dict[str, Any]:
        return {**super().fields(), "field": self.field, "problem": self.problem}


class PixxelTriggerArgumentError(PixxelInputError, TypeError):
    """An argument of a trigger can't be used, perhaps as another version of this package has stored it.

    A TypeError as well: any other exception of a trigger's ``__init__`` ends Airflow's whole triggerer.
    """


class PixxelUnknownStatusError(PixxelError):
    """A job has ended in a status that isn't known as a success or a failure."""


class PixxelConnectionError(PixxelError):
    """No answer arrived.

    :param reason: ``dns``, ``refused``, ``tls``, ``proxy``, ``timeout``, ``dropped``, ``other``, or
        ``definition`` if the Airflow connection itself can't be read at the moment.
    :param sent: False only if the request was certainly never sent.
    """

    transient = True

    def __init__(self, message: str, *, reason: str = "other", sent: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.sent = sent

    def fields(self) -> dict[str, Any]:
        return {**super().fields(), "reason": self.reason, "sent": self.sent}


class PixxelResponseError(PixxelError):
    """An answer arrived that isn't what the API promises: HTML, an incomplete body, no JSON, other fields."""

    transient = True


class PixxelApiError(PixxelError):
    """The API answered with an error.

    :param message: the server's message, or our own if it sent none.
    :param status_code: the HTTP status.
    :param code: ``error.code`` of Pixxel's envelope, empty without an envelope.
    :param details: ``error.details`` of the envelope, any JSON; kept as strict JSON, so that logs and
        events can hold it.
    :param request: method and path of the request.
    :param retry_after: seconds from the Retry-After header.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        code: str = "",
        details: Any = None,
        request: str = "",
        retry_after: float | None = None,
    ) -> None:
        self.message = message
        self.status_code = status_code
        self.code = code
        self.details = json_safe(details)
        self.request = request
        self._retry_after = retry_after
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        said = f"HTTP {self.status_code}" + (f" ({self.code})" if self.code else "")
        about = f" to {self.request}" if self.request else ""
        message = self.message if self.message.endswith((".", "!", "?")) else f"{self.message}."
        details = "" if self.details in (None, "", [], {}) else f" Details: {_short(self.details)}."
        return f"Pixxel answered {said}{about}: {message}{details}"

    @property
    def retry_after(self) -> float | None:
        return self._retry_after

    def fields(self) -> dict[str, Any]:
        return {
            "type": type(self).__name__,
            "message": self.message,
            "status_code": self.status_code,
            "code": self.code,
            "details": self.details
            if len(json.dumps(self.details)) <= _DETAILS_LIMIT
            else _short(self.details),
            "request": self.request,
            "retry_after": self._retry_after,
        }


class PixxelBadRequestError(PixxelApiError):
    """400: the API doesn't accept the request as it is."""


class PixxelAuthError(PixxelApiError):
    """401: the key isn't accepted; 403: it has no access to the requested object."""

    def _sentence(self) -> str:
        hint = (
            "The key of the Airflow connection isn't accepted: check its password and auth_scheme."
            if self.status_code == 401
            else "The key of the Airflow connection is known, and has no access to this."
        )
        return f"{super()._sentence()} {hint}"


class PixxelNotFoundError(PixxelApiError):
    """404: there is no such workflow or job, or it is so new that it isn't visible yet."""


class PixxelTemporaryError(PixxelApiError):
    """The server couldn't answer now and may do so later."""

    transient = True


class PixxelRateLimitError(PixxelTemporaryError):
    """429: too many requests; ``retry_after`` is the server's Retry-After in seconds, if it sent one."""


class PixxelServerError(PixxelTemporaryError):
    """5xx: the server, or something in front of it, failed."""


def api_error_class(status_code: int) -> type[PixxelApiError]:
    """Return the class of errors for an HTTP status."""
    exact = {
        400: PixxelBadRequestError,
        401: PixxelAuthError,
        403: PixxelAuthError,
        404: PixxelNotFoundError,
        408: PixxelTemporaryError,
        425: PixxelTemporaryError,
        429: PixxelRateLimitError,
    }
    if 500 <= status_code <= 599:
        return PixxelServerError
    return exact.get(status_code, PixxelApiError)


def rebuild(fields: Mapping[str, Any]) -> PixxelError:
    """Create an error from :meth:`PixxelError.fields`; for an unknown type, a plain PixxelError."""
    kind = _CLASSES.get(str(fields.get("type")), PixxelError)
    message = str(fields.get("message", ""))
    if issubclass(kind, PixxelApiError):
        return kind(
            message,
            status_code=int(number(fields.get("status_code")) or 0),
            code=text(fields.get("code")),
            details=fields.get("details"),
            request=text(fields.get("request")),
            retry_after=number(fields.get("retry_after")),
        )
    if issubclass(kind, PixxelInputError):
        return kind(str(fields.get("field", "")), str(fields.get("problem") or message))
    if issubclass(kind, PixxelConnectionError):
        return kind(message, reason=str(fields.get("reason", "other")), sent=bool(fields.get("sent", True)))
    return kind(message)


def _short(value: Any) -> str:
    words = value if isinstance(value, str) else json.dumps(value)
    return words if len(words) <= _DETAILS_LIMIT else words[:_DETAILS_LIMIT] + "…"


_CLASSES: dict[str, type[PixxelError]] = {
    name: kind for name, kind in globals().items() if isinstance(kind, type) and issubclass(kind, PixxelError)
}
