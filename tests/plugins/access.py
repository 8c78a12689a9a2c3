"""Airflow's own API server with a real auth manager, in this process, and users with tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from tests.plugins.pages import Records
from tests.support import CANARY

RUN = "run_1"
TAB = f"/pixxel/job/coast/{RUN}/wait/-1"
HIDDEN = f"/pixxel/job/secret/{RUN}/wait/-1"
#: What is requested, by the name that the tests use.
PATHS = {
    "tab": TAB,
    "job": f"{TAB}/data",
    "raw": f"{TAB}/raw",
    "other dag": f"{HIDDEN}/data",
    "list": "/pixxel/jobs",
    "waits": "/pixxel/jobs/data",
    "script": "/pixxel/static/job.js",
    # What Airflow's UI requests before it shows any tab, and what these users must not see.
    "plugins": "/api/v2/plugins",
    "connections": "/api/v2/connections",
}
EVERYTHING = dict.fromkeys(PATHS, 200)
#: Tasks of this package and others, without XComs.
ATTACKED = [("plain", -1), ("plain_each", 0), ("alike", -1), ("wait", -1), ("each", 1), ("run", -1)]


@cache
def _app() -> Any:
    # It takes seconds to make, and reads the settings of database and auth manager at each request.
    from airflow.api_fastapi.app import create_app

    return create_app(apps="core")


def assert_hidden(get: Callable[[str], Any], page: str) -> None:
    """Check that neither a job's page nor the list shows anything of what is in a task's XComs."""
    shown = [get(path) for path in (f"{page}/data", f"{page}/raw", "/jobs/data")]
    assert [each.status_code for each in shown] == [200, 404, 200]
    assert shown[0].json()["kind"] == "none"
    assert shown[2].json()["rows"] == []
    for each in shown:
        for word in ("job-f", "s3cret", "other_team", "wf-", CANARY):
            assert word not in each.text


class ApiServer:
    """An API server whose auth manager is the configured one."""

    def __init__(self, records: Records, pixxel: Any) -> None:
        self.records, self.pixxel = records, pixxel
        self.app = _app()

    def client(self, token: str | None) -> Any:
        """Return a client with a user's token, or with none."""
        from fastapi.testclient import TestClient

        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return TestClient(self.app, base_url="http://airflow.example", headers=headers)

    def statuses(self, token: str | None) -> dict[str, int]:
        """Return the status of the answer for each path."""
        client = self.client(token)
        return {name: client.get(path, follow_redirects=False).status_code for name, path in PATHS.items()}

    def fill(self) -> None:
        """Have a wait for a job in each DAG."""
        for dag_id in ("coast", "secret"):
            self.records.run(dag_id, RUN)
            self.records.change(dag_id, RUN, "wait", state="deferred")
            self.records.work(
                *(dag_id, RUN, "wait"),
                pixxel_conn_id="pixxel_default",
                workflow_id="wf-succeeds",
                job_id="job-finished",
            )

    def attack(self, author: str | None, reader: str | None, task_id: str, index: int) -> None:
        """Let a user who may write XComs name another team's connection; no page may show anything of it."""
        self.records.run("coast", RUN)
        own = {"pixxel_conn_id": "pixxel_default", "workflow_id": "w", "job_id": "a"}
        self.records.change("coast", RUN, task_id, index, state="running")
        self.records.render("coast", RUN, task_id, index, **own)
        client = self.client(author)
        assert client.get(PATHS["connections"]).status_code == 403
        pushed = {"pixxel_conn_id": "other_team", "workflow_id": "wf-succeeds", "job_id": "job-finished"}
        for key, value in pushed.items():
            answer = client.post(
                f"/api/v2/dags/coast/dagRuns/{RUN}/taskInstances/{task_id}/xcomEntries",
                json={"key": key, "value": value, "map_index": index},
            )
            assert answer.status_code == 201, answer.text
        reading = self.client(reader)
        assert_hidden(lambda path: reading.get(f"/pixxel{path}"), f"/job/coast/{RUN}/{task_id}/{index}")
        assert self.pixxel.requests() == 0


@contextmanager
def api_server(records: Records, pixxel: Any) -> Iterator[ApiServer]:
    """Have an API server, and a connection of another team."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_OTHER_TEAM", json.dumps(pixxel.airflow_connection))
        patch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
        yield ApiServer(records, pixxel)
