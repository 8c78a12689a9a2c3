"""The pages' routes, as a browser meets them: below Airflow's own address, with Airflow's own checks."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plugins.pages import Records, require_pages
from tests.support import CANARY, FakeClock

require_pages()
httpx = pytest.importorskip("httpx")

from airflow.api_fastapi.core_api import security  # noqa: E402
from fastapi import FastAPI, Request  # noqa: E402
from fastapi.dependencies.utils import get_flat_dependant  # noqa: E402
from fastapi.responses import JSONResponse  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402

from pixxel_provider.plugins import app as app_module  # noqa: E402
from pixxel_provider.plugins import queries, views  # noqa: E402
from pixxel_provider.plugins.app import make_app  # noqa: E402
from pixxel_provider.plugins.cache import ERROR_LASTS  # noqa: E402
from pixxel_provider.plugins.client import PageClient  # noqa: E402
from tests.plugins.access import assert_hidden  # noqa: E402

Get = Callable[..., Any]
Wait = Callable[..., None]

RUN = "manual__2026-11-24T04:00:00+00:00"
ROOT = "/team/airflow"
FILES = {
    "theme.js": "text/javascript",
    "common.js": "text/javascript",
    "job.js": "text/javascript",
    "jobs.js": "text/javascript",
    "page.css": "text/css",
    "icon.svg": "image/svg+xml",
}
PATHS = [
    f"/job/coast/{RUN}/wait/-1",
    f"/job/coast/{RUN}/wait/-1/data",
    f"/job/coast/{RUN}/wait/-1/raw",
    "/jobs",
    "/jobs/data",
    "/static/theme.js",
]
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
HIDDEN = {"viewer": {"secret"}, "nobody": {"secret", "coast"}}


class Manager:
    """An auth manager: the viewer may see all but one DAG, nobody no DAG and no page, blind no page."""

    def is_authorized_dag(
        self, *, method: str, user: Any, access_entity: Any = None, details: Any = None
    ) -> bool:
        assert method == "GET"
        assert access_entity.name == "TASK_INSTANCE"
        return user.name != "nobody" and (details is None or details.id not in HIDDEN.get(user.name, ()))

    def is_authorized_view(self, *, access_view: Any, user: Any) -> bool:
        return user.name not in ("nobody", "blind")

    def get_authorized_dag_ids(self, *, user: Any, method: str = "GET", **_: Any) -> set[str]:
        assert method == "GET"
        return {"coast", "secret"} - HIDDEN.get(user.name, set())

    def is_authorized_asset(self, *, method: str, user: Any, details: Any) -> bool:
        assert method == "GET"
        return bool(details.id) and user.name != "assetless"


async def user_of_header(request: Request) -> Any:
    name = request.headers.get("x-test-user")
    if name is None:
        return await security.get_user(request, None, None)
    return SimpleNamespace(name=name, get_id=lambda: name, get_name=lambda: name)


@pytest.fixture
def app(records: Records, pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The app, which knows the user by a header."""
    manager = Manager()
    for module in (security, app_module):
        monkeypatch.setattr(module, "get_auth_manager", lambda: manager)
    extra = {"console_url": "https://console.example/{job_id}", "note": "extra-canary", "read_timeout": 9}
    connection = {**pixxel.airflow_connection, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps(connection))
    found = make_app()
    found.app.dependency_overrides[security.get_user] = user_of_header
    return found


@pytest.fixture
def client(app: Any) -> Iterator[TestClient]:
    """The viewer's client, of an Airflow below a path."""
    airflow = FastAPI(root_path=ROOT)
    airflow.mount("/pixxel", app)
    with TestClient(airflow, base_url="http://airflow.example", headers={"x-test-user": "viewer"}) as found:
        yield found


@pytest.fixture
def get(client: TestClient) -> Callable[..., Any]:
    def get(path: str, user: str | None = "viewer", **more: Any) -> Any:
        if user is None:
            client.headers.pop("x-test-user", None)
        else:
            client.headers["x-test-user"] = user
        return client.get(f"{ROOT}/pixxel{path}", **more)

    return get


@pytest.fixture
def data(get: Get) -> Callable[..., Any]:
    def data(task_id: str = "wait", map_index: Any = -1) -> Any:
        answer = get(f"/job/coast/{RUN}/{task_id}/{map_index}/data")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    return data


