from __future__ import annotations

from typing import Any

import pytest

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.app import Access
from pixxel_provider.simulator.clock import frozen
from pixxel_provider.simulator.problems import Problem
from pixxel_provider.simulator.server import Simulator

JOBS = "/v0/workflows/wf-succeeds/jobs"


def error(answer: Any) -> str:
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"]["message"])


def test_the_index_names_the_routes(client: Any) -> None:
    routes = client.control("GET", "").json()["routes"]

    assert "POST /_control/jobs" in routes
    assert "DELETE /_control/counters" in routes


def test_a_job_is_created_as_wanted(pixxel: Simulator, client: Any) -> None:
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


def test_a_job_without_id_gets_one(client: Any) -> None:
    body = client.control("POST", "/jobs", {"workflow_id": "wf-endless"}).json()

    assert client.job(body["id"], "wf-endless").status_code == 200
    assert body["id"] in [job["id"] for job in client.control("GET", "/jobs").json()["jobs"]]


def test_a_jobs_fields_are_changed_and_restored(pixxel: Simulator, client: Any) -> None:
    changed = client.control(
        "PATCH", "/jobs/job-finished", {"fields": {"status": None, "tasks": 3}, "omit": ["id"]}
    )

    assert changed.json() == client.job("job-finished").json()
    assert (changed.json()["status"], changed.json()["tasks"]) == (None, 3)
    assert "id" not in changed.json()
    restored = client.control("PATCH", "/jobs/job-finished", {"restore": True}).json()
    assert (restored["status"], restored["id"]) == ("completed", "job-finished")


def test_a_job_is_made_to_end(pixxel: Simulator, client: Any) -> None:
    pixxel.create_job("wf-fails", "x/y")

    assert client.control("PATCH", "/jobs/x%2Fy", {"finish": True}).json()["status"] == "failed"


def test_the_clock_is_advanced(pixxel: Simulator, client: Any) -> None:
    pixxel.create_job(job_id="j")
    before = client.job("j").json()["status"]
    client.control("POST", "/clock", {"seconds": 121.5})

    assert (before, client.job("j").json()["status"]) == ("created", "completed")


def test_a_workflow_is_added(client: Any) -> None:
    added = client.control("POST", "/workflows", {"id": "wf-mine", "like": "wf-fails", "cost": 3})

    assert added.json() == {"id": "wf-mine", "project_id": "project-agriculture"}
    assert client.get("/v0/workflows/wf-mine/estimate").json() == {"estimated_cost": 3}


def test_an_estimate_can_differ_from_what_a_job_costs(pixxel: Simulator, client: Any) -> None:
    client.control("POST", "/workflows", {"id": "wf-mine", "like": "wf-fails", "estimated_cost": 3})
    workflow = client.get("/v0/workflows/wf-mine", project_id="project-agriculture").json()
    job = client("POST", "/v0/workflows/wf-mine/jobs", params={"project_id": "project-agriculture"}).json()

    assert client.get("/v0/workflows/wf-mine/estimate").json() == {"estimated_cost": 3}
    assert (workflow["estimated_cost"], job["cost"], pixxel.bill().credits) == (3, 80, 80)


def test_faults_are_added_listed_and_removed(client: Any) -> None:
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


def test_a_list_of_faults_with_a_mistake_in_it_adds_none(client: Any) -> None:
    answer = client.control("POST", "/faults", [{"status": 500}, {"route": "nope", "status": 500}])

    assert error(answer).startswith("route: 'nope' is not one of get_job")
    assert client.control("GET", "/faults").json() == {"faults": []}


