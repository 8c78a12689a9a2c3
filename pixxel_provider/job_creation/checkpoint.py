"""The checkpoint of a task's job, kept across its tries: a record in Airflow's ``task_state_store``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pixxel_provider.compat.tasks import task_state_store, without_expiry

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: The key of the record. After a renaming, running tasks wouldn't find their jobs.
KEY = "pixxel_job"
_VERSION = 1

#: A request to create a job may be in progress, or may have been when the worker died.
ASKING = "asking"
#: The job is known.
CREATED = "created"
#: It isn't known whether there is a job, and the task has failed with a message about it.
UNCONFIRMED = "unconfirmed"
#: The task has used the job's result.
DONE = "done"
_STATES = frozenset({ASKING, CREATED, UNCONFIRMED, DONE})


@dataclass(frozen=True)
class Record:
    """The state of a task instance's one job. JSON types only."""

    state: str
    began_at: float
    """Unix seconds before the request to create the job."""
    known: list[str] | None = None
    """Ids of jobs that were listed just before the request; None if that isn't known for certain."""
    over_by: float | None = None
    """Unix seconds at which the request was over at the latest, answered or not."""
    workflow_id: str | None = None
    """The workflow of the request."""
    job_id: str | None = None
    estimated_cost: int | float | None = None
    clearing: int = 0
    """Which clearing of the task wrote this: Airflow's ``max_tries``, which grows with each."""
    attempt: int = 0
    """Which try of the task wrote this."""

    @classmethod
    def read(cls, stored: object) -> Record | None:
        """Read a stored record; None if this version can't read it."""
        if not isinstance(stored, Mapping) or stored.get("version") != _VERSION:
            return None
        fields = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        if not all(_TYPES[name](value) for name, value in fields.items()) or not fields.keys() >= _NEEDED:
            return None
        record = cls(**fields)
        return None if record.state in (CREATED, DONE) and record.job_id is None else record


def _is_number(value: object) -> bool:
    # Finite, and not true or false.
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_count(value: object) -> bool:
    return type(value) is int


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _are_ids(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(each, str) for each in value))


_NEEDED = frozenset({"state", "began_at"})
_TYPES: dict[str, Callable[[object], bool]] = {
    "state": lambda value: isinstance(value, str) and value in _STATES,
    "began_at": _is_number,
    "known": _are_ids,
    "over_by": lambda value: value is None or _is_number(value),
    "workflow_id": _is_text,
    "job_id": _is_text,
    "estimated_cost": lambda value: value is None or _is_number(value),
    "clearing": _is_count,
    "attempt": _is_count,
}


class Checkpoint:
    """Reads and writes the record of one task instance.

    Airflow has such a store from 3.3 on. Without one, or with ``durable=False``, nothing is stored.
    """

    def __init__(self, context: Context, durable: bool) -> None:
        self._store = task_state_store(context) if durable else None
        ti: Any = context["ti"]
        self.clearing = int(getattr(ti, "max_tries", 0) or 0)
        self.attempt = int(ti.try_number)
        retries = int(getattr(getattr(ti, "task", None), "retries", 0) or 0)
        # Airflow sets max_tries to the past tries plus the retries, whenever a task is cleared.
        self._tries_before = self.clearing - retries
        self.first_try = self.attempt <= self._tries_before + 1

    @property
    def lasts(self) -> bool:
        """Return whether the next try can read what is stored now."""
        return self._store is not None

    def load(self) -> Record | None:
        """Return what an earlier try stored.

        :raises ValueError: there is a record, but this version can't read it.
        """
        stored = self._store.get(KEY) if self._store is not None else None
        if stored is None:
            return None
        record = Record.read(stored)
        if record is None:
            raise ValueError("The task's stored record isn't one that this version can read")
        return record

    def cleared_since(self, record: Record) -> bool:
        """Return whether a person has cleared the task since this was written."""
        if record.clearing != self.clearing:
            return True
        # If the DAG has fewer retries now, max_tries may be the same again.
        return record.state == DONE and self._tries_before == record.attempt

    def stamped(self, record: Record) -> Record:
        """Return the record as one of this try."""
        return replace(record, clearing=self.clearing, attempt=self.attempt)

    def finish(self, job_id: str, now: float) -> None:
        """Record that the task has used the job's result: after a later clearing, a new job is created."""
        if self._store is not None:
            record = self.load() or Record(state=DONE, began_at=now)
            self.save(self.stamped(replace(record, state=DONE, job_id=job_id)))

    def save(self, record: Record) -> None:
        """Store the record for the next try."""
        if self._store is not None:
            # A job may run for longer than Airflow would keep the record.
            self._store.set(KEY, {"version": _VERSION, **asdict(record)}, **without_expiry())

    def restore(self, before: Record | None) -> None:
        """Restore the previous record, None for none: the request was rejected."""
        if before is not None:
            self.save(before)
        elif self._store is not None:
            self._store.delete(KEY)