@pytest.fixture
def wait(records: Records) -> Callable[..., None]:
    """Have a task instance that waits for a job."""
    for dag_id in ("coast", "secret"):
        records.run(dag_id, RUN)

    def wait(
        job_id: str = "job-1",
        workflow_id: str = "wf-succeeds",
        task_id: str = "wait",
        index: int = -1,
        dag_id: str = "coast",
        state: str = "deferred",
        **xcoms: Any,
    ) -> None:
        now = datetime.now(timezone.utc)
        columns = {"end_date": now} if state in ("success", "failed") else {}
        records.change(
            dag_id, RUN, task_id, index, state=state, start_date=now - timedelta(minutes=1), **columns
        )
        records.work(
            *(dag_id, RUN, task_id, index),
            pixxel_conn_id="pixxel_default",
            workflow_id=workflow_id,
            job_id=job_id,
            **xcoms,
        )

    return wait


# --------------------------------------------------------------------------------------------------- guards


def test_every_route_requires_a_user_and_only_reads() -> None:
    routes = {route.path: route for route in make_app().app.routes}

    assert sorted(routes) == [
        "/job/{dag_id}/{run_id}/{task_id}/{map_index}",
        "/job/{dag_id}/{run_id}/{task_id}/{map_index}/data",
        "/job/{dag_id}/{run_id}/{task_id}/{map_index}/raw",
        "/jobs",
        "/jobs/data",
        "/static/{name}",
    ]
    for path, route in routes.items():
        assert route.methods == {"GET"}, path
        calls = [each.call for each in route.dependant.dependencies]
        asked = [
            inner.call
            for each in route.dependant.dependencies
            for inner in get_flat_dependant(each).dependencies or each.dependencies
        ]
        assert security.get_user in asked, path
        names = [getattr(call, "__qualname__", "") for call in calls]
        wanted = "requires_authenticated" if path.startswith("/static") else "requires_access_dag"
        assert any(name.startswith(wanted) for name in names), path
        if path.startswith("/jobs"):
            assert any(name.startswith("requires_access_view") for name in names), path


@pytest.mark.parametrize("path", PATHS)
def test_without_a_login_every_route_answers_401(get: Get, wait: Wait, path: str) -> None:
    wait()
    answer = get(path, None)

    assert answer.status_code == 401
    assert answer.json() == {"detail": "Not authenticated"}


@pytest.mark.parametrize("path", PATHS[:5])
@pytest.mark.parametrize("dag_id", ["secret", "unknown"])
def test_without_the_right_every_route_answers_403(
    get: Get, wait: Wait, pixxel: Any, path: str, dag_id: str
) -> None:
    wait("job-finished", dag_id="secret")
    wait("job-finished")
    user = "viewer" if dag_id == "secret" and path.startswith("/job/") else "nobody"
    answer = get(path.replace("coast", dag_id), user)

    assert answer.status_code == 403
    assert answer.json() == {"detail": "Forbidden"}
    assert pixxel.requests() == 0


def test_another_dag_in_the_query_grants_no_right(get: Get, wait: Wait) -> None:
    wait(dag_id="secret")

    assert get(f"/job/secret/{RUN}/wait/-1/data?dag_id=coast").status_code == 403
    assert get("/jobs/data?dag_id=coast").json()["rows"] == []


@pytest.mark.parametrize("path", ["/jobs", "/jobs/data"])
def test_the_list_requires_the_right_to_the_website(get: Get, path: str) -> None:
    assert get(path, "blind").status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", PATHS)
def test_nothing_can_be_written(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, f"{ROOT}/pixxel{path}").status_code == 405


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/", ""])
def test_there_are_no_other_routes(get: Get, path: str) -> None:
    assert get(path).status_code == 404


# -------------------------------------------------------------------------------------------------- headers

ANSWERS = {
    "a page": (PATHS[0], "viewer", 200),
    "data": (PATHS[1], "viewer", 200),
    "raw": (PATHS[2], "viewer", 200),
    "list": ("/jobs", "viewer", 200),
    "data of the list": ("/jobs/data", "viewer", 200),
    "a script": ("/static/theme.js", "viewer", 200),
    "401": (PATHS[1], None, 401),
    "403": (PATHS[1], "nobody", 403),
    "404 of ours": (PATHS[1].replace("wait", "nothing"), "viewer", 404),
    "404": ("/nothing", "viewer", 404),
}


