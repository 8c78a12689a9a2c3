"""What a task remembers of the job it runs, across its tries: a record in Airflow's ``task_state_store``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Where the record lies. Renaming it would make running tasks forget their jobs.
KEY = "pixxel_job"
_VERSION = 1

#: A request to create a job may be under way, or may have been when the worker died.
ASKING = "asking"
#: The job is known.
CREATED = "created"
#: Nobody could say whether there is a job, and a person was told so.
UNCONFIRMED = "unconfirmed"
#: The task has what it wanted of the job.
DONE = "done"
_STATES = frozenset({ASKING, CREATED, UNCONFIRMED, DONE})


@dataclass(frozen=True)
class Record:
    """Where a task instance stands with its one job. JSON types only."""

    state: str
    began_at: float
    """Unix seconds before the request to create the job."""
    known: list[str] | None = None
    """Ids of jobs that were there just before the request; None where that isn't known for certain."""
    over_by: float | None = None
    """Unix seconds at which the request was over at the latest, answered or not."""
    workflow_id: str | None = None
    """The workflow that the request was about."""
    job_id: str | None = None
    estimated_cost: int | float | None = None
    clearing: int = 0
    """Which clearing of the task wrote this: Airflow's ``max_tries``, which grows with each."""
    attempt: int = 0
    """Which try of the task wrote this."""

    @classmethod
    def read(cls, stored: object) -> Record | None:
        """Read what was stored; None where it isn't a record that this version understands."""
        if not isinstance(stored, Mapping) or stored.get("version") != _VERSION:
            return None
        fields = {name: stored.get(name) for name in cls.__dataclass_fields__}
        if fields["state"] not in _STATES or not isinstance(fields["began_at"], (int, float)):
            return None
        return cls(**fields)  # type: ignore[arg-type]


class Checkpoint:
    """Reads and writes the record of one task instance.

    Airflow has such a store from 3.3 on. Without one, or with ``durable=False``, nothing is remembered.
    """

    def __init__(self, context: Context, durable: bool) -> None:
        store: Any = context.get("task_state_store") if durable else None
        self._store = store
        ti: Any = context["ti"]
        self.clearing = int(getattr(ti, "max_tries", 0) or 0)
        self.attempt = int(ti.try_number)
        retries = int(getattr(getattr(ti, "task", None), "retries", 0) or 0)
        # Airflow sets max_tries to the tries there were and the retries, whenever a task is cleared.
        self._tries_before = self.clearing - retries
        self.first_try = self.attempt <= self._tries_before + 1

    @property
    def lasts(self) -> bool:
        """Tell whether the next try will find what is stored now."""
        return self._store is not None

    def load(self) -> Record | None:
        """Return what an earlier try stored.

        :raises ValueError: there is something, and this version doesn't understand it.
        """
        stored = self._store.get(KEY) if self._store is not None else None
        if stored is None:
            return None
        record = Record.read(stored)
        if record is None:
            raise ValueError("The task's stored record isn't one that this version understands")
        return record

    def cleared_since(self, record: Record) -> bool:
        """Tell whether a person cleared the task after this was written."""
        if record.clearing != self.clearing:
            return True
        # Where the DAG has fewer retries by now, max_tries may be the same again.
        return record.state == DONE and self._tries_before == record.attempt

    def stamped(self, record: Record) -> Record:
        """Return the record as one of this try."""
        return replace(record, clearing=self.clearing, attempt=self.attempt)

    def finish(self, job_id: str, now: float) -> None:
        """Remember that the task has what it wanted of the job: a later clearing wants a new one."""
        if self._store is not None:
            record = self.load() or Record(state=DONE, began_at=now)
            self.save(self.stamped(replace(record, state=DONE, job_id=job_id)))

    def save(self, record: Record) -> None:
        """Store the record for the next try."""
        if self._store is not None:
            self._store.set(KEY, {"version": _VERSION, **asdict(record)}, **_forever())

    def restore(self, before: Record | None) -> None:
        """Store what was stored before, None for nothing: the request was turned away."""
        if before is not None:
            self.save(before)
        elif self._store is not None:
            self._store.delete(KEY)


def _forever() -> dict[str, Any]:
    # A job may run for longer than the 30 days after which Airflow would drop the record.
    try:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE
    except ImportError:
        return {}
    return {"retention": NEVER_EXPIRE}
