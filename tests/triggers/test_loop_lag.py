"""The triggerer's event loop is everybody's: waiting for a slow API must not hold it up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pixxel_provider.triggers.pixxel import PixxelJobTrigger

TRIGGERS = 200


@pytest.mark.slow
def test_the_loop_beats_while_200_triggers_wait_for_a_server_that_takes_2_seconds(pixxel: Any) -> None:
    # Without the list each is asked for by itself, so that 200 requests are under way.
    pixxel.fail_next("list_jobs", status=403, times=0)
    pixxel.fail_next("get_job", latency=2, times=0)
    for number in range(TRIGGERS):
        pixxel.create_job("wf-succeeds", f"job-{number}", age=1000, seconds=1)
    beats = 0

    async def heart(stop: asyncio.Event) -> None:
        nonlocal beats
        while not stop.is_set():
            await asyncio.sleep(0.01)
            beats += 1

    async def run() -> set[str]:
        stop = asyncio.Event()
        beating = asyncio.ensure_future(heart(stop))
        triggers = [PixxelJobTrigger("wf-succeeds", f"job-{n}", poke_interval=4) for n in range(TRIGGERS)]
        events = await asyncio.gather(*(anext(trigger.run()) for trigger in triggers))
        stop.set()
        await beating
        return {event.payload["kind"] for event in events}

    assert asyncio.run(run()) == {"succeeded"}
    assert pixxel.requests("get_job") == TRIGGERS
    # Two rounds of 2 s hold 400 beats; blocking requests would leave one for each of theirs. Milliseconds are
    # for benchmarks/loop_lag.py to print.
    assert beats > TRIGGERS
