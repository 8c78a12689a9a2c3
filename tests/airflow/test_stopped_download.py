"""A download that Airflow's own runner stops with SIGTERM fails, and leaves nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from dag_runner import DagRunner
from local_airflow import AirflowTrouble

from tests.airflow.conftest import RETRY_FOR
from tests.download.archives import everything, made

# Enough to be in the midst of them when the signal comes.
MANY = {f"folder-{number % 50}/{number}": b"x" * 100 for number in range(5000)}


@pytest.fixture
def runner(start_runner: Any, pixxel: Any) -> Iterator[DagRunner]:
    """A process with Airflow that no other test needs: the signal may end it."""
    with start_runner() as (found, _):
        yield found


def test_a_stopped_task_fails_and_nothing_is_published(
    pixxel: Any, runner: DagRunner, tmp_path: Path
) -> None:
    pixxel.set_package(content=made(MANY), seconds=0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other").write_bytes(b"other")
    over, sent = threading.Event(), threading.Event()

    def stop() -> None:
        while not over.wait(0.005):
            if any(True for _ in tmp_path.glob("**/.pixxel-*.part/files/folder-20")):
                os.kill(runner._process.pid, signal.SIGTERM)
                sent.set()
                return

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    runner.ask("pixxel_download", download={"destination": str(tmp_path / "out")})
    try:
        answer, _ = runner.answer(time.monotonic() + RETRY_FOR)
        state = answer["tasks"][0]["state"]
    except AirflowTrouble:
        # Airflow 2 raises an error of its own after on_kill, with which its dag.test ends.
        assert metadata.version("apache-airflow").startswith("2.")
        state = "failed"
    finally:
        over.set()
        thread.join(10)
    assert sent.is_set(), runner.log.read_text()[-3000:]
    assert state == "failed"
    assert everything(tmp_path) == {"out": None, "out/other": b"other"}
