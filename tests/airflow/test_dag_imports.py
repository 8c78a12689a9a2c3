"""Airflow imports DAG files again and again; that must reach neither Pixxel nor the database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from pixxel_provider.assets import HAS_ASSET_WATCHERS

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "example_dags").glob("*.py"))
#: Scheduled by an asset with a watcher.
WATCHING = {"pixxel_on_job_end", "pixxel_on_job_end_or_daily"}
#: What this Airflow lacks something for.
ABSENT = set() if AIRFLOW_V_3_1_PLUS else {"pixxel_ask_before_run"}
ABSENT |= set() if HAS_ASSET_WATCHERS else WATCHING

IMPORT = """
import gc, json, runpy, sys, warnings
# Airflow itself may open what it likes, once, before.
from airflow.providers.common.compat.sdk import BaseSensorOperator, DAG, dag, task

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "sqlite3.connect"):
        raise AssertionError(f"{event}: {arguments}")

sys.addaudithook(refuse)
before = set(sys.modules)
gc.disable()  # nothing here holds the DAGs
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    kept = [runpy.run_path(file) for file in sys.argv[1:]]
dags = [each for each in gc.get_objects() if issubclass(type(each), DAG)]
found = [each.dag_id for each in dags]
scheduled = [each.dag_id for each in dags if type(each.timetable).__name__ != "NullTimetable"]
unpaused = [each.dag_id for each in dags if each.dag_id in scheduled and not each.is_paused_upon_creation]
warned = [str(each.message) for each in warned if each.filename in sys.argv]
heavy = {"aiohttp", "pixxel_provider.hooks.pixxel"} & (set(sys.modules) - before)
print("FOUND", json.dumps({"dags": found, "heavy": sorted(heavy), "warned": warned,
    "scheduled": scheduled, "unpaused": unpaused}))
"""


def test_importing_the_examples_opens_no_connection(pixxel: Any, tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW_CONN_PIXXEL_DEFAULT": pixxel.connection_json(),
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, *map(str, EXAMPLES)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.split("FOUND")[1])
    assert set(found["dags"]) == {file.stem for file in EXAMPLES} - ABSENT
    # Airflow loads them by default, into everybody's installation.
    assert all(dag_id.startswith("pixxel_") for dag_id in found["dags"])
    assert (found["heavy"], found["warned"]) == ([], [])
    assert set(found["scheduled"]) == WATCHING - ABSENT
    # Watchers of a paused DAG don't run.
    assert found["unpaused"] == []
    assert pixxel.requests() == 0
