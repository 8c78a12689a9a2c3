"""Pixxel's jobs in Airflow's database: which task instance has which, and which are waiting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, or_, select

from pixxel_provider.api import parsing
from pixxel_provider.compat.database import (
    RENDERED,
    XCOMS,
    TaskInstance,
    TaskReschedule,
    belongs,
    create_session,
)
from pixxel_provider.plugins.job_batch import JobKey
from pixxel_provider.plugins.stored_tasks import LONGEST, PixxelTask, StoredTasks
from pixxel_provider.xcom import CONNECTION, END_KEYS, ESTIMATED_COST, JOB, JOB_KEYS, WORKFLOW

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: States of a task instance that hasn't ended.
LIVE = ("running", "deferred", "up_for_reschedule", "up_for_retry", "queued", "scheduled", "restarting")
# States in which the next try hasn't begun, so that the known job is the last try's; and those that a try
# also has after each of its pauses.
_BETWEEN_TRIES, _BACK_TO_WORK = (None, "queued", "scheduled", "up_for_retry"), ("queued", "scheduled")
#: The most rows that the page of all waits shows.
MOST_ROWS = 500
# Pushed by every operator of this package as soon as it knows its job.
_KEYS = (*JOB_KEYS, *END_KEYS, ESTIMATED_COST)
# What Airflow puts in the place of a secret.
_MASK = "***"
# The longest wait that is listed once it has ended.
_LONGEST = timedelta(days=8)
# Databases limit the number of values in a statement.
_MOST_VALUES = 5_000

_NAMES = ("dag_id", "run_id", "task_id", "map_index")
_COLUMNS = (*_NAMES, "state", "try_number", "start_date", "end_date", "operator")
# The columns that identify an instance come before them.
_ROW, _FIRST = [getattr(TaskInstance, name) for name in ("id", "dag_version_id", *_COLUMNS)], 2
# Airflow deletes both when the try has ended.
_HAS_PAUSED = or_(
    TaskInstance.next_method.is_not(None),
    exists().where(TaskReschedule.ti_id == TaskInstance.id).correlate(TaskInstance),
)
# As :attr:`Instance.is_between_tries`.
_IS_BETWEEN_TRIES = or_(
    TaskInstance.state.is_(None),
    TaskInstance.state == "up_for_retry",
    TaskInstance.state.in_(_BACK_TO_WORK) & ~_HAS_PAUSED,
)


@dataclass(frozen=True)
class Instance:
    """A task instance, its own arguments, and its XComs about its job."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str | None
    try_number: int
    start: datetime | None
    end: datetime | None
    operator: str
    task: PixxelTask | None = None
    """Its operator, None if that isn't one of this package's."""
    xcoms: dict[str, Any] = field(default_factory=dict)
    rendered: dict[str, Any] = field(default_factory=dict)
    """The operator's arguments as Airflow has stored them for this task instance, if it has."""
    has_paused: bool = False
    """Whether its try was deferred or rescheduled before; only known for a single task instance."""

    @property
    def is_live(self) -> bool:
        """Whether the task instance hasn't ended."""
        return self.state in LIVE

    @property
    def is_between_tries(self) -> bool:
        """Whether its next try hasn't begun, so that the known job is the last try's."""
        return self.state in _BETWEEN_TRIES and not (self.has_paused and self.state in _BACK_TO_WORK)

    @cached_property
    def job(self) -> JobKey | None:
        """The job, as soon as it is known, and only if it is the task's own."""
        pushed = self._pushed
        if pushed is None or self._own is None or self.is_contradicted:
            return None
        return JobKey(pushed[CONNECTION], pushed[WORKFLOW], pushed[JOB])

    @property
    def is_contradicted(self) -> bool:
        """Whether its XComs name another connection, workflow or job than its own arguments do.

        They can be written by people and tasks that have no right to that connection.
        """
        pushed, own = self._pushed, self._own
        return pushed is not None and own is not None and bool(own.items() - pushed.items())

    @property
    def is_unconfirmed(self) -> bool:
        """Whether its XComs name a job, but its own arguments aren't known for a comparison."""
        return self._pushed is not None and self.task is not None and self._own is None

    @cached_property
    def _pushed(self) -> dict[str, str] | None:
        pushed = {name: self.text(name) for name in JOB_KEYS}
        return pushed if all(0 < len(value) <= LONGEST for value in pushed.values()) else None

    @cached_property
    def _own(self) -> dict[str, str] | None:
        """The task's own arguments; those that create or find a job have no job_id."""
        if self.task is None:
            return None
        own = {}
        for name in self.task.templated:
            value = self.rendered.get(name)
            if not isinstance(value, str) or _MASK in value:
                value = self.task.literals.get(name)
            if value is None:
                return None
            own[name] = parsing.text(value)
        return own

    def text(self, key: str) -> str:
        """Return an XCom that is text, in valid UTF-8; an empty one for anything else."""
        value = self.xcoms.get(key)
        return parsing.text(value) if isinstance(value, str) else ""

    def number(self, key: str) -> int | float | None:
        """Return an XCom that is a number, None for anything else."""
        value = self.xcoms.get(key)
        return None if isinstance(value, str) else parsing.number(value)