def test_counters_tell_what_was_asked_and_answered(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("get_job", status=503)
    sent = sum(
        len(answer.content)
        for answer in (client.job("job-finished"), client.job("job-finished"), client.get("/v0/x"))
    )
    counters = client.control("GET", "/counters").json()

    assert counters["total"] == 3
    assert counters["routes"] == {"get_job": 2, "unmatched": 1}
    assert counters["statuses"] == {"get_job": {"503": 1, "200": 1}, "unmatched": {"404": 1}}
    assert counters["bytes_sent"] == sent
    assert counters["max_concurrent"] == 1
    assert counters["in_flight"] == 0
    assert counters["connections"] >= 1
    assert client.control("DELETE", "/counters").json()["total"] == 0


def test_requests_are_remembered_without_the_key(pixxel: Simulator, client: Any) -> None:
    client("GET", f"{JOBS}/a%2Fb", params={"x": "1"}, headers={"User-Agent": "me/1"})
    (seen,) = client.control("GET", "/requests").json()["requests"]

    assert (seen["route"], seen["method"], seen["path"], seen["query"]) == (
        "get_job",
        "GET",
        f"{JOBS}/a%2Fb",
        "x=1",
    )
    assert (seen["ids"]["job_id"], seen["status"], seen["user_agent"]) == ("a/b", 404, "me/1")
    assert seen["authorization"] == "bearer"
    assert pixxel.key not in str(seen)


def test_reset_brings_back_the_start(pixxel: Simulator, client: Any) -> None:
    pixxel.create_job(job_id="j")
    pixxel.fail_next("ping")
    pixxel.advance(5)
    client.get(JOBS)

    assert client.control("POST", "/reset").json() == {"reset": True}
    assert client.job("j").status_code == 404
    assert client.get("/ping").status_code == 200
    assert client.control("GET", "/counters").json()["total"] == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "/jobs", {}, "workflow_id: is required"),
        ("POST", "/jobs", [], "the body must be an object"),
        ("POST", "/jobs", {"workflow_id": 1}, "workflow_id: must be text"),
        ("POST", "/jobs", {"workflow_id": "wf-succeeds", "colour": 1}, "colour: there is no such field"),
        ("POST", "/jobs", {"workflow_id": "wf-succeeds", "seconds": True}, "seconds: must be a number"),
        ("POST", "/jobs", {"workflow_id": "wf-succeeds", "seconds": -1}, "seconds must be"),
        ("POST", "/jobs", {"workflow_id": "wf-succeeds", "fields": []}, "fields: must be an object"),
        ("POST", "/jobs", {"workflow_id": "wf-succeeds", "omit": [1]}, "omit: must be a list of texts"),
        ("PATCH", "/jobs/job-finished", {"status": "odd"}, "status: there is no such field"),
        ("PATCH", "/jobs/job-finished", {"finish": 1}, "finish: must be true or false"),
        ("POST", "/clock", {}, "seconds: is required"),
        ("POST", "/clock", {"seconds": -5}, "advances by"),
        ("POST", "/clock", {"seconds": "5"}, "seconds: must be a number"),
        ("POST", "/faults", 3, "a fault is an object"),
        ("POST", "/workflows", {"id": "w", "cost": 1.5}, "cost: must be a whole number"),
    ],
)
def test_a_bad_wish_is_refused_by_field(client: Any, method: str, path: str, body: Any, words: str) -> None:
    assert words in error(client.control(method, path, body))


def test_a_job_without_end_isnt_made_to_end(pixxel: Simulator, client: Any) -> None:
    pixxel.create_job("wf-endless", "j")

    assert "no end" in error(client.control("PATCH", "/jobs/j", {"finish": True}))


def test_a_body_that_isnt_json_is_refused(client: Any) -> None:
    answer = client("POST", "/_control/faults", data=b"{")

    assert "not JSON" in error(answer)


def test_ids_that_are_unknown_or_taken_are_told_apart(client: Any) -> None:
    assert client.control("PATCH", "/jobs/nope", {}).status_code == 404
    assert client.control("POST", "/jobs", {"workflow_id": "nope"}).status_code == 404
    taken = {"id": "job-finished", "workflow_id": "wf-succeeds"}
    assert client.control("POST", "/jobs", taken).status_code == 409


def test_the_control_routes_want_no_key_and_arent_counted(pixxel: Simulator, client: Any) -> None:
    client.control("GET", "/jobs")

    assert pixxel.requests() == 0


@pytest.mark.parametrize(
    ("control", "client_host", "status"),
    [
        ("loopback", "127.0.0.1", None),
        ("loopback", "127.8.8.8", None),
        ("loopback", "::1", None),
        ("loopback", "10.0.0.1", 403),
        ("loopback", None, 403),
        ("loopback", "testclient", 403),
        ("anyone", "10.0.0.1", None),
        ("off", "127.0.0.1", 404),
    ],
)
def test_the_control_routes_are_for_this_machine_unless_said_otherwise(
    control: str, client_host: str | None, status: int | None
) -> None:
    access = Access(("key",), control=control)
    if status is None:
        access.check_control(client_host)
        return
    with pytest.raises(Problem) as caught:
        access.check_control(client_host)
    assert caught.value.status == status


def test_the_control_routes_can_be_switched_off() -> None:
    from urllib.request import urlopen

    with serve(clock=frozen(), control="off") as pixxel, pytest.raises(OSError, match="404"):
        urlopen(f"{pixxel.url}/_control/counters", timeout=10)
