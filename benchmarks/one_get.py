"""What ``PixxelHook.get_job`` costs beside ``requests.Session.get`` with ``json``, and ``HttpHook.run``."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import requests
from airflow.providers.http.hooks.http import HttpHook
from server import running

from pixxel_provider.hooks.pixxel import PixxelHook

ROUNDS, REQUESTS = 15, 200
PATH = "/v0/workflows/wf-succeeds/jobs/job-finished"


def milliseconds(ask: Callable[[], Any]) -> float:
    """Return what one request takes, as the mean of many."""
    started = time.perf_counter()
    for _ in range(REQUESTS):
        ask()
    return (time.perf_counter() - started) / REQUESTS * 1000


def main() -> dict[str, float]:
    """Print the medians and their ratio."""
    with running() as url:
        session = requests.Session()
        session.headers["Authorization"] = "Bearer simulator-key"
        hook = PixxelHook()
        os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = f'{{"conn_type": "http", "host": "{url}"}}'
        http, key = HttpHook("GET"), {"Authorization": "Bearer simulator-key"}
        ways: dict[str, Callable[[], Any]] = {
            "PixxelHook.get_job": lambda: hook.get_job("wf-succeeds", "job-finished"),
            "requests + json": lambda: session.get(url + PATH, timeout=(10, 60)).json(),
            "HttpHook.run": lambda: http.run(PATH, headers=key).json(),
        }
        for ask in ways.values():
            milliseconds(ask)
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, ask in ways.items():
                found[name].append(milliseconds(ask))
    print(f"One get over loopback, {ROUNDS} rounds of {REQUESTS} in turn, ms:")
    for name, values in found.items():
        print(f"  {name:19} median {statistics.median(values):5.2f}   {min(values):.2f} to {max(values):.2f}")
    ours, bare, http_hook = found.values()
    ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    http_ratio = statistics.median(a / b for a, b in zip(http_hook, ours, strict=True))
    print(f"  ours / requests: {ratio:.2f} (aim: at most 1.3); HttpHook / ours: {http_ratio:.2f}")
    return {"get_job_ratio": round(ratio, 3), "http_hook_ratio": round(http_ratio, 3)}


if __name__ == "__main__":
    main()
