"""A pytest plugin, ``pytest -p scripts.deprecations``: whatever is deprecated on Airflow fails its test.

Airflow's own categories count wherever they are raised; Python's in our own code only.
"""

from __future__ import annotations

import pytest

# Airflow gives the modules of DAG files names that begin with "unusual_prefix_".
OURS = r"(pixxel_provider|tests|example_dags|unusual_prefix_|test_|conftest)"
ERRORS = (
    *(rf"error::{name}Warning:{OURS}" for name in ("Deprecation", "PendingDeprecation", "Future")),
    "error::airflow.exceptions.RemovedInAirflow4Warning",
    "error::airflow.exceptions.AirflowProviderDeprecationWarning",
)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Add the filters, but not before conftest.py: naming its categories imports Airflow."""
    for line in ERRORS:
        config.addinivalue_line("filterwarnings", line)
