from __future__ import annotations

import contextlib
import json
import socket
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.simulator.faults import BODIES, DROPS, Fault, FaultBook, FaultError
from pixxel_provider.simulator.server import Simulator

JOBS = "/v0/workflows/wf-succeeds/jobs"

# -------------------------------------------------------------------------------------- how they're written


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "route=get_job,status=503,retry_after=2,times=3",
            {"route": "get_job", "status": 503, "retry_after": 2, "times": 3},
        ),
        ("status=500", {"status": 500}),
        ("drop=reset, times=0", {"drop": "reset", "times": None}),
        ("latency=0.5,after=2", {"latency": 0.5, "after": 2}),
        ("route=list_jobs,hide=a|b", {"route": "list_jobs", "hide": ["a", "b"]}),
        ("route=list_jobs,hide=0.5", {"route": "list_jobs", "hide": 0.5}),
        (
            "route=get_job,job_id=j,body=huge,megabytes=2",
            {"route": "get_job", "job_id": "j", "body": "huge", "megabytes": 2},
        ),
        ("status=302,location=http://localhost/?a=b", {"status": 302, "location": "http://localhost/?a=b"}),
    ],
)
def test_text_and_json_say_the_same(text: str, fields: dict[str, Any]) -> None:
    assert Fault.read(text) == Fault.read(fields)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("route=get_jobs,status=500", "route: 'get_jobs' is not one of get_job, list_jobs"),
        ("route=get_job,satus=500", "satus: there is no such field; the fields are route"),
        ("status=abc", "status: 'abc' is not a whole number"),
        ("status=99", "status: 99 is out of range"),
        ("status=600", "200 to 599"),
        ("status=500,times=-1", "times: -1 is out of range"),
        ("status=500,after=x", "after: 'x' is not a whole number"),
        ("latency=-1", "latency: '-1' is not a number of 0 or more"),
        ("latency=inf", "latency: 'inf'"),
        ("body=pdf", "body: 'pdf' is not one of envelope, html"),
        ("drop=hard", "drop: 'hard' is not one of reset, close"),
        ("route=list_jobs,hide=2", "hide: 2.0 is not a share"),
        ("route=list_jobs,hide=0", "hide"),
        ("route=get_job,hide=a", "hide: only the route list_jobs"),
        ("drop=reset,status=500", "can't be combined"),
        ("truncate=5,body=html", "can't be combined"),
        ("route=get_job", "does nothing"),
        ("", "not of the form field=value"),
        ("status", "'status' is not of the form field=value"),
        ("status=500,status=501", "status: given twice"),
        ({"status": True}, "status: True is not a whole number"),
        ({"status": 500.5}, "status: 500.5"),
        ({"status": None}, "status: None"),
        ({"latency": True}, "latency: True"),
        ({"hide": [], "route": "list_jobs"}, "hide: give job ids"),
        ({"hide": [1], "route": "list_jobs"}, "hide: give job ids"),
        ({"message": 1, "status": 500}, "message: 1 is not text"),
        ({"json": 1, "body": "html"}, "json and body"),
        ({"body": ["html"]}, "body"),
        ([], "a fault is an object"),
    ],
)
def test_a_bad_fault_is_refused_by_field(spec: Any, words: str) -> None:
    with pytest.raises(FaultError) as caught:
        Fault.read(spec)
    assert words in str(caught.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from([*Fault.__dataclass_fields__, "x"]), _JSON | st.sampled_from([*BODIES, *DROPS])
    )
    | st.text()
)
def test_any_spec_gives_a_fault_or_a_fault_error(spec: Any) -> None:
    fault = None
    with contextlib.suppress(FaultError):
        fault = Fault.read(spec)
    if fault is not None:
        again = {key: value for key, value in fault.to_json().items() if key != "served"}
        assert Fault.read(again).to_json() == fault.to_json()


def test_the_help_names_every_field_and_word() -> None:
    from pixxel_provider.simulator import faults
    from pixxel_provider.simulator.__main__ import parser
    from pixxel_provider.simulator.fault_reading import READERS

    text = parser().format_help()
    words = [*READERS, *faults.ROUTES, *BODIES, *DROPS]
    assert [word for word in words if word not in text and word != "json"] == []


# ------------------------------------------------------------------------------------------ when they're met


def met(book: FaultBook, *requests_: tuple[str, str | None]) -> list[bool]:
    return [book.take(*each) is not None for each in requests_]


