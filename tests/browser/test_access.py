"""Who may see what: users with passwords at the server that checks them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.browser.conftest import staging

ROOT = Path(__file__).resolve().parents[2]
STATIC = [file.name for file in (ROOT / "pixxel_provider" / "plugins" / "static").iterdir()]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
OTHER_METHODS = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def person(stage: Any) -> Any:
    """Return the session of a user who has logged in, or one without a login."""

    def log_in(user: str = "") -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        if user:
            session.cookies.set("_token", staging.token(stage.prefixed, user))
        return session

    return log_in


@pytest.fixture
def routes(stage: Any) -> dict[str, list[str]]:
    """Every address of the app, by whose right it takes."""

    def of(place: Any) -> list[str]:
        return [f"{stage.prefixed}{place.page}{more}" for more in ("", "/data", "/raw")]

    base = f"{stage.prefixed}/pixxel"
    return {
        "task": [url for task in ("running", "failed") for url in of(stage.place(task))],
        "hidden": of(stage.hidden),
        "list": [f"{base}/jobs", f"{base}/jobs/data"],
        "static": [f"{base}/static/{name}" for name in STATIC if not name.endswith(".html")],
    }


def every(routes: dict[str, list[str]]) -> list[str]:
    return [url for urls in routes.values() for url in urls]


def statuses(session: requests.Session, urls: list[str], method: str = "GET") -> dict[str, int]:
    return {url: session.request(method, url, timeout=30, allow_redirects=False).status_code for url in urls}


def test_without_a_login_every_route_answers_401(person: Any, routes: Any) -> None:
    assert set(statuses(person(), every(routes)).values()) == {401}


def test_an_invalid_token_is_refused(person: Any, routes: Any) -> None:
    session = person()
    session.headers["Authorization"] = "Bearer made.up.token"
    assert set(statuses(session, every(routes)).values()) <= {401, 403}


def test_an_admin_sees_everything(person: Any, routes: Any) -> None:
    assert set(statuses(person("admin"), every(routes)).values()) == {200}


def test_a_viewer_sees_all_but_the_hidden_dag(person: Any, routes: Any) -> None:
    viewer = person("viewer")
    assert set(statuses(viewer, routes["hidden"]).values()) == {403}
    seen = [url for url in every(routes) if url not in routes["hidden"]]
    assert set(statuses(viewer, seen).values()) == {200}


def test_a_user_without_dags_sees_no_job_and_no_list(person: Any, routes: Any) -> None:
    guarded = [*routes["task"], *routes["hidden"], *routes["list"]]
    assert set(statuses(person("nobody"), guarded).values()) == {403}


def test_the_list_holds_nothing_that_a_viewer_may_not_see(person: Any, stage: Any) -> None:
    url = f"{stage.prefixed}/pixxel/jobs/data"
    all_of_it, hers = (person(user).get(url, timeout=30) for user in ("admin", "viewer"))
    assert "job-hidden" in all_of_it.text
    assert "hidden" not in hers.text
    assert hers.json()["total"] == all_of_it.json()["total"] - 1


@pytest.mark.parametrize("trick", ["~", "pixxel_page"])
def test_the_right_to_one_dag_grants_no_other(person: Any, stage: Any, trick: str) -> None:
    viewer = person("viewer")
    for more in ("", "/data", "/raw"):
        url = f"{stage.prefixed}{stage.hidden.page}{more}"
        assert viewer.get(url, params={"dag_id": trick}, timeout=30).status_code == 403
        # Without data the page is empty, whatever its address says.
        other = staging.Place(trick, stage.hidden.run_id, "wait").page
        answer = viewer.get(f"{stage.prefixed}{other}{more}", timeout=30)
        assert answer.status_code in (403, 404) or (more == "" and "job-hidden" not in answer.text)


def test_nothing_can_be_written(person: Any, routes: Any) -> None:
    admin = person("admin")
    for method in OTHER_METHODS:
        assert set(statuses(admin, every(routes), method).values()) == {405}


def test_neither_key_nor_extra_nor_signature_is_in_any_answer(person: Any, stage: Any, routes: Any) -> None:
    admin = person("admin")
    signed = stage.place("signed").page
    urls = [*every(routes), *(f"{stage.prefixed}{signed}{more}" for more in ("", "/data", "/raw"))]
    answers = {url: admin.get(url, timeout=30) for url in urls}
    raw = answers[f"{stage.prefixed}{signed}/raw"].text
    assert "https://results.example.com/mosaic.tif" in raw, "the address is there, what signs it isn't"
    for url, answer in answers.items():
        told = answer.text + json.dumps(dict(answer.headers))
        for secret in (staging.KEY, staging.EXTRA, staging.SIGNATURE, "X-Amz"):
            assert secret not in told, url


def test_every_answer_has_the_strict_policy(person: Any, routes: Any, stage: Any) -> None:
    refused = person().get(routes["task"][0], timeout=30)
    missing = person("admin").get(f"{stage.prefixed}/pixxel/static/../app.py", timeout=30)
    for answer in (refused, missing, *(person("admin").get(url, timeout=30) for url in every(routes))):
        headers = answer.headers
        assert headers["Content-Security-Policy"] == POLICY, answer.url
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_only_the_pages_own_files_are_served(person: Any, stage: Any) -> None:
    admin = person("admin")
    for name in (
        "..%2Fapp.py",
        "%2e%2e%2fapp.py",
        "app.py",
        "job.html",
        "nothing.js",
        "",
        "docs",
        "openapi.json",
    ):
        answer = admin.get(f"{stage.prefixed}/pixxel/static/{name}", timeout=30)
        assert answer.status_code in (404, 405), name
    for path in ("docs", "redoc", "openapi.json", ""):
        assert admin.get(f"{stage.prefixed}/pixxel/{path}", timeout=30).status_code == 404
