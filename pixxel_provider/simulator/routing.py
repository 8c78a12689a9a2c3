"""The API's operations by name, and how a request's path is taken apart.

An id in a path arrives percent-quoted and may hold anything, a slash too. Web frameworks decode the path
before they split it, which turns one id into two segments; here the raw path is split before it is decoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote

CONTROL = "/_control"
FILES = "/_files"


@dataclass(frozen=True)
class Operation:
    """One row of the API: the name that counters and faults use, the method, and the path's template."""

    name: str
    method: str
    template: str

    @property
    def route(self) -> str:
        """The template as a route whose parameters are single segments."""
        return self.template.replace("}", ":pixxel_id}")

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The template as a pattern of raw paths."""
        return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", self.template))


OPERATIONS: tuple[Operation, ...] = (
    Operation("get_job", "GET", "/v0/workflows/{workflow_id}/jobs/{job_id}"),
    Operation("list_jobs", "GET", "/v0/workflows/{workflow_id}/jobs"),
    Operation("create_job", "POST", "/v0/workflows/{workflow_id}/jobs"),
    Operation("get_workflow", "GET", "/v0/workflows/{workflow_id}"),
    Operation("list_workflows", "GET", "/v0/workflows"),
    Operation("estimate_cost", "GET", "/v0/workflows/{workflow_id}/estimate"),
    Operation("download_job", "PUT", "/v0/workflows/{workflow_id}/jobs/{job_id}/download"),
    Operation("download_task", "PUT", "/v0/workflows/{workflow_id}/jobs/{job_id}/tasks/{task_id}/download"),
    Operation("ping", "GET", "/ping"),
    Operation("list_projects", "GET", "/v0/projects"),
    Operation("download_file", "GET", FILES + "/{file_id}"),
)
BY_NAME: Mapping[str, Operation] = {operation.name: operation for operation in OPERATIONS}


def decode(segment: str) -> str:
    """A quoted segment as the id it stands for; bytes that aren't UTF-8 become replacement characters."""
    return unquote(segment, errors="replace")


def header(scope: MutableMapping[str, Any], name: str) -> str:
    """A header's value, empty if there is none. Clients differ in how they send what isn't ASCII."""
    raw: bytes = dict(scope["headers"]).get(name.encode(), b"")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def raw_path(scope: MutableMapping[str, Any]) -> str:
    """The request's path as it was sent, still quoted, without host (a proxy's request has one) and query."""
    raw: bytes | None = scope.get("raw_path")
    path = raw.decode("latin-1").split("?", 1)[0] if raw else quote(scope["path"])
    if not path.startswith("/") and "://" in path:
        path = "/" + path.split("://", 1)[1].partition("/")[2]
    return path


def file_id(workflow_id: str, job_id: str, task_id: str | None) -> str:
    """The id of a package's file: it says whose package it is."""
    return json.dumps([workflow_id, job_id, task_id], separators=(",", ":"))


def file_owner(file_id: str) -> dict[str, str]:
    """The ids of workflow, job and task in a file's id; none where it is no such id."""
    try:
        found = json.loads(file_id)
    except (ValueError, RecursionError):
        return {}
    if not (isinstance(found, list) and len(found) == 3):
        return {}
    names = ("workflow_id", "job_id", "task_id")
    return {name: each for name, each in zip(names, found, strict=True) if isinstance(each, str)}


def match(method: str, path: str) -> tuple[str, dict[str, str]]:
    """The operation's name and the decoded ids for a raw path; ``unmatched`` and no ids for any other."""
    for operation in OPERATIONS:
        found = operation.pattern.fullmatch(path)
        if found is not None and operation.method == method:
            ids = {name: decode(value) for name, value in found.groupdict().items()}
            return operation.name, {**ids, **file_owner(ids.get("file_id", ""))}
    return "unmatched", {}
