"""Airflow's tables and sessions, which its API server may read; workers may not."""

from __future__ import annotations

from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session

__all__ = [
    "RenderedTaskInstanceFields",
    "SerializedDagModel",
    "TaskInstance",
    "TaskReschedule",
    "XComModel",
    "create_session",
]
