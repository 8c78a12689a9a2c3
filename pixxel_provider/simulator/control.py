"""The control routes: what tests and curious people use to look behind the API and to steer it.

They live under ``/_control``, want no key, and speak JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from pixxel_provider.simulator.clock import check_seconds
from pixxel_provider.simulator.counters import Counters
from pixxel_provider.simulator.faults import Fault, FaultBook
from pixxel_provider.simulator.packages import PackagePlan
from pixxel_provider.simulator.render import Problem, answer
from pixxel_provider.simulator.routing import CONTROL
from pixxel_provider.simulator.validation import Model
from pixxel_provider.simulator.world import JobOptions, World

if TYPE_CHECKING:
    from pixxel_provider.simulator.app import Access


class NewJob(JobOptions):
    """A job to create."""

    workflow_id: str
    id: str | None = None


class JobChange(Model):
    """What ``World.change_job`` takes, and whether the job ends now."""

    fields: dict[str, Any] = {}
    omit: list[str] = []
    restore: bool = False
    finish: bool = False


class NewWorkflow(Model, extra="allow"):
    """A workflow like another but for what else is set: fields of WorkflowPlan, which checks them."""

    id: str
    like: str = "wf-succeeds"


def _from_base64(value: Any) -> bytes:
    try:
        return base64.b64decode(value.encode(), validate=True)
    except (AttributeError, ValueError):
        raise ValueError("must be text in base64") from None


class PackageChange(PackagePlan):
    """A package's plan, its ``content`` in base64, and whose it is."""

    content: Annotated[bytes | None, BeforeValidator(_from_base64)] = None
    job_id: str | None = None
    task_id: str | None = None


class Settings(Model):
    """What can be changed while the simulator runs."""

    list_delay: float | None = None
    users: dict[str, str] | None = Field(default=None, min_length=1)
    """The user of each key that is let in from now on."""


class Advance(Model):
    """How much simulated time passes at once."""

    seconds: float


def _faults(body: Any) -> list[Fault]:
    """All or none: a list with a mistake in it adds nothing."""
    return [Fault.read(spec) for spec in (body if isinstance(body, list) else [body])]


class Control:
    """What the routes under ``/_control`` do with a world, its faults and its counters."""

    def __init__(self, world: World, faults: FaultBook, counters: Counters, access: Access) -> None:
        self.world = world
        self.faults = faults
        self.counters = counters
        self.access = access
        # method, path, what reads the body, what answers
        self.table: list[tuple[str, str, Callable[[Any], Any] | None, Callable[..., Any]]] = [
            ("GET", "", None, lambda: {"routes": [f"{row[0]} {CONTROL}{row[1]}" for row in self.table]}),
            ("GET", "/counters", None, counters.snapshot),
            ("DELETE", "/counters", None, self.clear_counters),
            ("GET", "/requests", None, lambda: {"requests": counters.recent()}),
            ("GET", "/faults", None, lambda: {"faults": faults.to_json()}),
            ("POST", "/faults", _faults, self.add_faults),
            ("DELETE", "/faults", None, self.clear_faults),
            ("GET", "/bill", None, self.bill),
            ("POST", "/settings", Settings.read, self.change_settings),
            ("GET", "/jobs", None, self.list_jobs),
            ("POST", "/jobs", NewJob.read, self.create_job),
            ("PATCH", "/jobs/{job_id:pixxel_id}", JobChange.read, self.change_job),
            ("POST", "/packages", PackageChange.read, self.set_package),
            ("POST", "/workflows", NewWorkflow.read, self.add_workflow),
            ("POST", "/clock", Advance.read, lambda wanted: {"now": world.clock.advance(wanted.seconds)}),
            ("POST", "/reset", None, self.reset),
        ]

    def router(self) -> APIRouter:
        """The routes. What the world refuses is a Problem 400."""
        router = APIRouter(prefix=CONTROL, redirect_slashes=False)
        for method, path, read, handle in self.table:
            router.add_api_route(path, _endpoint(read, handle), methods=[method], response_model=None)
        return router

    def bill(self) -> Any:
        users = dict.fromkeys(job.created_by for job in list(self.world.paid))
        by_user = {user: asdict(self.world.bill(user)) for user in users}
        return {**asdict(self.world.bill()), "users": by_user}

    def clear_counters(self) -> Any:
        self.counters.clear()
        return self.counters.snapshot()

    def add_faults(self, wanted: list[Fault]) -> Any:
        return {"faults": [fault.to_json() for fault in self.faults.add(*wanted)]}

    def clear_faults(self) -> Any:
        self.faults.clear()
        return {"faults": []}

    def change_settings(self, wanted: Settings) -> Any:
        if wanted.list_delay is not None:
            self.world.list_delay = check_seconds("list_delay", wanted.list_delay)
        if wanted.users is not None:
            self.access.let_in(wanted.users)
        # The keys are never shown.
        return {"list_delay": self.world.list_delay}

    def list_jobs(self) -> Any:
        self.world.start_due()
        return {"jobs": [self.world.slim(job) for job in list(self.world.jobs.values())]}

    def create_job(self, wanted: NewJob) -> Any:
        options = wanted.model_dump(exclude={"workflow_id", "id"})
        return self.world.full(self.world.create_job(wanted.workflow_id, job_id=wanted.id, **options))

    def change_job(self, wanted: JobChange, job_id: str) -> Any:
        if wanted.finish:
            self.world.finish_job(job_id)
        job = self.world.change_job(job_id, wanted.fields, omit=wanted.omit, restore=wanted.restore)
        return self.world.full(job)

    def set_package(self, wanted: PackageChange) -> Any:
        self.world.set_package(wanted, wanted.job_id, wanted.task_id)
        return {"job_id": wanted.job_id, "task_id": wanted.task_id}

    def add_workflow(self, wanted: NewWorkflow) -> Any:
        plan = self.world.add_workflow(wanted.id, like=wanted.like, **(wanted.model_extra or {}))
        return {"id": plan.id, "project_id": plan.project_id}

    def reset(self) -> Any:
        self.world.reset()
        self.faults.reset()
        self.access.reset()
        self.counters.clear()
        return {"reset": True}


def _endpoint(
    read: Callable[[Any], Any] | None, handle: Callable[..., Any]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        arguments: dict[str, Any] = dict(request.path_params)
        try:
            body = None if read is None else await request.json()
        except (ValueError, RecursionError) as error:
            raise Problem(400, f"the body is not JSON: {error}") from error
        try:
            if read is not None:
                arguments["wanted"] = read(body)
            return answer(handle(**arguments))
        except (ValueError, OverflowError) as error:
            raise Problem(400, str(error)) from error

    return endpoint
