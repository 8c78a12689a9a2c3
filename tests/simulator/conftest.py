from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.clock import frozen
from pixxel_provider.simulator.server import Simulator


class Client:
    """Requests with the key, without retries and redirects."""

    def __init__(self, simulator: Simulator) -> None:
        self.url = simulator.url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {simulator.key}"

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("allow_redirects", False)
        return self.session.request(method, self.url + path, timeout=10, **options)

    def get(self, path: str, **params: Any) -> requests.Response:
        return self("GET", path, params=params)

    def job(self, job_id: str, workflow_id: str = "wf-succeeds") -> requests.Response:
        return self.get(f"/v0/workflows/{workflow_id}/jobs/{job_id}")

    def control(self, method: str, path: str, json: Any = None) -> requests.Response:
        return requests.request(method, f"{self.url}/_control{path}", json=json, timeout=10)


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with serve(clock=frozen(), keys=["second-key"], no_access_keys=["no-access"], seed=1) as simulator:
        yield simulator


@pytest.fixture
def pixxel(running: Simulator) -> Simulator:
    """A simulator as new, whose clock only moves by hand."""
    running.reset()
    return running


@pytest.fixture
def client(pixxel: Simulator) -> Iterator[Client]:
    result = Client(pixxel)
    yield result
    result.session.close()
