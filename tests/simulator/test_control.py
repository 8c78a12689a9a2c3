from __future__ import annotations

from typing import Any

import pytest
import requests

from pixxel_provider.simulator.server import Simulator
from pixxel_provider.simulator.world import Bill
from tests.simulator.client import DOWNLOAD, Client, message


def test_the_index_names_the_routes(client: Client) -> None:
    routes = client.control("GET", "").json()["routes"]
    assert "POST /_control/jobs" in routes
    assert "DELETE /_control/counters" in routes


def test_a_job_is_created_with_its_fields(pixxel: Simulator, client: Client) -> None:
    wanted = {
        "id": "a/b",
        "workflow_id": "wf-succeeds",
        "course": "wf-fails",
        "seconds": 10,
        "age": 20,
        "created_by": "someone",
        "fields": {"colour": "red"},
        "omit": ["cost"],
    }
    created = client.control("POST", "/jobs", wanted)
    assert created.status_code == 200
    body = client.job("a%2Fb").json()
    assert body == created.json()
    assert (body["status"], body["created_by"], body["colour"]) == ("failed", "someone", "red")
    assert "cost" not in body


def test_a_job_without_id_gets_one(client: Client) -> None:
    body = client.control("POST", "/jobs", {"workflow_id": "wf-endless"}).json()
    assert client.job(body["id"], "wf-endless").status_code == 200
    assert body["id"] in [job["id"] for job in client.control("GET", "/jobs").json()["jobs"]]


def test_a_jobs_fields_are_changed_and_restored(pixxel: Simulator, client: Client) -> None:
    changed = client.control(
        "PATCH", "/jobs/job-finished", {"fields": {"status": None, "tasks": 3}, "omit": ["id"]}
    )
    assert changed.json() == client.job("job-finished").json()
    assert (changed.json()["status"], changed.json()["tasks"]) == (None, 3)
    assert "id" not in changed.json()
    restored = client.control("PATCH", "/jobs/job-finished", {"restore": True}).json()
    assert (restored["status"], restored["id"]) == ("completed", "job-finished")


def test_the_clock_is_advanced(pixxel: Simulator, client: Client) -> None:
    pixxel.create_job(job_id="j")
    before = client.job("j").json()["status"]
    client.control("POST", "/clock", {"seconds": 121.5})
    assert (before, client.job("j").json()["status"]) == ("created", "completed")


def test_a_workflow_is_added(client: Client) -> None:
    added = client.control("POST", "/workflows", {"id": "wf-mine", "like": "wf-fails", "cost": 3})
    assert added.json() == {"id": "wf-mine", "project_id": "project-agriculture"}
    assert client.get("/v0/workflows/wf-mine/estimate").json() == {"estimated_cost": 3}


def test_an_estimate_can_differ_from_what_a_job_costs(pixxel: Simulator, client: Client) -> None:
    client.control("POST", "/workflows", {"id": "wf-mine", "like": "wf-fails", "estimated_cost": 3})
    workflow = client.get("/v0/workflows/wf-mine", project_id="project-agriculture").json()
    job = client("POST", "/v0/workflows/wf-mine/jobs", params={"project_id": "project-agriculture"}).json()
    assert client.get("/v0/workflows/wf-mine/estimate").json() == {"estimated_cost": 3}
    assert (workflow["estimated_cost"], job["cost"], pixxel.bill().credits) == (3, 80, 80)


def test_faults_are_added_listed_and_removed(client: Client) -> None:
    client.control("POST", "/faults", {"route": "ping", "status": 500})
    client.control("POST", "/faults", [{"route": "get_job", "json": None}, "drop=reset,times=0"])
    client.get("/ping")
    assert client.control("GET", "/faults").json()["faults"] == [
        {"route": "ping", "times": 1, "served": 1, "status": 500},
        {"route": "get_job", "times": 1, "served": 0, "json": None},
        {"route": "*", "times": None, "served": 0, "drop": "reset"},
    ]
    assert client.control("DELETE", "/faults").json() == {"faults": []}
    assert client.get("/ping").status_code == 200


def test_reset_brings_back_the_start(pixxel: Simulator, client: Client) -> None:
    pixxel.create_job(job_id="j")
    pixxel.fail_next("ping")
    pixxel.set_package(status="failed", seconds=0)
    client.create()
    pixxel.advance(5)
    assert client.control("POST", "/reset").json() == {"reset": True}
    assert client.job("j").status_code == 404
    assert client.get("/ping").status_code == 200
    assert client("PUT", DOWNLOAD).json()["status"] == "pending"
    assert pixxel.bill() == Bill((), 0)
    assert client.control("GET", "/counters").json()["total"] == 3


def test_a_key_is_replaced_while_the_simulator_runs(pixxel: Simulator, client: Client) -> None:
    new = {"users": {"new-key": "user-simulator-1"}}
    assert client.control("POST", "/settings", new).json() == {"list_delay": 0}
    assert client.get("/v0/projects").status_code == 401
    changed = {"Authorization": "new-key"}
    assert requests.get(f"{pixxel.url}/v0/projects", headers=changed, timeout=10).status_code == 200
    client.control("POST", "/reset")
    assert client.get("/v0/projects").status_code == 200


