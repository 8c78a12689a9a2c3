"""Run DAGs on the installed Airflow, one after the other, for the demo and the tests.

It is started by ``local_airflow.DagRunner``, in a fresh AIRFLOW_HOME. Requests come as lines of JSON on
standard input, answers go as lines of JSON into the file named on the command line; whatever Airflow says
goes to standard output. It ends when standard input does: with whoever started it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import operator
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

DATABASE = "from airflow.utils.db import initdb; initdb()"


class Answers:
    """The file that the other side reads."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def write(self, kind: str, **what: Any) -> None:
        """Write one answer, after all that was printed before it."""
        sys.stdout.flush()
        sys.stderr.flush()
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **what}) + "\n")


def requests() -> queue.Queue[dict[str, Any]]:
    """What standard input asks for; when that ends, so does this process, whatever it is doing."""
    found: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            found.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return found


def prepare(dags_folder: str, connection: dict[str, Any]) -> Any:
    """Make the database, put the connection ``pixxel_default`` and the DAGs into it, and return the DAGs."""
    # In a process of its own: it takes as long as the imports here, which can go on meanwhile.
    database = subprocess.Popen([sys.executable, "-c", DATABASE], stdin=subprocess.DEVNULL)
    warm_up()
    if database.wait():
        raise RuntimeError("the database of Airflow could not be made")
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id="pixxel_default", **connection))
    bag = load(dags_folder)
    # Airflow 2 has no bundles, and 3.0 stores the DAG by itself.
    with contextlib.suppress(ImportError):
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import sync_bag_to_db

        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "dags-folder", None)
    return bag


def load(dags_folder: str) -> Any:
    """Read the DAG files. A run leaves traces in its DAG (the run's params), so each gets a new one."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models import DagBag
    return DagBag(dags_folder)


def warm_up() -> None:
    """Let Airflow 3 build its API for tasks, which takes seconds, before the first task has to wait for it.

    Where that isn't there, or is called otherwise, the first task takes longer, and no more.
    """
    with contextlib.suppress(Exception):
        import httpx
        from airflow.sdk.execution_time import supervisor

        if not hasattr(supervisor.in_process_api_server, "cache_info"):
            # Before 3.3 it is built anew for each task.
            supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)
        httpx.Client(transport=supervisor.in_process_api_server().transport).get("http://in-process/health")


def change(dag: Any, changes: dict[str, dict[str, Any]]) -> None:
    """Set arguments of tasks to other values than the file has."""
    for task_id, arguments in changes.items():
        task = dag.get_task(task_id)
        for name, value in arguments.items():
            if hasattr(task, "partial_kwargs"):
                task.partial_kwargs[name] = value
            else:
                setattr(task, name, value)


def run(dag: Any, conf: dict[str, Any]) -> dict[str, Any]:
    """Run the DAG here and now, triggers included, and tell what came of it."""
    dag_run = dag.test(run_conf=conf)
    tasks = [
        {"task_id": ti.task_id, "map_index": ti.map_index, "state": _text(ti.state), "tries": ti.try_number}
        for ti in dag_run.get_task_instances()
    ]
    return {"state": _text(dag_run.state), "tasks": tasks, "xcoms": xcoms(dag_run.dag_id, dag_run.run_id)}


def xcoms(dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Every XCom of a run, read from the database."""
    try:
        from airflow.models.xcom import XComModel

        value_of = XComModel.deserialize_value
    except ImportError:
        from airflow.models.xcom import XCom as XComModel

        value_of = operator.attrgetter("value")  # Airflow 2 has done it
    from airflow.utils.session import create_session

    with create_session() as session:
        return [
            {
                "task_id": row.task_id,
                "map_index": row.map_index,
                "key": row.key,
                "value": value_of(row),
            }
            for row in session.query(XComModel).filter_by(dag_id=dag_id, run_id=run_id)
        ]


def _text(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))


def main(answers_file: str, dags_folder: str, connection: str) -> None:
    """Answer requests until there are no more."""
    answers = Answers(answers_file)
    asked = requests()
    bag = prepare(dags_folder, json.loads(connection))
    import airflow

    answers.write(
        "ready",
        airflow=airflow.__version__,
        dags=sorted(bag.dags),
        import_errors={Path(name).name: text for name, text in bag.import_errors.items()},
    )
    while True:
        request = asked.get()
        try:
            dag = load(dags_folder).dags[request["dag_id"]]
            change(dag, request.get("changes") or {})
            answers.write("ran", **run(dag, request.get("conf") or {}))
        except Exception as error:
            answers.write("broke", error=f"{type(error).__name__}: {error}")
            raise


if __name__ == "__main__":
    main(*sys.argv[1:])
