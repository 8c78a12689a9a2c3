"""The API's operations: what is checked, and what the world answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pixxel_provider.simulator import render
from pixxel_provider.simulator.faults import Fault
from pixxel_provider.simulator.inject import FAULT
from pixxel_provider.simulator.jobs import SimulatedJob
from pixxel_provider.simulator.packages import Packages
from pixxel_provider.simulator.plans import WorkflowPlan
from pixxel_provider.simulator.problems import Problem, answer
from pixxel_provider.simulator.routing import FILES, OPERATIONS
from pixxel_provider.simulator.world import FIRST_USER, WORKFLOWS_CREATED_AT, World

USER = "pixxel.user"  # where the gate puts the id of the key's owner

_Text = Annotated[str | None, Query()]
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def api_router(world: World, packages: Packages) -> APIRouter:
    """The routes of Pixxel's API over this world."""

    async def get_job(workflow_id: str, job_id: str) -> Response:
        return answer(world.full(world.job(workflow_id, job_id)))

    async def list_jobs(
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
        shown = [
            slim
            for job in world.jobs_of(workflow_id)
            if not (fault is not None and fault.hidden(job.id))
            and _matches(slim := world.slim(job), wanted, created_at=created_on)
        ]
        return answer({"jobs": shown})

    async def create_job(request: Request, workflow_id: str, project_id: _Text = None) -> Response:
        project = _required("project_id", project_id)
        job = world.order_job(workflow_id, project, request.scope.get(USER, FIRST_USER))
        return answer(world.full(job))

    async def get_workflow(workflow_id: str, project_id: _Text = None) -> Response:
        plan = world.workflow(workflow_id, _required("project_id", project_id))
        body = render.workflow(
            plan, created_by=FIRST_USER, created_at=WORKFLOWS_CREATED_AT, encoding=world.encoding
        )
        return answer(body)

    async def list_workflows(
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
        found = [
            item
            for plan in list(world.workflows.values())
            if _matches(item := _workflow_item(plan), wanted, created_at=created_on, updated_at=updated_at)
        ]
        page = {"limit": limit, "offset": offset, "total": len(found)}
        return answer({"workflows": found[offset : offset + limit], "pagination": page})

    async def estimate_cost(workflow_id: str) -> Response:
        return answer({"estimated_cost": world.workflow(workflow_id).promised_cost})

    async def download_job(request: Request, workflow_id: str, job_id: str) -> Response:
        job = _finished(world, world.job(workflow_id, job_id))
        status, url = packages.ask(job, None, str(request.base_url))
        return answer({"id": job.id, "status": status, "signed_url": url, "workflowId": job.workflow_id})

    async def download_task(request: Request, workflow_id: str, job_id: str, task_id: str) -> Response:
        job = world.job(workflow_id, job_id)
        world.task_number(job, task_id)
        _finished(world, job)
        status, url = packages.ask(job, task_id, str(request.base_url))
        body = {
            "id": task_id,
            "job_id": job.id,
            "workflow_id": job.workflow_id,
            "status": status,
            "signed_url": url,
        }
        return answer(body)

    async def ping() -> Response:
        return answer("pong")

    async def list_projects(
        page_num: Annotated[int, Query(ge=1)] = 1, page_size: Annotated[int, Query(ge=1)] = 50
    ) -> Response:
        first = (page_num - 1) * page_size
        return answer(
            {"count": len(world.projects), "projects": list(world.projects[first : first + page_size])}
        )

    async def download_file(request: Request, file_id: str) -> Response:
        if "authorization" in request.headers:
            raise Problem(400, "a signed URL is asked for without an Authorization header")
        return await packages.serve(file_id, request.query_params, request.headers)

    handlers: Mapping[str, Callable[..., Awaitable[Response]]] = {
        "get_job": get_job,
        "list_jobs": list_jobs,
        "create_job": create_job,
        "get_workflow": get_workflow,
        "list_workflows": list_workflows,
        "estimate_cost": estimate_cost,
        "download_job": download_job,
        "download_task": download_task,
        "ping": ping,
        "list_projects": list_projects,
        "download_file": download_file,
    }
    router = APIRouter(redirect_slashes=False)
    for operation in OPERATIONS:
        router.add_api_route(
            operation.route,
            handlers[operation.name],
            methods=[operation.method],
            name=operation.name,
            response_model=None,
        )
    return router


def needs_key(path: str) -> bool:
    """True for the (raw) paths that are only answered to a key."""
    return path != "/ping" and not path.startswith(FILES + "/")


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


def _workflow_item(plan: WorkflowPlan) -> dict[str, Any]:
    return render.workflow_item(plan, created_by=FIRST_USER, created_at=WORKFLOWS_CREATED_AT)


def _finished(world: World, job: SimulatedJob) -> SimulatedJob:
    if world.state(job).ended is None:
        raise Problem(400, f"job {job.id!r} hasn't ended; there is nothing to download yet")
    return job