@pytest.mark.parametrize(("path", "user", "status"), ANSWERS.values(), ids=ANSWERS)
def test_every_answer_has_the_headers(get: Get, wait: Wait, path: str, user: str | None, status: int) -> None:
    wait("job-finished")
    answer = get(path, user)

    assert answer.status_code == status
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    assert "set-cookie" not in answer.headers


# --------------------------------------------------------------------------------------- pages and files


@pytest.mark.parametrize("path", [PATHS[0], f"/job/coast/{RUN}/wait/%7BMAP_INDEX%7D", "/jobs"])
def test_a_page_finds_its_files_below_airflows_path(get: Get, path: str) -> None:
    answer = get(path)

    assert answer.headers["content-type"].startswith("text/html")
    assert "{{root}}" not in answer.text
    assert f'src="{ROOT}/pixxel/static/common.js"' in answer.text
    assert f'data-root="{ROOT}/pixxel"' in answer.text


def test_a_page_has_no_script_or_style_that_the_policy_forbids(get: Get) -> None:
    for path in (PATHS[0], "/jobs"):
        text = get(path).text
        assert text.count("<script") == text.count("<script src=") + text.count("<script defer src=")
        assert "<style" not in text
        assert " style=" not in text
        assert "http" not in text


def test_a_path_of_airflows_is_escaped(app: Any) -> None:
    client = TestClient(app, root_path='/a"><script>&', headers={"x-test-user": "viewer"})
    text = client.get("/jobs").text

    assert 'data-root="/a&quot;&gt;&lt;script&gt;&amp;"' in text
    assert "<script>" not in text


@pytest.mark.parametrize("name", FILES)
def test_each_file_has_its_content_type(get: Get, name: str) -> None:
    answer = get(f"/static/{name}")

    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == FILES[name]
    assert len(answer.content) > 100


@pytest.mark.parametrize(
    "name",
    [
        "..%2fapp.py",
        "..%2f..%2fplugins%2fapp.py",
        "%2e%2e%2fapp.py",
        "..%5capp.py",
        "....%2f%2fapp.py",
        "%2fetc%2fpasswd",
        "job.html",
        "jobs.html",
        "app.py",
        "",
        ".",
        "..",
        "%2e%2e",
        ".js",
        "nothing.js",
        "theme.js%00",
        "%00.js",
        "theme.js%00.css",
        "theme.JS",
        "theme.js.map",
        "theme.js/",
        "theme.js/x",
        "sub%2ftheme.py",
        "x" * 300 + ".js",
    ],
)
def test_no_other_file_is_served(get: Get, name: str) -> None:
    answer = get(f"/static/{name}", follow_redirects=False)

    assert answer.status_code in (404, 307)
    assert "def " not in answer.text
    assert "{{root}}" not in answer.text


# ------------------------------------------------------------------------------------------ the data of a job


