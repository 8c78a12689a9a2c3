"""What Airflow's database knows of Pixxel's jobs: which task instance has which, and which wait now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, exists, or_, select

from pixxel_provider.api import parsing
from pixxel_provider.plugins.job_batch import JobRef
from pixxel_provider.plugins.stored_tasks import (
    ARGUMENTS,
    CONNECTION,
    JOB,
    LONGEST,
    WORKFLOW,
    PixxelTask,
    StoredTasks,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: States of a task instance that isn't over.
LIVE = ("running", "deferred", "up_for_reschedule", "up_for_retry", "queued", "scheduled", "restarting")
# States in which the next try hasn't begun, so that what is known is the last one's; and those that a try
# also passes through after each of its pauses.
_BETWEEN_TRIES, _BACK_TO_WORK = (None, "queued", "scheduled", "up_for_retry"), ("queued", "scheduled")
#: The most rows that the page of all waits shows.
MOST_ROWS = 500
# Pushed by every operator of this package as soon as it knows its job.
_KEYS = (*ARGUMENTS, "status", "cost", "estimated_cost")
# What Airflow puts in the place of a secret.
_MASK = "***"
# How long before its end a wait may have begun, to be found among those that ended lately.
_LONGEST = timedelta(days=8)
# Databases bound how many values a statement may have.
_MOST_VALUES = 5_000

_NAMES = ("dag_id", "run_id", "task_id", "map_index")
_COLUMNS = (
    TaskInstance.dag_id,
    TaskInstance.run_id,
    TaskInstance.task_id,
    TaskInstance.map_index,
    TaskInstance.state,
    TaskInstance.try_number,
    TaskInstance.start_date,
    TaskInstance.end_date,
    TaskInstance.operator,
)
# What an instance is found by stands before them.
_ROW, _FIRST = (TaskInstance.id, TaskInstance.dag_version_id, *_COLUMNS), 2
# Airflow forgets both when the try is over.
_HAS_PAUSED = or_(
    TaskInstance.next_method.is_not(None), exists().where(TaskReschedule.ti_id == TaskInstance.id)
)


def _same(table: Any) -> Any:
    return and_(*(getattr(table, name) == getattr(TaskInstance, name) for name in _NAMES))


@dataclass(frozen=True)
class Instance:
    """A task instance, its own arguments, and what its XComs say of its job."""

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
    """Its operator, None where that isn't one of this package's."""
    xcoms: dict[str, Any] = field(default_factory=dict)
    rendered: dict[str, Any] = field(default_factory=dict)
    """The operator's arguments as Airflow has stored them for this task instance, if it has."""
    has_paused: bool = False
    """Whether its try was deferred or rescheduled before; known of one that was looked for by itself."""

    @property
    def is_live(self) -> bool:
        """Whether the task instance isn't over."""
        return self.state in LIVE

    @property
    def is_between_tries(self) -> bool:
        """Whether its next try hasn't begun, so that what is known of its job is the last one's."""
        return self.state in _BETWEEN_TRIES and not (self.has_paused and self.state in _BACK_TO_WORK)

    @cached_property
    def job(self) -> JobRef | None:
        """The job, as soon as it is known, and only where it is the task's own."""
        pushed, own = self._pushed, self._own
        if pushed is None or own is None or own.items() - pushed.items():
            return None
        return JobRef(pushed[CONNECTION], pushed[WORKFLOW], pushed[JOB])

    @property
    def is_contradicted(self) -> bool:
        """Whether its XComs name another connection, workflow or job than its own arguments do.

        They can be written by people and tasks that have no right to that connection.
        """
        pushed, own = self._pushed, self._own
        return pushed is not None and own is not None and bool(own.items() - pushed.items())

    @property
    def is_unconfirmed(self) -> bool:
        """Whether its XComs name a job, and its own arguments aren't known to compare them with."""
        return self._pushed is not None and self.task is not None and self._own is None

    @cached_property
    def _pushed(self) -> dict[str, str] | None:
        found = {name: self.text(name) for name in ARGUMENTS}
        return found if all(0 < len(value) <= LONGEST for value in found.values()) else None

    @cached_property
    def _own(self) -> dict[str, str] | None:
        """The arguments that the task itself has; the run's operator has no job_id."""
        if self.task is None:
            return None
        found = {}
        for name in self.task.templated:
            value = self.rendered.get(name)
            if not isinstance(value, str) or _MASK in value:
                value = self.task.literals.get(name)
            if value is None:
                return None
            found[name] = parsing.text(value)
        return found

    def text(self, key: str) -> str:
        """Return an XCom that is text, as UTF-8 can hold it; an empty one for anything else."""
        value = self.xcoms.get(key)
        return parsing.text(value) if isinstance(value, str) else ""

    def number(self, key: str) -> int | float | None:
        """Return an XCom that is a number, None for anything else."""
        value = self.xcoms.get(key)
        return None if isinstance(value, str) else parsing.number(value)


