from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.clock import frozen
from pixxel_provider.simulator.server import Simulator


def _load() -> ModuleType:
    # By its path: the tests are no package, and another distribution may own the name.
    name = "pixxel_contract_openapi"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("openapi.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_openapi = _load()


@pytest.fixture(scope="session")
def contract() -> ModuleType:
    """tests/contract/openapi.py, if the document is there; without it the test is skipped, in CI it fails."""
    _openapi.require()
    return _openapi


@pytest.fixture
def openapi_module() -> ModuleType:
    """The same module, whether the document is there or not."""
    return _openapi


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with serve(clock=frozen(), no_access_keys=["no-access"]) as simulator:
        yield simulator


@pytest.fixture
def pixxel(running: Simulator) -> Simulator:
    """A simulator as new, whose clock only moves by hand."""
    running.reset()
    return running
