"""The simulator's world: projects, workflows, jobs and packages, read at the time its clock shows.

Nothing in here runs by itself. A job is its plan and the moment it was created; what it looks like is worked
out when somebody asks, so a test that owns the clock owns the job.
"""

from __future__ import annotations

import math
import random
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from pixxel_provider.simulator import render
from pixxel_provider.simulator.clock import TEN_YEARS, SimulatedClock, check_seconds
from pixxel_provider.simulator.packages import USUAL_PACKAGE, PackagePlan
from pixxel_provider.simulator.plans import PROJECTS, WORKFLOWS, WorkflowPlan, check_speed
from pixxel_provider.simulator.recurring import RecurringJobs
from pixxel_provider.simulator.render import FIRST_USER, Problem
from pixxel_provider.simulator.timeline import JobState, SimulatedJob, length, speed_for
from pixxel_provider.simulator.validation import Model

HOUR = 3600.0


class UnknownIdError(Problem):
    """There is no project, workflow, job or task of that id (or not where it was looked for)."""

    def __init__(self, kind: str, asked: str, where: str = "") -> None:
        super().__init__(404, f"{kind} {asked!r} was not found" + (f" in {where}" if where else ""))


class TakenIdError(Problem):
    """Something of that id is there already."""

    def __init__(self, kind: str, asked: str) -> None:
        super().__init__(409, f"there is a {kind} {asked!r} already")


@dataclass(frozen=True)
class Bill:
    """Jobs that were paid for, oldest first, and their credits in all."""

    jobs: tuple[str, ...]
    credits: int


