"""What is private in Airflow, or differs between its versions, is named in one room."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "pixxel_provider"
#: Public, and the same in every supported version.
ALLOWED = {
    "airflow.plugins_manager",
    "airflow.providers.common.compat.openlineage.facet",
    "airflow.providers.common.compat.sdk",
    "airflow.providers.openlineage.extractors",
    "airflow.triggers.base",
}
A_MODULE = re.compile(r"airflow(\.[a-z_]\w*)+")


def airflow_modules(source: str) -> Iterator[str]:
    """Yield the modules of Airflow that are imported, also by a name in a text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module or ""]
        elif isinstance(node, ast.Constant) and A_MODULE.fullmatch(str(node.value)):
            found = [str(node.value)]
        else:
            continue
        yield from (name for name in found if name == "airflow" or name.startswith("airflow."))


def test_only_compat_names_what_differs_between_versions() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if PACKAGE / "compat" not in file.parents]
    assert len(files) > 80
    named = {
        (str(file.relative_to(PACKAGE)), name)
        for file in files
        for name in airflow_modules(file.read_text(encoding="utf-8"))
    }
    assert {name for _, name in named} >= ALLOWED
    assert {each for each in named if each[1] not in ALLOWED} == set()


@pytest.mark.parametrize(
    "source",
    [
        "from airflow.models.xcom import XComModel",
        "from airflow import settings",
        "import airflow",
        "def late():\n    from airflow.sdk.execution_time import supervisor",
        "from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS",
        "import_module('airflow.sdk.io')",
        "patch('airflow.utils.session')",
    ],
)
def test_each_way_to_name_it_is_seen(source: str) -> None:
    assert set(airflow_modules(source)) - ALLOWED
