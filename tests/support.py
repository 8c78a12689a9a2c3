"""Stand-ins that several tests share."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from pixxel_provider.api.job import Job
from pixxel_provider.clock import CLOCK

#: The key of every test; a test that finds it in what people can see has found a leak.
CANARY = "canary-5up3r-53cr3t-k3y"
#: How many random histories a property is tried with; fewer where only another Airflow is in question.
HISTORIES = int(os.environ.get("PIXXEL_TEST_HISTORIES", "500"))


def job(status: str = "running", **fields: Any) -> Job:
    """Return a job as the API's JSON makes it."""
    return Job.read({"id": "j", "workflow_id": "w", "status": status, **fields})


# The user that owns nothing, on every Linux and macOS.
_NOBODY = 65534


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder into which every user may look: those of pytest are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="pixxel-open-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Be somebody whose rights are checked: root, whose aren't, becomes nobody meanwhile.

    What has to be imported must have been before, as nobody may be unable to read it.
    """
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def run_python(script: str, *arguments: str, timeout: float = 300, **environment: str) -> str:
    """Run a script in a process of its own, beside the package; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=Path(__file__).resolve().parents[1],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def fails_with(code: int) -> Any:
    """Return a function of the system that fails with this number, whatever it is given."""

    def call(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    return call


def errors_logged(error: BaseException) -> int:
    """Return how many errors Airflow logs for one that leaves an operator: itself and those behind it."""
    return "".join(traceback.format_exception(error)).count("Traceback (most recent call last)")


class RecordingLog:
    """A logger that keeps this package's lines alone, as ``level: sentence`` or as sentences."""

    def __init__(self, lines: list[str] | None = None, *, levels: bool = True) -> None:
        self.lines = [] if lines is None else lines
        self._levels = levels

    def __getattr__(self, level: str) -> Callable[..., None]:
        if level not in ("debug", "info", "warning", "error", "exception"):
            raise AttributeError(level)

        def keep(sentence: str, *arguments: Any) -> None:
            if not sys._getframe(1).f_globals["__name__"].startswith("pixxel_provider"):
                return
            words = sentence % arguments if arguments else sentence
            self.lines.append(f"{level}: {words}" if self._levels else words)

        return keep


class FakeClock:
    """Seconds that pass only when somebody sleeps; ``slept`` holds each pause."""

    def __init__(self, start: float = 1_790_000_000.0) -> None:
        self.now = start
        self.slept: list[float] = []
        self.on_sleep: list[Callable[[float], Any]] = []

    def time(self) -> float:
        return self.now

    monotonic = __call__ = time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        for listener in self.on_sleep:
            listener(seconds)

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def put_in(self, monkeypatch: Any) -> None:
        """Let this be the clock of whatever isn't handed one, as what an operator makes."""
        for name in ("time", "monotonic", "sleep", "async_sleep"):
            monkeypatch.setattr(CLOCK, name, getattr(self, name))


def outlet_events() -> Any:
    """Return what Airflow has in the context of each process of a task, for the events of its outlets."""
    module = "airflow.sdk.execution_time.context" if AIRFLOW_V_3_0_PLUS else "airflow.utils.context"
    return import_module(module).OutletEventAccessors()


class FakeTaskInstance:
    """As much of a task instance as the operators use; ``xcoms`` holds what they pushed."""

    def __init__(self, first_reschedule_date: Any = None) -> None:
        self.xcoms: dict[str, Any] = {}
        self.first_reschedule_date = first_reschedule_date
        self.task_id, self.dag_id, self.run_id, self.map_index = "wait", "dag", "run", -1
        self.try_number, self.max_tries = 1, 0
        self.task = SimpleNamespace(iter_mapped_dependants=lambda: iter(()))

    def xcom_pull(self, task_ids: str, key: str, **_: Any) -> Any:
        return self.xcoms.get(key) if task_ids == self.task_id else None

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        self.xcoms[key] = value

    def get_first_reschedule_date(self, context: Any) -> Any:
        return self.first_reschedule_date
