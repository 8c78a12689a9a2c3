"""Who sees what with Airflow's simple auth manager, by the roles that it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.plugins.pages import Records, require_pages

require_pages()
pytest.importorskip("httpx")

from tests.plugins.access import ATTACKED, EVERYTHING, Office, office  # noqa: E402

NO_CONNECTIONS = {**EVERYTHING, "connections": 403}
SEEN = {
    "viewer": NO_CONNECTIONS,
    "user": NO_CONNECTIONS,
    "op": EVERYTHING,
    "admin": EVERYTHING,
    None: dict.fromkeys(EVERYTHING, 401),
}


@pytest.fixture
def found(records: Records, pixxel: Any) -> Iterator[Office]:
    with office(records, pixxel) as place:
        yield place


def token(role: str | None) -> str | None:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    if role is None:
        return None
    manager: Any = get_auth_manager()
    return str(manager.generate_jwt(SimpleAuthManagerUser(username=role, role=role)))


def test_each_role_sees_what_airflow_lets_it_see(found: Office) -> None:
    found.fill()

    assert {role: found.statuses(token(role)) for role in SEEN} == SEEN


@pytest.mark.parametrize(("task_id", "index"), ATTACKED)
def test_whoever_may_write_xcoms_reads_with_no_other_connection(
    found: Office, task_id: str, index: int
) -> None:
    author, reader = token("user"), token("viewer")
    assert author is not None
    assert reader is not None
    found.attack(author, reader, task_id, index)
