"""Who sees what with the FAB auth manager, by its stock roles and by roles of an administrator's own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plugins.access import ATTACKED, EVERYTHING, PATHS

NOTHING = dict.fromkeys(PATHS, 403)
#: Without the right to read plugins Airflow shows no tab, and the pages' own addresses answer.
NO_TABS = {**EVERYTHING, "plugins": 403, "connections": 403}
SEEN = {
    "Public": {**NOTHING, "script": 200},
    "Viewer": NO_TABS,
    "User": NO_TABS,
    "Op": EVERYTHING,
    "Admin": EVERYTHING,
    "Viewer with tabs": {**EVERYTHING, "connections": 403},
    "XCom author": NO_TABS,
    "Coast": {**NO_TABS, "other dag": 403},
    None: dict.fromkeys(PATHS, 401),
}


@pytest.mark.parametrize("role", SEEN)
def test_each_role_sees_what_airflow_lets_it_see(server: Any, token: Any, role: str | None) -> None:
    server.fill()

    assert server.statuses(token(role)) == SEEN[role]


@pytest.mark.parametrize(("role", "dags"), [("Viewer", {"coast", "secret"}), ("Coast", {"coast"})])
def test_the_list_holds_only_the_dags_that_a_role_may_read(
    server: Any, token: Any, role: str, dags: set[str]
) -> None:
    server.fill()
    rows = server.client(token(role)).get(PATHS["waits"]).json()["rows"]

    assert {row["dag_id"] for row in rows} == dags


@pytest.mark.parametrize(("task_id", "index"), ATTACKED)
def test_xcoms_of_a_user_lead_to_no_other_connection(
    server: Any, token: Any, task_id: str, index: int
) -> None:
    server.attack(token("XCom author"), token("Viewer"), task_id, index)
