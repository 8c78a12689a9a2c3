"""One function for every endpoint that this package uses; each returns a call, which is a plain value.

Paths, parameters and answers are those of Pixxel's OpenAPI document ("stargate" v0.1.0).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pixxel_provider.api import parsing
from pixxel_provider.api.errors import PixxelInputError, PixxelResponseError
from pixxel_provider.api.job import Job, reading_kind
from pixxel_provider.api.models import Download, Page, Project, Workflow, read_list

T = TypeVar("T")

#: The largest answer that is read, in bytes, both encoded and decoded. A job with 1,000 tasks has
#: about half a MiB.
ANSWER_LIMIT = 32 * 1024 * 1024

_LONGEST_ID = 512
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request that hasn't been sent, and how to read its answer."""

    name: str
    """The function that made it, for logs and counters."""
    method: str
    path: str
    """Already percent-encoded: an id is always one segment."""
    read: Callable[[Any], T] = field(repr=False, compare=False)
    """Decoded JSON in, typed answer out; raises PixxelResponseError."""
    params: Mapping[str, str] = field(default_factory=dict)
    safe: bool = True
    """Whether it may be sent twice."""
    keyed: bool = True
    """Whether it is sent with the API key."""
    quotable: bool = True
    """Whether messages may show the beginning of its answer. Not if that may be a signed URL."""
    limit: int = ANSWER_LIMIT
    """The largest answer that is read, in bytes."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def get_job(workflow_id: str, job_id: str) -> Call[Job]:
    """One job in full, with its tasks and validation errors."""
    return Call("get_job", "GET", _job_path(workflow_id, job_id), partial(_read_job, workflow_id, job_id))


def list_jobs(
    workflow_id: str,
    *,
    job_id: str | None = None,
    status: str | None = None,
    created_by: str | None = None,
    created_on: str | None = None,
) -> Call[list[Job]]:
    """The jobs of a workflow, without tasks. A job that exists may be missing: no page size is documented."""
    filters = {"id": job_id, "status": status, "created_by": created_by, "created_on": created_on}
    return Call(
        "list_jobs",
        "GET",
        f"{_workflow_path(workflow_id)}/jobs",
        partial(_read_jobs, workflow_id),
        _given(filters),
    )


def create_job(workflow_id: str, project_id: str) -> Call[Job]:
    """Create a job. It is billed and has no idempotency key, so it is never safe to send twice.

    An answer that names another workflow's job, or an id that can't be sent, is unreadable.
    """
    return Call(
        "create_job",
        "POST",
        f"{_workflow_path(workflow_id)}/jobs",
        partial(_read_created, workflow_id),
        {"project_id": check_id("project_id", project_id)},
        safe=False,
    )


def get_workflow(workflow_id: str, project_id: str) -> Call[Workflow]:
    """One workflow, with its estimated cost in credits."""
    params = {"project_id": check_id("project_id", project_id)}
    return Call(
        "get_workflow", "GET", _workflow_path(workflow_id), partial(_read_workflow, workflow_id), params
    )


def list_workflows(
    *,
    project_id: str | None = None,
    workflow_id: str | None = None,
    name: str | None = None,
    created_by: str | None = None,
    created_on: str | None = None,
    updated_at: str | None = None,
    offset: int = 0,
    limit: int = 50,
) -> Call[Page[Workflow]]:
    """One page of workflows, ``limit`` of them from the ``offset``-th on."""
    filters = {
        "project_id": project_id,
        "id": workflow_id,
        "name": name,
        "created_by": created_by,
        "created_on": created_on,
        "updated_at": updated_at,
    }
    window = {"offset": str(_whole("offset", offset, 0)), "limit": str(_whole("limit", limit, 1))}
    return Call("list_workflows", "GET", "/v0/workflows", _read_workflows, {**_given(filters), **window})


def estimate_cost(workflow_id: str) -> Call[int | float]:
    """The cost of one run of the workflow, in credits."""
    return Call("estimate_cost", "GET", f"{_workflow_path(workflow_id)}/estimate", _read_estimate)


def download_job(workflow_id: str, job_id: str) -> Call[Download]:
    """Request a package of a job's files; repeat the call until the package is ready."""
    return Call(
        "download_job",
        "PUT",
        f"{_job_path(workflow_id, job_id)}/download",
        partial(_read_download, workflow_id, job_id),
        quotable=False,
    )


def download_task(workflow_id: str, job_id: str, task_id: str) -> Call[Download]:
    """Request a package of one task's files; repeat the call until the package is ready."""
    path = f"{_job_path(workflow_id, job_id)}/tasks/{path_segment('task_id', task_id)}/download"
    return Call("download_task", "PUT", path, partial(_read_download, workflow_id, job_id), quotable=False)


def ping() -> Call[str]:
    """Whether there is a Pixxel API at this address; needs no key."""
    return Call("ping", "GET", "/ping", _read_ping, keyed=False)


def list_projects(*, page_num: int = 1, page_size: int = 50) -> Call[Page[Project]]:
    """One page of the projects that the key's owner can access."""
    params = {
        "page_num": str(_whole("page_num", page_num, 1)),
        "page_size": str(_whole("page_size", page_size, 1)),
    }
    return Call("list_projects", "GET", "/v0/projects", _read_projects, params)


