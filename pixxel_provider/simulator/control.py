"""The control routes: what tests and curious people use to look behind the API and to steer it.

They live under ``/_control``, want no key, and speak JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from pixxel_provider.simulator.counters import Counters
from pixxel_provider.simulator.faults import Fault, FaultBook, FaultError
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
}
_CHANGE_FIELDS = {"fields": dict, "omit": list, "restore": bool, "finish": bool}
_WORKFLOW_FIELDS = {
    "id": str,
    "like": str,
    "name": str,
    "description": str,
    "project_id": str,
    "cost": int,
    "last_status": str,
}
_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a whole number"}


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
        body = await _json(request)
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

    async def read_jobs() -> Response:
        jobs = [world.slim(job) for job in list(world.jobs.values())]
        return answer({"jobs": jobs})

    async def create_job(request: Request) -> Response:
        wanted = _fields(await _json(request), _JOB_FIELDS, required=("workflow_id",))
        wanted["job_id"] = wanted.pop("id", None)
        try:
            job = world.create_job(wanted.pop("workflow_id"), **wanted)
        except (ValueError, OverflowError) as error:
            raise Problem(400, str(error)) from error
        return answer(world.full(job))

    async def change_job(request: Request, job_id: str) -> Response:
        wanted = _fields(await _json(request), _CHANGE_FIELDS)
        if wanted.pop("finish", False):
            try:
                world.finish_job(job_id)
            except ValueError as error:
                raise Problem(400, str(error)) from error
        job = world.change_job(job_id, wanted.pop("fields", {}), **wanted)
        return answer(world.full(job))

    async def add_workflow(request: Request) -> Response:
        wanted = _fields(await _json(request), _WORKFLOW_FIELDS, required=("id",))
        plan = world.add_workflow(wanted.pop("id"), **wanted)
        return answer({"id": plan.id, "project_id": plan.project_id})

    async def advance(request: Request) -> Response:
        wanted = _fields(await _json(request), {"seconds": (int, float)}, required=("seconds",))
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
        ("GET", "/jobs", read_jobs),
        ("POST", "/jobs", create_job),
        ("PATCH", "/jobs/{job_id:pixxel_id}", change_job),
        ("POST", "/workflows", add_workflow),
        ("POST", "/clock", advance),
        ("POST", "/reset", reset),
    ]
    for method, path, handler in table:
        router.add_api_route(path, handler, methods=[method], response_model=None)
    return router


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from error


def _fields(body: Any, allowed: dict[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
    """The body's fields, each of its type. Raises Problem 400 that names the field."""
    if not isinstance(body, dict):
        raise Problem(400, f"the body must be an object with some of: {', '.join(allowed)}")
    for name, value in body.items():
        if name not in allowed:
            raise Problem(400, f"{name}: there is no such field; the fields are {', '.join(allowed)}")
        wrong_bool = isinstance(value, bool) and allowed[name] is not bool
        if wrong_bool or not isinstance(value, allowed[name]):
            raise Problem(400, f"{name}: must be {_NAMES.get(allowed[name], 'a number')}")
        if isinstance(value, list) and not all(isinstance(each, str) for each in value):
            raise Problem(400, f"{name}: must be a list of texts")
    for name in required:
        if name not in body:
            raise Problem(400, f"{name}: is required")
    return dict(body)
