from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.clock import frozen
from pixxel_provider.simulator.server import Simulator
from tests.contract import openapi


@pytest.fixture(scope="session")
def contract() -> ModuleType:
    """tests/contract/openapi.py, if the document is there; without it the test is skipped, in CI it fails."""
    openapi.require()
    return openapi


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with serve(clock=frozen(), no_access_keys=["no-access"]) as simulator:
        yield simulator


@pytest.fixture
def pixxel(running: Simulator) -> Simulator:
    """A simulator as new, whose clock only moves by hand."""
    running.reset()
    return running