_stored = StoredTasks()


def find(dag_id: str, run_id: str, task_id: str, map_index: int) -> tuple[Instance | None, bool]:
    """Return a task instance, and whether its task is one of Pixxel's."""
    with create_session(scoped=False) as session:
        statement = select(*_ROW, _HAS_PAUSED).where(
            TaskInstance.dag_id == dag_id,
            TaskInstance.run_id == run_id,
            TaskInstance.task_id == task_id,
            TaskInstance.map_index == map_index,
        )
        row: Any = session.execute(statement).one_or_none()
        if row is None:
            return None, False
        ours = _of_pixxel(session, [row])
        instance = (
            _with_arguments(session, ours)[0] if ours else Instance(*row[_FIRST : _FIRST + len(_COLUMNS)])
        )
        return replace(instance, has_paused=bool(row[-1])), bool(ours)


def lately(dag_ids: Collection[str], since: datetime) -> tuple[list[Instance], int]:
    """Return the task instances that are live, newest first, then those that ended since, newest first.

    :param dag_ids: the DAGs to look in.
    :returns: at most :data:`MOST_ROWS`, and how many there are.
    """
    marked = select(*_ROW).join(XComModel, _same(XComModel)).where(XComModel.key == CONNECTION)
    live = marked.where(TaskInstance.state.in_(LIVE)).order_by(TaskInstance.start_date.desc())
    ended = marked.where(
        XComModel.timestamp >= since - _LONGEST,
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
    """Return those whose operator is one of this package's, and that."""
    stored = _stored.find(session, {(row.dag_id, row.dag_version_id) for row in rows})
    tasks = [(row, stored.get((row.dag_id, row.dag_version_id), {}).get(row.task_id)) for row in rows]
    return [(row, task) for row, task in tasks if task is not None]


def _with_arguments(session: Session, found: Sequence[tuple[Any, PixxelTask]]) -> list[Instance]:
    xcoms: defaultdict[tuple[Any, ...], dict[str, Any]] = defaultdict(dict)
    rendered: dict[tuple[Any, ...], Any] = {}
    if found:
        # By one number each, and not by four names; in the answer names are quicker to read.
        wanted = TaskInstance.id.in_([row.id for row, _ in found])
        # The column, and not its deserialisation: that would make a number of an id that looks like one.
        names = [getattr(XComModel, name) for name in _NAMES]
        pushed = select(*names, XComModel.key, XComModel.value).join(TaskInstance, _same(XComModel))
        for *key, name, value in session.execute(pushed.where(wanted, XComModel.key.in_(_KEYS))):
            xcoms[tuple(key)][name] = value
        table = RenderedTaskInstanceFields
        names = [getattr(table, name) for name in _NAMES]
        fields = select(*names, table.rendered_fields).join(TaskInstance, _same(table))
        rendered = {tuple(key): value for *key, value in session.execute(fields.where(wanted))}
    return [_instance(row, task, xcoms, rendered) for row, task in found]


def _instance(row: Any, task: PixxelTask, xcoms: Mapping[Any, Any], rendered: Mapping[Any, Any]) -> Instance:
    columns: Any = row[_FIRST : _FIRST + len(_COLUMNS)]
    key, fields = tuple(columns[: len(_NAMES)]), rendered.get(tuple(columns[: len(_NAMES)]))
    more: Any = (task, xcoms.get(key, {}), fields if isinstance(fields, dict) else {})
    return Instance(*columns, *more)
