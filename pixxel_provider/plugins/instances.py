"""What Airflow's database knows of Pixxel's jobs: which task instance has which, and which wait now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, exists, or_, select, tuple_

from pixxel_provider.api import reading
from pixxel_provider.plugins.asking import JobKey
from pixxel_provider.plugins.serialized import (
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

_KEY = ("dag_id", "run_id", "task_id", "map_index")
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
    TaskInstance.dag_version_id,
)
# Airflow forgets both when the try is over.
_HAS_PAUSED = or_(
    TaskInstance.next_method.is_not(None), exists().where(TaskReschedule.ti_id == TaskInstance.id)
)
_SAME = and_(
    XComModel.dag_id == TaskInstance.dag_id,
    XComModel.run_id == TaskInstance.run_id,
    XComModel.task_id == TaskInstance.task_id,
    XComModel.map_index == TaskInstance.map_index,
)


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
    dag_version: Any = None
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

    @property
    def job(self) -> JobKey | None:
        """The job, as soon as it is known, and only where it is the task's own."""
        pushed, own = self._pushed, self._own
        if pushed is None or own is None or own.items() - pushed.items():
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
        """Whether its XComs name a job, and its own arguments aren't known to compare them with."""
        return self._pushed is not None and self.task is not None and self._own is None

    @property
    def _pushed(self) -> dict[str, str] | None:
        found = {name: self.text(name) for name in ARGUMENTS}
        return found if all(0 < len(value) <= LONGEST for value in found.values()) else None

    @property
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
            found[name] = reading.text(value)
        return found

    def text(self, key: str) -> str:
        """Return an XCom that is text, as UTF-8 can hold it; an empty one for anything else."""
        value = self.xcoms.get(key)
        return reading.text(value) if isinstance(value, str) else ""

    def number(self, key: str) -> int | float | None:
        """Return an XCom that is a number, None for anything else."""
        value = self.xcoms.get(key)
        return None if isinstance(value, str) else reading.number(value)


_stored = StoredTasks()


def find(dag_id: str, run_id: str, task_id: str, map_index: int) -> tuple[Instance | None, bool]:
    """Return a task instance, and whether its task is one of Pixxel's."""
    with create_session(scoped=False) as session:
        statement = select(*_COLUMNS, _HAS_PAUSED).where(
            TaskInstance.dag_id == dag_id,
            TaskInstance.run_id == run_id,
            TaskInstance.task_id == task_id,
            TaskInstance.map_index == map_index,
        )
        row = session.execute(statement).one_or_none()
        if row is None:
            return None, False
        *columns, has_paused = row
        bare = replace(Instance(*columns), has_paused=bool(has_paused))
        ours = _of_pixxel(session, [bare])
        return (_with_arguments(session, ours)[0], True) if ours else (bare, False)


def lately(dag_ids: Collection[str], since: datetime) -> tuple[list[Instance], int]:
    """Return the task instances that are live, newest first, then those that ended since, newest first.

    :param dag_ids: the DAGs to look in.
    :returns: at most :data:`MOST_ROWS`, and how many there are.
    """
    marked = select(*_COLUMNS).join(XComModel, _SAME).where(XComModel.key == CONNECTION)
    live = marked.where(TaskInstance.state.in_(LIVE)).order_by(TaskInstance.start_date.desc())
    ended = marked.where(
        XComModel.timestamp >= since - _LONGEST,
        TaskInstance.end_date >= since,
        TaskInstance.state.not_in(LIVE),
    ).order_by(TaskInstance.end_date.desc())
    with create_session(scoped=False) as session:
        rows = [Instance(*row) for statement in (live, ended) for row in _within(session, statement, dag_ids)]
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


def _of_pixxel(session: Session, found: Sequence[Instance]) -> list[Instance]:
    """Return those whose operator is one of this package's."""
    stored = _stored.find(session, {(each.dag_id, each.dag_version) for each in found})
    tasks = [stored.get((each.dag_id, each.dag_version), {}).get(each.task_id) for each in found]
    return [replace(each, task=task) for each, task in zip(found, tasks, strict=True) if task is not None]


def _with_arguments(session: Session, found: Sequence[Instance]) -> list[Instance]:
    keys = [(each.dag_id, each.run_id, each.task_id, each.map_index) for each in found]
    xcoms: dict[tuple[Any, ...], dict[str, Any]] = {key: {} for key in keys}
    rendered: dict[tuple[Any, ...], Any] = {}
    if keys:
        # The column, and not its deserialisation: that would make a number of an id that looks like one.
        columns = [getattr(XComModel, name) for name in _KEY]
        statement = select(*columns, XComModel.key, XComModel.value)
        for *key, name, value in session.execute(
            statement.where(XComModel.key.in_(_KEYS), tuple_(*columns).in_(keys))
        ):
            xcoms[tuple(key)][name] = value
        columns = [getattr(RenderedTaskInstanceFields, name) for name in _KEY]
        fields = select(*columns, RenderedTaskInstanceFields.rendered_fields)
        for *key, value in session.execute(fields.where(tuple_(*columns).in_(keys))):
            rendered[tuple(key)] = value if isinstance(value, dict) else {}
    return [
        replace(each, xcoms=xcoms[key], rendered=rendered.get(key, {}))
        for each, key in zip(found, keys, strict=True)
    ]