PACKAGES: list[tuple[dict[str, Any], str]] = [
    ({"size": -1}, "size: Input should be greater"),
    ({"size": 1 << 60}, "size: Input should be less"),
    ({"size": 1.5}, "size: Input should be a valid integer (got 1.5)"),
    ({"size": 1, "content": ""}, "content and size can't both"),
    ({"content": "?"}, "content: must be text in base64 (got '?')"),
    ({"content": 3}, "content: must be text in base64 (got 3)"),
    ({"seconds": -1}, "seconds: "),
    ({"lifetime": -1}, "lifetime: "),
    ({"checksum": "sha-1"}, "checksum: must be one of Content-MD5"),
    ({"wrong_checksum": True}, "wrong_checksum: needs a checksum"),
    ({"filename": "a\r\nb"}, "filename: "),
    ({"content_type": "é"}, "content_type: "),
    ({"task_id": "t"}, "task_id: needs the job_id"),
    ({"colour": "red"}, "colour: there is no such field"),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "/jobs", {}, "workflow_id: is required"),
        ("POST", "/jobs", [], "must be an object with some of: project_id"),
        ("POST", "/jobs", {"workflow_id": 1}, "workflow_id: Input should be a valid string (got 1)"),
        ("POST", "/jobs", {"workflow_id": "wf-succeeds", "colour": 1}, "colour: there is no such field"),
        ("POST", "/jobs", {"workflow_id": "wf-succeeds", "seconds": True}, "seconds: "),
        ("POST", "/jobs", {"workflow_id": "wf-succeeds", "seconds": -1}, "seconds: "),
        ("POST", "/jobs", {"workflow_id": "wf-succeeds", "fields": []}, "fields: "),
        ("POST", "/jobs", {"workflow_id": "wf-succeeds", "omit": [1]}, "omit.0: "),
        ("POST", "/jobs", {"workflow_id": "wf-succeeds", "omit": "cost"}, "omit: "),
        ("PATCH", "/jobs/job-finished", {"status": "odd"}, "status: there is no such field"),
        ("PATCH", "/jobs/job-finished", {"finish": 1}, "finish: "),
        ("POST", "/clock", {}, "seconds: is required"),
        ("POST", "/clock", {"seconds": -5}, "seconds: must be a number from 0"),
        ("POST", "/clock", {"seconds": "5"}, "seconds: "),
        ("POST", "/settings", {"list_delay": -1}, "list_delay: must be a number from 0"),
        ("POST", "/settings", {"list_delay": 1e12}, "list_delay: must be a number from 0"),
        ("POST", "/settings", {"users": {}}, "users: "),
        ("POST", "/settings", {"users": {"": "user"}}, "users: an API key can't be empty"),
        ("POST", "/faults", 3, "must be an object"),
        ("POST", "/faults", [{"status": 500}, {"route": "nope"}], "route: must be one of get_job"),
        ("POST", "/workflows", {"id": "w", "cost": 1.5}, "cost: "),
        ("POST", "/workflows", {"id": "w", "colour": 1}, "colour: there is no such field"),
        *(("POST", "/packages", fields, words) for fields, words in PACKAGES),
    ],
)
def test_a_bad_value_is_refused_by_field_and_changes_nothing(
    pixxel: Simulator, client: Client, method: str, path: str, body: Any, words: str
) -> None:
    jobs = set(pixxel.world.jobs)
    assert message(client.control(method, path, body)).startswith(words)
    assert client.control("GET", "/faults").json() == {"faults": []}
    assert set(pixxel.world.jobs) == jobs


def test_a_body_that_isnt_json_is_refused(client: Client) -> None:
    assert "not JSON" in message(client("POST", "/_control/faults", data=b"{"))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PATCH", "/jobs/nope", {}, 404),
        ("POST", "/jobs", {"workflow_id": "nope"}, 404),
        ("POST", "/jobs", {"id": "job-finished", "workflow_id": "wf-succeeds"}, 409),
        ("POST", "/packages", {"job_id": "nope", "size": 1}, 404),
        ("POST", "/packages", {"job_id": "job-finished", "task_id": "nope", "size": 1}, 404),
    ],
)
def test_unknown_ids_are_404_and_taken_ones_409(
    client: Client, method: str, path: str, body: Any, status: int
) -> None:
    assert client.control(method, path, body).status_code == status


def test_a_job_is_made_to_end_unless_it_has_no_end(pixxel: Simulator, client: Client) -> None:
    pixxel.create_job("wf-fails", "x/y")
    pixxel.create_job("wf-endless", "j")
    assert client.control("PATCH", "/jobs/x%2Fy", {"finish": True}).json()["status"] == "failed"
    assert "no end" in message(client.control("PATCH", "/jobs/j", {"finish": True}))
