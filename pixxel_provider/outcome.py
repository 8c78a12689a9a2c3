"""How a wait ended, turned into what Airflow sees: once, for every mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.api.polling import PollResult

if TYPE_CHECKING:
    from typing import TypeGuard

    from airflow.providers.common.compat.sdk import Context

_EVENT_VERSION = 1
_KINDS = frozenset({"succeeded", "failed", "timed_out", "error"})
_UNSTARTED = "unstarted"


class PixxelJobFailedError(AirflowFailException):
    """The job has failed and stays failed: waiting again is no use, so Airflow doesn't retry the task."""


@contextmanager
def without_causes() -> Iterator[None]:
    """Let Airflow log an error that leaves an operator without its causes: its message tells what matters."""
    try:
        yield
    except (PixxelError, AirflowFailException, AirflowSensorTimeout, AirflowSkipException) as error:
        raise error from None


def event_of(result: PollResult) -> dict[str, Any]:
    """Return the payload of the event that a trigger fires; it says everything, and is JSON."""
    # Not asdict(): it copies every task of the metadata, which nobody changes.
    return {"version": _EVENT_VERSION, **vars(result)}


def unstarted(reason: str, started_at: float) -> dict[str, Any]:
    """Return the payload of a trigger that leaves it to a worker to begin the wait, or to go on with it.

    :param started_at: when the wait began, in Unix seconds: its deadline stays.
    """
    return {"version": _EVENT_VERSION, "kind": _UNSTARTED, "message": reason, "started_at": started_at}


def started_at(event: object) -> float | None:
    """Return when the wait began whose trigger left it to a worker, None where the event doesn't say."""
    found = event.get("started_at") if _is_ours(event) else None
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def why_no_result(event: object) -> str:
    """Return why an event of which :func:`result_of` finds no result brings a worker into the wait."""
    if _is_ours(event) and event["kind"] == _UNSTARTED:
        return str(event.get("message", ""))
    return "the trigger's event isn't one that this version understands"


def _is_ours(event: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(event, Mapping) and event.get("version") == _EVENT_VERSION and bool(event.get("kind"))


def result_of(event: object) -> PollResult | None:
    """Return the result that an event tells of, None where it tells of none that this version knows."""
    if not _is_ours(event) or str(event["kind"]) not in _KINDS:
        return None
    return PollResult(
        kind=str(event["kind"]),
        message=str(event.get("message", "")),
        metadata=event.get("metadata"),
        error=event.get("error"),
    )


def push_job(context: Context, workflow_id: str, job_id: str, pixxel_conn_id: str) -> None:
    """Push at the start of a try which job it is, and the connection to ask for it, under single keys."""
    _push(context, {"job_id": job_id, "workflow_id": workflow_id, "pixxel_conn_id": pixxel_conn_id})


def push_end(context: Context, metadata: Mapping[str, Any]) -> None:
    """Push ``status`` and ``cost``; the job's ids are there since the start, also after a deferral."""
    _push(context, {key: metadata.get(key) for key in ("status", "cost")})


def _push(context: Context, found: Mapping[str, Any]) -> None:
    # Each is a request to Airflow: that's why the end doesn't push the ids again.
    for key, value in found.items():
        context["ti"].xcom_push(key=key, value=value)


def conclude(result: PollResult, *, soft_fail: bool = False, never_fail: bool = False) -> dict[str, Any]:
    """Return the job's metadata where it has succeeded, raise what Airflow should see otherwise.

    :param soft_fail: skip where the job failed or the time was over; an error (a wrong key) still fails.
    :param never_fail: skip whatever it was.
    :raises PixxelJobFailedError: the job has failed.
    :raises AirflowSensorTimeout: the job had not ended in time.
    :raises AirflowSkipException: one of those, with ``soft_fail`` or ``never_fail``.
    :raises PixxelError: the API refused, or the job has ended in a status that nobody knows.
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