def same_id(one: str, other: str) -> bool:
    """Return whether two ids are the same; servers write UUIDs in lower case, whatever the request had."""
    return one == other or one.strip().casefold() == other.strip().casefold()


def check_id(field_name: str, value: object) -> str:
    """Return an id that can be sent.

    :raises PixxelInputError: it isn't a string, is blank, is longer than 512 characters, contains a line
        break or another control character, or can't be UTF-8.
    """
    if not isinstance(value, str):
        hint = "; did the task that should have pushed it to XCom push nothing?" if value is None else ""
        raise PixxelInputError(field_name, f"must be a string, not {type(value).__name__}{hint}")
    if not value.strip():
        raise PixxelInputError(field_name, "is empty")
    if len(value) > _LONGEST_ID:
        raise PixxelInputError(field_name, f"has {len(value)} characters; no id is that long")
    if _CONTROL.search(value):
        # Usually the end of a line that a shell command pushed: it would be a 404 after a minute.
        raise PixxelInputError(field_name, "holds a line break or another control character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PixxelInputError(field_name, "holds characters that aren't valid Unicode") from None
    return value


def can_be_sent(value: object) -> bool:
    """Return whether an id that Pixxel sent can be one."""
    try:
        path_segment("id", value)
    except PixxelInputError:
        return False
    return True


def path_segment(field_name: str, value: object) -> str:
    """Return an id as one segment of a path.

    :raises PixxelInputError: as :func:`check_id`, or it is a dot segment.
    """
    checked = check_id(field_name, value)
    # HTTP clients and proxies resolve dot segments, quoted or not: such an id would reach another endpoint.
    if checked in (".", ".."):
        raise PixxelInputError(field_name, f"is {checked!r}, which is a step in a path and not an id")
    return quote(checked, safe="")


def _workflow_path(workflow_id: str) -> str:
    return f"/v0/workflows/{path_segment('workflow_id', workflow_id)}"


def _job_path(workflow_id: str, job_id: str) -> str:
    return f"{_workflow_path(workflow_id)}/jobs/{path_segment('job_id', job_id)}"


def _given(filters: Mapping[str, str | None]) -> dict[str, str]:
    return {key: check_id(key, value) for key, value in filters.items() if value is not None}


def _whole(field_name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PixxelInputError(field_name, f"must be a whole number from {least} on, not {value!r}")
    return value


def _read_created(workflow_id: str, answer: Any) -> Job:
    job = Job.read(answer)
    try:
        # The id as it was sent, not converted to text: the job would never be found under another id.
        path_segment("id", answer["id"])
    except PixxelInputError as error:
        raise PixxelResponseError(f"expected a new job, got one whose {error}") from None
    _same("workflow", workflow_id, job.workflow_id)
    return job


def _read_estimate(answer: Any) -> int | float:
    cost = parsing.number(answer.get("estimated_cost")) if isinstance(answer, Mapping) else None
    if cost is None:
        raise PixxelResponseError(
            f"expected an estimated_cost, got {reading_kind(answer)} without a usable one"
        )
    return cost


def _read_ping(answer: Any) -> str:
    if not isinstance(answer, str):
        raise PixxelResponseError(f"expected a string, got {reading_kind(answer)}")
    return answer


def _same(what: str, asked: str, got: object) -> None:
    """Check that an answer is about the requested object: a cache or a gateway may confuse answers.

    :raises PixxelResponseError: it names another id. An answer without an id is accepted.
    """
    found = parsing.text(got).strip()
    if found and not same_id(found, asked):
        raise PixxelResponseError(
            f"expected {what} {asked!r}, got an answer about {what} {found[:_LONGEST_ID]!r}"
        )


def _read_job(workflow_id: str, job_id: str, answer: Any) -> Job:
    job = Job.read(answer)
    _same("job", job_id, job.id)
    _same("workflow", workflow_id, job.workflow_id)
    return job


def _read_jobs(workflow_id: str, answer: Any) -> list[Job]:
    # Entries of other workflows aren't ours: a server or a cache has answered more than the request.
    jobs = read_list(answer, "jobs", Job.read)
    return [job for job in jobs if same_id(job.workflow_id, workflow_id) or not job.workflow_id.strip()]


def _read_workflow(workflow_id: str, answer: Any) -> Workflow:
    workflow = Workflow.read(answer)
    _same("workflow", workflow_id, workflow.id)
    return workflow


def _read_download(workflow_id: str, job_id: str, answer: Any) -> Download:
    download = Download.read(answer)
    # Pixxel writes workflowId for a job's package, workflow_id for a task's.
    for key in ("workflowId", "workflow_id"):
        _same("workflow", workflow_id, answer.get(key))
    _same("job", job_id, answer.get("job_id"))
    return download


def _read_workflows(answer: Any) -> Page[Workflow]:
    found = read_list(answer, "workflows", Workflow.read)
    pagination = answer.get("pagination")
    return Page(tuple(found), _count(pagination.get("total") if isinstance(pagination, Mapping) else None))


def _read_projects(answer: Any) -> Page[Project]:
    return Page(tuple(read_list(answer, "projects", Project.read)), _count(answer.get("count")))


def _count(value: Any) -> int | None:
    total = parsing.number(value)
    return total if isinstance(total, int) and total >= 0 else None
