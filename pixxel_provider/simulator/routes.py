"""The API's operations: what is checked, and what the world answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response

from pixxel_provider.simulator import render
from pixxel_provider.simulator.downloads import Downloads
from pixxel_provider.simulator.faults import Fault
from pixxel_provider.simulator.injector import FAULT
from pixxel_provider.simulator.render import FIRST_USER, Problem, answer
from pixxel_provider.simulator.routing import OPERATIONS, decode
from pixxel_provider.simulator.timeline import SimulatedJob
from pixxel_provider.simulator.world import World

USER = "pixxel.user"  # where the gate puts the id of the key's owner

_Text = Annotated[str | None, Query()]
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class _IdConvertor(Convertor[str]):
    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return decode(value)

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


register_url_convertor("pixxel_id", _IdConvertor())


class Api:
    """Pixxel's API over a world: for each operation a method of its name."""

    def __init__(self, world: World, downloads: Downloads) -> None:
        self.world = world
        self.downloads = downloads

    def router(self) -> APIRouter:
        """The routes of all operations."""
        router = APIRouter(redirect_slashes=False)
        for operation in OPERATIONS:
            handler = getattr(self, operation.name)
            router.add_api_route(operation.route, handler, methods=[operation.method], response_model=None)
        return router

    async def get_job(self, workflow_id: str, job_id: str) -> Response:
        return answer(self.world.full(self.world.job(workflow_id, job_id)))

    async def list_jobs(
        self,
        request: Request,
        workflow_id: str,
        id: _Text = None,
        status: _Text = None,
        created_by: _Text = None,
        created_on: _Text = None,
    ) -> Response:
        _check_date("created_on", created_on)
        wanted = {"id": id, "status": status, "created_by": created_by}
        fault: Fault | None = request.scope.get(FAULT)
        jobs = [
            self.world.slim(job)
            for job in self.world.jobs_of(workflow_id)
            if fault is None or not fault.hidden(job.id)
        ]
        return answer({"jobs": [job for job in jobs if _matches(job, wanted, created_at=created_on)]})

    async def create_job(self, request: Request, workflow_id: str, project_id: _Text = None) -> Response:
        project = _required("project_id", project_id)
        job = self.world.order_job(workflow_id, project, request.scope.get(USER, FIRST_USER))
        return answer(self.world.full(job))

    async def get_workflow(self, workflow_id: str, project_id: _Text = None) -> Response:
        plan = self.world.workflow(workflow_id, _required("project_id", project_id))
        return answer(render.workflow(plan, self.world.encoding))

    async def list_workflows(
        self,
        project_id: _Text = None,
        id: _Text = None,
        name: _Text = None,
        created_by: _Text = None,
        created_on: _Text = None,
        updated_at: _Text = None,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1)] = 50,
    ) -> Response:
        _check_date("created_on", created_on)
        _check_date("updated_at", updated_at)
        wanted = {"project_id": project_id, "id": id, "name": name, "created_by": created_by}
        items = [render.workflow_item(plan) for plan in list(self.world.workflows.values())]
        found = [
            item for item in items if _matches(item, wanted, created_at=created_on, updated_at=updated_at)
        ]
        page = {"limit": limit, "offset": offset, "total": len(found)}
        return answer({"workflows": found[offset : offset + limit], "pagination": page})

    async def estimate_cost(self, workflow_id: str) -> Response:
        return answer({"estimated_cost": self.world.workflow(workflow_id).promised_cost})

    async def download_job(self, request: Request, workflow_id: str, job_id: str) -> Response:
        job = self._finished(self.world.job(workflow_id, job_id))
        status, url = self.downloads.ask(job, None, str(request.base_url))
        return answer({"id": job.id, "status": status, "signed_url": url, "workflowId": workflow_id})

    async def download_task(self, request: Request, workflow_id: str, job_id: str, task_id: str) -> Response:
        job = self.world.job(workflow_id, job_id)
        self.world.task_number(job, task_id)
        status, url = self.downloads.ask(self._finished(job), task_id, str(request.base_url))
        ids = {"id": task_id, "job_id": job_id, "workflow_id": workflow_id}
        return answer({**ids, "status": status, "signed_url": url})

    async def ping(self) -> Response:
        return answer("pong")

    async def list_projects(
        self, page_num: Annotated[int, Query(ge=1)] = 1, page_size: Annotated[int, Query(ge=1)] = 50
    ) -> Response:
        first, projects = (page_num - 1) * page_size, self.world.projects
        return answer({"count": len(projects), "projects": list(projects[first : first + page_size])})

    async def download_file(self, request: Request, file_id: str) -> Response:
        if "authorization" in request.headers:
            raise Problem(400, "a signed URL is asked for without an Authorization header")
        return await self.downloads.serve(file_id, request.query_params, request.headers)

    def _finished(self, job: SimulatedJob) -> SimulatedJob:
        if self.world.state(job).ended is None:
            raise Problem(400, f"job {job.id!r} hasn't ended; there is nothing to download yet")
        return job


def _required(name: str, value: str | None) -> str:
    if not value:
        raise Problem(400, f"the query parameter {name} is required", {"parameter": name})
    return value


def _check_date(name: str, value: str | None) -> None:
    if value is not None and not _DATE.match(value):
        raise Problem(
            400, f"{name}: {value!r} doesn't begin with a date such as 2025-06-30", {"parameter": name}
        )


def _matches(item: Mapping[str, Any], wanted: Mapping[str, str | None], **dates: str | None) -> bool:
    return all(
        value is None or str(item.get(name)).casefold() == value.casefold() for name, value in wanted.items()
    ) and all(value is None or str(item.get(name))[:10] == value[:10] for name, value in dates.items())
