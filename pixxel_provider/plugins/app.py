"""The pages' routes: each is guarded, none writes, and nothing they send runs or loads what isn't theirs."""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any, TypeVar

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.core_api.security import (
    GetUserDep,
    requires_access_dag,
    requires_access_view,
    requires_authenticated,
)
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from pixxel_provider.plugins import queries, views
from pixxel_provider.plugins.client import PageClient

T = TypeVar("T")

#: How far back the page of all waits looks for those that have ended.
LATELY = timedelta(hours=24)
#: Seconds that a page waits for Pixxel before it shows what is known.
RETRY_FOR = 5.0
# And the list, for jobs of which nothing is known.
_PATIENCE_OF_THE_LIST = 1.0
# Pages that are made at the same time: a large one takes memory, and time that Airflow's own pages lack.
_MADE_AT_ONCE = 2
_INDEX = re.compile(r"-?[0-9]{1,9}")
_STATIC = Path(__file__).parent / "static"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
#: The pages' own files, by name: no path comes from a browser.
_FILES = {file.name: file for file in _STATIC.iterdir() if file.suffix in _KINDS}
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)

_reads_instances = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))
_reads_website = Depends(requires_access_view(AccessView.WEBSITE))
_is_somebody = Depends(requires_authenticated())


class WithHeaders:
    """Puts the headers on every answer of an app, also on refusals and where it breaks."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def make_app(client: PageClient | None = None) -> WithHeaders:
    """Return the app that serves the pages.

    :param client: what asks Pixxel.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.client = client or PageClient()
    app.state.turns = asyncio.Semaphore(_MADE_AT_ONCE)
    job = "/job/{dag_id}/{run_id}/{task_id}/{map_index}"
    for path, endpoint, guards in (
        (job, job_page, [_reads_instances]),
        (f"{job}/data", job_data, [_reads_instances]),
        (f"{job}/raw", job_raw, [_reads_instances]),
        ("/jobs", jobs_page, [_reads_website, _reads_instances]),
        ("/jobs/data", jobs_data, [_reads_website, _reads_instances]),
        ("/static/{name}", static, [_is_somebody]),
    ):
        app.add_api_route(path, endpoint, dependencies=guards, response_class=Response)
    return WithHeaders(app)


def _find(dag_id: str, run_id: str, task_id: str, map_index: str) -> tuple[queries.Instance, bool]:
    # An unmapped task comes with the placeholder that Airflow left as it was.
    index = int(map_index) if _INDEX.fullmatch(map_index) else -1
    found, pixxels = queries.find(dag_id, run_id, task_id, index)
    if found is None:
        raise HTTPException(404, "There is no such task instance.")
    return found, pixxels


_Found = Annotated[tuple[queries.Instance, bool], Depends(_find)]


def job_page(request: Request) -> HTMLResponse:
    """Return the page of a task instance's job; what is on it comes as data."""
    return _page(request, "job.html")


async def job_data(request: Request, found: _Found) -> JSONResponse:
    """Return what the page of a job shows."""
    instance, pixxels = found
    key = instance.job
    if key is None:
        return JSONResponse(views.without_job(instance, datetime.now(timezone.utc), pixxels=pixxels))
    client: PageClient = request.app.state.client
    until = time.monotonic() + RETRY_FOR
    seen = await client.job(key, RETRY_FOR)
    estimate = instance.number("estimated_cost")
    if estimate is None and seen.value is not None:
        estimate = await client.estimate(key, max(0.0, until - time.monotonic()))
    now = datetime.now(timezone.utc)
    return await _json(request, lambda: views.job_page(instance, key, seen, estimate, now))


async def job_raw(request: Request, found: _Found) -> PlainTextResponse:
    """Return the job's metadata as Pixxel gave it, byte fields decoded."""
    key = found[0].job
    if key is None:
        raise HTTPException(404, "This task has no job.")
    seen = await request.app.state.client.job(key, RETRY_FOR)
    if seen.value is None:
        raise HTTPException(502, views.words(str(seen.trouble)))
    job = seen.value
    return PlainTextResponse(await _made(request, lambda: views.raw_text(job)))


def jobs_page(request: Request) -> HTMLResponse:
    """Return the page of all waits."""
    return _page(request, "jobs.html")


async def jobs_data(request: Request, user: GetUserDep) -> JSONResponse:
    """Return what the page of all waits shows: of the DAGs that this person may see."""
    now = datetime.now(timezone.utc)

    def read() -> tuple[list[queries.Instance], int]:
        readable = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
        return queries.lately(readable, now - LATELY)

    rows, total = await run_in_threadpool(read)
    # The newest first, each once.
    keys = dict.fromkeys(row.job for row in rows if row.is_live and row.job is not None)
    jobs, complete = await request.app.state.client.several(keys, _PATIENCE_OF_THE_LIST)
    return await _json(request, lambda: views.jobs_page(rows, total, jobs, now, complete=complete))


def static(name: str) -> Response:
    """Return one of the pages' own files."""
    file = _FILES.get(name)
    if file is None:
        raise HTTPException(404, "There is no such file.")
    return Response(file.read_bytes(), media_type=_KINDS[file.suffix])


async def _made(request: Request, make: Callable[[], T]) -> T:
    # In a thread: a large page takes a while to make and to write, and the loop is the whole API server's.
    async with request.app.state.turns:
        return await run_in_threadpool(make)


async def _json(request: Request, make: Callable[[], Any]) -> JSONResponse:
    return await _made(request, lambda: JSONResponse(make()))


def _page(request: Request, name: str) -> HTMLResponse:
    root = html.escape(request.scope.get("root_path", ""))
    return HTMLResponse((_STATIC / name).read_text(encoding="utf-8").replace("{{root}}", root))
