"""Run DAGs on the installed Airflow, one after the other, for the demo and the tests.

``DagRunner`` starts this file as a process, in a fresh AIRFLOW_HOME. Requests come as lines of JSON on
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
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local_airflow import EXAMPLES, AirflowTrouble, end_tree, settings

#: Makes the database in AIRFLOW_HOME.
CREATE = (sys.executable, "-c", "from airflow.utils.db import initdb; initdb()")


class Tail:
    """The lines that have been added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open(encoding="utf-8", errors="replace")
        self._half = ""

    def lines(self) -> list[str]:
        """Return the new lines that are complete."""
        *whole, self._half = (self._half + self._file.read()).split("\n")
        return whole

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class DagRunner:
    """A process that runs DAGs, as those who ask for runs see it.

    :param home: a folder of its own, empty or with a new database; AIRFLOW_HOME, with ``airflow.log``.
    :param connection: what ``pixxel_default`` is in Airflow's database.
    """

    def __init__(self, home: Path, connection: Mapping[str, Any], dags_folder: Path = EXAMPLES) -> None:
        self.log = home / "airflow.log"
        answers = home / "answers.jsonl"
        self._answers, self._said = Tail(answers), Tail(self.log)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(answers), str(dags_folder), json.dumps(dict(connection))],
                cwd=home,
                env=settings(home, dags_folder),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ask(self, dag_id: str, conf: Mapping[str, Any] | None = None, **changes: Mapping[str, Any]) -> None:
        """Ask for a run of a DAG.

        :param changes: arguments of tasks that replace those in the file, by task.
        """
        request = {"dag_id": dag_id, "conf": dict(conf or {}), "changes": changes}
        assert self._process.stdin is not None  # noqa: S101 - for type checkers
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()

    def follow(self, deadline: float, *, pulse: bool = False) -> Iterator[str | dict[str, Any]]:
        """Yield log lines as they come, and the answer at last.

        :param deadline: of ``time.monotonic()``.
        :param pulse: yield an empty line now and then where there is nothing.
        :raises AirflowTrouble: there is no answer in time, or never will be.
        """
        while True:
            over = self._process.poll() is not None
            answers = self._answers.lines()
            # After the answers were read: what was said before an answer is yielded before it.
            yield from self._said.lines()
            for line in answers:
                answer = json.loads(line)
                if answer["kind"] == "broke":
                    raise AirflowTrouble(f"Airflow could not run the DAG: {answer['error']}")
                yield answer
                return
            if over:
                raise AirflowTrouble(f"Airflow ended by itself, with exit code {self._process.returncode}.")
            if time.monotonic() > deadline:
                raise AirflowTrouble("Airflow took too long.")
            if pulse:
                yield ""
            time.sleep(0.05)

    def answer(self, deadline: float) -> tuple[dict[str, Any], list[str]]:
        """Wait for the answer; return it with the log lines that came before it."""
        lines: list[str] = []
        for thing in self.follow(deadline):
            if isinstance(thing, dict):
                return thing, lines
            lines.append(thing)
        raise AssertionError("follow() ends with an answer")

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        end_tree(self._process, 3)
        self._answers.close()
        self._said.close()


def answer(path: str, kind: str, **what: Any) -> None:
    """Write one answer for the other side, after all that was printed before it."""
    sys.stdout.flush()
    sys.stderr.flush()
    with Path(path).open("a", encoding="utf-8") as file:
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
    """Have a database, put the connection ``pixxel_default`` and the DAGs into it, and return the DAGs."""
    # In a process of its own: it takes as long as the imports here, which can go on meanwhile.
    database = None if Path("airflow.db").exists() else subprocess.Popen(CREATE, stdin=subprocess.DEVNULL)
    warm_up()
    if database and database.wait():
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
    asked = requests()
    bag = prepare(dags_folder, json.loads(connection))
    import airflow

    answer(
        answers_file,
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
            answer(answers_file, "ran", **run(dag, request.get("conf") or {}))
        except Exception as error:
            answer(answers_file, "broke", error=f"{type(error).__name__}: {error}")
            raise


if __name__ == "__main__":
    main(*sys.argv[1:])
