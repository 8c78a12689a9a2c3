"""What a storm leaves behind, read from the database, the logs and the simulator: facts, no judgement."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from local_cluster import AIRFLOW_2, Cluster, program

# Errors that only say that something didn't work just then.
TRANSIENT = re.compile(r"Pixxel(?:Connection|Server|RateLimit|Response|Temporary)Error")
# What is logged about a job once it is known.
WAITING = re.compile(r"Pixxel job \S+ of workflow|Pausing task as DEFERRED")
RAISED = re.compile(
    r"(?:Pixxel\w*Error|AirflowSensorTimeout|AirflowTaskTimeout|AirflowNotFoundException|AirflowFailException)"
)
ROW = "dag_id run_id task_id map_index state try_number start_date end_date"


def query(cluster: Cluster, text: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query; raise psycopg2.Error."""
    import psycopg2

    connected = contextlib.closing(psycopg2.connect(connect_timeout=5, **cluster.services.database))
    with connected as connection, connection.cursor() as cursor:
        cursor.execute(text)
        return list(cursor.fetchall())


def task_instances(cluster: Cluster) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the task instances of each DAG run, by the ids of DAG and run."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in query(cluster, f"select {ROW.replace(' ', ', ')} from task_instance"):  # noqa: S608 - no input
        task = dict(zip(ROW.split(), row, strict=True))
        found[task["dag_id"], task["run_id"]].append(task)
    return found


def task_logs(cluster: Cluster) -> dict[tuple[str, str, str], list[str]]:
    """Return the logs of each task, one for each try and trigger, by the ids of DAG, run and task."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for file in sorted((cluster.home / "logs").glob("dag_id=*/run_id=*/task_id=*/**/*.log*")):
        ids = dict(part.split("=", 1) for part in file.parts if "=" in part)
        found[ids["dag_id"], ids["run_id"], ids["task_id"]].append(file.read_text(errors="replace"))
    return found


def errors_in(log: str) -> Counter[str]:
    """Return the errors that ended a try, by their names and how often each did.

    A transient error before the log names the job that is waited for begins with ``before:``.
    """
    found: Counter[str] = Counter()
    before = "before: "
    for line in log.splitlines():
        before = "" if WAITING.search(line) else before
        try:
            entry = json.loads(line)
        except ValueError:
            # Airflow 2 writes text: an exception's line begins with its name, after the module's.
            if match := re.match(rf"(?:[a-z_]+\.)+({RAISED.pattern})", line):
                found[before * bool(TRANSIENT.fullmatch(match[1])) + match[1]] += 1
            continue
        if isinstance(entry, dict) and entry.get("error_detail"):
            name = str(entry["error_detail"][0].get("exc_type"))
            found[before * bool(TRANSIENT.fullmatch(name)) + name] += 1
    return found


def as_list(value: Any) -> list[str]:
    """Return an XCom's list, however this version of Airflow stores it."""
    while isinstance(value, (str, bytes, memoryview)):
        value = json.loads(value if isinstance(value, (str, bytes)) else value.tobytes())
    return list(value)


def tracebacks(cluster: Cluster) -> list[str]:
    """Return the tracebacks in the logs of Airflow's parts that lead through this package."""
    found = []
    for file in sorted(cluster.home.glob("*.log")):
        for part in file.read_text(errors="replace").split("Traceback (most recent call last)")[1:]:
            lines = part.splitlines()
            # A traceback is as long as its lines are indented; the next one is the error.
            end = next((i for i, line in enumerate(lines[1:], 1) if not line.startswith(" ")), len(lines))
            if any("/pixxel_provider/" in line for line in lines[:end]):
                found.append(f"{file.name}: {lines[min(end, len(lines) - 1)]}")
    return found


def dump(cluster: Cluster) -> str:
    """Return the whole database as text."""
    database = cluster.services.database
    command = [
        program("pg_dump"),
        "-h",
        database["host"],
        "-p",
        str(database["port"]),
        "-U",
        database["user"],
    ]
    environ = {**os.environ, "PGPASSWORD": database["password"]}
    done = subprocess.run([*command, database["dbname"]], env=environ, capture_output=True, check=True)
    return done.stdout.decode(errors="replace")


def pages(cluster: Cluster, tasks: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return what this package's pages and Airflow's API show of some tasks, by address."""
    found = {}
    paths = [f"{cluster.api}/connections", *([] if AIRFLOW_2 else ["/pixxel/jobs", "/pixxel/jobs/data"])]
    for task in tasks:
        place = f"{task['dag_id']}/dagRuns/{task['run_id']}/taskInstances/{task['task_id']}"
        paths += [f"{cluster.api}/dags/{place}/xcomEntries", f"{cluster.api}/dags/{place}/logs/1"]
        if not AIRFLOW_2:
            ids = (task["dag_id"], task["run_id"], task["task_id"], task["map_index"])
            paths.append(f"/pixxel/job/{'/'.join(map(str, ids))}/data")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path in paths:
        request = urllib.request.Request(cluster.url + path)
        request.add_header("Authorization", cluster.authorization(path))
        try:
            with opener.open(request, timeout=30) as response:
                found[path] = response.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            found[path] = error.read().decode(errors="replace")
    return found


def length(job: dict[str, Any]) -> float:
    """Return for how many seconds a job ran, 0 unless it has ended."""
    began, ended = job.get("created_at"), job.get("finished_at")
    if not began or not ended:
        return 0.0
    times = (datetime.fromisoformat(each.replace("Z", "+00:00")) for each in (began, ended))
    # A job that hasn't ended has a zero time, which is long ago.
    return max(-(next(times) - next(times)).total_seconds(), 0.0)


def places_of(secrets: Iterable[str], texts: dict[str, str]) -> list[str]:
    """Return where one of the secrets stands, plainly or in base64."""
    forms = {
        form for each in secrets for form in (each, base64.b64encode(each.encode()).decode().rstrip("="))
    }
    return sorted(place for place, text in texts.items() if any(form in text for form in forms))


def logs_of_everything(cluster: Cluster) -> dict[str, str]:
    """Return all log files, by their path in the cluster's folder."""
    files = [*cluster.home.glob("*.log"), *(cluster.home / "logs").rglob("*.log*")]
    return {
        str(file.relative_to(cluster.home)): file.read_text(errors="replace")
        for file in files
        if file.is_file()
    }


def lags(folder: Path) -> tuple[list[float], list[dict[str, Any]]]:
    """Return each second's worst delay of the triggerers' loops, and each block above the limit."""
    lines = [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]
    return [each["worst"] for each in lines if "worst" in each], [each for each in lines if "blocked" in each]
