"""With ``load_examples`` on, which is the default, Airflow finds the examples and complains of nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

import airflow_provider_pixxel

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
BUNDLE = "airflow-provider-pixxel-example-dags"

LOOK = """
import json
from airflow.dag_processing.bundles.manager import DagBundlesManager
bundles = DagBundlesManager().get_all_dag_bundles()
print("FOUND", json.dumps({bundle.name: str(bundle.path) for bundle in bundles}))
"""


def test_the_module_of_the_distributions_name_has_the_examples_of_the_checkout() -> None:
    (folder,) = airflow_provider_pixxel.__path__
    assert (Path(folder) / "example_dags").samefile(EXAMPLES)


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if not AIRFLOW_V_3_0_PLUS:
        pytest.skip("Airflow 2 loads no examples but its own, and has no bundles of DAGs")
    environ = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "True",
    }
    command = [sys.executable, "-c", LOOK]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)


def test_airflow_complains_of_nothing(look: Any) -> None:
    said = look.stdout.split("FOUND")[0] + look.stderr
    assert [line for line in said.splitlines() if "rror" in line or "Traceback" in line] == []
    assert look.returncode == 0


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="before 3.3 Airflow loads no examples but its own")
def test_airflow_finds_them(look: Any) -> None:
    folder = Path(json.loads(look.stdout.split("FOUND")[1])[BUNDLE])
    assert {file.name for file in folder.glob("*.py")} == {file.name for file in EXAMPLES.glob("*.py")}
