from __future__ import annotations

import http.client
import io
import zipfile
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.routing import decode, match, raw_path
from pixxel_provider.simulator.server import Simulator

JOBS = "/v0/workflows/wf-succeeds/jobs"
AGRICULTURE = {"project_id": "project-agriculture"}


def raw_request(pixxel: Simulator, target: str, method: str = "GET") -> tuple[int, str]:
    """A request whose target nobody tidies up on the way."""
    connection = http.client.HTTPConnection(urlsplit(pixxel.url).netloc, timeout=10)
    try:
        connection.request(method, target, headers={"Authorization": pixxel.key})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def message(answer: requests.Response) -> str:
    error = answer.json()["error"]
    assert error.keys() == {"code", "message", "details"}
    return str(error["message"])


# ------------------------------------------------------------------------------------------------ jobs


def test_a_created_job_can_be_fetched_and_listed(pixxel: Simulator, client: Any) -> None:
    created = client("POST", JOBS, params=AGRICULTURE).json()
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
    pixxel: Simulator, client: Any, filters: dict[str, str], found: list[str]
) -> None:
    pixxel.create_job(job_id="new", created_by="someone")
    pixxel.advance(60)

    assert [job["id"] for job in client.get(JOBS, **filters).json()["jobs"]] == found


def test_a_job_belongs_to_the_owner_of_the_key(pixxel: Simulator) -> None:
    owners = [
        requests.post(
            pixxel.url + JOBS, params=AGRICULTURE, headers={"Authorization": key}, timeout=10
        ).json()
        for key in ("simulator-key", "second-key")
    ]

    assert [job["created_by"] for job in owners] == ["user-simulator-1", "user-simulator-2"]


@pytest.mark.parametrize(
    ("params", "status"), [({}, 400), ({"project_id": ""}, 400), ({"project_id": "nope"}, 404)]
)
def test_a_job_isnt_created_without_the_workflows_project(
    pixxel: Simulator, client: Any, params: dict[str, str], status: int
) -> None:
    before = len(pixxel.world.jobs)
    answer = client("POST", JOBS, params=params)

    assert answer.status_code == status
    assert "project" in message(answer)
    assert len(pixxel.world.jobs) == before


# ------------------------------------------------------------------------------------------- workflows


def test_a_workflow_is_known_in_its_project_only(client: Any) -> None:
    assert client.get("/v0/workflows/wf-succeeds", **AGRICULTURE).json()["estimated_cost"] == 120
    assert client.get("/v0/workflows/wf-succeeds", project_id="project-coast").status_code == 404
    assert "project_id" in message(client.get("/v0/workflows/wf-succeeds"))


def test_the_estimate_is_what_a_job_costs(pixxel: Simulator, client: Any) -> None:
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
    client: Any, filters: dict[str, Any], ids: list[str], total: int
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
def test_a_malformed_parameter_is_named(client: Any, path: str, params: dict[str, Any], name: str) -> None:
    answer = client.get(path, **params)

    assert answer.status_code == 400
    assert message(answer).startswith(name)
    assert answer.json()["error"]["details"] == {"parameter": name}


def test_projects_come_in_pages_with_the_count_of_all(client: Any) -> None:
    body = client.get("/v0/projects", page_num=2, page_size=1).json()

    assert body["count"] == 2
    assert [project["id"] for project in body["projects"]] == ["project-coast"]


def test_ping_answers_without_a_key(pixxel: Simulator) -> None:
    assert requests.get(f"{pixxel.url}/ping", timeout=10).json() == "pong"


# --------------------------------------------------------------------------------------------- the key


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


# ------------------------------------------------------------------------------------------------- ids

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
def test_an_unknown_id_is_named_as_it_was_meant(pixxel: Simulator, client: Any, odd: str) -> None:
    status, text = raw_request(pixxel, f"/v0/workflows/{quote(odd, safe='').replace('.', '%2E')}/jobs")

    assert status == 404
    assert f"workflow {odd!r} was not found" in requests.models.complexjson.loads(text)["error"]["message"]


def test_bytes_that_arent_utf8_are_an_unknown_id(pixxel: Simulator) -> None:
    status, text = raw_request(pixxel, f"{JOBS}/%ff%fe")

    assert status == 404
    assert "not_found" in text


@pytest.mark.parametrize(
    "path", ["/", "/v0", "/v0/workflows/", f"{JOBS}/", f"{JOBS}//download", "/v0//workflows", "/docs"]
)
def test_a_path_that_isnt_one_is_a_404_in_the_envelope(pixxel: Simulator, path: str) -> None:
    status, text = raw_request(pixxel, path)

    assert status == 404
    assert '"code":"not_found"' in text
    assert "no such route" in text


