"""A download that Airflow's own runner stops with SIGTERM fails, and leaves nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.files.archives import everything, made

# Enough to be in the midst of them when the signal comes.
MANY = {f"folder-{number % 50}/{number}": b"x" * 100 for number in range(5000)}


@pytest.fixture
def stop_once(_runner: Any) -> Iterator[Callable[[Callable[[], bool]], threading.Event]]:
    """Send SIGTERM to the process that runs the DAG as soon as something holds, and set the event."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def watch(holds: Callable[[], bool]) -> threading.Event:
        sent = threading.Event()

        def wait() -> None:
            while not over.is_set() and not sent.is_set():
                if holds():
                    os.kill(_runner[0]._process.pid, signal.SIGTERM)
                    sent.set()
                time.sleep(0.005)

        threads.append(threading.Thread(target=wait, daemon=True))
        threads[-1].start()
        return sent

    yield watch
    over.set()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize("before", ["none", "a folder with files"])
def test_a_stopped_task_fails_and_nothing_is_published(
    pixxel: Any, run: Any, stop_once: Any, tmp_path: Path, before: str
) -> None:
    pixxel.set_package(content=made(MANY), seconds=0)
    out = tmp_path / "out"
    if before != "none":
        out.mkdir()
        (out / "other").write_bytes(b"other")

    def in_the_midst() -> bool:
        return any(True for _ in tmp_path.glob("**/.pixxel-*.part/files/folder-20"))

    sent = stop_once(in_the_midst)
    ended = run("pixxel_download", download={"destination": str(out)})
    assert sent.is_set(), ended.log[-3000:]
    assert ended.states == {"download": "failed"}
    assert everything(tmp_path) == ({} if before == "none" else {"out": None, "out/other": b"other"})
