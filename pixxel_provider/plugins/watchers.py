"""Asset watchers of workflows in Airflow's database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from pixxel_provider.api.event_cursor import OUTCOMES
from pixxel_provider.compat.database import (
    WATCHERS,
    AssetEvent,
    AssetModel,
    DagScheduleAssetReference,
    Trigger,
    create_session,
)
from pixxel_provider.plugins.stored_tasks import LONGEST

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

#: The most that the page of all waits shows.
MOST_WATCHERS = 500
#: What Airflow stores of the trigger's class.
CLASSPATH = "pixxel_provider.triggers.events.PixxelJobEventTrigger"
_NAMED = ("workflow_id", "pixxel_conn_id", "created_by")


@dataclass(frozen=True)
class Watcher:
    """A watcher of one asset: what it watches, and which DAGs it starts."""

    workflow_id: str
    conn_id: str
    created_by: str
    outcomes: list[str]
    """Those that create events, none if all do."""
    asset: str
    asset_id: int
    dag_ids: list[str]
    runs: bool
    """Whether a triggerer has it."""
    last_event: datetime | None
    """When the asset's last event was stored."""


def find(dag_ids: Collection[str], may_read: Callable[[int], bool]) -> tuple[list[Watcher], int]:
    """Return the watchers that schedule at least one of these DAGs, by the names of their assets.

    :param may_read: whether the user may read the asset with this id.
    :returns: at most :data:`MOST_WATCHERS`, and how many there are.
    """
    asset, schedules = AssetModel, DagScheduleAssetReference
    # The DAGs are compared here: databases limit the number of values in a statement.
    statement: Any = (
        select(Trigger, asset.id, asset.name, schedules.dag_id)
        .join(WATCHERS, WATCHERS.c.trigger_id == Trigger.id)
        .join(asset, asset.id == WATCHERS.c.asset_id)
        .join(schedules, schedules.asset_id == asset.id)
        .where(Trigger.classpath == CLASSPATH)
        .order_by(asset.name, Trigger.id, schedules.dag_id)
    )
    wanted, found = frozenset(dag_ids), dict[tuple[int, int], tuple[Any, str, list[str]]]()
    with create_session(scoped=False) as session:
        for trigger, asset_id, name, dag_id in session.execute(statement):
            if dag_id in wanted:
                found.setdefault((trigger.id, asset_id), (trigger, name, []))[2].append(dag_id)
        readable = {asset_id for asset_id in {asset_id for _, asset_id in found} if may_read(asset_id)}
        visible = [key for key in found if key[1] in readable]
        shown = visible[:MOST_WATCHERS]
        events = _last_events(session, {asset_id for _, asset_id in shown})
        watchers = [_watcher(*found[key], asset_id=key[1], last=events.get(key[1])) for key in shown]
    known = [each for each in watchers if each is not None]
    return known, len(visible) - len(shown) + len(known)


def _last_events(session: Session, asset_ids: Collection[int]) -> dict[int, datetime]:
    last = select(AssetEvent.asset_id, func.max(AssetEvent.timestamp)).group_by(AssetEvent.asset_id)
    rows: Any = session.execute(last.where(AssetEvent.asset_id.in_(asset_ids)))
    return dict(rows.all())


def _watcher(
    trigger: Any, asset: str, dag_ids: list[str], *, asset_id: int, last: datetime | None
) -> Watcher | None:
    try:
        arguments = trigger.kwargs
        workflow_id, conn_id, created_by = (str(arguments.get(name) or "")[:LONGEST] for name in _NAMED)
        outcomes = [each for each in OUTCOMES.values() if each in (arguments.get("outcomes") or ())]
    except Exception as error:
        # They are encrypted: after a change of the Fernet key nobody can read them.
        log.warning(f"The arguments of trigger {trigger.id} can't be read: {type(error).__name__}")
        return None
    return Watcher(
        workflow_id=workflow_id,
        conn_id=conn_id,
        created_by=created_by,
        outcomes=outcomes,
        asset=asset,
        asset_id=asset_id,
        dag_ids=dag_ids,
        runs=trigger.triggerer_id is not None,
        last_event=last,
    )
