"""Which jobs of a workflow's list have ended, and when, by Pixxel's clock alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from pixxel_provider.api.calls import can_be_sent, check_id, same_id
from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.api.event_cursor import ended_at, outcome
from pixxel_provider.api.job import Job
from pixxel_provider.api.parsing import shown
from pixxel_provider.api.status import StatusRules, normalise, status_words


def read_moment(field: str, given: object) -> datetime:
    """Return a moment that a user gave as text or as a datetime, in UTC.

    :raises PixxelInputError: it isn't an ISO 8601 time, or has no time zone.
    """
    try:
        # Python 3.10 doesn't read the Z.
        moment = given if isinstance(given, datetime) else datetime.fromisoformat(_text(given))
        if moment.tzinfo is not None:
            return moment.astimezone(timezone.utc)
    except (OverflowError, TypeError, ValueError):
        raise PixxelInputError(field, f"must be an ISO 8601 time, not {shown(given)}") from None
    raise PixxelInputError(field, f"needs a time zone: {shown(str(given))}")


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(given)
    return given.strip().replace("Z", "+00:00")


def ended_jobs(
    listed: Iterable[Job],
    rules: StatusRules,
    *,
    after: datetime | None = None,
    created_by: str | None = None,
    statuses: Iterable[str] | None = None,
) -> list[tuple[datetime, Job]]:
    """Return the jobs that have ended, each after the moment of its end, in the order of these.

    A job without any time is left out, as nobody knows when it ended.

    :param after: leave out jobs that ended until then.
    :param created_by: leave out jobs of other users.
    :param statuses: leave out jobs in other statuses.
    """
    words = status_words("statuses", statuses)
    ended = [
        (end, job)
        for job in listed
        # First what leaves out most: hundreds of waits may get a list of thousands.
        if (end := ended_at(job)) is not None
        and (after is None or end > after)
        and outcome(job, rules) is not None
        and (created_by is None or same_id(job.created_by, created_by))
        and (words is None or normalise(job.status) in words)
        and can_be_sent(job.id)
    ]
    return sorted(ended, key=lambda each: (each[0], each[1].id))


def check_filters(created_by: object, statuses: Iterable[str] | None) -> None:
    """Raise PixxelInputError with the name of a filter that can't be used."""
    if created_by is not None:
        check_id("created_by", created_by)
    status_words("statuses", statuses)


def describe_filters(created_by: str | None, statuses: Iterable[str] | None) -> str:
    """Return the filters for the end of a sentence, with a space before them; an empty text without any."""
    parts = [] if created_by is None else [f"created_by {created_by!r}"]
    if statuses is not None:
        parts.append(f"statuses {', '.join(statuses)}")
    return f" ({'; '.join(parts)})" if parts else ""
