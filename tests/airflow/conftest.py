"""One process with the installed Airflow, which runs DAGs for all tests in here, and a Pixxel for it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider.simulator import serve

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
# At the end: those modules have names that others may have too.
sys.path.append(str(ROOT / "scripts"))

from dag_runner import CREATE, DagRunner  # noqa: E402
from local_airflow import settings  # noqa: E402

KEY = "canary-of-the-dag-runs-4f1d"
RETRY_FOR = 180.0


@dataclass(frozen=True)
class Run:
    """What came of one run of a DAG."""

    answer: dict[str, Any]
    log: str

    @property
    def state(self) -> str:
        return self.answer["state"]

    @property
    def states(self) -> dict[str, str]:
        """States by task; mapped tasks are called ``wait[0]``."""
        return {_name(task): task["state"] for task in self.answer["tasks"]}

    @property
    def tries(self) -> dict[str, int]:
        return {_name(task): task["tries"] for task in self.answer["tasks"]}

    def xcom(self, task: str, key: str = "return_value") -> Any:
        """Return an XCom; KeyError where there is none."""
        return {(_name(each), each["key"]): each["value"] for each in self.answer["xcoms"]}[task, key]

    @property
    def words(self) -> str:
        """The log in one line; Airflow 3.0 breaks messages and draws frames around them."""
        return " ".join(self.log.replace("│", " ").split())


def _name(each: dict[str, Any]) -> str:
    return each["task_id"] if each["map_index"] < 0 else f"{each['task_id']}[{each['map_index']}]"


@pytest.fixture(scope="session")
def _dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dags")
    for file in (*(ROOT / "example_dags").glob("*.py"), *(HERE / "dags").glob("*.py")):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="session")
def _pixxel() -> Iterator[Any]:
    # With the real clock: a job has to go on while another process waits for it.
    with serve(key=KEY) as running:
        yield running


@pytest.fixture
def pixxel(_pixxel: Any) -> Any:
    """The Pixxel that the DAGs talk to."""
    _pixxel.reset()
    return _pixxel


@pytest.fixture
def ends_once_seen(pixxel: Any) -> Iterator[Callable[..., None]]:
    """Create a job that ends a second after somebody looked at it, however long it takes a DAG to begin."""
    over = threading.Event()

    def create(workflow_id: str, job_id: str) -> None:
        pixxel.create_job(workflow_id, job_id, seconds=2 * RETRY_FOR, age=RETRY_FOR / 5)

        def end() -> None:
            while not pixxel.requests("get_job", job_id):
                if over.wait(0.1):
                    return
            over.wait(1)
            pixxel.finish_job(job_id)

        threading.Thread(target=end, daemon=True).start()

    yield create
    over.set()


@pytest.fixture(scope="session")
def start_runner(
    _dags: Path, _pixxel: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], contextlib.AbstractContextManager[tuple[DagRunner, dict[str, Any]]]]:
    """Start a process of the kind; all have copies of one new database, which takes long to make."""
    made = tmp_path_factory.mktemp("database")

    @contextlib.contextmanager
    def start() -> Iterator[tuple[DagRunner, dict[str, Any]]]:
        if not any(made.iterdir()):
            subprocess.run(CREATE, env=settings(made, _dags), cwd=made, check=True)
        home = tmp_path_factory.mktemp("airflow")
        shutil.copy(made / "airflow.db", home)
        runner = DagRunner(home, _pixxel.airflow_connection, _dags)
        try:
            ready, _ = runner.answer(time.monotonic() + RETRY_FOR)
            yield runner, ready
        finally:
            runner.close()

    return start


@pytest.fixture(scope="session")
def _runner(start_runner: Any) -> Iterator[tuple[DagRunner, dict[str, Any]]]:
    with start_runner() as started:
        yield started


@pytest.fixture(scope="session")
def airflow_knows(_runner: tuple[DagRunner, dict[str, Any]]) -> dict[str, Any]:
    """What Airflow found in the folder of DAGs."""
    return _runner[1]


@pytest.fixture
def run(_runner: tuple[DagRunner, dict[str, Any]]) -> Callable[..., Run]:
    """Run a DAG on the installed Airflow, triggers included."""

    def run_dag(dag_id: str, conf: dict[str, Any] | None = None, **changes: dict[str, Any]) -> Run:
        _runner[0].ask(dag_id, conf, **changes)
        answer, lines = _runner[0].answer(time.monotonic() + RETRY_FOR)
        return Run(answer, "\n".join(lines))

    return run_dag
