"""Who is asking and what that person may see, inside Airflow's API server (3.1 and later)."""

from __future__ import annotations

from airflow.api_fastapi.app import get_auth_manager as get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView as AccessView
from airflow.api_fastapi.auth.managers.models.resource_details import AssetDetails as AssetDetails
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity as DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep as GetUserDep
from airflow.api_fastapi.core_api.security import requires_access_dag as requires_access_dag
from airflow.api_fastapi.core_api.security import requires_access_view as requires_access_view
from airflow.api_fastapi.core_api.security import requires_authenticated as requires_authenticated
