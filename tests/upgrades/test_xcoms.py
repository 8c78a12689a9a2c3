"""XComs of a release can be read by the current code."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom

from pixxel_provider import xcom
from tests.support import FakeTaskInstance
from tests.upgrades.recorded import AIRFLOW, RELEASES, Release, stored

ROWS = [row for row in stored("tasks") if row.xcoms() and row.row["dag_id"] == "release_waits"]


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)
def test_airflow_deserialises_them_to_json(release: Release) -> None:
    for row in release.rows("xcoms"):
        # Airflow 2 keeps JSON as bytes.
        value = row["value"] if AIRFLOW >= (3, 0) else json.dumps(row["value"]).encode()
        assert XCom.deserialize_value(SimpleNamespace(value=value)) == row["value"], row["key"]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_keys_are_those_that_the_code_reads(row: Any) -> None:
    found = row.xcoms("xcoms_deferred") or row.xcoms()
    ti = FakeTaskInstance()
    ti.task_id, ti.xcoms = row.row["task_id"], found
    if "job_id" in found:
        assert xcom.pull_job_id({"ti": ti}) == found["job_id"]  # type: ignore[typeddict-item]
        assert set(xcom.JOB_KEYS) <= found.keys()
        assert found[xcom.CONNECTION] == "pixxel_default"
        assert found[xcom.LINK].startswith("https://")
    known = {
        *xcom.JOB_KEYS,
        *xcom.END_KEYS,
        *xcom.PACKAGE_KEYS,
        xcom.ESTIMATED_COST,
        xcom.RETURN_VALUE,
        xcom.LINK,
    }
    # A key that nobody knows any more would be one that DAGs read in vain.
    assert row.xcoms().keys() <= known
