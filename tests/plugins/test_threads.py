"""Threads that hold up nobody."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from pixxel_provider.plugins.threads import Threads

LONG = 20.0


def test_work_of_one_key_takes_its_turns_in_order() -> None:
    threads, done = Threads(at_once=1, waiting=9), list[int]()
    futures = [threads.submit("k", lambda number=number: done.append(number)) for number in range(9)]

    for future in futures:
        assert future is not None
        future.result(LONG)
    assert done == list(range(9))


def test_a_thread_goes_when_there_is_nothing_to_do() -> None:
    threads = Threads(at_once=2, waiting=9)
    for _ in range(3):
        future = threads.submit("k", threading.current_thread)
        assert future is not None
        thread = future.result(LONG)
        assert thread.daemon
        thread.join(LONG)
        assert not thread.is_alive()
    assert threads._lanes == {}


@pytest.mark.parametrize("error", [ValueError("x"), MemoryError(), SystemExit(1)])
def test_an_error_goes_to_whoever_asked(error: BaseException) -> None:
    threads = Threads(at_once=1, waiting=9)

    def fail() -> None:
        raise error

    failed, after = threads.submit("k", fail), threads.submit("k", lambda: 7)
    assert failed is not None
    assert after is not None
    assert failed.exception(LONG) is error
    assert after.result(LONG) == 7


def test_work_that_was_given_up_is_not_begun() -> None:
    threads, go, begun = Threads(at_once=1, waiting=9), threading.Event(), list[int]()
    first = threads.submit("k", lambda: go.wait(LONG))
    second = threads.submit("k", lambda: begun.append(1))
    third = threads.submit("k", lambda: 3)
    assert second is not None
    assert second.cancel()
    go.set()

    assert first is not None
    assert third is not None
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
