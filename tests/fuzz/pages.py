"""The pages' routes: any path, any XCom and rendered argument, any answer of Pixxel's."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st

from tests.fuzz.answers import FORMS, SETTINGS, body_of
from tests.fuzz.surface import Check, Surface, bounded
from tests.fuzz.texts import ANSWERS, VALUE, WORDS
from tests.plugins.pages import HAS_PAGES
from tests.support import CANARY

RUN = "run_1"
JOB = {"pixxel_conn_id": "pixxel_default", "workflow_id": "w", "job_id": "j"}
SEGMENTS = (
    st.sampled_from(
        [
            "coast",
            "secret",
            RUN,
            "wait",
            "each",
            "run",
            "plain",
            "-1",
            "0",
            "2147483647",
            "{map_index}",
            "999999999",
            "\x00",
            "..",
            "",
            "a/b",
            "%00",
            "é",
            "'; --",
            "x" * 3_000,
        ]
    )
    | WORDS
)
PATHS = st.one_of(
    st.tuples(SEGMENTS, SEGMENTS, SEGMENTS, SEGMENTS, st.sampled_from(["", "/data", "/raw", "/other"])).map(
        lambda parts: (
            "/job/" + "/".join(quote(part, safe="", errors="replace") for part in parts[:4]) + parts[4]
        )
    ),
    st.sampled_from([f"/job/coast/{RUN}/wait/-1{end}" for end in ("", "/data", "/raw", "/data", "/raw")]),
    st.sampled_from(
        [
            "/jobs",
            "/jobs/data",
            "/jobs/data",
            "/static/job.js",
            "/static/../app.py",
            "/static/%2e%2e%2fapp.py",
        ]
    ),
    SEGMENTS.map(lambda name: f"/static/{quote(name, safe='', errors='replace')}"),
)
NAMES = [*JOB, "status", "cost", "estimated_cost"]
XCOMS = st.fixed_dictionaries(
    {}, optional={name: st.just(JOB[name]) | VALUE if name in JOB else VALUE for name in NAMES}
)
STATES = st.sampled_from([None, "deferred", "success", "failed", "running", "up_for_retry", "queued"])
CASES = st.tuples(PATHS, STATES, XCOMS | st.just(JOB), XCOMS | st.just(JOB), ANSWERS, FORMS)


def storable(values: dict[str, Any]) -> dict[str, Any]:
    """Return values as a database of Airflow's keeps them, without the key."""
    try:
        text = json.dumps(values, allow_nan=False)
    except ValueError:
        return {}
    text = text.replace(CANARY, "a key")
    return {} if "\\ud" in text or "\\u0000" in text or len(text) > 100_000 else json.loads(text)


@contextmanager
def _pages() -> Iterator[Check]:
    if not HAS_PAGES:
        yield lambda case: None
        return
    from airflow.api_fastapi.core_api import security
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from pixxel_provider.plugins import app as app_module
    from pixxel_provider.plugins.client import PageClient
    from pixxel_provider.plugins.page_hook import PageHook
    from tests.plugins.pages import Records
    from tests.plugins.test_app import HEADERS, Manager, user_of_header

    answer: dict[str, bytes] = {}

    def send(hook: Any, call: Any, **_: Any) -> Any:
        from pixxel_provider.hooks import protocol

        hook.read.append(SETTINGS[CANARY])
        return protocol.read(SETTINGS[CANARY], call, protocol.Answer(200, {}, answer["body"]))

    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        manager = Manager()
        for module in (security, app_module):
            patch.setattr(module, "get_auth_manager", lambda: manager)
        patch.setattr(PageHook, "send", send)
        patch.setattr(PageHook, "settings", SETTINGS[CANARY])
        records = Records(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.enter_context(records.in_force())
        records.run("coast", RUN)
        app = app_module.make_app()
        app.app.dependency_overrides[security.get_user] = user_of_header
        airflow = FastAPI()
        airflow.mount("/pixxel", app)
        headers = {"x-test-user": "viewer"}
        client = stack.enter_context(TestClient(airflow, base_url="http://airflow.example", headers=headers))

        def check(case: Any) -> None:
            path, state, xcoms, rendered, found, form = case
            # The client of the test logs what it asks for.
            path = path.replace(CANARY, "key")[:20_000]
            answer["body"] = body_of(found, form)
            app.app.state.client = PageClient()
            records.forget("coast", RUN, "wait")
            records.change("coast", RUN, "wait", state=state)
            records.push("coast", RUN, "wait", **storable(xcoms))
            records.render("coast", RUN, "wait", **storable(rendered))
            with bounded():
                got = client.get(f"/pixxel{path}", follow_redirects=False)
            assert got.status_code in (200, 307, 403, 404, 502), (got.status_code, got.text[:500])
            # Starlette itself finds no route for a line break, and a client resolves dots before it asks.
            ours = got.request.url.path.startswith("/pixxel/") and "%0A" not in path
            if got.status_code != 307 and ours:
                assert {name: got.headers.get(name) for name in HEADERS} == HEADERS, dict(got.headers)
            assert CANARY not in got.text
            if path.endswith("/data") and got.status_code == 200:
                json.dumps(got.json(), allow_nan=False)

        yield check


pages = Surface("pages", 4, CASES, _pages)
