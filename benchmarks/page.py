"""How long the pages in Airflow's UI take: the first answer of a tab, and the list of 500 waits.

Airflow's own API server, in this process, on a SQLite database with 100,000 task instances; Pixxel is the
simulator, in another. What the answer of Pixxel's API takes alone is measured beside it and taken off.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 20
DAGS, RUNS, TASKS, WAITS, JOB_TASKS = 50, 20, 100, 500, 200
KEY = "bench"


def main() -> dict[str, float]:
    """Print the figures; each run has a database and a server of its own."""
    with tempfile.TemporaryDirectory() as home, serving() as url:
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")},
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AIRFLOW_CONN_PIXXEL_DEFAULT": json.dumps({"conn_type": "pixxel", "host": url, "password": KEY}),
            "PYTHONPATH": str(ROOT),
            "_AIRFLOW_PROCESS_CONTEXT": "server",
        }
        done = subprocess.run(
            [sys.executable, __file__, "measure"],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    scripts = sum(file.stat().st_size for file in (ROOT / "pixxel_provider/plugins/static").glob("*.js"))
    print(f"Pages in Airflow's UI, {DAGS * RUNS * TASKS:,} task instances, {ROUNDS} times each:")
    print(
        f"  tab, job of {JOB_TASKS} tasks: page {found['shell']:.0f} ms, then data {found['tab']:.0f} ms, of "
        f"which Pixxel's API takes {found['api']:.0f} ms; from memory {found['tab_again']:.0f} ms"
    )
    own = found["shell"] + found["tab"] - found["api"]
    print(f"  first answer without the API's own time: {own:.0f} ms (aim: at most 300)")
    print(f"  list of {found['rows']:.0f} waits: {found['list']:.0f} ms (aim: at most 1,000)")
    print(f"  scripts: {scripts / 1000:.1f} kB (aim: below 30)")
    return {"tab_own_ms": round(own, 1), "list_ms": round(found["list"], 1), "scripts_kb": scripts / 1000}


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Start a Pixxel that knows the big job, in a process of its own."""
    command = [sys.executable, __file__, "serve"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def serve() -> None:
    """Serve one job of many tasks, and the slim jobs of a list, over loopback."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    now = datetime.now(timezone.utc)

    def at(seconds: float) -> str:
        return (now + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")

    def slim(name: str) -> dict[str, Any]:
        return {
            "id": name,
            "workflow_id": "w",
            "status": "running",
            "progress": "40%",
            "cost": 40,
            "created_at": at(-600),
            "updated_at": at(0),
            "finished_at": "0001-01-01T00:00:00Z",
            "estimated_duration": 1200,
            "created_by": "user-1",
            "time_taken": "10m0s",
        }

    def task(number: int) -> dict[str, Any]:
        done = number < JOB_TASKS // 2
        return {
            "id": f"task-{number}",
            "name": f"step {number}",
            "status": "completed" if done else "created",
            "progress": 100 if done else 0,
            "depends_on": [f"step {number - 1}"] if number % 10 else [],
            "estimated_time_duration": 30,
            "created_at": at(-600),
            "updated_at": at(-60),
            "finished_at": at(number - 500) if done else "0001-01-01T00:00:00Z",
            "block_info": {"id": f"b-{number}", "name": "cloud-mask", "version": "1.2.0"},
            "inputs": list(json.dumps({"scene": "x" * 300}).encode()),
            "result": list(json.dumps({"file": "y" * 300}).encode()),
            "info_logs": list(b"a line of a log\n" * 20),
            "err_msg": "",
            "failure_type": "",
        }

    big = {
        **slim("big"),
        "tasks": [task(number) for number in range(JOB_TASKS)],
        "val_errors": [],
        "spec": [],
    }
    whole = json.dumps(big).encode()
    listed = json.dumps({"jobs": [slim(f"job-{number}") for number in range(WAITS)]}).encode()
    estimate = b'{"estimated_cost": 100}'

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = estimate if "estimate" in self.path else whole if self.path.endswith("/big") else listed
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


# ------------------------------------------------------------------------------------ in Airflow's API server


def fill() -> None:
    """Put DAG runs, task instances and their XComs into the database."""
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import insert, select
    from uuid6 import uuid7

    now = datetime.now(timezone.utc)
    versions = [uuid7() for _ in range(DAGS)]
    rendered: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    tasks: list[dict[str, Any]] = []
    xcoms: list[dict[str, Any]] = []
    for dag in range(DAGS):
        for run in range(RUNS):
            began = now - timedelta(hours=run, seconds=dag)
            names = {"dag_id": f"dag_{dag}", "run_id": f"run_{run}"}
            runs.append(
                {**names, "run_type": "manual", "state": "running", "run_after": began, "logical_date": began}
            )
            for number in range(TASKS):
                waits = number == 0 and len(xcoms) < WAITS * 3
                key = {**names, "task_id": f"task_{number}", "map_index": -1}
                tasks.append(
                    {
                        "id": uuid7(),
                        **key,
                        "state": "deferred" if waits else "success",
                        "try_number": 1,
                        "max_tries": 0,
                        "start_date": began,
                        "end_date": None if waits else began,
                        "operator": "PixxelJobSensor" if waits else "PythonOperator",
                        "pool": "default_pool",
                        "pool_slots": 1,
                        "executor_config": {},
                        "dag_version_id": versions[dag],
                    }
                )
                job = "big" if not xcoms else f"job-{len(xcoms) // 3}"
                pushed = [("pixxel_conn_id", "pixxel_default"), ("workflow_id", "w"), ("job_id", job)]
                if waits:
                    rendered.append({**key, "rendered_fields": dict(pushed)})
                    xcoms += [
                        {**key, "key": name, "value": value, "timestamp": began} for name, value in pushed
                    ]
    with create_session() as session:
        session.execute(insert(DagBundleModel), [{"name": "all"}])
        session.flush()
        session.add_all(
            DagModel(dag_id=f"dag_{n}", bundle_name="all", fileloc="x", max_consecutive_failed_dag_runs=0)
            for n in range(DAGS)
        )
        session.flush()
        store(session, versions, now)
        session.execute(insert(DagRun.__table__), runs)
        numbers = {(row.dag_id, row.run_id): row.id for row in session.execute(select(DagRun.__table__))}
        session.execute(insert(TaskInstance.__table__), tasks)
        rows = [{**each, "dag_run_id": numbers[each["dag_id"], each["run_id"]]} for each in xcoms]
        session.execute(insert(XComModel.__table__), rows)
        session.execute(insert(RenderedTaskInstanceFields.__table__), rendered)


def store(session: Any, versions: list[Any], now: datetime) -> None:
    """Put the DAGs into the database as the DAG processor does: one wait each, and tasks of other kinds."""
    from airflow.models.dag_version import DagVersion
    from airflow.models.serialized_dag import SerializedDagModel
    from sqlalchemy import insert
    from uuid6 import uuid7

    arguments = {"workflow_id": "w", "job_id": "{{ params.job }}", "pixxel_conn_id": "pixxel_default"}
    wait = {
        "task_id": "task_0",
        "task_type": "PixxelJobSensor",
        "_task_module": "pixxel_provider.sensors.pixxel",
        "_operator_extra_links": {"Pixxel job": "_link_PixxelJobLink"},
        "template_fields": list(arguments),
        **arguments,
    }
    others = [
        {
            "task_id": f"task_{number}",
            "task_type": "PythonOperator",
            "_task_module": "airflow.providers.standard.operators.python",
            "template_fields": ["op_kwargs"],
            "op_kwargs": {"words": "x" * 500},
        }
        for number in range(1, TASKS)
    ]
    tasks = [{"__var": task, "__type": "operator"} for task in (wait, *others)]
    moment = {"created_at": now, "last_updated": now}
    places = [{"dag_id": f"dag_{number}", **moment} for number in range(DAGS)]
    session.execute(
        insert(DagVersion.__table__),
        [
            {"id": version, "version_number": 1, "bundle_name": "all", **place}
            for version, place in zip(versions, places, strict=True)
        ],
    )
    session.execute(
        insert(SerializedDagModel.__table__),
        [
            {
                "id": uuid7(),
                "dag_version_id": version,
                "dag_hash": f"{number:032}",
                "data": {"__version": 3, "dag": {"dag_id": place["dag_id"], "tasks": tasks}},
                **place,
            }
            for number, (version, place) in enumerate(zip(versions, places, strict=True))
        ],
    )


def measure() -> None:
    """Print the medians, in milliseconds, as JSON."""
    from airflow.utils.db import initdb

    initdb()
    fill()
    import requests
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    from pixxel_provider.hooks.pixxel import PixxelHook
    from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID

    client = TestClient(create_app(apps="core"))
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="viewer", role="viewer"))
    client.headers["Authorization"] = f"Bearer {token}"
    tab = "/pixxel/job/dag_0/run_0/task_0/-1"

    def timed(path: str) -> tuple[float, Any]:
        started = time.perf_counter()
        answer = client.get(path)
        seconds = time.perf_counter() - started
        assert answer.status_code == 200, (answer.status_code, answer.text[:300])
        return seconds * 1000, answer

    from pixxel_provider.plugins import client as pages
    from pixxel_provider.plugins import job_batch

    # Else the list shows known jobs at once, and newer answers come with a later refresh.
    job_batch.KNOWN_WAIT = 10.0
    for name in ("RUNNING_LASTS", "ENDED_LASTS", "LIST_LASTS", "ESTIMATE_LASTS"):
        setattr(pages, name, 0.0)
    base = PixxelHook(DEFAULT_CONNECTION_ID).settings.base_url
    figures: dict[str, list[float]] = {"shell": [], "tab": [], "api": [], "list": [], "tab_again": []}
    for number in range(ROUNDS + 1):
        shell, _ = timed(tab)
        first, data = timed(f"{tab}/data")
        assert len(data.json()["tasks"]) == JOB_TASKS
        started = time.perf_counter()
        requests.get(f"{base}/v0/workflows/w/jobs/big", timeout=10).json()
        api = (time.perf_counter() - started) * 1000
        several, waits = timed("/pixxel/jobs/data")
        if number:
            # The first ones import what is needed.
            for name, value in (("shell", shell), ("tab", first), ("api", api), ("list", several)):
                figures[name].append(value)
    pages.RUNNING_LASTS = 60.0
    timed(f"{tab}/data")
    figures["tab_again"] = [timed(f"{tab}/data")[0] for _ in range(ROUNDS)]
    found = {name: statistics.median(values) for name, values in figures.items()}
    print(json.dumps({**found, "rows": len(waits.json()["rows"])}))


if __name__ == "__main__":
    {"serve": serve, "measure": measure}.get(sys.argv[1] if sys.argv[1:] else "", main)()
