from __future__ import annotations

from collections.abc import Iterator

import pytest

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.clock import frozen
from pixxel_provider.simulator.server import Simulator
from tests.simulator.client import Client


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