def test_a_job_that_runs(data: Get, wait: Wait, pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1")
    pixxel.advance(30)
    wait(estimated_cost=77)
    found = data()

    assert (found["kind"], found["message"], found["poll"]) == ("job", "", 5)
    assert found["task"]["state"] == "deferred"
    job = {"id": "job-1", "status": "running", "meaning": "waiting"}
    assert job.items() <= found["job"].items()
    assert found["job"]["console"] == "https://console.example/job-1"
    assert found["job"]["estimated_cost"] == 77
    assert "running" in {task["meaning"] for task in found["tasks"]}
    assert pixxel.requests("estimate_cost") == 0


def test_a_known_job_is_shown_with_its_time_while_pixxel_is_slow(
    app: Any, data: Get, wait: Wait, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(1_000.0)
    app.app.state.client = PageClient(clock)  # type: ignore[arg-type]
    monkeypatch.setattr("pixxel_provider.plugins.cache.KNOWN_WAIT", 0.05)
    pixxel.create_job("wf-succeeds", "job-1", seconds=600)
    wait("job-1")
    pixxel.fail_next("estimate_cost", status=400)
    assert data()["kind"] == "job"
    clock.sleep(ERROR_LASTS)
    # The estimate, which isn't known, isn't waited for either.
    for route in ("get_job", "estimate_cost"):
        pixxel.fail_next(route, latency=2, times=0)
    began = time.monotonic()
    late, again = data(), data()

    assert time.monotonic() - began < 1.9
    for found in (late, again):
        assert (found["kind"], found["job"]["id"]) == ("error", "job-1")
        assert "hasn't answered yet" in found["message"]
        assert datetime.fromisoformat(found["as_of"]) <= datetime.fromisoformat(found["now"])
    assert pixxel.requests("get_job") == 2


def test_pixxels_estimate_is_requested_if_the_task_has_none(data: Get, wait: Wait, pixxel: Any) -> None:
    wait("job-finished", state="success")

    assert data()["job"]["estimated_cost"] == pixxel.world.workflow("wf-succeeds").promised_cost


def test_a_job_that_failed(data: Get, wait: Wait) -> None:
    wait("job-failed", "wf-fails", state="failed")
    found = data()

    assert (found["kind"], found["poll"]) == ("job", None)
    assert found["job"]["meaning"] == "failed"
    (task,) = [task for task in found["tasks"] if task["meaning"] == "failed"]
    assert task["err_msg"]
    assert task["err_msg"] in found["job"]["failure"]


def test_a_job_that_pixxel_does_not_know(data: Get, wait: Wait, pixxel: Any, records: Records) -> None:
    wait("nothing", state="failed")
    # It may just have been created.
    assert data()["poll"] == 5
    ended = datetime.now(timezone.utc) - timedelta(minutes=3)
    records.change("coast", RUN, "wait", end_date=ended)
    found = data()

    assert (found["kind"], found["poll"]) == ("error", None)
    assert "404" in found["message"]
    assert "job" not in found
    assert pixxel.requests("estimate_cost") == 0


def test_a_task_that_has_no_job_yet(data: Get, wait: Wait, pixxel: Any) -> None:
    assert wait
    polls: list[Any] = [("wait", -1, 5), ("each", 1, 5), ("plain", -1, None), ("plain_each", 0, None)]
    for task_id, index, poll in polls:
        found = data(task_id, index)
        assert (found["kind"], found["poll"]) == ("none", poll)
        assert found["message"]
    assert pixxel.requests() == 0


@pytest.mark.parametrize(
    "index", ["%7BMAP_INDEX%7D", "{MAP_INDEX}", "-1", "x", "1.0", "9999999999999", "-", "--5"]
)
def test_an_index_that_is_no_number_means_an_unmapped_task(data: Get, wait: Wait, index: str) -> None:
    wait("job-finished")

    assert data(map_index=index)["task"]["map_index"] == -1


def test_a_mapped_task_has_the_job_of_its_index(data: Get, wait: Wait) -> None:
    wait("job-finished", task_id="each", index=1)
    wait("job-failed", "wf-fails", task_id="each", index=2)

    assert data("each", 1)["job"]["id"] == "job-finished"
    assert data("each", 2)["job"]["id"] == "job-failed"
    assert data("each", 0)["kind"] == "none"


@pytest.mark.parametrize("end", ["data", "raw"])
@pytest.mark.parametrize(
    "place",
    [
        f"~/{RUN}/wait/-1",
        "coast/~/wait/-1",
        f"coast/{RUN}/~/-1",
        f"coast/{RUN}/nothing/-1",
        f"coast/{RUN}/wait/0",
        "coast/nothing/wait/-1",
        # PostgreSQL's client raises an error of its own for it.
        f"coast/{RUN}%00/wait/-1",
        f"coast/{RUN}/wait%00/-1",
    ],
)
def test_a_task_instance_that_does_not_exist_is_a_404(get: Get, wait: Wait, place: str, end: str) -> None:
    wait("job-finished")

    assert get(f"/job/{place}/{end}", "admin").status_code == 404


@pytest.mark.parametrize("run_id", [RUN, RUN.replace(":", "%3A").replace("+", "%2B")])
def test_the_id_of_a_run_may_be_encoded(get: Get, wait: Wait, run_id: str) -> None:
    wait("job-finished")

    assert get(f"/job/coast/{run_id}/wait/-1/data").json()["job"]["id"] == "job-finished"


def test_the_raw_job_is_text(get: Get, wait: Wait) -> None:
    wait("job-finished")
    answer = get(f"/job/coast/{RUN}/wait/-1/raw")

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert json.loads(answer.text)["id"] == "job-finished"
    assert isinstance(json.loads(answer.text)["spec"], dict)


def test_a_raw_job_that_cannot_be_read_has_an_error(get: Get, wait: Wait, pixxel: Any) -> None:
    assert wait
    assert get(f"/job/coast/{RUN}/wait/-1/raw").status_code == 404
    wait("job-finished")
    pixxel.fail_next("get_job", status=503)
    answer = get(f"/job/coast/{RUN}/wait/-1/raw")

    assert answer.status_code == 502
    assert "503" in answer.json()["detail"]


# --------------------------------------------------------------------------------------------------- the list


def test_the_list_holds_what_the_user_may_see(get: Get, wait: Wait, pixxel: Any) -> None:
    for name in ("job-1", "job-2", "hidden"):
        pixxel.create_job("wf-succeeds", name)
    wait("job-1")
    wait("job-2", task_id="each", index=2, state="failed", status="failed", cost=5)
    wait("hidden", dag_id="secret")
    answer = get("/jobs/data")
    found = answer.json()

    assert {(row["task_id"], row["map_index"], row["job_id"]) for row in found["rows"]} == {
        ("wait", -1, "job-1"),
        ("each", 2, "job-2"),
    }
    assert (found["total"], found["note"], found["poll"]) == (2, "", 10)
    assert "secret" not in answer.text
    assert "hidden" not in answer.text
    assert [row["meaning"] for row in found["rows"]] == ["waiting", "failed"]
    # A job that has ended isn't requested.
    assert pixxel.requests("get_job", "job-1") == pixxel.requests() == 1
    assert get("/jobs/data", "admin").json()["total"] == 3


SEEN = {
    "viewer": {"region": ["coast"]},
    "admin": {"region": ["coast", "secret"], "secret-region": ["secret"]},
}


@pytest.mark.parametrize(("user", "seen"), SEEN.items())
def test_the_list_holds_the_watchers_that_the_user_may_see(
    get: Get, user: str, seen: dict[str, list[str]]
) -> None:
    answer = get("/jobs/data", user)
    assert {each["workflow_id"]: each["dag_ids"] for each in answer.json()["watchers"]} == seen
    assert ("secret" in answer.text) == (user == "admin")
    assert get("/jobs/data", "assetless").json()["watchers"] == []


def test_the_list_shows_the_last_24_hours(get: Get, wait: Wait, records: Records) -> None:
    now = datetime.now(timezone.utc)
    for index, hours in enumerate((23, 25)):
        wait(f"job-{index}", task_id="each", index=index, state="success")
        records.change("coast", RUN, "each", index, end_date=now - timedelta(hours=hours))

    assert [row["job_id"] for row in get("/jobs/data").json()["rows"]] == ["job-0"]


@pytest.mark.parametrize("path", ["/jobs/data", PATHS[1]])
def test_no_page_is_rendered_in_the_event_loop(
    get: Get, wait: Wait, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    wait("job-finished")
    in_loop: list[bool] = []

    def watched(work: Callable[..., Any]) -> Callable[..., Any]:
        def watch(*args: Any, **more: Any) -> Any:
            in_loop.append(asyncio._get_running_loop() is not None)
            return work(*args, **more)

        return watch

    for place, name in ((views, "job_page"), (views, "jobs_page"), (JSONResponse, "render")):
        monkeypatch.setattr(place, name, watched(getattr(place, name)))

    assert get(path).status_code == 200
    # Made, and written as JSON.
    assert in_loop == [False, False]


def test_the_list_has_a_note_if_pixxel_has_not_answered(get: Get, wait: Wait, pixxel: Any) -> None:
    wait("job-finished", status="created")
    pixxel.fail_next("get_job", status=500)
    found = get("/jobs/data").json()

    assert found["note"]
    assert (found["rows"][0]["status"], found["rows"][0]["progress"]) == ("created", None)


# ------------------------------------------------------------------------------------------------- secrets


def test_no_answer_holds_the_key_an_extra_or_a_signature(get: Get, wait: Wait, pixxel: Any) -> None:
    signed = f"https://u:pa55w0rd@files.example/p?sig=s1gn4ture {CANARY}"
    job = {"status": signed, "created_by": signed, "tasks": [{"name": signed, "err_msg": signed}]}
    pixxel.create_job("wf-succeeds", "job-1", fields={**job, "val_errors": [signed], "spec": signed})
    wait()
    wait("job-2", task_id="own", estimated_cost=1)
    pixxel.fail_next("get_job", job_id="job-2", times=None, status=401, json={"error": {"message": signed}})
    said = []
    for path in (*PATHS, *(path.replace("wait", "own") for path in PATHS[:3])):
        answer = get(path)
        said.append(answer.text + str(answer.headers))

    assert sum("files.example" in each for each in said) >= 5
    for each in said:
        for secret in (CANARY, "pa55w0rd", "s1gn4ture", "extra-canary", "Bearer"):
            assert secret not in each


def test_the_key_is_not_in_bytes_either(get: Get, wait: Wait, pixxel: Any) -> None:
    spec = list(json.dumps({"spec says": CANARY}).encode())
    inputs = base64.b64encode(f'{{"inputs say": "Bearer {CANARY}"}}'.encode()).decode()
    pixxel.create_job("wf-succeeds", "job-1", fields={"spec": spec, "tasks": [{"inputs": inputs}]})
    wait()
    shown = get(f"/job/coast/{RUN}/wait/-1/raw").text

    assert json.loads(shown)["spec"] == {"spec says": "***"}
    assert "inputs say" in shown
    assert CANARY not in shown


@pytest.mark.parametrize(
    ("task_id", "index", "pushed"),
    [
        ("plain", -1, {}),
        ("plain_each", 0, {}),
        ("alike", -1, {}),
        ("estimate", -1, {}),
        ("wait", -1, {"pixxel_conn_id": "other_team"}),
        ("wait", -1, {"workflow_id": "wf-fails"}),
        ("wait", -1, {"job_id": "job-failed"}),
        ("each", 1, {"pixxel_conn_id": "other_team"}),
        ("run", -1, {"pixxel_conn_id": "other_team"}),
        ("run", -1, {"workflow_id": "wf-fails"}),
    ],
)
def test_xcoms_alone_lead_to_no_request(
    get: Get,
    wait: Wait,
    pixxel: Any,
    records: Records,
    monkeypatch: pytest.MonkeyPatch,
    task_id: str,
    index: int,
    pushed: dict[str, str],
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER_TEAM", json.dumps(pixxel.airflow_connection))
    own = {"pixxel_conn_id": "pixxel_default", "workflow_id": "wf-succeeds", "job_id": "job-finished"}
    assert wait
    records.change("coast", RUN, task_id, index, state="running", start_date=datetime.now(timezone.utc))
    records.push("coast", RUN, task_id, index, **{**own, **pushed}, status="s3cret words")
    if pushed:
        records.render("coast", RUN, task_id, index, **own)

    assert_hidden(get, f"/job/coast/{RUN}/{task_id}/{index}")
    assert pixxel.requests() == 0


def test_a_wait_whose_arguments_are_not_known_yet_has_a_message(
    data: Get,
    get: Get,
    wait: Wait,
    records: Records,
    pixxel: Any,
) -> None:
    assert wait
    records.change("coast", RUN, "template", state="deferred")
    records.push("coast", RUN, "template", pixxel_conn_id="other", workflow_id="w", job_id="a", status="odd")

    found = data("template")
    assert (found["kind"], found["poll"]) == ("none", 5)
    assert "no rendered arguments" in found["message"]
    (row,) = get("/jobs/data").json()["rows"]
    assert (row["task_id"], row["job_id"], row["workflow_id"], row["status"]) == ("template", "", "", "")
    assert pixxel.requests() == 0


def test_twenty_viewers_at_once_cost_one_request(app: Any, wait: Wait, pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1")
    wait()

    async def viewers() -> list[Any]:
        viewer: dict[str, Any] = {"headers": {"x-test-user": "viewer"}, "base_url": "http://airflow.example"}
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, timeout=60, **viewer) as client:
            return await asyncio.gather(*(client.get(PATHS[1]) for _ in range(20)))

    answers = asyncio.run(viewers())
    assert {answer.json()["job"]["id"] for answer in answers} == {"job-1"}
    assert pixxel.requests("get_job") == 1
    assert pixxel.requests("estimate_cost") == 1


def test_an_error_of_the_database_is_not_shown(
    app: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("postgresql://airflow:s3cret@db/airflow")

    monkeypatch.setattr(queries, "find", broken)
    client = TestClient(app, raise_server_exceptions=False, headers={"x-test-user": "viewer"})
    answer = client.get(PATHS[1])

    assert answer.status_code == 500
    assert "s3cret" not in answer.text
    assert HEADERS.items() <= dict(answer.headers).items()
