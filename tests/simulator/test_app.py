from __future__ import annotations

import http.client
import json
from urllib.parse import quote, urlsplit

import pytest
import requests

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.app import Access
from pixxel_provider.simulator.clock import frozen
from pixxel_provider.simulator.render import Problem
from pixxel_provider.simulator.server import Simulator
from tests.simulator.client import JOBS, Client


def raw_request(pixxel: Simulator, target: str, method: str = "GET") -> tuple[int, str]:
    """Send a request with this very target, which no client normalises."""
    connection = http.client.HTTPConnection(urlsplit(pixxel.url).netloc, timeout=10)
    try:
        connection.request(method, target, headers={"Authorization": pixxel.key})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}", "BEARER  {} "])
def test_a_key_is_taken_bare_and_as_bearer(pixxel: Simulator, form: str) -> None:
    headers = {"Authorization": form.format(pixxel.key).strip()}
    assert requests.get(pixxel.url + JOBS, headers=headers, timeout=10).status_code == 200


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_key_beyond_ascii_is_known_however_it_is_sent(encoding: str) -> None:
    with serve(key="schlüssel") as pixxel:
        headers = {"Authorization": "schlüssel".encode(encoding)}
        assert requests.get(pixxel.url + JOBS, headers=headers, timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (None, 401, "unauthorized"),
        ("Bearer", 401, "unauthorized"),
        ("canary-0815", 401, "unauthorized"),
        ("Bearer canary-0815", 401, "unauthorized"),
        ("Basic simulator-key", 401, "unauthorized"),
        ("no-access", 403, "forbidden"),
        ("Bearer no-access", 403, "forbidden"),
    ],
)
@pytest.mark.parametrize("path", [JOBS, "/v0/workflows/nope", "/v0/nowhere"])
def test_nothing_is_answered_to_a_wrong_key(
    pixxel: Simulator, path: str, header: str | None, status: int, code: str
) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = requests.get(pixxel.url + path, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "canary" not in answer.text


ODD_IDS = [
    "a/b",
    "a b",
    "..",
    "../../projects",
    "a?b#c",
    "é🛰",
    "100%",
    "a%2Fb",
    "x" * 3000,
    "a\nb",
    "'\"",
    "\\",
]


@pytest.mark.parametrize("odd", ODD_IDS)
def test_any_id_arrives_as_one_segment(pixxel: Simulator, odd: str) -> None:
    pixxel.create_job(job_id=odd)
    status, found = raw_request(pixxel, f"{JOBS}/{quote(odd, safe='')}")
    assert status == 200, found
    assert pixxel.counters.seen[-1].route == "get_job"
    assert pixxel.counters.seen[-1].ids == {"workflow_id": "wf-succeeds", "job_id": odd}


@pytest.mark.parametrize("odd", ["a/b", "..", "é", "%"])
def test_an_unknown_id_is_named_decoded(pixxel: Simulator, odd: str) -> None:
    status, text = raw_request(pixxel, f"/v0/workflows/{quote(odd, safe='').replace('.', '%2E')}/jobs")
    assert status == 404
    assert f"workflow {odd!r} was not found" in json.loads(text)["error"]["message"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        # Bytes that aren't UTF-8 are an id.
        (f"{JOBS}/%ff%fe", "was not found"),
        *(
            (path, "no such route")
            for path in (
                "/",
                "/v0",
                "/v0/workflows/",
                f"{JOBS}/",
                f"{JOBS}//download",
                "/v0//workflows",
                "/docs",
            )
        ),
    ],
)
def test_an_unknown_path_is_a_404_in_the_envelope(pixxel: Simulator, path: str, words: str) -> None:
    status, text = raw_request(pixxel, path)
    assert status == 404
    assert '"code":"not_found"' in text
    assert words in text


def test_a_wrong_method_is_a_405_in_the_envelope(client: Client) -> None:
    answer = client("DELETE", f"{JOBS}/job-finished")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


def test_a_request_through_a_proxy_reaches_the_same_operation(pixxel: Simulator) -> None:
    status, _ = raw_request(pixxel, f"http://pixxel.invalid{JOBS}/job-finished?x=1")
    assert status == 200
    assert pixxel.requests("get_job", "job-finished") == 1


def test_a_crash_is_a_500_in_the_envelope(
    pixxel: Simulator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(pixxel.world, "full", crash)
    answer = client.job("job-finished")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


def test_the_control_routes_need_no_key_and_arent_counted(pixxel: Simulator, client: Client) -> None:
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
def test_the_control_routes_are_for_this_machine_by_default(
    control: str, client_host: str | None, status: int | None
) -> None:
    access = Access({"key": "user"}, control=control)
    if status is None:
        access.check_control(client_host)
        return
    with pytest.raises(Problem) as caught:
        access.check_control(client_host)
    assert caught.value.status == status


def test_the_control_routes_can_be_switched_off() -> None:
    with serve(clock=frozen(), control="off") as pixxel:
        assert requests.get(f"{pixxel.url}/_control/counters", timeout=10).status_code == 404