_stored = StoredTasks()


def find(dag_id: str, run_id: str, task_id: str, map_index: int) -> Instance | None:
    """Return a task instance, None if there is none."""
    key = zip(_NAMES, (dag_id, run_id, task_id, map_index), strict=True)
    statement = select(*_ROW, _HAS_PAUSED).where(
        *(getattr(TaskInstance, name) == value for name, value in key)
    )
    with create_session(scoped=False) as session:
        # In a loop (Airflow 3.4 on), each pass has a task instance with the same key.
        row: Any = session.execute(statement.order_by(TaskInstance.start_date.desc())).first()
        if row is None:
            return None
        ours = _of_pixxel(session, [row])
        if not ours:
            return Instance(*row[_FIRST:-1])
        (instance,) = _with_arguments(session, ours)
        return replace(instance, has_paused=bool(row[-1]))


def recent(dag_ids: Collection[str], since: datetime) -> tuple[list[Instance], int]:
    """Return the task instances that haven't ended, newest first, then those that ended since, newest first.

    :param dag_ids: the DAGs to search.
    :returns: at most :data:`MOST_ROWS`, and how many there are.
    """
    marked = select(*_ROW).join(XCOMS, belongs(XCOMS, _IS_BETWEEN_TRIES)).where(XCOMS.c.key == CONNECTION)
    live = marked.where(TaskInstance.state.in_(LIVE)).order_by(TaskInstance.start_date.desc())
    ended = marked.where(
        XCOMS.c.timestamp >= since - _LONGEST,
        TaskInstance.end_date >= since,
        TaskInstance.state.not_in(LIVE),
    ).order_by(TaskInstance.end_date.desc())
    with create_session(scoped=False) as session:
        rows = [row for statement in (live, ended) for row in _within(session, statement, dag_ids)]
        ours = _of_pixxel(session, rows)
        shown = _with_arguments(session, ours[:MOST_ROWS])
        known = [each for each in shown if not each.is_contradicted]
        return known, len(ours) - len(shown) + len(known)


def _within(session: Session, statement: Any, dag_ids: Collection[str]) -> Iterator[Any]:
    """Yield the rows of these DAGs."""
    if len(dag_ids) <= _MOST_VALUES:
        yield from session.execute(statement.where(TaskInstance.dag_id.in_(dag_ids)))
        return
    wanted = frozenset(dag_ids)
    yield from (row for row in session.execute(statement) if row.dag_id in wanted)


def _of_pixxel(session: Session, rows: Sequence[Any]) -> list[tuple[Any, PixxelTask]]:
    """Return those whose operator is one of this package's, with it."""
    stored = _stored.find(session, {(row.dag_id, row.dag_version_id) for row in rows})
    tasks = [(row, stored.get((row.dag_id, row.dag_version_id), {}).get(row.task_id)) for row in rows]
    return [(row, task) for row, task in tasks if task is not None]


def _with_arguments(session: Session, ours: Sequence[tuple[Any, PixxelTask]]) -> list[Instance]:
    if not ours:
        return []
    xcoms: defaultdict[tuple[Any, ...], dict[str, Any]] = defaultdict(dict)
    # By one number each, and not by four names; in the result, names are faster to read.
    wanted = TaskInstance.id.in_([row.id for row, _ in ours])
    # The column, without deserialisation: that would turn an id of digits into a number.
    pushed = _columns(XCOMS, "key", "value").where(wanted, XCOMS.c.key.in_(_KEYS))
    for *key, name, value in session.execute(pushed):
        xcoms[tuple(key)][name] = value
    fields = session.execute(_columns(RENDERED, "rendered_fields").where(wanted))
    rendered: dict[tuple[Any, ...], Any] = {tuple(key): value for *key, value in fields}
    return [_instance(row, task, xcoms, rendered) for row, task in ours]


def _columns(table: Any, *names: str) -> Any:
    """Select columns of what a table has of task instances, after those that name the task instance."""
    key = (getattr(TaskInstance, name) for name in _NAMES)
    return select(*key, *(table.c[name] for name in names)).join(table, belongs(table, _IS_BETWEEN_TRIES))


def _instance(row: Any, task: PixxelTask, xcoms: Mapping[Any, Any], rendered: Mapping[Any, Any]) -> Instance:
    columns: Any = tuple(row[_FIRST : _FIRST + len(_COLUMNS)])
    key = columns[: len(_NAMES)]
    own = rendered.get(key)
    more = {"task": task, "xcoms": xcoms.get(key, {}), "rendered": own if isinstance(own, dict) else {}}
    return Instance(*columns, **more)
