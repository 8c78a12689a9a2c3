"""Who is asking and what that person may see, inside Airflow's API server (3.1 and later)."""

from __future__ import annotations

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.core_api.security import (
    GetUserDep,
    requires_access_dag,
    requires_access_view,
    requires_authenticated,
)

__all__ = [
    "AccessView",
    "DagAccessEntity",
    "GetUserDep",
    "get_auth_manager",
    "requires_access_dag",
    "requires_access_view",
    "requires_authenticated",
]
