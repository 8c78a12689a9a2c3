"""Airflow's tables and sessions, which its API server may read; workers may not."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from airflow.models import asset
from airflow.models.asset import AssetEvent as AssetEvent
from airflow.models.asset import AssetModel as AssetModel
from airflow.models.asset import DagScheduleAssetReference as DagScheduleAssetReference
from airflow.models.serialized_dag import SerializedDagModel as SerializedDagModel
from airflow.models.taskinstance import TaskInstance as TaskInstance
from airflow.models.taskreschedule import TaskReschedule as TaskReschedule
from airflow.models.trigger import Trigger as Trigger
from airflow.utils.session import create_session as create_session
from sqlalchemy import and_, case, exists, func, select, union_all

#: Which trigger watches which asset (``asset_id``, ``trigger_id``); a class of its own from Airflow 3.2 on.
WATCHERS: Any = (
    asset.AssetWatcherModel.__table__
    if hasattr(asset, "AssetWatcherModel")
    else asset.asset_trigger_association_table  # type: ignore[attr-defined]
)

# Their classes differ between the versions.
_task_instance, _xcom, _rendered = (
    import_module(f"airflow.models.{name}") for name in ("taskinstance", "xcom", "renderedtifields")
)
_NAMES = ("dag_id", "run_id", "task_id", "map_index")
#: Whether each try is a row of its own, with its own XComs (Airflow 3.4 on). Queries see the newest only.
TRIES_ARE_ROWS = hasattr(TaskInstance, "working_set")


def _stored(new: Any, old: Any, *names: str, once: tuple[str, ...] = ()) -> Any:
    """Return what Airflow 3.4 has stored by task instance, and what an earlier one left under four names.

    :param names: columns of both tables.
    :param once: those that tell two rows of a task instance apart; of two alike, the new one counts.
    """
    owner = _task_instance.LegacyTaskDataOwner.__table__
    replaced = exists().where(
        new.c.task_instance_id == owner.c.task_instance_id, *(new.c[name] == old.c[name] for name in once)
    )
    return union_all(
        select(new.c.task_instance_id, *(new.c[name] for name in names)),
        select(owner.c.task_instance_id, *(old.c[name] for name in names))
        .join_from(owner, old, and_(*(owner.c[name] == old.c[name] for name in _NAMES)))
        .where(~replaced),
    ).subquery()


#: XComs (``key``, ``value``, ``timestamp``) and rendered arguments (``rendered_fields``) of task instances.
XCOMS: Any
RENDERED: Any
if TRIES_ARE_ROWS:
    XCOMS = _stored(
        _xcom.XComModelV2.__table__,
        _xcom.XComModelV1.__table__,
        *("key", "value", "timestamp"),
        once=("key",),
    )
    RENDERED = _stored(
        _rendered.RenderedTaskInstanceFields.__table__,
        _rendered.LegacyRenderedTaskInstanceFields.__table__,
        "rendered_fields",
    )
else:
    XCOMS = _xcom.XComModel.__table__
    RENDERED = _rendered.RenderedTaskInstanceFields.__table__


def belongs(table: Any, between_tries: Any) -> Any:
    """Return the condition that a row of :data:`XCOMS` or :data:`RENDERED` is a task instance's.

    :param between_tries: the condition that its next try hasn't begun, so that it still has the last one's.
    """
    if not TRIES_ARE_ROWS:
        # Airflow deletes them when the next try begins.
        return and_(*(table.c[name] == getattr(TaskInstance, name) for name in _NAMES))
    tries: Any = TaskInstance.__table__.alias()
    same = ("dag_id", "run_id", "task_id", "region_id", "region_index")
    last_try = select(tries.c.id).where(
        *(tries.c[name] == getattr(TaskInstance, name) for name in same),
        tries.c.try_number == TaskInstance.try_number - 1,
    )
    last_id = last_try.correlate(TaskInstance).scalar_subquery()
    whose = case((between_tries, func.coalesce(last_id, TaskInstance.id)), else_=TaskInstance.id)
    return table.c.task_instance_id == whose