def test_a_fault_is_met_as_often_as_it_says_after_as_many_good_answers() -> None:
    book = FaultBook(["route=get_job,status=500,times=2,after=1"])

    assert met(book, *[("get_job", "j")] * 5) == [False, True, True, False, False]


def test_a_fault_without_times_is_met_once_and_with_0_always() -> None:
    assert met(FaultBook(["status=500"]), *[("ping", None)] * 3) == [True, False, False]
    assert met(FaultBook(["status=500,times=0"]), *[("ping", None)] * 3) == [True, True, True]


def test_a_fault_concerns_its_route_and_job_only() -> None:
    book = FaultBook(["route=get_job,job_id=j,status=500,times=0"])

    assert met(book, ("get_job", "k"), ("list_jobs", None), ("download_job", "j"), ("get_job", "j")) == [
        False,
        False,
        False,
        True,
    ]


def test_delays_add_up_before_the_first_other_fault() -> None:
    book = FaultBook(["latency=1,times=0", "latency=2", "status=500"])

    taken = [book.take("ping", None) for _ in range(2)]
    assert [(fault.status, fault.latency) for fault in taken if fault] == [(500, 3), (None, 1)]


def test_a_fault_for_once_comes_before_one_that_lasts() -> None:
    book = FaultBook(["status=500,times=0", "drop=reset"])

    assert [getattr(book.take("ping", None), "drop", None) for _ in range(2)] == ["reset", None]


def test_faults_are_met_in_the_order_they_were_added() -> None:
    book = FaultBook(["status=500", "status=501"])

    assert [getattr(book.take("ping", None), "status", None) for _ in range(3)] == [500, 501, None]


def test_reset_arms_the_first_faults_again_and_drops_the_others() -> None:
    book = FaultBook(["status=500"])
    book.add(status=501)
    book.take("ping", None)
    book.reset()

    assert book.to_json() == [{"route": "*", "times": 1, "served": 0, "status": 500}]
    book.clear()
    assert book.to_json() == []


# ---------------------------------------------------------------------------------------- what they look like


