"""Which ended jobs of a workflow a watcher has announced, by Pixxel's clock alone: ours may differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pixxel_provider.api.job import Job
from pixxel_provider.api.status import StatusRules, Verdict

#: How long before the newest known end a job may have ended and still be announced: a list may leave one out
#: for a while.
WINDOW = timedelta(days=7)
#: The most ended jobs that a cursor remembers, some 60 bytes of JSON each.
LIMIT = 2_000
#: By verdict, the word of events and of a watcher's ``outcomes``.
OUTCOMES = {Verdict.SUCCEEDED: "succeeded", Verdict.FAILED: "failed", Verdict.UNCLEAR: "unknown"}

_VERSION = 1
# A time further ahead of our clock is a mistake, and must not make all others old.
_FUTURE = timedelta(days=1)


def outcome(job: Job, rules: StatusRules) -> str | None:
    """Return how a job has ended: ``succeeded``, ``failed``, or ``unknown``; None while it hasn't."""
    return OUTCOMES.get(job.verdict(rules))


def ended_at(job: Job) -> datetime | None:
    """Return when a job that has ended did so, by the latest of its times; None if it has none."""
    return job.finished_at or job.updated_at or job.created_at


@dataclass
class EventCursor:
    """The ended jobs that were announced; kept as JSON across restarts.

    :param since: Unix seconds; jobs that ended until then aren't announced.
    """

    since: float = -math.inf
    announced: dict[str, tuple[float, str]] = field(default_factory=dict)
    """By id: when the job ended, in Unix seconds, and its outcome."""

    @classmethod
    def begin(
        cls, listed: Iterable[Job], rules: StatusRules, since: datetime | None, now: datetime
    ) -> EventCursor:
        """Return the cursor of a new watcher, for which every job that has ended is an old one.

        :param since: announce jobs that ended after this moment as well.
        """
        if since is not None:
            return cls(since.timestamp())
        cursor = cls()
        for job in listed:
            if (ended := outcome(job, rules)) is not None:
                cursor.announce(job, ended)
        cursor.prune(now)
        return cursor

    @classmethod
    def read(cls, stored: object) -> EventCursor | None:
        """Return a cursor that :meth:`to_json` made; None if this version can't read it."""
        if not isinstance(stored, Mapping) or stored.get("version") != _VERSION:
            return None
        try:
            since = stored["since"]
            announced = {
                str(key): (float(end), str(ended)) for key, (end, ended) in stored["announced"].items()
            }
            cursor = cls(-math.inf if since is None else float(since), announced)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            return None
        times = [end for end, _ in announced.values()] + [0.0 if since is None else cursor.since]
        return cursor if all(map(math.isfinite, times)) else None

    def to_json(self) -> dict[str, Any]:
        """Return the cursor as JSON types."""
        since = self.since if math.isfinite(self.since) else None
        return {
            "version": _VERSION,
            "since": since,
            "announced": {k: list(v) for k, v in self.announced.items()},
        }

    def pending(self, listed: Iterable[Job], rules: StatusRules) -> list[Job]:
        """Return the ended jobs of a list that are to be announced, in the order in which they ended.

        A job that was announced is announced again only if its outcome is another one since.
        """
        found = {
            job.id: job
            for job in listed
            if (ended := outcome(job, rules)) is not None
            and self.announced.get(job.id, (0.0, ""))[1] != ended
            # Without a time it can't be told from a new one.
            and ((end := ended_at(job)) is None or end.timestamp() > self.since)
        }
        return sorted(found.values(), key=lambda job: (self._end(job), job.id))

    def announce(self, job: Job, ended: str) -> None:
        """Record that a job was announced, or needn't be."""
        self.announced[job.id] = (self._end(job), ended)

    def prune(self, now: datetime) -> None:
        """Forget the oldest, and move ``since`` so that they aren't announced again."""
        latest = (now + _FUTURE).timestamp()
        ends = sorted(end for end, _ in self.announced.values() if end <= latest)
        if not ends:
            return
        floor = ends[-1] - WINDOW.total_seconds()
        if len(ends) > LIMIT:
            floor = max(floor, ends[-LIMIT - 1])
        if floor > self.since:
            self.since = floor
            self.announced = {key: known for key, known in self.announced.items() if known[0] > floor}

    def _end(self, job: Job) -> float:
        end = ended_at(job)
        return (
            max((end for end, _ in self.announced.values()), default=0.0) if end is None else end.timestamp()
        )