class JobOptions(Model):
    """How a job that is created by hand differs from one that the API creates.

    It takes the ``course`` of another workflow, and is ``age`` seconds old. ``speed`` replaces the world's,
    or ``seconds`` sets how long the whole job lasts. ``fields`` are put over its JSON as they are, ``omit``
    names fields to leave out. A list shows it after ``list_delay`` simulated seconds.
    """

    project_id: str | None = None
    created_by: str = FIRST_USER
    course: str | None = None
    speed: float | None = None
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    age: float = Field(default=0.0, ge=-TEN_YEARS, le=TEN_YEARS)
    fields: Mapping[str, Any] = {}
    omit: Sequence[str] = ()
    list_delay: float = Field(default=0.0, ge=0, le=TEN_YEARS)


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
        recurring: Iterable[Mapping[str, Any] | str] = (),
    ) -> None:
        if encoding not in render.BYTE_ENCODINGS:
            raise ValueError(f"bytes: {encoding!r} is not one of {', '.join(render.BYTE_ENCODINGS)}")
        check_speed(speed)
        self.clock = clock or SimulatedClock()
        self.speed = speed
        self.encoding = encoding
        self.seed = seed
        self.projects = PROJECTS
        self.recurring = [RecurringJobs.read(spec) for spec in recurring]
        self._lock = threading.RLock()
        self._list_delay_at_start = check_seconds("list_delay", list_delay)
        self.reset()

    def reset(self) -> None:
        """Back to the start: the built-in workflows, three old jobs, the clock at its source's time."""
        with self._lock:
            self.clock.reset()
            self.paid: list[SimulatedJob] = []
            self.list_delay = self._list_delay_at_start
            self._random = random.Random(self.seed)  # ids that can be repeated, not secrets
            self.workflows: dict[str, WorkflowPlan] = {plan.id: plan for plan in WORKFLOWS}
            self.jobs: dict[str, SimulatedJob] = {}
            self.package_plans: dict[tuple[str | None, str | None], PackagePlan] = {}
            self.create_job("wf-succeeds", job_id="job-finished-earlier", age=26 * HOUR)
            self.create_job("wf-succeeds", job_id="job-finished", age=HOUR)
            self.create_job("wf-fails", job_id="job-failed", age=HOUR)
            for each in self.recurring:
                if each.workflow not in self.workflows:
                    raise ValueError(f"workflow: {each.workflow!r} is not one of {', '.join(self.workflows)}")
            self._began = self._started_until = self.clock.now()

    def start_due(self) -> None:
        """Create the recurring jobs that are due by now, as old as if each had been started in time."""
        with self._lock:
            now, since = self.clock.now(), self._started_until
            self._started_until = max(now, since)
            for at, each in enumerate(self.recurring, start=1):
                for number, age in each.due(self._began, since, now):
                    job_id = f"job-outside-{at}-{number}"
                    options = {"created_by": each.created_by, "age": age, "seconds": each.seconds}
                    course = each.course(f"{self.seed} {job_id}")
                    self.create_job(each.workflow, job_id=job_id, course=course, **options)

    def create_job(self, workflow_id: str, *, job_id: str | None = None, **options: Any) -> SimulatedJob:
        """Create a job on nobody's bill; ``options`` are the fields of JobOptions.

        Raises UnknownIdError, TakenIdError, or ValueError for options that can't be.
        """
        wanted = JobOptions.read(options)
        with self._lock:
            workflow = plan = self.workflow(workflow_id, wanted.project_id)
            if wanted.course is not None:
                shown = {"id": workflow.id, "cost": workflow.cost}
                plan = self.workflow(wanted.course).model_copy(update=shown)
            plan = plan.faster(speed_for(plan, speed=wanted.speed, seconds=wanted.seconds, usual=self.speed))
            if job_id is None:
                job_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
            if job_id in self.jobs:
                raise TakenIdError("job", job_id)
            now = self.clock.now()
            job = self.jobs[job_id] = SimulatedJob(
                id=job_id,
                workflow_id=workflow.id,
                created_by=wanted.created_by,
                created_at=now - wanted.age,
                plan=plan,
                listed_at=now + wanted.list_delay if wanted.list_delay else 0.0,
                fields=dict(wanted.fields),
                omit=frozenset(wanted.omit),
            )
            return job

    def order_job(self, workflow_id: str, project_id: str, user: str) -> SimulatedJob:
        """Create a job the way the API does: ``user`` pays for it, and lists show it after ``list_delay``.

        Raises UnknownIdError.
        """
        with self._lock:
            delay = self.list_delay
            job = self.create_job(workflow_id, project_id=project_id, created_by=user, list_delay=delay)
            self.paid.append(job)
            return job

    def bill(self, user: str | None = None) -> Bill:
        """The jobs created through the API and their credits: of all users, or of one.

        The owner of the first key is ``user-simulator-1``, of the second ``user-simulator-2``, and so on.
        """
        with self._lock:
            jobs = [job for job in self.paid if user in (None, job.created_by)]
        return Bill(tuple(job.id for job in jobs), sum(job.plan.cost for job in jobs))

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
        """Add a workflow that is ``like`` another but for ``changes`` (fields of WorkflowPlan).

        Raises UnknownIdError, TakenIdError, or ValueError for a field that can't be.
        """
        with self._lock:
            if workflow_id in self.workflows:
                raise TakenIdError("workflow", workflow_id)
            plan = WorkflowPlan.read({**dict(self.workflow(like)), **changes, "id": workflow_id})
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
            self.start_due()
            self.workflow(workflow_id)
            job = self.jobs.get(job_id)
            if job is None or job.workflow_id != workflow_id:
                raise UnknownIdError("job", job_id, f"workflow {workflow_id!r}")
            return job

    def jobs_of(self, workflow_id: str) -> list[SimulatedJob]:
        """The jobs of a workflow that a list shows by now, newest first. Raises UnknownIdError."""
        with self._lock:
            self.start_due()
            self.workflow(workflow_id)
            jobs = [job for job in self.jobs.values() if job.listed_at <= self.clock.now()]
        here = [job for job in jobs if job.workflow_id == workflow_id]
        return sorted(here, key=lambda job: job.created_at, reverse=True)

    def state(self, job: SimulatedJob) -> JobState:
        """What the job's plan says about it now, whatever its JSON was changed to."""
        return job.state(self.clock.now())

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
            wanted = self.package_plan(job.id, task_id).seconds
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
            elif task_id is not None:
                raise ValueError("task_id: needs the job_id of its job")
            self.package_plans[job_id, task_id] = plan

    def package_plan(self, job_id: str, task_id: str | None) -> PackagePlan:
        """The plan of this task or job, else of its whole job, else of all; else one that says nothing."""
        with self._lock:
            keys = ((job_id, task_id), (job_id, None), (None, None))
            return next((self.package_plans[key] for key in keys if key in self.package_plans), USUAL_PACKAGE)

    def _job(self, job_id: str) -> SimulatedJob:
        self.start_due()
        job = self.jobs.get(job_id)
        if job is None:
            raise UnknownIdError("job", job_id)
        return job
