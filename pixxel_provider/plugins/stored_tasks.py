"""Which tasks of a DAG are of this package, and with which arguments: as the DAG processor stored it.

Only the DAG's author decides what is stored there. XComs can be written by many others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from pixxel_provider.compat.database import SerializedDagModel
from pixxel_provider.compat.serialized_dag import SerializedTask, tasks_of
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID
from pixxel_provider.xcom import CONNECTION, JOB, JOB_KEYS, LINK

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: A DAG, and the version of it that a task instance ran with; None for one from before DAGs had versions.
Version = tuple[str, Any]

_PACKAGE = f"{__name__.partition('.')[0]}."
#: Characters; no id is longer.
LONGEST = 600
# Stored DAGs whose tasks are kept.
_KEPT = 2_000
# Databases limit the number of values in a statement.
_MOST_VALUES = 500


@dataclass(frozen=True)
class PixxelTask:
    """A task of this package."""

    templated: frozenset[str]
    """Arguments that Airflow renders, and stores once they are rendered."""
    literals: Mapping[str, str]
    """Arguments that are known without rendering."""


class StoredTasks:
    """Reads each stored DAG once: a version that task instances ran with never changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, dict[str, PixxelTask]] = OrderedDict()

    def find(
        self, session: Session, versions: Collection[Version]
    ) -> Mapping[Version, Mapping[str, PixxelTask]]:
        """Return the tasks of this package by DAG and id; none for a DAG that is no longer stored."""
        stored = dict(_stored(session, versions))
        tasks: dict[Hashable, dict[str, PixxelTask]] = {}
        with self._lock:
            for key in dict.fromkeys(stored.values()):
                known = self._known.pop(key, None)
                if known is None:
                    # One by one, so that not all of them are in memory at once.
                    row = session.get(SerializedDagModel, key[0])
                    if row is None:
                        continue
                    known = dict(_tasks(row.data))
                    session.expunge(row)
                tasks[key] = self._known[key] = known
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return {version: tasks.get(key, {}) for version, key in stored.items()}


def _stored(session: Session, versions: Collection[Version]) -> Iterator[tuple[Version, tuple[Any, str]]]:
    """Yield where each version is stored, and its hash."""
    dag_of = {number: dag_id for dag_id, number in versions if number is not None}
    columns = (SerializedDagModel.id, SerializedDagModel.dag_hash)
    for numbers in _in_parts(list(dag_of)):
        by_version = SerializedDagModel.dag_version_id
        for number, key, digest in session.execute(
            select(by_version, *columns).where(by_version.in_(numbers))
        ):
            yield (dag_of[number], number), (key, digest)
    for dag_ids in _in_parts([dag_id for dag_id, number in versions if number is None]):
        statement = select(SerializedDagModel.dag_id, *columns).where(SerializedDagModel.dag_id.in_(dag_ids))
        # The newest comes last, and is kept.
        for dag_id, key, digest in session.execute(statement.order_by(SerializedDagModel.created_at)):
            yield (dag_id, None), (key, digest)


def _in_parts(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _MOST_VALUES):
        yield values[start : start + _MOST_VALUES]


def _tasks(data: Any) -> Iterator[tuple[str, PixxelTask]]:
    for task in tasks_of(data):
        templated = task.template_fields & frozenset(JOB_KEYS)
        if _has_no_job(task):
            templated -= {JOB}
        # A class may be called like ours. The link is what all that have a job share, subclasses among them;
        # who puts it onto an operator of their own shows what their own arguments name, and nothing else.
        if LINK in task.links and CONNECTION in templated:
            yield task.task_id, PixxelTask(templated, dict(_literals(task, templated)))


def _has_no_job(task: SerializedTask) -> bool:
    """Return whether a task names no job: it finds one, as the run makes one."""
    if task.is_mapped and (task.expanded is None or JOB in task.expanded):
        return False
    return not task.arguments.get(JOB)


def _literals(task: SerializedTask, templated: frozenset[str]) -> Iterator[tuple[str, str]]:
    for name in templated:
        value = task.arguments.get(name)
        if name == CONNECTION and value is None and _has_the_default(task):
            value = DEFAULT_CONNECTION_ID
        # A template may be rendered to anything.
        if isinstance(value, str) and "{" not in value and len(value) <= LONGEST:
            yield name, value


def _has_the_default(task: SerializedTask) -> bool:
    """Return whether a mapped task that doesn't name a connection has this package's default."""
    # A subclass may have a default of its own.
    is_ours = task.is_mapped and task.module.startswith(_PACKAGE)
    return is_ours and task.expanded is not None and CONNECTION not in task.expanded
