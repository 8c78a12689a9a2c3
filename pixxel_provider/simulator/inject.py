"""Faults carried out: the ASGI layer between the counters and the API."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixxel_provider.simulator.faults import FaultBook
from pixxel_provider.simulator.hanging_up import HungUpError, hang_up, wait
from pixxel_provider.simulator.replacements import send_replacement
from pixxel_provider.simulator.tamper import TamperedSend

FAULT = "pixxel.fault"  # where handlers find a fault that concerns the content of their answer


class Injector:
    """Runs the API below it, except where a fault says otherwise. ``stopping`` ends delays under way."""

    def __init__(self, app: ASGIApp, faults: FaultBook) -> None:
        self.app = app
        self.faults = faults
        self.stopping = asyncio.Event()

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, *, route: str, ids: dict[str, str]
    ) -> None:
        """Answer one request of the operation ``route``."""
        fault = self.faults.take(route, ids.get("job_id"))
        if fault is None:
            await self.app(scope, receive, send)
            return
        loses = fault.drop is not None or fault.replaces
        if fault.carried_out and loses:
            await self._carry_out(scope, receive)
        waits = fault.latency > 0 and (loses or not fault.carried_out)
        if waits and not await wait(self.stopping, fault.latency):
            await hang_up(scope, receive, reset=True)
        elif fault.drop is not None:
            await hang_up(scope, receive, reset=fault.drop == "reset")
        elif fault.replaces:
            await send_replacement(fault, scope, send)
        elif fault.tampers or fault.carried_out:
            tampered = TamperedSend(fault, scope, receive, send, self.stopping)
            with contextlib.suppress(HungUpError):
                await self.app({**scope, FAULT: fault}, receive, tampered)
        else:
            await self.app({**scope, FAULT: fault}, receive, send)

    async def _carry_out(self, scope: Scope, receive: Receive) -> None:
        """Let the API do what it is asked. It has when its answer begins; nobody gets that."""

        async def lose(message: Message) -> None:
            raise HungUpError("the answer is lost on purpose")

        with contextlib.suppress(HungUpError):
            await self.app(scope, receive, lose)
