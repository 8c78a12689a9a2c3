"""A client of the simulator for its own tests."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests

from pixxel_provider.simulator.clock import SimulatedClock, frozen
from pixxel_provider.simulator.packages import Content
from pixxel_provider.simulator.server import Simulator
from pixxel_provider.simulator.world import World

JOBS = "/v0/workflows/wf-succeeds/jobs"
PROJECT = {"project_id": "project-agriculture"}
DOWNLOAD = f"{JOBS}/job-finished/download"
TASK = f"{JOBS}/job-finished/tasks/job-finished-task-1/download"
TEN = b"0123456789"
PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Client:
    """Requests with the key, without retries and redirects."""

    def __init__(self, simulator: Simulator) -> None:
        self.url = simulator.url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {simulator.key}"

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        options = {"timeout": 10, "allow_redirects": False, **options}
        return self.session.request(method, self.url + path, **options)

    def get(self, path: str, **params: Any) -> requests.Response:
        return self("GET", path, params=params)

    def job(self, job_id: str, workflow_id: str = "wf-succeeds") -> requests.Response:
        return self.get(f"/v0/workflows/{workflow_id}/jobs/{job_id}")

    def create(self, **options: Any) -> requests.Response:
        return self("POST", JOBS, params=PROJECT, **options)

    def listed(self) -> list[str]:
        return [job["id"] for job in self.get(JOBS).json()["jobs"]]

    def signed_url(self, path: str = DOWNLOAD) -> str:
        """Return the signed URL of a package that is ready at once."""
        answer = self("PUT", path).json()
        assert answer["status"] == "ready"
        return str(answer["signed_url"])

    def control(self, method: str, path: str, json: Any = None) -> requests.Response:
        return requests.request(method, f"{self.url}/_control{path}", json=json, timeout=10)


def ping(simulator: Simulator) -> socket.socket:
    """Return a connection on which a ping was requested."""
    place = urlsplit(simulator.url)
    connection = socket.create_connection((place.hostname, place.port), timeout=10)
    connection.sendall(PING)
    return connection


def fetch(url: str, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(url, headers=named, timeout=10)


def message(answer: requests.Response, status: int = 400) -> str:
    """Return the message of an error in the envelope."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"code", "message", "details"}
    return str(error["message"])


def whole(content: Content, start: int = 0, end: int | None = None) -> bytes:
    return b"".join(content.chunks(start, content.size if end is None else end))


def make(**options: Any) -> World:
    """A world whose clock only moves by hand."""
    return World(clock=SimulatedClock(frozen()), **options)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
