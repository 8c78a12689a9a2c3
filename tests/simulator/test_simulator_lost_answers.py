"""Requests that are carried out though their answer is lost, the bill they leave, and lists that lag."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
import requests

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.bill import Bill
from pixxel_provider.simulator.clock import frozen
from pixxel_provider.simulator.server import Simulator

JOBS = "/v0/workflows/wf-succeeds/jobs"
PROJECT = {"project_id": "project-agriculture"}


def create(client: Any, **options: Any) -> requests.Response:
    answer: requests.Response = client("POST", JOBS, params=PROJECT, **options)
    return answer


def listed(client: Any) -> list[str]:
    return [job["id"] for job in client.get(JOBS).json()["jobs"]]


def paid_for(pixxel: Simulator) -> str:
    """The only job on the bill, once the server has got to it."""
    deadline = time.monotonic() + 10
    while not pixxel.bill().jobs and time.monotonic() < deadline:
        time.sleep(0.01)
    (job_id,) = pixxel.bill().jobs
    return job_id


# ---------------------------------------------------------------------------------------------- lost answers


@pytest.mark.parametrize("drop", ["reset", "close"])
def test_a_job_is_created_though_the_connection_ends(pixxel: Simulator, client: Any, drop: str) -> None:
    pixxel.fail_next("create_job", drop=drop, carried_out=True)

    with pytest.raises(requests.ConnectionError):
        create(client)
    (job_id,) = pixxel.bill().jobs
    assert client.job(job_id).json()["status"] == "created"
    assert pixxel.counters.snapshot()["statuses"]["create_job"] == {"dropped": 1}


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [
        ({}, 503, '{"error"'),
        ({"status": 502, "body": "html"}, 502, "<!DOCTYPE"),
        ({"body": "plain"}, 200, "this answer is a fault"),
        ({"json": {"id": 7}}, 200, '{"id": 7}'),
        ({"status": 504, "body": "none"}, 504, ""),
        ({"location": "http://127.0.0.1:1/"}, 302, ""),
    ],
)
def test_a_job_is_created_though_something_else_is_answered(
    pixxel: Simulator, client: Any, fault: dict[str, Any], status: int, start: str
) -> None:
    pixxel.fail_next("create_job", carried_out=True, **fault)
    answer = create(client)

    assert (answer.status_code, answer.text[: len(start)]) == (status, start)
    assert pixxel.bill().credits == 120
    assert pixxel.bill().jobs[0] in listed(client)
    assert create(client).status_code == 200


def test_a_job_is_created_though_its_answer_is_cut_off(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("create_job", truncate=40)

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        create(client)
    assert len(pixxel.bill().jobs) == 1


def test_a_job_is_there_while_its_answer_is_late(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("create_job", latency=600, carried_out=True)

    with pytest.raises(requests.ReadTimeout):
        client.session.post(client.url + JOBS, params=PROJECT, timeout=(10, 0.3))
    assert paid_for(pixxel) in listed(client)


def test_a_late_answer_is_the_real_one(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("create_job", latency=0.01, carried_out=True)

    assert create(client).json()["id"] == pixxel.bill().jobs[0]


def test_latency_comes_between_the_doing_and_the_loss(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("create_job", status=504, latency=600, carried_out=True)

    with pytest.raises(requests.ReadTimeout):
        client.session.post(client.url + JOBS, params=PROJECT, timeout=(10, 0.3))
    assert paid_for(pixxel)


@pytest.mark.parametrize("fault", [{"drop": "reset"}, {"status": 503}, {"body": "html"}])
def test_a_fault_that_isnt_said_to_be_carried_out_creates_nothing(
    pixxel: Simulator, client: Any, fault: dict[str, Any]
) -> None:
    before = listed(client)
    pixxel.fail_next("create_job", **fault)
    with contextlib.suppress(requests.ConnectionError):
        create(client)

    assert pixxel.bill() == Bill((), 0)
    assert listed(client) == before


def test_what_the_api_refuses_is_on_no_bill_though_its_answer_is_lost(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("create_job", status=503, carried_out=True)

    assert client("POST", JOBS).status_code == 503  # without a project
    assert pixxel.bill().jobs == ()


def test_the_text_form_and_the_control_route_know_it_too(client: Any, pixxel: Simulator) -> None:
    added = client.control("POST", "/faults", "route=create_job,drop=close,carried_out=true").json()

    assert added["faults"][0]["carried_out"] is True
    with pytest.raises(requests.ConnectionError):
        create(client)
    assert len(pixxel.bill().jobs) == 1


# -------------------------------------------------------------------------------------------------- the bill


def test_the_bill_names_each_users_jobs_and_credits(pixxel: Simulator, client: Any) -> None:
    first, second = (create(client).json()["id"] for _ in range(2))
    other = create(client, headers={"Authorization": "second-key"}).json()["id"]

    assert pixxel.bill() == Bill((first, second, other), 360)
    assert pixxel.bill("user-simulator-1") == Bill((first, second), 240)
    assert pixxel.bill("user-simulator-2") == Bill((other,), 120)
    assert pixxel.bill("nobody") == Bill((), 0)
    assert client.control("GET", "/bill").json() == {
        "jobs": [first, second, other],
        "credits": 360,
        "users": {
            "user-simulator-1": {"jobs": [first, second], "credits": 240},
            "user-simulator-2": {"jobs": [other], "credits": 120},
        },
    }


def test_the_bill_is_the_cost_of_each_workflow(pixxel: Simulator, client: Any) -> None:
    create(client)
    client("POST", "/v0/workflows/wf-fails/jobs", params=PROJECT)

    assert pixxel.bill().credits == 120 + 80


def test_jobs_made_behind_the_api_are_on_no_bill(pixxel: Simulator, client: Any) -> None:
    pixxel.create_job(job_id="j")
    client.control("POST", "/jobs", {"workflow_id": "wf-succeeds"})

    assert client.control("GET", "/bill").json() == {"jobs": [], "credits": 0, "users": {}}


def test_a_reset_clears_the_bill(pixxel: Simulator, client: Any) -> None:
    create(client)
    pixxel.reset()

    assert pixxel.bill() == Bill((), 0)


# -------------------------------------------------------------------------------------------- lists that lag


def test_a_list_shows_an_ordered_job_after_the_delay(pixxel: Simulator, client: Any) -> None:
    assert client.control("POST", "/settings", {"list_delay": 30}).json() == {"list_delay": 30}
    job_id = create(client).json()["id"]

    assert job_id not in listed(client)
    assert client.get(JOBS, id=job_id).json() == {"jobs": []}
    assert client.job(job_id).status_code == 200
    pixxel.advance(29)
    assert job_id not in listed(client)
    pixxel.advance(1)
    assert job_id in listed(client)


def test_jobs_made_behind_the_api_are_listed_at_once_unless_told(pixxel: Simulator, client: Any) -> None:
    pixxel.world.list_delay = 30
    pixxel.create_job(job_id="at-once", created_by="someone")
    client.control("POST", "/jobs", {"workflow_id": "wf-succeeds", "id": "later", "list_delay": 5})

    assert "at-once" in listed(client)
    assert "later" not in listed(client)
    assert client.get(JOBS, created_by="someone").json()["jobs"][0]["id"] == "at-once"
    pixxel.advance(5)
    assert "later" in listed(client)


def test_a_reset_brings_back_the_delay_of_the_start() -> None:
    with serve(clock=frozen(), list_delay=7) as pixxel:
        pixxel.world.list_delay = 0
        pixxel.reset()
        assert pixxel.world.list_delay == 7


@pytest.mark.parametrize("seconds", [-1, 1e12])
def test_a_delay_that_cant_be_is_refused_by_name(client: Any, seconds: float) -> None:
    answer = client.control("POST", "/settings", {"list_delay": seconds})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("list_delay: must be a number from 0")
    with pytest.raises(ValueError, match="list_delay"), serve(list_delay=seconds):
        pass
