"""The simulator's world: projects, workflows, jobs and packages, read at the time its clock shows.

Nothing in here runs by itself. A job is its plan and the moment it was created; what it looks like is worked
out when somebody asks, so a test that owns the clock owns the job.
"""

from __future__ import annotations

import math
import random
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pixxel_provider.simulator import render
from pixxel_provider.simulator.bill import Ledger
from pixxel_provider.simulator.clock import TEN_YEARS, SimulatedClock, check_delay
from pixxel_provider.simulator.jobs import SimulatedJob
from pixxel_provider.simulator.package_plans import PackagePlan, PackagePlans
from pixxel_provider.simulator.plans import PROJECTS, WORKFLOWS, WorkflowPlan, check_speed
from pixxel_provider.simulator.timeline import JobState, length, spans, speed_for

HOUR = 3600.0
FIRST_USER = "user-simulator-1"
WORKFLOWS_CREATED_AT = 1_748_736_000.0  # 2025-06-01T00:00:00Z


class UnknownIdError(LookupError):
    """There is no project, workflow, job or task of that id (or not where it was looked for)."""

    def __init__(self, kind: str, asked: str, where: str = "") -> None:
        self.kind = kind
        self.asked = asked
        super().__init__(f"{kind} {asked!r} was not found" + (f" in {where}" if where else ""))


class TakenIdError(Exception):
    """Something of that id is there already."""


