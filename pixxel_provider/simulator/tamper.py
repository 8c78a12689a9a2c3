"""The API's own answer, sent late, slowly, in part, or under a wrong length."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.types import Message, Receive, Scope, Send

from pixxel_provider.simulator.faults import Fault
from pixxel_provider.simulator.hanging_up import TRANSPORT, HungUpError, hang_up, wait, wait_until_gone

_LENGTH = b"content-length"


class TamperedSend:
    """An ASGI ``send`` that does to one answer what a fault says.

    Raises HungUpError once it has ended the connection: whoever sends more would send it to nobody.
    """

    def __init__(
        self, fault: Fault, scope: Scope, receive: Receive, send: Send, stopping: asyncio.Event
    ) -> None:
        self.fault = fault
        self.scope = scope
        self.receive = receive
        self.send = send
        self.stopping = stopping
        self._sent = 0
        self._stop_after: int | None = None  # bytes before the connection ends or nothing more comes
        self._announced: int | None = None  # bytes that a changed Content-Length announces

    async def __call__(self, message: Message) -> None:
        """Send one message of the API, or what becomes of it."""
        if message["type"] == "http.response.start":
            if self.fault.carried_out:
                await self._wait(self.fault.latency)
            await self.send(self._start(message))
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        for piece in self._pieces(body):
            await self._piece(piece)
            if self.fault.pause and self._sent % self.fault.chunk == 0:
                await self._wait(self.fault.pause)
        if not more:
            await self._end()

    def _start(self, message: Message) -> Message:
        announce = self.fault.announce
        headers = [(name, value) for name, value in message["headers"] if name.lower() != _LENGTH]
        lengths = [int(value) for name, value in message["headers"] if name.lower() == _LENGTH]
        length = lengths[0] if lengths else None
        self._stop_after = self._limit(length, part=message["status"] == 206)
        if announce is None:
            return message
        if announce != "none":
            self._announced = max(0, int(announce) + (length or 0 if announce[0] in "+-" else 0))
            headers.append((_LENGTH, str(self._announced).encode()))
        return {**message, "headers": headers}

    def _limit(self, length: int | None, *, part: bool) -> int | None:
        kept = self.fault.truncate if self.fault.truncate is not None else self.fault.stall
        if kept is None or length is None:
            return kept
        if part and kept >= length:
            return None  # a client that goes on where it was cut off gets to the end
        # Content-Length announces the whole answer, so at least one byte of it has to be missing.
        return max(0, min(kept, length - 1))

    def _pieces(self, body: bytes) -> Iterator[bytes]:
        if not self.fault.pause:
            yield body
            return
        start = 0
        while start < len(body):
            size = self.fault.chunk - (self._sent % self.fault.chunk)
            yield body[start : start + size]
            start += size

    async def _piece(self, piece: bytes) -> None:
        if self._stop_after is not None and self._sent + len(piece) >= self._stop_after:
            await self._forward(piece[: self._stop_after - self._sent])
            await self._stop()
        elif self._announced is not None and self._sent + len(piece) > self._announced:
            room = self._announced - self._sent
            await self.send({"type": "http.response.body", "body": piece[:room]})
            # By the announced length the answer is whole; the server wouldn't send a byte more.
            self.scope[TRANSPORT].write(piece[room:])
            await self._hang_up()
        else:
            await self._forward(piece)

    async def _forward(self, piece: bytes) -> None:
        self._sent += len(piece)
        await self.send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _end(self) -> None:
        if self._stop_after is not None:
            await self._stop()
        if self._announced is not None and self._sent < self._announced:
            await self._hang_up()
        await self.send({"type": "http.response.body", "body": b""})

    async def _stop(self) -> None:
        if self.fault.stall is not None:
            await wait_until_gone(self.stopping, self.receive)
        await self._hang_up(reset=self.fault.stall is not None)

    async def _wait(self, seconds: float) -> None:
        if seconds and not await wait(self.stopping, seconds):
            await self._hang_up(reset=True)

    async def _hang_up(self, *, reset: bool = False) -> None:
        await hang_up(self.scope, self.receive, reset=reset)
        raise HungUpError("the answer ends here on purpose")
