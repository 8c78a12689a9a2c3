"""What hooks of one event loop share."""

from __future__ import annotations

import asyncio

from pixxel_provider.hooks import sessions
from pixxel_provider.hooks.sessions import reading_turn


def test_answers_that_arrive_together_are_read_in_turns_of_their_own() -> None:
    turns: list[int] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        turn = 0

        def tick() -> None:
            nonlocal turn
            turn += 1
            loop.call_soon(tick)

        loop.call_soon(tick)

        async def read() -> None:
            async with reading_turn():
                turns.append(turn)

        await asyncio.gather(*(read() for _ in range(20)))

    asyncio.run(work())
    assert len(set(turns)) == 20


def test_one_who_gives_up_waiting_for_a_turn_holds_up_nobody() -> None:
    async def work() -> str:
        async with reading_turn():
            impatient = asyncio.create_task(reading_turn().__aenter__())
            await asyncio.sleep(0)
            impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        async with reading_turn():
            return "read"

    assert asyncio.run(asyncio.wait_for(work(), 5)) == "read"


def test_loops_that_are_closed_are_forgotten() -> None:
    async def work() -> None:
        async with reading_turn():
            pass

    for _ in range(3):
        asyncio.run(work())
    assert len([loop for loop, _ in sessions._TURNS if loop.is_closed()]) <= 1
