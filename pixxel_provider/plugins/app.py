"""The pages' routes: each checks the user's rights, none writes, and a strict policy limits what loads."""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from pixxel_provider.compat.api_server import (
    AccessView,
    AssetDetails,
    DagAccessEntity,
    GetUserDep,
    get_auth_manager,
    requires_access_dag,
    requires_access_view,
    requires_authenticated,
)
from pixxel_provider.plugins import queries, views, watchers
from pixxel_provider.plugins.client import PageClient

T = TypeVar("T")

#: For how long the page of all waits shows those that have ended.
RECENT = timedelta(hours=24)
#: Seconds that a page waits for Pixxel before it shows what is cached.
JOB_WAIT = 5.0
# The same for the list, if none of its jobs is cached.
_LIST_WAIT = 1.0
# Pages rendered at the same time: a large one needs memory and CPU that Airflow's own pages then lack.
_RENDERED_AT_ONCE = 2
_INDEX = re.compile(r"-?[0-9]{1,9}")
_STATIC = Path(__file__).parent / "static"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
#: The pages' own files, by name: no path is taken from a request.
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
_is_logged_in = Depends(requires_authenticated())


class WithHeaders:
    """Adds the headers to every answer of an app, also to refusals and errors."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def make_app() -> WithHeaders:
    """Return the app that serves the pages."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.client = PageClient()
    app.state.rendering = asyncio.Semaphore(_RENDERED_AT_ONCE)
    job = "/job/{dag_id}/{run_id}/{task_id}/{map_index}"
    for path, endpoint, guards in (
        (job, job_page, [_reads_instances]),
        (f"{job}/data", job_data, [_reads_instances]),
        (f"{job}/raw", job_raw, [_reads_instances]),
        ("/jobs", jobs_page, [_reads_website, _reads_instances]),
        ("/jobs/data", jobs_data, [_reads_website, _reads_instances]),
        ("/static/{name}", static, [_is_logged_in]),
    ):
        app.add_api_route(path, endpoint, dependencies=guards, response_class=Response)
    return WithHeaders(app)


def _find(dag_id: str, run_id: str, task_id: str, map_index: str) -> queries.Instance:
    # An unmapped task has the placeholder of its URL, which Airflow left unchanged.
    if any("\x00" in each for each in (dag_id, run_id, task_id)):
        # PostgreSQL's client refuses it with an error of its own.
        raise HTTPException(404, "There is no such task instance.")
    index = int(map_index) if _INDEX.fullmatch(map_index) else -1
    instance = queries.find(dag_id, run_id, task_id, index)
    if instance is None:
        raise HTTPException(404, "There is no such task instance.")
    return instance


_Instance = Annotated[queries.Instance, Depends(_find)]


def job_page(request: Request) -> HTMLResponse:
    """Return the page of a task instance's job; its content is fetched as data."""
    return _page(request, "job.html")


async def job_data(request: Request, instance: _Instance) -> JSONResponse:
    """Return the data of the page of a job."""
    key = instance.job
    if key is None:
        return JSONResponse(views.without_job(instance, datetime.now(timezone.utc)))
    client: PageClient = request.app.state.client
    deadline = time.monotonic() + JOB_WAIT
    answer = await client.jobs.get(key, JOB_WAIT)
    estimate = instance.number("estimated_cost")
    if estimate is None and answer.value is not None:
        # What is known is shown at once while Pixxel is slow.
        left = max(0.0, deadline - time.monotonic()) if answer.error is None else 0.0
        estimate = (await client.estimates.get(key[:2], left)).value
    now = datetime.now(timezone.utc)
    return await _json(request, lambda: views.job_page(instance, key, answer, estimate, now))


async def job_raw(request: Request, instance: _Instance) -> PlainTextResponse:
    """Return the job's metadata as Pixxel sent it, byte fields decoded."""
    key = instance.job
    if key is None:
        raise HTTPException(404, "This task has no job.")
    answer = await request.app.state.client.jobs.get(key, JOB_WAIT)
    if answer.value is None:
        raise HTTPException(502, views.redacted(str(answer.error)))
    return PlainTextResponse(await _render(request, partial(views.raw_text, answer.value)))


def jobs_page(request: Request) -> HTMLResponse:
    """Return the page of all waits."""
    return _page(request, "jobs.html")


async def jobs_data(request: Request, user: GetUserDep) -> JSONResponse:
    """Return the data of the page of all waits, for the DAGs that the user may see."""
    now = datetime.now(timezone.utc)

    def read() -> tuple[list[queries.Instance], int, tuple[list[watchers.Watcher], int]]:
        manager = get_auth_manager()
        readable = manager.get_authorized_dag_ids(user=user, method="GET")

        def may_read(asset_id: int) -> bool:
            return manager.is_authorized_asset(method="GET", details=AssetDetails(str(asset_id)), user=user)

        return *queries.recent(readable, now - RECENT), watchers.find(readable, may_read)

    rows, total, watching = await run_in_threadpool(read)
    # The newest first, each once.
    keys = dict.fromkeys(row.job for row in views.live(rows))
    jobs = await request.app.state.client.batch.get(keys, _LIST_WAIT)
    now = datetime.now(timezone.utc)
    return await _json(request, lambda: views.jobs_page(rows, total, jobs, *watching, now))


def static(name: str) -> Response:
    """Return one of the pages' own files."""
    file = _FILES.get(name)
    if file is None:
        raise HTTPException(404, "There is no such file.")
    return Response(file.read_bytes(), media_type=_KINDS[file.suffix])


async def _render(request: Request, make: Callable[[], T]) -> T:
    # In a thread: a large page takes a while, and the loop is the whole API server's.
    async with request.app.state.rendering:
        return await run_in_threadpool(make)


async def _json(request: Request, make: Callable[[], Any]) -> JSONResponse:
    return await _render(request, lambda: JSONResponse(make()))


def _page(request: Request, name: str) -> HTMLResponse:
    root = html.escape(request.scope.get("root_path", ""))
    return HTMLResponse((_STATIC / name).read_text(encoding="utf-8").replace("{{root}}", root))
