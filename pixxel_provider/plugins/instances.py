"""What Airflow's database knows of Pixxel's jobs: which task instance has which, and which wait now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, exists, or_, select, tuple_

from pixxel_provider.api import reading
from pixxel_provider.plugins.asking import JobKey
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: States of a task instance that isn't over.
LIVE = ("running", "deferred", "up_for_reschedule", "up_for_retry", "queued", "scheduled", "restarting")
# States in which the next try hasn't begun, so that what is known is the last one's; and those that a try
# also passes through after each of its pauses.
_BETWEEN_TRIES, _BACK_TO_WORK = (None, "queued", "scheduled", "up_for_retry"), ("queued", "scheduled")
#: The most rows that the page of all waits shows.
MOST_ROWS = 500
# Pushed by every operator of this package as soon as it knows its job, and by nobody else.
_MARK = "pixxel_conn_id"
_KEYS = (_MARK, "workflow_id", "job_id", "status", "cost", "estimated_cost")
_LINK = "_link_PixxelJobLink"
# How long before its end a wait may have begun, to be found among those that ended lately.
_LONGEST = timedelta(days=8)
# Databases bound how many values a statement may have.
_MOST_VALUES = 5_000

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
    """A task instance, and what its XComs say of its job."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str | None
    try_number: int
    start: datetime | None
    end: datetime | None
    operator: str
    xcoms: dict[str, Any] = field(default_factory=dict)
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
        """The job, as soon as it is known."""
        workflow_id, job_id = self.text("workflow_id"), self.text("job_id")
        if not workflow_id or not job_id or _MARK not in self.xcoms:
            return None
        return JobKey(self.text(_MARK) or DEFAULT_CONNECTION_ID, workflow_id, job_id)

    def text(self, key: str) -> str:
        """Return an XCom that is text, as UTF-8 can hold it; an empty one for anything else."""
        value = self.xcoms.get(key)
        return reading.text(value) if isinstance(value, str) else ""

    def number(self, key: str) -> int | float | None:
        """Return an XCom that is a number, None for anything else."""
        value = self.xcoms.get(key)
        return None if isinstance(value, str) else reading.number(value)


def find(dag_id: str, run_id: str, task_id: str, map_index: int) -> tuple[Instance | None, bool]:
    """Return a task instance, and whether its task is one of Pixxel's."""
    with create_session(scoped=False) as session:
        statement = select(*_COLUMNS, TaskInstance.dag_version_id, _HAS_PAUSED).where(
            TaskInstance.dag_id == dag_id,
            TaskInstance.run_id == run_id,
            TaskInstance.task_id == task_id,
            TaskInstance.map_index == map_index,
        )
        row = session.execute(statement).one_or_none()
        if row is None:
            return None, False
        *columns, version, has_paused = row
        (instance,) = _with_xcoms(session, [columns])
        known = instance.job is not None or _is_pixxels(session, instance, version)
        return replace(instance, has_paused=bool(has_paused)), known


def lately(dag_ids: Collection[str], since: datetime) -> tuple[list[Instance], int]:
    """Return the task instances that are live, newest first, then those that ended since, newest first.

    :param dag_ids: the DAGs to look in.
    :returns: at most :data:`MOST_ROWS`, and how many there are.
    """
    marked = select(*_COLUMNS).join(XComModel, _SAME).where(XComModel.key == _MARK)
    live = marked.where(TaskInstance.state.in_(LIVE)).order_by(TaskInstance.start_date.desc())
    ended = marked.where(
        XComModel.timestamp >= since - _LONGEST,
        TaskInstance.end_date >= since,
        TaskInstance.state.not_in(LIVE),
    ).order_by(TaskInstance.end_date.desc())
    with create_session(scoped=False) as session:
        rows, total = [], 0
        for row in (row for statement in (live, ended) for row in _within(session, statement, dag_ids)):
            total += 1
            if total <= MOST_ROWS:
                rows.append(row)
        return _with_xcoms(session, rows), total


def _within(session: Session, statement: Any, dag_ids: Collection[str]) -> Iterator[Any]:
    """Yield the rows of these DAGs."""
    if len(dag_ids) <= _MOST_VALUES:
        yield from session.execute(statement.where(TaskInstance.dag_id.in_(dag_ids)))
        return
    wanted = frozenset(dag_ids)
    yield from (row for row in session.execute(statement) if row.dag_id in wanted)


def _with_xcoms(session: Session, rows: Sequence[Any]) -> list[Instance]:
    columns = (XComModel.dag_id, XComModel.run_id, XComModel.task_id, XComModel.map_index)
    xcoms: defaultdict[tuple[Any, ...], dict[str, Any]] = defaultdict(dict)
    if rows:
        # The column, and not its deserialisation: that would make a number of an id that looks like one.
        statement = select(*columns, XComModel.key, XComModel.value).where(
            XComModel.key.in_(_KEYS), tuple_(*columns).in_([tuple(row[:4]) for row in rows])
        )
        for *key, name, value in session.execute(statement):
            xcoms[tuple(key)][name] = value
    values: list[list[Any]] = [[*row, xcoms[tuple(row[:4])]] for row in rows]
    return [Instance(*each) for each in values]


def _is_pixxels(session: Session, instance: Instance, version: Any) -> bool:
    """Tell by the link of its operator whether a task that hasn't run yet is one of Pixxel's."""
    statement = select(SerializedDagModel).where(SerializedDagModel.dag_id == instance.dag_id)
    if version is not None:
        statement = statement.where(SerializedDagModel.dag_version_id == version)
    newest = statement.order_by(SerializedDagModel.created_at.desc()).limit(1)
    found = session.scalars(newest).one_or_none()
    if found is None or not isinstance(found.data, dict):
        return False
    for entry in found.data.get("dag", {}).get("tasks", ()):
        task = entry.get("__var", entry)
        if task.get("task_id") == instance.task_id:
            return _LINK in (task.get("_operator_extra_links") or {}).values()
    return False
