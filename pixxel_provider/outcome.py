"""The result of a wait, turned into what Airflow sees: once, for every mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from pixxel_provider.api.errors import PixxelError

if TYPE_CHECKING:
    from typing import TypeGuard

    from pixxel_provider.api.polling import PollResult

P = ParamSpec("P")
T = TypeVar("T")

_EVENT_VERSION = 1
_KINDS = frozenset({"succeeded", "failed", "timed_out", "error", "identified"})
#: A worker has to begin the wait, or continue it: the trigger couldn't.
UNSTARTED = "unstarted"


class PixxelJobFailedError(AirflowFailException):
    """The job has failed and stays failed, so Airflow doesn't retry the task."""


def without_causes(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Let Airflow log an operator's error without its causes: its message is complete.

    The operator keeps the error as ``raised_error``: Airflow doesn't hand it to those who report lineage.
    """

    @wraps(method)
    def run(operator: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        operator.raised_error = None
        try:
            return method(operator, *args, **kwargs)
        except (PixxelError, AirflowFailException, AirflowSensorTimeout, AirflowSkipException) as error:
            operator.raised_error = error
            raise error from None

    return run


def event_of(result: PollResult) -> dict[str, Any]:
    """Return the payload of a trigger's event; it is complete, and JSON."""
    # Not asdict(): it copies every task of the metadata, which nobody changes.
    return {"version": _EVENT_VERSION, **vars(result)}


def started_at(event: object) -> float | None:
    """Return when the wait of such an event began, None if the event doesn't have it."""
    found = event.get("started_at") if _is_ours(event) else None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    return found if math.isfinite(found) else None


def why_no_result(event: object) -> str:
    """Return why an event without a result for :func:`result_of` lets a worker wait."""
    if _is_ours(event) and event["kind"] == UNSTARTED:
        return str(event.get("message", ""))
    return "the trigger's event isn't one that this version can read"


def _is_ours(event: object) -> TypeGuard[Mapping[str, Any]]:
    return (
        isinstance(event, Mapping)
        and event.get("version") == _EVENT_VERSION
        and isinstance(event.get("kind"), str)
    )


def result_of(event: object) -> PollResult | None:
    """Return the result in an event, None if it has none that this version knows."""
    if not _is_ours(event) or event["kind"] not in _KINDS:
        return None
    metadata, error = event.get("metadata"), event.get("error")
    if not all(value is None or isinstance(value, dict) for value in (metadata, error)):
        return None
    from pixxel_provider.api.calls import can_be_sent

    if event["kind"] == "identified" and not can_be_sent((metadata or {}).get("id")):
        return None
    from pixxel_provider.api.polling import PollResult

    message = str(event.get("message") or "") or f"The wait has ended: {event['kind']}."
    return PollResult(event["kind"], message, metadata, error)


def conclude(result: PollResult, *, soft_fail: bool = False, never_fail: bool = False) -> dict[str, Any]:
    """Return the job's metadata if it succeeded, otherwise raise what Airflow should see.

    :param soft_fail: skip if the job failed or the timeout is over; an error (a wrong key) still fails.
    :param never_fail: skip whatever the error.
    :raises PixxelJobFailedError: the job has failed.
    :raises AirflowSensorTimeout: the job hadn't ended in time.
    :raises AirflowSkipException: one of those, with ``soft_fail`` or ``never_fail``.
    :raises PixxelError: the API refused, or the job has ended in an unknown status.
    """
    if result.kind == "succeeded":
        return result.metadata or {}
    if never_fail:
        raise AirflowSkipException(f"Skipped, because never_fail is set: {result.message}")
    if result.kind == "error":
        raise result.exception()
    if soft_fail:
        raise AirflowSkipException(f"Skipped, because soft_fail is set: {result.message}")
    if result.kind == "timed_out":
        raise AirflowSensorTimeout(result.message)
    raise PixxelJobFailedError(result.message)