def test_a_wrong_method_is_a_405_in_the_envelope(client: Any) -> None:
    answer = client("DELETE", f"{JOBS}/job-finished")

    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


def test_a_request_through_a_proxy_reaches_the_same_operation(pixxel: Simulator) -> None:
    status, _ = raw_request(pixxel, f"http://pixxel.invalid{JOBS}/job-finished?x=1")

    assert status == 200
    assert pixxel.requests("get_job", "job-finished") == 1


def test_a_crash_is_a_500_in_the_envelope(
    pixxel: Simulator, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(pixxel.world, "full", crash)
    answer = client.job("job-finished")

    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"raw_path": b"/a%2Fb", "path": "/a/b"}, "/a%2Fb"),
        ({"raw_path": b"/a?x=1", "path": "/a"}, "/a"),
        ({"raw_path": b"http://host:1/a/b", "path": "/a/b"}, "/a/b"),
        ({"raw_path": b"http://host", "path": ""}, "/"),
        ({"path": "/a b"}, "/a%20b"),
    ],
)
def test_the_raw_path_is_found_in_each_kind_of_server(scope: dict[str, Any], path: str) -> None:
    assert raw_path(scope) == path


def test_a_path_is_split_before_it_is_decoded() -> None:
    assert match("GET", "/v0/workflows/a%2Fjobs") == ("get_workflow", {"workflow_id": "a/jobs"})
    assert match("GET", "/v0/workflows//jobs") == ("unmatched", {})
    assert match("PUT", "/v0/workflows") == ("unmatched", {})
    assert decode("%E9") == "\ufffd"


# ------------------------------------------------------------------------------------------- downloads


def ready(pixxel: Simulator, client: Any, path: str) -> str:
    assert client("PUT", path).json()["status"] == "pending"
    pixxel.advance(5)
    return str(client("PUT", path).json()["signed_url"])


def test_a_package_holds_the_results_of_the_jobs_tasks(pixxel: Simulator, client: Any) -> None:
    url = ready(pixxel, client, f"{JOBS}/job-finished/download")
    answer = requests.get(url, timeout=10)

    assert url.startswith(pixxel.url)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 5
    assert requests.get(url, timeout=10).content == answer.content


def test_a_tasks_package_holds_that_task(pixxel: Simulator, client: Any) -> None:
    url = ready(pixxel, client, f"{JOBS}/job-finished/tasks/job-finished-task-4/download")

    with zipfile.ZipFile(io.BytesIO(requests.get(url, timeout=10).content)) as archive:
        assert archive.namelist() == ["4-crop-stress-index.json"]


def test_a_pending_package_has_no_url(client: Any) -> None:
    assert client("PUT", f"{JOBS}/job-finished/download").json() == {
        "id": "job-finished",
        "status": "pending",
        "signed_url": "",
        "workflowId": "wf-succeeds",
    }


def test_a_signed_url_refuses_the_key(pixxel: Simulator, client: Any) -> None:
    url = ready(pixxel, client, f"{JOBS}/job-finished/download")

    assert client.session.get(url, timeout=10).status_code == 400
    assert pixxel.counters.seen[-1].authorization == "bearer"
    assert pixxel.counters.seen[-1].query == ""


@pytest.mark.parametrize(
    "change",
    [lambda url: url[:-1], lambda url: url.split("?")[0], lambda url: url.replace("expires=", "expires=9")],
)
def test_a_signature_holds_for_its_url_only(pixxel: Simulator, client: Any, change: Any) -> None:
    url = ready(pixxel, client, f"{JOBS}/job-finished/download")

    answer = requests.get(change(url), timeout=10)

    assert answer.status_code == 403
    assert "signature" in message(answer)


def test_a_signed_url_expires(pixxel: Simulator, client: Any) -> None:
    url = ready(pixxel, client, f"{JOBS}/job-finished/download")
    pixxel.advance(900)

    answer = requests.get(url, timeout=10)
    assert answer.status_code == 403
    assert "expired" in message(answer)


def test_a_running_job_has_nothing_to_download(pixxel: Simulator, client: Any) -> None:
    pixxel.create_job(job_id="j")

    for path in (f"{JOBS}/j/download", f"{JOBS}/j/tasks/j-task-1/download"):
        answer = client("PUT", path)
        assert answer.status_code == 400
        assert "hasn't ended" in message(answer)


def test_an_unknown_task_is_named(client: Any) -> None:
    answer = client("PUT", f"{JOBS}/job-finished/tasks/nope/download")

    assert answer.status_code == 404
    assert "task 'nope'" in message(answer)
