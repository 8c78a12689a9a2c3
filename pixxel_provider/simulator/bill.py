"""What jobs cost: every job that was created through the API, whether or not its answer arrived."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bill:
    """Jobs that were paid for, oldest first, and their credits in all."""

    jobs: tuple[str, ...]
    credits: int


class Ledger:
    """Who pays for what. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[tuple[str, str, int]] = []

    def charge(self, user: str, job_id: str, credits: int) -> None:
        """Put a job on a user's bill."""
        with self._lock:
            self._rows.append((user, job_id, credits))

    def bill(self, user: str | None = None) -> Bill:
        """The bill of one user, or of all together; empty for a user who created nothing."""
        with self._lock:
            rows = [row for row in self._rows if user in (None, row[0])]
        return Bill(tuple(job_id for _, job_id, _ in rows), sum(credits for _, _, credits in rows))

    def clear(self) -> None:
        """Nobody owes anything."""
        with self._lock:
            self._rows = []

    def to_json(self) -> dict[str, Any]:
        """The bill of all, and under ``users`` each one's own."""
        with self._lock:
            users: Iterable[str] = dict.fromkeys(user for user, _, _ in self._rows)
        return {**_shown(self.bill()), "users": {user: _shown(self.bill(user)) for user in users}}


def _shown(bill: Bill) -> dict[str, Any]:
    return {"jobs": list(bill.jobs), "credits": bill.credits}
