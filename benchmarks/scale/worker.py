"""One measured run, in a process of its own: ``python -m scale.worker CASE ADDRESS``, with figures as JSON.

The triggers are tasks of one event loop, made one after another, as Airflow's triggerer does it.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import http.client
import json
import os
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from scale.case import Case
from scale.systems import SYSTEMS

BEAT = 0.01
#: Triggers that run before the measured ones, against jobs that have ended: imports and caches are warm then.
WARM = 3
#: Seconds after the last job's end in which all events must have come.
PATIENCE = 90.0


class Failed(Exception):
    """The run measured nothing: an event is missing, doubled or not a success."""


def control(case: Case, address: str, what: str) -> dict[str, Any]:
    """Tell the server to begin, or ask what it counted."""
    if case.tls:
        # Loopback, and our own server: nothing to verify.
        context = ssl._create_unverified_context()  # noqa: S323
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            address, context=context, timeout=30
        )
    else:
        connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("GET", f"/_control/{what}")
    found = json.load(connection.getresponse())
    connection.close()
    return found


def resident() -> dict[str, int]:
    """Return this process's resident memory, now and at its peak, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines if line.startswith(("VmRSS", "VmHWM")))
    return {name: int(value.split()[0]) * 1024 for name, value in found.items()}


def settle() -> int:
    """Give back what imports left over, let the peak begin anew, and return the memory in use."""
    gc.collect()
    # Otherwise a system whose imports left much behind could grow into that unseen.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return resident()["VmRSS"]


async def beat(late: list[float]) -> None:
    """Note by how many milliseconds each beat comes too late."""
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(BEAT)
        late.append((loop.time() - before - BEAT) * 1000)


async def fire(
    trigger: Any, succeeded: Callable[[Any], bool], fired: list[float], delay: float = 0.0
) -> None:
    """Run a trigger to its end, and note when it fires events. They aren't kept, nor are they by Airflow."""
    if delay:
        await asyncio.sleep(delay)
    async for event in trigger.run():
        fired.append(time.monotonic())
        if not succeeded(getattr(event, "payload", event)):
            raise Failed(f"an event tells of no success: {str(event)[:500]}")


def check(fired: list[list[float]]) -> None:
    """Stop unless each trigger has fired one event."""
    wrong = [(number, len(moments)) for number, moments in enumerate(fired) if len(moments) != 1]
    if wrong:
        number, count = wrong[0]
        raise Failed(f"{len(wrong)} triggers did not fire one event; number {number} fired {count}")


def at(part: float, values: list[float]) -> float:
    """Return a percentile of sorted values."""
    return values[min(int(len(values) * part), len(values) - 1)]


async def measure(case: Case, address: str) -> dict[str, float]:
    """Run all triggers to their ends; return the figures."""
    system = SYSTEMS[case.system]
    make = system.prepare(case, address)
    ends = case.ends()
    if case.system != "floor":
        # Jobs of one workflow, so that both ways of asking have been gone.
        numbers = range(0, case.jobs, case.workflows)[:WARM]
        warm: list[list[float]] = [[] for _ in numbers]
        begin = system.prepare(replace(case, interval=0.5), address)
        waits = (fire(begin(n), system.succeeded, fired) for n, fired in zip(numbers, warm, strict=True))
        await asyncio.gather(*waits)
        check(warm)
    fired: list[list[float]] = [[] for _ in ends]
    late: list[float] = []
    before = settle()
    began = control(case, address, "begin")["began"]
    cpu = time.process_time()
    heart = asyncio.create_task(beat(late))
    tasks = []
    for number, moments in enumerate(fired):
        await asyncio.sleep(0)
        delay = case.interval * number / case.jobs if case.spread else 0.0
        tasks.append(asyncio.create_task(fire(make(number), system.succeeded, moments, delay)))
    _, left = await asyncio.wait(tasks, timeout=case.last + PATIENCE)
    spent, peak = time.process_time() - cpu, resident()["VmHWM"]
    heart.cancel()
    if left:
        raise Failed(f"{len(left)} triggers had not ended after {case.last + PATIENCE:.0f} s")
    await asyncio.gather(*tasks)
    check(fired)
    counted = control(case, address, "counters")
    latencies = sorted(moments[0] - began - end for moments, end in zip(fired, ends, strict=True))
    if latencies[0] < 0:
        raise Failed(f"an event came {-latencies[0]:.3f} s before its job's end")
    late.sort()
    return {
        "requests": counted["requests"],
        "waiting": counted["waiting"],
        "connections": counted["connections"],
        "megabytes": counted["sent"] / 1e6,
        "cpu": spent,
        "memory": (peak - before) / 1e6,
        "lag_p50": at(0.5, late),
        "lag_p99": at(0.99, late),
        "lag_worst": late[-1],
        "detect_p50": at(0.5, latencies),
        "detect_p99": at(0.99, latencies),
        "server_busy": counted["busy"],
    }


def main() -> int:
    """Print the figures, or say why there are none."""
    if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) > 1:
        os.sched_setaffinity(0, cores[:1])
    try:
        print(json.dumps(asyncio.run(measure(Case.read(sys.argv[1]), sys.argv[2]))))
    except Failed as reason:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
