from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.plugins.pages import HAS_PAGES, WHY_NOT, Records


@pytest.fixture(scope="session")
def _records(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if not HAS_PAGES:
        pytest.skip(WHY_NOT)
    return Records(tmp_path_factory.mktemp("records"))


@pytest.fixture
def records(_records: Any) -> Iterator[Records]:
    """A database of Airflow's own, with two DAGs and no runs."""
    _records.clear()
    with _records.in_force():
        yield _records
