"""Who sees what with Airflow's simple auth manager, by the roles that it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.plugins.pages import Records, require_pages

require_pages()
pytest.importorskip("httpx")

from tests.plugins.access import ATTACKED, EVERYTHING, ApiServer, api_server  # noqa: E402

NO_CONNECTIONS = {**EVERYTHING, "connections": 403}
SEEN = {
    "viewer": NO_CONNECTIONS,
    "user": NO_CONNECTIONS,
    "op": EVERYTHING,
    "admin": EVERYTHING,
    None: dict.fromkeys(EVERYTHING, 401),
}


@pytest.fixture
def server(records: Records, pixxel: Any) -> Iterator[ApiServer]:
    with api_server(records, pixxel) as found:
        yield found


def token(role: str | None) -> str | None:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    if role is None:
        return None
    manager: Any = get_auth_manager()
    return str(manager.generate_jwt(SimpleAuthManagerUser(username=role, role=role)))


def test_each_role_sees_what_airflow_lets_it_see(server: ApiServer) -> None:
    server.fill()

    assert {role: server.statuses(token(role)) for role in SEEN} == SEEN


@pytest.mark.parametrize(("task_id", "index"), ATTACKED)
def test_xcoms_of_a_user_lead_to_no_other_connection(server: ApiServer, task_id: str, index: int) -> None:
    server.attack(token("user"), token("viewer"), task_id, index)
