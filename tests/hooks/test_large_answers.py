"""The triggerer's event loop isn't held while an answer is read that takes long."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import pytest

from pixxel_provider.api import calls
from pixxel_provider.api.parsing import SMALL
from pixxel_provider.hooks.pixxel import PixxelAsyncHook
from tests.hooks.answers import sized
from tests.hooks.clients import Outcome, connection_to
from tests.hostile import HOSTILE, job_of
from tests.loopback import RawServer

#: Seconds of CPU.
LONGEST_GAP = 0.5
#: An object is decoded in one go, whatever else is due: the limit of names bounds that.
LONGER = {"two million names": 4.0}
#: A collection of garbage doesn't come each time.
TRIES = 3


def gap_while_reading() -> tuple[float, Outcome]:
    """Return the most CPU seconds that passed without the loop doing anything else, and what was read."""

    async def read() -> tuple[float, Outcome]:
        hook = PixxelAsyncHook()
        await hook.get_settings()
        reading = asyncio.ensure_future(hook.send(calls.get_job("w", "j"), retry_for=0))
        # This process's CPU, as a machine that is busy with something else gives it less of that.
        longest, last = 0.0, time.process_time()
        while not reading.done():
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.process_time() - last), time.process_time()
        return longest, Outcome.of(reading.result)

    return asyncio.run(read())


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_the_loop_goes_on_while_a_large_answer_is_read(
    server: RawServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection_to(server, 10))
    server.answer_with(sized(HOSTILE[name]()))
    gaps = []
    for _ in range(TRIES):
        gap, outcome = gap_while_reading()
        assert outcome.kind in ("answer", "PixxelResponseError"), outcome
        gaps.append(gap)
        if gap < LONGER.get(name, LONGEST_GAP):
            return
    pytest.fail(f"the loop was held for {', '.join(f'{gap:.2f} s' for gap in gaps)}")


@pytest.mark.parametrize("larger", [False, True])
def test_a_large_answer_is_read_in_a_thread_and_a_small_one_where_it_came(
    server: RawServer, larger: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection_to(server))
    body = job_of(b"{}").ljust(SMALL + larger)
    server.answer_with(sized(body))
    readers: list[int] = []
    call = replace(calls.get_job("w", "j"), read=lambda _: readers.append(threading.get_ident()))
    asyncio.run(PixxelAsyncHook().send(call, retry_for=0))
    assert (readers == [threading.get_ident()]) is not larger