@pytest.mark.parametrize("retry_after", [None, "2", "soon"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_status_comes_in_the_envelope_with_or_without_retry_after(
    pixxel: Simulator, client: Any, status: int, retry_after: str | None
) -> None:
    pixxel.fail_next(
        "get_job",
        status=status,
        message="busy",
        code="c",
        **({"retry_after": retry_after} if retry_after else {}),
    )
    answer = client.job("job-finished")

    assert answer.status_code == status
    assert answer.headers.get("retry-after") == retry_after
    assert answer.json() == {"error": {"code": "c", "message": "busy", "details": None}}
    assert client.job("job-finished").status_code == 200


def test_retry_after_can_be_a_date_from_now(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("get_job", status=503, retry_after="date+30")

    before = time.time()
    moment = parsedate_to_datetime(client.job("job-finished").headers["retry-after"]).timestamp()
    assert before + 29 <= moment <= time.time() + 30


def test_retry_after_can_be_a_moment_in_unix_time(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("get_job", status=503, retry_after="unix+30")
    assert abs(int(client.job("job-finished").headers["retry-after"]) - time.time() - 30) < 5


def test_a_date_that_isnt_one_is_sent_as_it_is(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("get_job", status=503, retry_after="date+never")

    assert client.job("job-finished").headers["retry-after"] == "date+never"


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
    pixxel: Simulator, client: Any, body: str, kind: str | None, start: str, status: int
) -> None:
    pixxel.fail_next("get_job", status=status, body=body)
    answer = client.job("job-finished")

    assert (answer.status_code, answer.headers.get("content-type")) == (status, kind)
    assert answer.text.startswith(start)
    assert answer.headers["content-length"] == str(len(answer.content))


def test_any_json_can_be_the_answer(pixxel: Simulator, client: Any) -> None:
    for value in (None, [], 0, {"status": "odd"}, "text"):
        pixxel.fail_next("get_job", json=value)
        assert client.job("job-finished").json() == value


def test_a_huge_body_is_as_many_megabytes_as_asked_and_json(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("get_job", body="huge", megabytes=3)
    answer = client.job("job-finished")

    assert len(answer.content) == 3 * 1024 * 1024
    assert answer.json().keys() == {"padding"}


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_has_none(pixxel: Simulator, client: Any, status: int) -> None:
    pixxel.fail_next("get_job", status=status, body="html")
    answer = client.job("job-finished")

    assert (answer.status_code, answer.content) == (status, b"")
    assert client.job("job-finished").status_code == 200


def test_a_redirect_says_where(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("get_job", location="http://localhost:1/elsewhere")
    answer = client.job("job-finished")

    assert (answer.status_code, answer.headers["location"]) == (302, "http://localhost:1/elsewhere")


def test_an_echo_repeats_the_authorization_header(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("get_job", body="echo", message="no")
    answer = client.job("job-finished")

    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "no: Authorization: Bearer simulator-key"


@pytest.mark.parametrize("drop", ["reset", "close"])
def test_a_dropped_connection_gives_no_byte(pixxel: Simulator, client: Any, drop: str) -> None:
    pixxel.fail_next("get_job", drop=drop)

    with pytest.raises(requests.ConnectionError):
        client.job("job-finished")
    assert client.job("job-finished").status_code == 200
    assert pixxel.counters.snapshot()["statuses"] == {"get_job": {"dropped": 1, "200": 1}}


@pytest.mark.parametrize(("drop", "expected"), [("reset", ConnectionResetError), ("close", None)])
def test_a_reset_is_a_reset_and_a_close_is_a_close(pixxel: Simulator, drop: str, expected: Any) -> None:
    pixxel.fail_next("ping", drop=drop)
    place = urlsplit(pixxel.url)

    with socket.create_connection((place.hostname, place.port), timeout=10) as sock:
        sock.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if expected is None:
            assert sock.recv(100) == b""
        else:
            with pytest.raises(expected):
                sock.recv(100)


@pytest.mark.parametrize("kept", [0, 10, 1_000_000])
def test_a_truncated_answer_promises_more_than_it_sends(pixxel: Simulator, client: Any, kept: int) -> None:
    whole = client.job("job-finished").content
    pixxel.fail_next("get_job", truncate=kept)
    answer = client("GET", f"{JOBS}/job-finished", stream=True)

    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(whole)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        answer.content  # noqa: B018 - reads it
    assert client.job("job-finished").content == whole


def test_a_slow_answer_holds_up_nobody_else(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("ping", latency=600)
    place = urlsplit(pixxel.url)

    with socket.create_connection((place.hostname, place.port), timeout=10) as sock:
        sock.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not pixxel.requests("ping"):
            client.get("/v0/projects")
        assert client.job("job-finished").json()["status"] == "completed"
        assert pixxel.counters.snapshot()["in_flight"] == 1


def test_latency_comes_before_another_fault(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("get_job", latency=600, status=504)

    with pytest.raises(requests.ReadTimeout):
        client.session.get(f"{client.url}{JOBS}/job-finished", timeout=(10, 0.2))


def test_after_the_latency_comes_the_other_fault(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("get_job", latency=0.01, status=504)

    assert client.job("job-finished").status_code == 504


def test_a_request_whose_client_gave_up_is_carried_out(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("create_job", latency=0.3)
    before = len(pixxel.world.jobs)

    with pytest.raises(requests.ReadTimeout):
        client.session.post(
            client.url + JOBS, params={"project_id": "project-agriculture"}, timeout=(10, 0.05)
        )
    deadline = time.monotonic() + 10
    while len(pixxel.world.jobs) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(pixxel.world.jobs) == before + 1


def test_a_list_leaves_out_the_jobs_it_is_told_to(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next("list_jobs", hide=["job-finished"])

    listed = [[job["id"] for job in client.get(JOBS).json()["jobs"]] for _ in range(2)]
    assert listed == [["job-finished-earlier"], ["job-finished", "job-finished-earlier"]]
    assert client.job("job-finished").status_code == 200


def test_a_list_leaves_out_the_same_share_each_time(pixxel: Simulator, client: Any) -> None:
    for number in range(40):
        pixxel.create_job(job_id=f"job-{number}")
    pixxel.fail_next("list_jobs", hide=0.5, times=0)

    first, second = (json.dumps(client.get(JOBS).json()["jobs"]) for _ in range(2))
    assert first == second
    assert 5 < len(json.loads(first)) < 37


def test_a_hiding_fault_for_all_routes_only_counts_lists(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next(hide=["job-finished"])

    assert client.job("job-finished").status_code == 200
    assert len(client.get(JOBS).json()["jobs"]) == 1


def test_the_next_request_fails_with_503_unless_more_is_said(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next()

    assert client.get("/ping").status_code == 503
    assert client.get("/ping").status_code == 200


def test_an_unknown_route_meets_faults_for_all_routes(pixxel: Simulator, client: Any) -> None:
    pixxel.fail_next(status=500)

    assert client.get("/v0/nowhere").status_code == 500
