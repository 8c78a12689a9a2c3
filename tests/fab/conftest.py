"""Airflow with the FAB auth manager, whose roles are kept in the database, and a user of each role."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.plugins.access import ApiServer, api_server
from tests.plugins.pages import Records

#: Roles that an administrator has made: two with all that a Viewer may and more, and one with less.
OWN_ROLES = {
    "XCom author": [("can_edit", "DAG:coast"), ("can_create", "XComs"), ("can_edit", "XComs")],
    "Viewer with tabs": [("can_read", "Plugins")],
    "Coast": [("can_read", name) for name in ("DAG:coast", "DAG Runs", "Task Instances", "Website")],
}


@pytest.fixture(scope="session")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "AIRFLOW__CORE__AUTH_MANAGER",
            "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        )
        from airflow.utils.db import initdb

        initdb()
        # FAB looks where the configuration says.
        url = f"sqlite:///{os.environ['AIRFLOW_HOME']}/airflow.db"
        yield Records(tmp_path_factory.mktemp("records"), url)


@pytest.fixture(scope="session")
def _users(_records: Records) -> dict[str, Any]:
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with _records.in_force(), get_application_builder() as builder:
        manager = builder.sm
        manager.sync_roles()
        viewer = [(each.action.name, each.resource.name) for each in manager.find_role("Viewer").permissions]
        names = ["Public", "Viewer", "User", "Op", "Admin", *OWN_ROLES]
        for name, more in OWN_ROLES.items():
            wanted = more if name == "Coast" else viewer + more
            permissions = [manager.create_permission(*each) for each in wanted]
            manager.add_role(name)
            for each in permissions:
                manager.add_permission_to_role(manager.find_role(name), each)
        for number, name in enumerate(names):
            role = manager.find_role(name)
            manager.add_user(f"p{number}", "P", name, f"p{number}@example.com", role, password="pa55w0rd")
        return {name: manager.find_user(f"p{number}") for number, name in enumerate(names)}


@pytest.fixture
def server(_records: Records, _users: dict[str, Any], pixxel: Any) -> Iterator[ApiServer]:
    _records.clear()
    with _records.in_force(), api_server(_records, pixxel) as found:
        yield found


@pytest.fixture
def token(server: ApiServer, _users: dict[str, Any]) -> Callable[[str | None], str | None]:
    """Return the token of a role's user."""
    from airflow.api_fastapi.app import get_auth_manager

    manager: Any = get_auth_manager()
    return lambda role: None if role is None else str(manager.generate_jwt(_users[role]))
