from __future__ import annotations

import contextlib
import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from pixxel_provider.simulator.server import Simulator
from pixxel_provider.simulator.world import Bill
from tests.simulator.client import JOBS, Client, ping, wait_for


@pytest.mark.parametrize("retry_after", [None, "2", "soon", "date+never"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_status_comes_in_the_envelope_with_or_without_retry_after(
    pixxel: Simulator, client: Client, status: int, retry_after: str | None
) -> None:
    waits = {"retry_after": retry_after} if retry_after else {}
    pixxel.fail_next("get_job", status=status, message="busy", code="c", **waits)
    answer = client.job("job-finished")
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == retry_after
    assert answer.json() == {"error": {"code": "c", "message": "busy", "details": None}}
    assert client.job("job-finished").status_code == 200


def test_retry_after_can_be_a_date_or_unix_time_from_now(pixxel: Simulator, client: Client) -> None:
    for form, read in (("date", lambda text: parsedate_to_datetime(text).timestamp()), ("unix", int)):
        pixxel.fail_next("get_job", status=503, retry_after=f"{form}+30")
        moment = read(client.job("job-finished").headers["retry-after"])
        assert abs(moment - time.time() - 30) < 5


@pytest.mark.parametrize(
    ("body", "kind", "start"),
    [
        ("html", "text/html; charset=utf-8", "<!DOCTYPE html>"),
        ("plain", "text/plain; charset=utf-8", "this answer is a fault"),
        ("envelope", "application/json", '{"error"'),
        ("none", None, ""),
        ("null", "application/json", "null"),
        ("list", "application/json", "["),
        ("nested", "application/json", '{"id": {"id"'),
        ("deep", "application/json", "[[[["),
    ],
)
@pytest.mark.parametrize("status", [200, 502])
def test_each_kind_of_body_comes_with_any_status(
    pixxel: Simulator, client: Client, body: str, kind: str | None, start: str, status: int
) -> None:
    pixxel.fail_next("get_job", status=status, body=body)
    answer = client.job("job-finished")
    assert (answer.status_code, answer.headers.get("content-type")) == (status, kind)
    assert answer.text.startswith(start)
    assert answer.headers["content-length"] == str(len(answer.content))


def test_any_json_can_be_the_answer(pixxel: Simulator, client: Client) -> None:
    for value in (None, [], 0, {"status": "odd"}, "text"):
        pixxel.fail_next("get_job", json=value)
        assert client.job("job-finished").json() == value


def test_a_huge_body_is_json_of_the_given_size(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next("get_job", body="huge", megabytes=3)
    answer = client.job("job-finished")
    assert len(answer.content) == 3 * 1024 * 1024
    assert answer.json().keys() == {"padding"}


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_has_none(pixxel: Simulator, client: Client, status: int) -> None:
    pixxel.fail_next("get_job", status=status, body="html")
    answer = client.job("job-finished")
    assert (answer.status_code, answer.content) == (status, b"")
    assert client.job("job-finished").status_code == 200


def test_a_redirect_has_its_location(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next("get_job", location="http://localhost:1/elsewhere")
    answer = client.job("job-finished")
    assert (answer.status_code, answer.headers["location"]) == (302, "http://localhost:1/elsewhere")


def test_an_echo_repeats_the_authorization_header(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next("get_job", body="echo", message="no")
    answer = client.job("job-finished")
    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "no: Authorization: Bearer simulator-key"


@pytest.mark.parametrize("drop", ["reset", "close"])
def test_a_dropped_connection_gives_no_byte(pixxel: Simulator, client: Client, drop: str) -> None:
    pixxel.fail_next("get_job", drop=drop)
    with pytest.raises(requests.ConnectionError):
        client.job("job-finished")
    assert client.job("job-finished").status_code == 200
    assert pixxel.counters.snapshot()["statuses"] == {"get_job": {"dropped": 1, "200": 1}}
    pixxel.fail_next("ping", drop=drop)
    is_reset = pytest.raises(ConnectionResetError) if drop == "reset" else contextlib.nullcontext()
    with ping(pixxel) as sock, is_reset:
        assert sock.recv(100) == b""


@pytest.mark.parametrize("kept", [0, 10, 1_000_000])
def test_a_truncated_answer_promises_more_than_it_sends(pixxel: Simulator, client: Client, kept: int) -> None:
    whole = client.job("job-finished").content
    pixxel.fail_next("get_job", truncate=kept)
    answer = client("GET", f"{JOBS}/job-finished", stream=True)
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(whole)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        answer.content  # noqa: B018 - reads it
    assert client.job("job-finished").content == whole


def test_a_slow_answer_blocks_nobody_else(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next("ping", latency=600)
    with ping(pixxel):
        while not pixxel.requests("ping"):
            client.get("/v0/projects")
        assert client.job("job-finished").json()["status"] == "completed"
        assert pixxel.counters.snapshot()["in_flight"] == 1


def test_latency_comes_before_another_fault(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next("get_job", latency=600, status=504)
    with pytest.raises(requests.ReadTimeout):
        client("GET", f"{JOBS}/job-finished", timeout=(10, 0.2))
    pixxel.fail_next("get_job", latency=0.01, status=504)
    assert client.job("job-finished").status_code == 504


def test_a_list_leaves_out_the_hidden_jobs(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next("list_jobs", hide=["job-finished"])
    assert [client.listed(), client.listed()] == [
        ["job-finished-earlier"],
        ["job-finished", "job-finished-earlier"],
    ]
    assert client.job("job-finished").status_code == 200


def test_a_list_leaves_out_the_same_share_each_time(pixxel: Simulator, client: Client) -> None:
    for number in range(40):
        pixxel.create_job(job_id=f"job-{number}")
    pixxel.fail_next("list_jobs", hide=0.5, times=0)
    first = client.listed()
    assert first == client.listed()
    assert 5 < len(first) < 37


def test_a_hiding_fault_for_all_routes_only_counts_lists(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next(hide=["job-finished"])
    assert client.job("job-finished").status_code == 200
    assert len(client.listed()) == 1


def test_the_next_request_fails_with_503_by_default(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next()
    assert client.get("/ping").status_code == 503
    assert client.get("/ping").status_code == 200


def test_an_unknown_route_has_the_faults_for_all_routes(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next(status=500)
    assert client.get("/v0/nowhere").status_code == 500


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": "reset", "carried_out": True},
        "route=create_job,drop=close,carried_out=true",
        {"truncate": 40},
        # Before the answer is late, ...
        {"latency": 600, "carried_out": True},
        {"latency": 600, "carried_out": True, "status": 504},
        # ... or when the client has given up.
        {"latency": 0.5},
    ],
    ids=str,
)
def test_a_job_is_created_though_its_answer_is_lost(pixxel: Simulator, client: Client, fault: Any) -> None:
    # By the control route, which takes both forms.
    client.control("POST", "/faults", fault if isinstance(fault, str) else {"route": "create_job", **fault})
    with pytest.raises(
        (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    ):
        client.create(timeout=(10, 0.3))
    wait_for(lambda: bool(pixxel.bill().jobs))
    (job_id,) = pixxel.bill().jobs
    assert client.job(job_id).json()["status"] == "created"
    assert job_id in client.listed()
    if "drop" in fault:
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
    pixxel: Simulator, client: Client, fault: dict[str, Any], status: int, start: str
) -> None:
    pixxel.fail_next("create_job", carried_out=True, **fault)
    answer = client.create()
    assert (answer.status_code, answer.text[: len(start)]) == (status, start)
    assert pixxel.bill().credits == 120
    assert pixxel.bill().jobs[0] in client.listed()
    assert client.create().status_code == 200


def test_a_late_answer_is_the_real_one(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next("create_job", latency=0.01, carried_out=True)
    assert client.create().json()["id"] == pixxel.bill().jobs[0]


@pytest.mark.parametrize("fault", [{"drop": "reset"}, {"status": 503}, {"body": "html"}])
def test_a_fault_without_carried_out_creates_nothing(
    pixxel: Simulator, client: Client, fault: dict[str, Any]
) -> None:
    before = client.listed()
    pixxel.fail_next("create_job", **fault)
    with contextlib.suppress(requests.ConnectionError):
        client.create()
    assert pixxel.bill() == Bill((), 0)
    assert client.listed() == before


def test_what_the_api_refuses_is_on_no_bill_though_its_answer_is_lost(
    pixxel: Simulator, client: Client
) -> None:
    pixxel.fail_next("create_job", status=503, carried_out=True)
    assert client("POST", JOBS).status_code == 503  # without a project
    assert pixxel.bill().jobs == ()
