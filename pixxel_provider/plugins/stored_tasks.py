"""Which tasks of a DAG are of this package, and with which arguments: as the DAG processor has stored it.

Nobody but the author of the DAG decides what stands there. XComs can be written by many others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.models.serialized_dag import SerializedDagModel
from sqlalchemy import select

from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: The arguments that say which job it is.
CONNECTION, WORKFLOW, JOB = ARGUMENTS = ("pixxel_conn_id", "workflow_id", "job_id")
#: A DAG, and the version of it that a task instance ran with; None for one from before DAGs had versions.
Version = tuple[str, Any]

_LINK = "_link_PixxelJobLink"
_PACKAGE = f"{__name__.partition('.')[0]}."
#: Characters; no id is longer.
LONGEST = 600
# Stored DAGs whose tasks are remembered.
_KEPT = 2_000
# Databases bound how many values a statement may have.
_MOST_VALUES = 500


@dataclass(frozen=True)
class PixxelTask:
    """A task of this package."""

    templated: frozenset[str]
    """Those of the arguments that Airflow renders, and stores once they are."""
    literals: Mapping[str, str]
    """Those that are known without rendering."""


class StoredTasks:
    """Reads each stored DAG once: one that task instances ran with is never changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, dict[str, PixxelTask]] = OrderedDict()

    def find(
        self, session: Session, versions: Collection[Version]
    ) -> Mapping[Version, Mapping[str, PixxelTask]]:
        """Return the tasks of this package by DAG and id; none for a DAG that isn't stored any more."""
        stored = dict(_stored(session, versions))
        with self._lock:
            known = {key: self._known[key] for key in stored.values() if key in self._known}
        missing = [key for key in dict.fromkeys(stored.values()) if key not in known]
        # One by one, so that not all of them are in memory at once.
        for number, digest in missing:
            found = session.get(SerializedDagModel, number)
            if found is not None:
                known[number, digest] = dict(_tasks(found.data))
                session.expunge(found)
        with self._lock:
            for key, tasks in known.items():
                self._known[key] = tasks
                self._known.move_to_end(key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return {version: known.get(key, {}) for version, key in stored.items()}


def _stored(session: Session, versions: Collection[Version]) -> Iterator[tuple[Version, tuple[Any, str]]]:
    """Yield where each version is stored, and the hash of what stands there."""
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
        # The newest comes last, and stays.
        for dag_id, key, digest in session.execute(statement.order_by(SerializedDagModel.created_at)):
            yield (dag_id, None), (key, digest)


def _in_parts(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _MOST_VALUES):
        yield values[start : start + _MOST_VALUES]


def _tasks(data: Any) -> Iterator[tuple[str, PixxelTask]]:
    dag = data.get("dag", {}) if isinstance(data, Mapping) else {}
    for entry in dag.get("tasks", ()):
        task = _plain(entry)
        templated = frozenset(task.get("template_fields") or ()) & frozenset(ARGUMENTS)
        # A class may be called like ours. The link is what all that have a job share, subclasses among them;
        # who puts it onto an operator of their own shows what their own arguments name, and nothing else.
        if _LINK in (task.get("_operator_extra_links") or {}).values() and CONNECTION in templated:
            yield str(task.get("task_id")), PixxelTask(templated, dict(_literals(task, templated)))


def _literals(task: Mapping[str, Any], templated: Iterable[str]) -> Iterator[tuple[str, str]]:
    mapped = bool(task.get("_is_mapped"))
    values = _plain(task.get("partial_kwargs")) if mapped else task
    for name in templated:
        value = values.get(name)
        if name == CONNECTION and mapped and value is None and _has_the_default(task):
            value = DEFAULT_CONNECTION_ID
        # A template may turn into anything.
        if isinstance(value, str) and "{" not in value and len(value) <= LONGEST:
            yield name, value


def _has_the_default(task: Mapping[str, Any]) -> bool:
    """Tell whether a mapped task that doesn't name a connection has this package's default."""
    if not str(task.get("_task_module")).startswith(_PACKAGE):
        # A subclass may have a default of its own.
        return False
    expanded = _plain(task.get("expand_input"))
    return expanded.get("type") == "dict-of-lists" and CONNECTION not in _plain(expanded.get("value"))


def _plain(value: Any) -> Mapping[str, Any]:
    """Return an object, without what says how it was serialized; an empty one for anything else."""
    found = value.get("__var", value) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
