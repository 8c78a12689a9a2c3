"""The control routes: what tests and curious people use to look behind the API and to steer it.

They live under ``/_control``, want no key, and speak JSON.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from pixxel_provider.simulator.clock import check_delay
from pixxel_provider.simulator.control_fields import read_fields, read_json
from pixxel_provider.simulator.counters import Counters
from pixxel_provider.simulator.faults import Fault, FaultBook, FaultError
from pixxel_provider.simulator.package_plans import PackagePlan
from pixxel_provider.simulator.problems import Problem, answer
from pixxel_provider.simulator.routing import CONTROL
from pixxel_provider.simulator.world import World

_JOB_FIELDS = {
    "id": str,
    "workflow_id": str,
    "project_id": str,
    "created_by": str,
    "course": str,
    "speed": (int, float),
    "seconds": (int, float),
    "age": (int, float),
    "fields": dict,
    "omit": list,
    "list_delay": (int, float),
}
_CHANGE_FIELDS = {"fields": dict, "omit": list, "restore": bool, "finish": bool}
_WORKFLOW_FIELDS = {
    "id": str,
    "like": str,
    "name": str,
    "description": str,
    "project_id": str,
    "cost": int,
    "estimated_cost": int,
    "last_status": str,
}
_PACKAGE_FIELDS = {
    "job_id": str,
    "task_id": str,
    "content": str,
    "size": int,
    "seed": int,
    "status": str,
    "seconds": (int, float),
    "lifetime": (int, float),
    "ranges": bool,
    "etag": bool,
    "checksum": str,
    "wrong_checksum": bool,
    "filename": str,
    "content_type": str,
}
_SETTINGS = {"list_delay": (int, float)}


def control_router(world: World, faults: FaultBook, counters: Counters) -> APIRouter:
    """The routes under ``/_control`` over this world, these faults and these counters."""
    router = APIRouter(prefix=CONTROL, redirect_slashes=False)

    async def index() -> Response:
        return answer({"routes": [f"{method} {CONTROL}{path}" for method, path, _ in table]})

    async def read_counters() -> Response:
        return answer(counters.snapshot())

    async def clear_counters() -> Response:
        counters.clear()
        return answer(counters.snapshot())

    async def read_requests() -> Response:
        return answer({"requests": counters.recent()})

    async def read_faults() -> Response:
        return answer({"faults": faults.to_json()})

    async def add_faults(request: Request) -> Response:
        body = await read_json(request)
        specs = body if isinstance(body, list) else [body]
        try:
            for spec in specs:
                Fault.read(spec)  # all or none: a list with a mistake in it changes nothing
            added = [faults.add(spec) for spec in specs]
        except FaultError as error:
            raise Problem(400, str(error)) from error
        return answer({"faults": [fault.to_json() for fault in added]})

    async def clear_faults() -> Response:
        faults.clear()
        return answer({"faults": []})

    async def read_bill() -> Response:
        return answer(world.ledger.to_json())

    async def change_settings(request: Request) -> Response:
        wanted = read_fields(await read_json(request), _SETTINGS)
        try:
            world.list_delay = check_delay(wanted.get("list_delay", world.list_delay))
        except ValueError as error:
            raise Problem(400, str(error)) from error
        return answer({"list_delay": world.list_delay})

    async def read_jobs() -> Response:
        jobs = [world.slim(job) for job in list(world.jobs.values())]
        return answer({"jobs": jobs})

    async def create_job(request: Request) -> Response:
        wanted = read_fields(await read_json(request), _JOB_FIELDS, required=("workflow_id",))
        wanted["job_id"] = wanted.pop("id", None)
        try:
            job = world.create_job(wanted.pop("workflow_id"), **wanted)
        except (ValueError, OverflowError) as error:
            raise Problem(400, str(error)) from error
        return answer(world.full(job))

    async def change_job(request: Request, job_id: str) -> Response:
        wanted = read_fields(await read_json(request), _CHANGE_FIELDS)
        if wanted.pop("finish", False):
            try:
                world.finish_job(job_id)
            except ValueError as error:
                raise Problem(400, str(error)) from error
        job = world.change_job(job_id, wanted.pop("fields", {}), **wanted)
        return answer(world.full(job))

    async def set_package(request: Request) -> Response:
        wanted = read_fields(await read_json(request), _PACKAGE_FIELDS)
        job_id, task_id = wanted.pop("job_id", None), wanted.pop("task_id", None)
        try:
            world.set_package(PackagePlan.read(wanted), job_id, task_id)
        except ValueError as error:
            raise Problem(400, str(error)) from error
        return answer({"job_id": job_id, "task_id": task_id})

    async def add_workflow(request: Request) -> Response:
        wanted = read_fields(await read_json(request), _WORKFLOW_FIELDS, required=("id",))
        plan = world.add_workflow(wanted.pop("id"), **wanted)
        return answer({"id": plan.id, "project_id": plan.project_id})

    async def advance(request: Request) -> Response:
        wanted = read_fields(await read_json(request), {"seconds": (int, float)}, required=("seconds",))
        try:
            now = world.clock.advance(wanted["seconds"])
        except (ValueError, OverflowError) as error:
            raise Problem(400, str(error)) from error
        return answer({"now": now})

    async def reset() -> Response:
        world.reset()
        faults.reset()
        counters.clear()
        return answer({"reset": True})

    table: list[tuple[str, str, Any]] = [
        ("GET", "", index),
        ("GET", "/counters", read_counters),
        ("DELETE", "/counters", clear_counters),
        ("GET", "/requests", read_requests),
        ("GET", "/faults", read_faults),
        ("POST", "/faults", add_faults),
        ("DELETE", "/faults", clear_faults),
        ("GET", "/bill", read_bill),
        ("POST", "/settings", change_settings),
        ("GET", "/jobs", read_jobs),
        ("POST", "/jobs", create_job),
        ("PATCH", "/jobs/{job_id:pixxel_id}", change_job),
        ("POST", "/packages", set_package),
        ("POST", "/workflows", add_workflow),
        ("POST", "/clock", advance),
        ("POST", "/reset", reset),
    ]
    for method, path, handler in table:
        router.add_api_route(path, handler, methods=[method], response_model=None)
    return router
