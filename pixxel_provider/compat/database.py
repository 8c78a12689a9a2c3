"""Airflow's tables and sessions, which its API server may read; workers may not."""

from __future__ import annotations

from typing import Any

from airflow.models import asset
from airflow.models.asset import AssetEvent as AssetEvent
from airflow.models.asset import AssetModel as AssetModel
from airflow.models.asset import DagScheduleAssetReference as DagScheduleAssetReference
from airflow.models.renderedtifields import RenderedTaskInstanceFields as RenderedTaskInstanceFields
from airflow.models.serialized_dag import SerializedDagModel as SerializedDagModel
from airflow.models.taskinstance import TaskInstance as TaskInstance
from airflow.models.taskreschedule import TaskReschedule as TaskReschedule
from airflow.models.trigger import Trigger as Trigger
from airflow.models.xcom import XComModel as XComModel
from airflow.utils.session import create_session as create_session

#: Which trigger watches which asset (``asset_id``, ``trigger_id``); a class of its own from Airflow 3.2 on.
WATCHERS: Any = (
    asset.AssetWatcherModel.__table__
    if hasattr(asset, "AssetWatcherModel")
    else asset.asset_trigger_association_table  # type: ignore[attr-defined]
)
