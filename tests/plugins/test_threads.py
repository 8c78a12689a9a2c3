"""Threads that block nobody."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest

from pixxel_provider.plugins.threads import Threads

LONG = 20.0


def submit(threads: Threads, work: Any) -> Any:
    return threads.submit("k", work)


def test_work_of_one_key_runs_in_order() -> None:
    threads, done = Threads(at_once=1, waiting=9), list[int]()
    futures = [submit(threads, lambda number=number: done.append(number)) for number in range(9)]

    for future in futures:
        future.result(LONG)
    assert done == list(range(9))


def test_a_thread_ends_with_its_work() -> None:
    threads = Threads(at_once=2, waiting=9)
    for _ in range(3):
        future = submit(threads, threading.current_thread)
        thread = future.result(LONG)
        assert thread.daemon
        thread.join(LONG)
        assert not thread.is_alive()
    assert threads._lanes == {}


@pytest.mark.parametrize("error", [ValueError("x"), MemoryError(), SystemExit(1)])
def test_an_error_is_in_the_future(error: BaseException) -> None:
    threads = Threads(at_once=1, waiting=9)

    def fail() -> None:
        raise error

    failed, after = submit(threads, fail), submit(threads, lambda: 7)
    assert failed.exception(LONG) is error
    assert after.result(LONG) == 7


def test_cancelled_work_does_not_run() -> None:
    threads, go, begun = Threads(at_once=1, waiting=9), threading.Event(), list[int]()
    assert submit(threads, lambda: go.wait(LONG)) is not None
    second = submit(threads, lambda: begun.append(1))
    third = submit(threads, lambda: 3)
    assert second.cancel()
    go.set()

    assert third.result(LONG) == 3
    assert begun == []


def test_a_process_ends_while_work_hangs() -> None:
    program = """
import asyncio, time
from pixxel_provider.plugins.threads import Threads
async def main():
    threads = Threads(at_once=2, waiting=9)
    futures = [asyncio.wrap_future(threads.submit("k", lambda: time.sleep(600))) for _ in range(4)]
    await asyncio.wait(futures, timeout=0.1)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
