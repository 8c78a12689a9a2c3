"""``airflow triggerer`` whose event loop is measured: what held it up for long, and whose code that was.

Stands for ``python -m airflow``. Airflow's own watchdog only says that something held the loop up.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

LIMIT = 0.2
PACKAGE = f"{os.sep}pixxel_provider{os.sep}"


class LoopMonitor:
    """Measures the loop that runs :meth:`beat`, and samples that thread's stack from another one."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._thread = threading.get_ident()
        self._schedstat = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._beat = time.monotonic()
        self._samples: list[tuple[bool, str]] = []
        threading.Thread(target=self._sample, daemon=True, name="loop-monitor").start()

    def _sample(self) -> None:
        while True:
            time.sleep(0.02)
            if time.monotonic() - self._beat > 0.15 and (frame := sys._current_frames().get(self._thread)):
                stack = traceback.extract_stack(frame)
                ours = [each for each in stack if PACKAGE in each.filename]
                self._samples.append((bool(ours), str((ours or stack)[-1])))

    def _waited(self) -> float:
        # The second number: nanoseconds for which the thread could have run, and had no core.
        return int(self._schedstat.read_text().split()[1]) / 1e9

    async def beat(self, runner: Any) -> None:
        """Measure until the runner stops: one line of JSON for each second's worst, and each long block."""
        worst, written = 0.0, time.monotonic()
        while not runner.stop:
            self._samples.clear()
            self._beat, waited = time.monotonic(), self._waited()
            await asyncio.sleep(0.05)
            lag = time.monotonic() - self._beat - 0.05
            blocked = lag - (self._waited() - waited)
            worst = max(worst, blocked)
            if blocked > LIMIT:
                samples = list(self._samples)
                places = collections.Counter(place for _, place in samples)
                ours = sum(mine for mine, _ in samples) / len(samples) if samples else 0.0
                self._write({"blocked": blocked, "lag": lag, "ours": ours, "where": places.most_common(3)})
            if time.monotonic() - written > 1:
                self._write({"worst": worst, **_size(runner)})
                worst, written = 0.0, time.monotonic()

    def _write(self, line: dict[str, Any]) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": time.time(), "pid": os.getpid(), **line}) + "\n")


def _size(runner: Any) -> dict[str, int]:
    """How large this process is: bytes of its own, open sockets, its loop's tasks, its triggers."""
    resident, shared = (int(each) for each in Path("/proc/self/statm").read_text().split()[1:3])
    sockets = 0
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets += str(each.readlink()).startswith("socket:")
    return {
        "bytes": (resident - shared) * os.sysconf("SC_PAGE_SIZE"),
        "sockets": sockets,
        "tasks": len(asyncio.all_tasks()),
        "triggers": len(runner.triggers),
    }


def main() -> None:
    """Run Airflow's command with another watchdog in its triggerer."""
    from airflow.__main__ import main as airflow
    from airflow.jobs.triggerer_job_runner import TriggerRunner

    folder = Path(os.environ["PIXXEL_STORM_LAGS"])

    async def block_watchdog(self: TriggerRunner) -> None:
        await LoopMonitor(folder / f"{os.getpid()}.jsonl").beat(self)

    TriggerRunner.block_watchdog = block_watchdog
    airflow()


if __name__ == "__main__":
    main()
