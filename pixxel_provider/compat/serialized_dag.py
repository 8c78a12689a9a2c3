"""A task as Airflow stores it with its DAG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SerializedTask:
    """What a stored DAG has of one of its tasks."""

    task_id: str
    module: str
    """The module of the operator's class."""
    template_fields: frozenset[str]
    links: tuple[Any, ...]
    """XCom keys of the operator's links."""
    is_mapped: bool
    arguments: Mapping[str, Any]
    """Those that are the same for all its instances."""
    expanded: Mapping[str, Any] | None
    """Those that differ between its instances, by name; None where it isn't known which those are."""


def tasks_of(data: Any) -> Iterator[SerializedTask]:
    """Yield the tasks in the data of a stored DAG."""
    dag = data.get("dag", {}) if isinstance(data, Mapping) else {}
    for entry in dag.get("tasks", ()):
        task = _plain(entry)
        mapped = bool(task.get("_is_mapped"))
        expanded = _plain(task.get("expand_input"))
        yield SerializedTask(
            task_id=str(task.get("task_id")),
            module=str(task.get("_task_module")),
            template_fields=frozenset(task.get("template_fields") or ()),
            links=tuple((task.get("_operator_extra_links") or {}).values()),
            is_mapped=mapped,
            arguments=_plain(task.get("partial_kwargs")) if mapped else task,
            expanded=_plain(expanded.get("value")) if expanded.get("type") == "dict-of-lists" else None,
        )


def _plain(value: Any) -> Mapping[str, Any]:
    """Return an object, without what says how it was serialized; an empty one for anything else."""
    found = value.get("__var", value) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