class World:
    """Everything the API knows. Safe to use from any thread.

    ``speed`` divides the length of every job. ``list_delay`` is how many simulated seconds pass before a list
    shows a job that was created through the API; it may be changed at any time.
    """

    def __init__(
        self,
        *,
        clock: SimulatedClock | None = None,
        speed: float = 1.0,
        encoding: str = "integers",
        seed: int | None = None,
        list_delay: float = 0.0,
    ) -> None:
        if encoding not in render.BYTE_ENCODINGS:
            raise ValueError(f"bytes: {encoding!r} is not one of {', '.join(render.BYTE_ENCODINGS)}")
        check_speed(speed)
        self.clock = clock or SimulatedClock()
        self.speed = speed
        self.encoding = encoding
        self.seed = seed
        self.projects = PROJECTS
        self.ledger = Ledger()
        self._lock = threading.RLock()
        self._list_delay_at_start = check_delay(list_delay)
        self.reset()

    def reset(self) -> None:
        """Back to the start: the built-in workflows, three old jobs, the clock at its source's time."""
        with self._lock:
            self.clock.reset()
            self.ledger.clear()
            self.list_delay = self._list_delay_at_start
            self._random = random.Random(self.seed)  # ids that can be repeated, not secrets
            self.workflows: dict[str, WorkflowPlan] = {plan.id: plan for plan in WORKFLOWS}
            self.jobs: dict[str, SimulatedJob] = {}
            self.package_plans = PackagePlans()
            self.create_job("wf-succeeds", job_id="job-finished-earlier", age=26 * HOUR)
            self.create_job("wf-succeeds", job_id="job-finished", age=HOUR)
            self.create_job("wf-fails", job_id="job-failed", age=HOUR)

    def create_job(
        self,
        workflow_id: str,
        *,
        job_id: str | None = None,
        project_id: str | None = None,
        created_by: str = FIRST_USER,
        course: str | None = None,
        speed: float | None = None,
        seconds: float | None = None,
        age: float = 0.0,
        fields: Mapping[str, Any] | None = None,
        omit: Iterable[str] = (),
        list_delay: float = 0.0,
    ) -> SimulatedJob:
        """Create a job now, or ``age`` seconds ago, on nobody's bill. A list shows it after ``list_delay``.

        ``course`` names another workflow whose course the job takes. ``speed`` replaces the world's speed, or
        ``seconds`` sets how long the whole job lasts. ``fields`` are put over the job's JSON as they are,
        ``omit`` names fields to leave out.

        Raises UnknownIdError, TakenIdError, or ValueError for bad numbers.
        """
        with self._lock:
            workflow = self.workflow(workflow_id, project_id)
            plan = workflow
            if course is not None:
                plan = replace(self.workflow(course), id=workflow.id, cost=workflow.cost)
            plan = plan.faster(speed_for(plan, speed=speed, seconds=seconds, usual=self.speed))
            if not abs(age) <= TEN_YEARS:
                raise ValueError(f"age: a job is at most {TEN_YEARS:.0f} seconds old, not {age!r}")
            if job_id is None:
                job_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
            if job_id in self.jobs:
                raise TakenIdError(f"there is a job {job_id!r} already")
            job = SimulatedJob(
                id=job_id,
                workflow_id=workflow.id,
                project_id=workflow.project_id,
                created_by=created_by,
                created_at=self.clock.now() - age,
                plan=plan,
                listed_at=self.clock.now() + check_delay(list_delay) if list_delay else 0.0,
                fields=dict(fields or {}),
                omit=frozenset(omit),
            )
            self.jobs[job_id] = job
            return job

    def order_job(self, workflow_id: str, project_id: str, user: str) -> SimulatedJob:
        """Create a job the way the API does: ``user`` pays for it, and lists show it after ``list_delay``.

        Raises UnknownIdError.
        """
        with self._lock:
            job = self.create_job(
                workflow_id, project_id=project_id, created_by=user, list_delay=self.list_delay
            )
            self.ledger.charge(user, job.id, job.plan.cost)
            return job

    def change_job(
        self, job_id: str, fields: Mapping[str, Any], *, omit: Iterable[str] = (), restore: bool = False
    ) -> SimulatedJob:
        """Put ``fields`` over the job's JSON and leave out those of ``omit``.

        ``restore`` drops earlier changes first. Raises UnknownIdError.
        """
        with self._lock:
            job = self._job(job_id)
            if restore:
                job.fields, job.omit = {}, frozenset()
            job.fields = {**job.fields, **fields}
            job.omit = job.omit | frozenset(omit)
            return job

    def finish_job(self, job_id: str) -> SimulatedJob:
        """Let the job end now, the way its plan ends, by moving its creation into the past.

        Raises ValueError for a job that has no end.
        """
        with self._lock:
            job = self._job(job_id)
            whole = length(job.plan)
            if not math.isfinite(whole):
                raise ValueError(f"job {job_id!r} has no end; change its fields instead")
            job.created_at = min(job.created_at, self.clock.now() - whole)
            return job

    def add_workflow(self, workflow_id: str, *, like: str = "wf-succeeds", **changes: Any) -> WorkflowPlan:
        """Add a workflow that is ``like`` another but for ``changes`` (fields of WorkflowPlan)."""
        with self._lock:
            if workflow_id in self.workflows:
                raise TakenIdError(f"there is a workflow {workflow_id!r} already")
            plan = replace(self.workflow(like), id=workflow_id, **changes)
            spans(plan)  # a circle of tasks is found now, not when somebody reads a job
            self.workflows[workflow_id] = plan
            return plan

    def workflow(self, workflow_id: str, project_id: str | None = None) -> WorkflowPlan:
        """The workflow of that id (in that project). Raises UnknownIdError."""
        if project_id is not None and all(project["id"] != project_id for project in self.projects):
            raise UnknownIdError("project", project_id)
        plan = self.workflows.get(workflow_id)
        if plan is None:
            raise UnknownIdError("workflow", workflow_id)
        if project_id is not None and plan.project_id != project_id:
            raise UnknownIdError("workflow", workflow_id, f"project {project_id!r}")
        return plan

    def job(self, workflow_id: str, job_id: str) -> SimulatedJob:
        """The job of that id in that workflow. Raises UnknownIdError."""
        with self._lock:
            self.workflow(workflow_id)
            job = self.jobs.get(job_id)
            if job is None or job.workflow_id != workflow_id:
                raise UnknownIdError("job", job_id, f"workflow {workflow_id!r}")
            return job

    def jobs_of(self, workflow_id: str) -> list[SimulatedJob]:
        """The jobs of a workflow that a list shows by now, newest first. Raises UnknownIdError."""
        with self._lock:
            self.workflow(workflow_id)
            now = self.clock.now()
            jobs = [
                job for job in self.jobs.values() if job.workflow_id == workflow_id and job.listed_at <= now
            ]
        return sorted(jobs, key=lambda job: job.created_at, reverse=True)

    def state(self, job: SimulatedJob) -> JobState:
        """What the job's plan says about it now, whatever its JSON was changed to."""
        return job.state(self.clock.now())

    def finished_at(self, job: SimulatedJob) -> float:
        """When the job ended, in Unix seconds; now for one that runs."""
        ended = self.state(job).ended
        return self.clock.now() if ended is None else job.created_at + ended

    def full(self, job: SimulatedJob) -> dict[str, Any]:
        """The job's JSON as Get Job answers it now."""
        return render.full_job(job, self.clock.now(), self.encoding)

    def slim(self, job: SimulatedJob) -> dict[str, Any]:
        """The job's JSON as List Jobs shows it now."""
        return render.slim_job(job, self.clock.now())

    def task_number(self, job: SimulatedJob, task_id: str) -> int:
        """The task's place in the job, from 1. Raises UnknownIdError."""
        for number in range(1, len(self.state(job).tasks) + 1):
            if task_id == job.task_id(number):
                return number
        raise UnknownIdError("task", task_id, f"job {job.id!r}")

    def package(self, job: SimulatedJob, task_id: str | None = None) -> bool:
        """Ask for the download package of a job or task; true once it is prepared.

        At the first ask it isn't, unless its plan says that it takes no time.
        """
        with self._lock:
            asked_at = job.packages.setdefault(task_id or "", self.clock.now())
            wanted = self.package_plans.of(job.id, task_id).seconds
            seconds = job.plan.package_seconds if wanted is None else wanted
            return self.clock.now() - asked_at >= seconds

    def set_package(self, plan: PackagePlan, job_id: str | None = None, task_id: str | None = None) -> None:
        """Let a task's package, all those of a job, or all there are turn out as ``plan`` says.

        A URL that was given out before serves what the plan says now. Raises UnknownIdError, or ValueError
        for a task without its job.
        """
        with self._lock:
            if job_id is not None and task_id is not None:
                self.task_number(self._job(job_id), task_id)
            elif job_id is not None:
                self._job(job_id)
            self.package_plans.put(plan, job_id, task_id)

    def _job(self, job_id: str) -> SimulatedJob:
        job = self.jobs.get(job_id)
        if job is None:
            raise UnknownIdError("job", job_id)
        return job
