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
def test_each_role_sees_what_airflow_lets_it_see(people: Any, role: str | None) -> None:
    people.office.fill()

    assert people.office.statuses(people.token(role)) == SEEN[role]


def test_the_list_holds_only_the_dags_that_a_role_may_read(people: Any) -> None:
    people.office.fill()
    seen = {}
    for role in ("Viewer", "Coast"):
        rows = people.office.ask(people.token(role)).get(PATHS["waits"]).json()["rows"]
        seen[role] = {row["dag_id"] for row in rows}

    assert seen == {"Viewer": {"coast", "secret"}, "Coast": {"coast"}}


@pytest.mark.parametrize(("task_id", "index"), ATTACKED)
def test_whoever_may_write_xcoms_reads_with_no_other_connection(
    people: Any, task_id: str, index: int
) -> None:
    people.office.attack(people.token("XCom author"), people.token("Viewer"), task_id, index)
