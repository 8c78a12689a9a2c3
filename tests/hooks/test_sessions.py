"""What hooks of one event loop share."""

from __future__ import annotations

import asyncio

from pixxel_provider.api import calls
from pixxel_provider.hooks import sessions
from pixxel_provider.hooks.pixxel import PixxelAsyncHook
from pixxel_provider.hooks.sessions import reading_turn
from tests.vault import Vault


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


def test_a_cancelled_wait_for_a_turn_blocks_nobody() -> None:
    async def work() -> str:
        async with reading_turn():
            impatient = asyncio.create_task(reading_turn().__aenter__())
            await asyncio.sleep(0)
            impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        async with reading_turn():
            return "read"

    assert asyncio.run(asyncio.wait_for(work(), 5)) == "read"


def test_nothing_is_kept_for_loops_that_are_closed(pixxel: object) -> None:
    async def work() -> None:
        await PixxelAsyncHook().send(calls.ping())

    for _ in range(3):
        asyncio.run(work())
    assert len(sessions._HOLDERS) == 1
    assert len([loop for loop, _ in sessions._TURNS if loop.is_closed()]) <= 1


def test_waits_that_begin_together_read_the_connection_once(vault: type[Vault]) -> None:
    async def work() -> None:
        hook = PixxelAsyncHook("in_vault")
        found = await asyncio.gather(*(hook.get_settings() for _ in range(20)))
        assert len(set(map(id, found))) == 1

    asyncio.run(work())
    assert vault.asked == ["in_vault"]
