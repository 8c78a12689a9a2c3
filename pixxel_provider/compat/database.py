"""Airflow's tables and sessions, which its API server may read; workers may not."""

from __future__ import annotations

from airflow.models.renderedtifields import RenderedTaskInstanceFields as RenderedTaskInstanceFields
from airflow.models.serialized_dag import SerializedDagModel as SerializedDagModel
from airflow.models.taskinstance import TaskInstance as TaskInstance
from airflow.models.taskreschedule import TaskReschedule as TaskReschedule
from airflow.models.xcom import XComModel as XComModel
from airflow.utils.session import create_session as create_session
