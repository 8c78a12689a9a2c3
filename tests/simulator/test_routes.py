from __future__ import annotations

from typing import Any

import pytest
import requests

from pixxel_provider.simulator.server import Simulator
from tests.simulator.client import JOBS, PROJECT, Client, message


def test_a_created_job_can_be_fetched_and_listed(pixxel: Simulator, client: Client) -> None:
    created = client("POST", JOBS, params=PROJECT).json()
    pixxel.advance(60)
    assert created["status"] == "created"
    assert client.job(created["id"]).json()["status"] == "running"
    listed = client.get(JOBS).json()["jobs"]
    assert [job["id"] for job in listed] == [created["id"], "job-finished", "job-finished-earlier"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"id": "job-finished"}, ["job-finished"]),
        ({"id": "nope"}, []),
        ({"status": "completed"}, ["job-finished", "job-finished-earlier"]),
        ({"status": "Running"}, ["new"]),
        ({"created_by": "someone"}, ["new"]),
        ({"created_by": "user-simulator-1"}, ["job-finished", "job-finished-earlier"]),
        ({"created_on": "2025-12-31"}, ["job-finished"]),
        ({"created_on": "2026-01-01T10:00:00Z"}, ["new"]),
        ({"created_on": "2026-01-01", "status": "completed"}, []),
    ],
)
def test_jobs_are_listed_by_filter(
    pixxel: Simulator, client: Client, filters: dict[str, str], found: list[str]
) -> None:
    pixxel.create_job(job_id="new", created_by="someone")
    pixxel.advance(60)
    assert [job["id"] for job in client.get(JOBS, **filters).json()["jobs"]] == found


def test_a_job_belongs_to_the_owner_of_the_key(pixxel: Simulator) -> None:
    owners = [
        requests.post(pixxel.url + JOBS, params=PROJECT, headers={"Authorization": key}, timeout=10).json()
        for key in ("simulator-key", "second-key")
    ]
    assert [job["created_by"] for job in owners] == ["user-simulator-1", "user-simulator-2"]


@pytest.mark.parametrize(
    ("params", "status"), [({}, 400), ({"project_id": ""}, 400), ({"project_id": "nope"}, 404)]
)
def test_a_job_isnt_created_without_the_workflows_project(
    pixxel: Simulator, client: Client, params: dict[str, str], status: int
) -> None:
    before = len(pixxel.world.jobs)
    answer = client("POST", JOBS, params=params)
    assert "project" in message(answer, status)
    assert len(pixxel.world.jobs) == before


def test_a_workflow_is_known_in_its_project_only(client: Client) -> None:
    assert client.get("/v0/workflows/wf-succeeds", **PROJECT).json()["estimated_cost"] == 120
    assert client.get("/v0/workflows/wf-succeeds", project_id="project-coast").status_code == 404
    assert "project_id" in message(client.get("/v0/workflows/wf-succeeds"))


def test_the_estimate_is_what_a_job_costs(pixxel: Simulator, client: Client) -> None:
    estimated = client.get("/v0/workflows/wf-fails/estimate").json()
    assert estimated == {"estimated_cost": 80}
    assert client.job("job-failed", "wf-fails").json()["cost"] == 80


@pytest.mark.parametrize(
    ("filters", "ids", "total"),
    [
        ({"limit": 2}, ["wf-succeeds", "wf-fails"], 6),
        ({"limit": 2, "offset": 5}, ["wf-odd-ended"], 6),
        ({"offset": 6}, [], 6),
        ({"id": "wf-fails"}, ["wf-fails"], 1),
        ({"name": "shoreline watch"}, ["wf-endless"], 1),
        ({"project_id": "project-coast", "limit": 1}, ["wf-endless"], 3),
        ({"created_on": "2025-06-01", "limit": 1}, ["wf-succeeds"], 6),
        ({"updated_at": "2024-01-01"}, [], 0),
        ({"created_by": "nobody"}, [], 0),
    ],
)
def test_workflows_are_listed_by_filter_and_page(
    client: Client, filters: dict[str, Any], ids: list[str], total: int
) -> None:
    body = client.get("/v0/workflows", **filters).json()
    assert [workflow["id"] for workflow in body["workflows"]] == ids
    page = {"limit": filters.get("limit", 50), "offset": filters.get("offset", 0), "total": total}
    assert body["pagination"] == page


@pytest.mark.parametrize(
    ("path", "params", "name"),
    [
        ("/v0/workflows", {"limit": "many"}, "limit"),
        ("/v0/workflows", {"limit": 0}, "limit"),
        ("/v0/workflows", {"offset": -1}, "offset"),
        ("/v0/workflows", {"created_on": "June"}, "created_on"),
        ("/v0/workflows", {"updated_at": ""}, "updated_at"),
        ("/v0/projects", {"page_num": 0}, "page_num"),
        ("/v0/projects", {"page_size": "x"}, "page_size"),
        (JOBS, {"created_on": "31.12.2025"}, "created_on"),
    ],
)
def test_a_malformed_parameter_is_named(client: Client, path: str, params: dict[str, Any], name: str) -> None:
    answer = client.get(path, **params)
    assert message(answer).startswith(name)
    assert answer.json()["error"]["details"] == {"parameter": name}


def test_projects_come_in_pages_with_the_count_of_all(client: Client) -> None:
    body = client.get("/v0/projects", page_num=2, page_size=1).json()
    assert body["count"] == 2
    assert [project["id"] for project in body["projects"]] == ["project-coast"]


def test_ping_answers_without_a_key(pixxel: Simulator) -> None:
    assert requests.get(f"{pixxel.url}/ping", timeout=10).json() == "pong"


def test_a_pending_package_has_no_url(client: Client) -> None:
    assert client("PUT", f"{JOBS}/job-finished/download").json() == {
        "id": "job-finished",
        "status": "pending",
        "signed_url": "",
        "workflowId": "wf-succeeds",
    }


def test_a_running_job_has_nothing_to_download(pixxel: Simulator, client: Client) -> None:
    pixxel.create_job(job_id="j")
    for path in (f"{JOBS}/j/download", f"{JOBS}/j/tasks/j-task-1/download"):
        answer = client("PUT", path)
        assert "hasn't ended" in message(answer)


def test_an_unknown_task_is_named(client: Client) -> None:
    answer = client("PUT", f"{JOBS}/job-finished/tasks/nope/download")
    assert "task 'nope'" in message(answer, 404)
