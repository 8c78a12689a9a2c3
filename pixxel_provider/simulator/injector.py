"""Faults carried out: the ASGI layer between the counters and the API.

An answer is replaced, its connection is ended, or it is sent late, slowly, in part, or under a wrong length.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixxel_provider.simulator.faults import CHUNK, Fault, FaultBook
from pixxel_provider.simulator.render import CODES, envelope, http_date
from pixxel_provider.simulator.routing import header

FAULT = "pixxel.fault"  # where handlers find a fault that concerns the content of their answer
DROPPING = "pixxel.dropping"  # what is called before a request is left without an answer
TRANSPORT = "pixxel.transport"  # where the server puts the connection's asyncio transport
_LENGTH = b"content-length"
_SHORTEST = len(b'{"padding":""}')
_HTML = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1><p>{1}</p></body></html>\n"
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{0}</Code><Message>{1}</Message></Error>\n'
_NESTED: Any = {
    "id": {"id": []}, "workflow_id": 7, "status": {"status": ["running", {"status": None}]},
    "progress": [[[]]], "cost": "many", "tasks": {"0": {"tasks": [None, 1, "task"]}}, "val_errors": "none",
    "spec": {"spec": -1}, "created_at": 0, "finished_at": [], "jobs": {"jobs": 3}, "workflows": 1,
    "projects": None, "pagination": [], "estimated_cost": {}, "signed_url": [],
    "error": {"code": [], "message": {"message": 1}, "details": [[{}]]},
}  # fmt: skip


class Injector:
    """Runs the API below it, except where a fault says otherwise. ``stopping`` ends delays under way."""

    def __init__(self, app: ASGIApp, faults: FaultBook) -> None:
        self.app = app
        self.faults = faults
        self.stopping = asyncio.Event()

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, *, route: str, ids: dict[str, str]
    ) -> None:
        fault = self.faults.take(route, ids.get("job_id"), ids.get("workflow_id"))
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
            await replacement(fault, scope)(scope, receive, send)
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


@dataclass
class TamperedSend:
    """An ASGI ``send`` that does to one answer what a fault says.

    Raises HungUpError once it has ended the connection: whoever sends more would send it to nobody.
    """

    fault: Fault
    scope: Scope
    receive: Receive
    send: Send
    stopping: asyncio.Event
    _sent: int = 0
    _stop_after: int | None = None  # bytes before the connection ends or nothing more comes
    _announced: int | None = None  # bytes that a changed Content-Length announces

    async def __call__(self, message: Message) -> None:
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


class HungUpError(OSError):
    """The connection was ended on purpose while its answer was being sent: the API need send no more."""


async def hang_up(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """End the connection, then wait until the server has noticed, so that it doesn't miss an answer."""
    scope[DROPPING]()
    transport = scope[TRANSPORT]
    if reset and not transport.is_closing():
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None:
            # Lingering for zero seconds turns the close into a reset.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
    await gone(receive)


async def gone(receive: Receive) -> None:
    """Wait until the connection has ended."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def wait(stopping: asyncio.Event, seconds: float) -> bool:
    """Wait; False if the server stops before the time is over.

    A client that gives up meanwhile changes nothing: its request has arrived and will be carried out.
    """
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except asyncio.TimeoutError:
        return True
    return False


async def wait_until_gone(stopping: asyncio.Event, receive: Receive) -> None:
    """Wait until the client has gone or the server stops."""
    waits = [asyncio.ensure_future(gone(receive)), asyncio.ensure_future(stopping.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def replacement(fault: Fault, scope: Scope) -> Response:
    """What the fault answers instead of the API."""
    status, chosen = fault.status, fault.body
    if status is None:
        status = 401 if chosen == "echo" else 302 if fault.location is not None else 200
    if chosen is None and not fault.has_json:
        chosen = "envelope" if status >= 400 else "none"
    headers = {}
    if fault.retry_after is not None:
        headers["retry-after"] = _latin(_retry_after(fault.retry_after))
    if fault.location is not None:
        headers["location"] = _latin(fault.location)
    if chosen == "huge":
        size = max(_SHORTEST, int(fault.megabytes * 1024 * 1024))
        headers["content-length"] = str(size)
        return StreamingResponse(_huge(size), status, headers, "application/json")
    if chosen == "none" or status in (204, 304):
        return Response(None, status, headers if status == 204 else {"content-length": "0", **headers})
    kind, text = _text(fault, chosen, status, header(scope, "authorization"))
    return Response(text.encode("utf-8", "replace"), status, headers, kind)


def _text(fault: Fault, chosen: str | None, status: int, authorization: str) -> tuple[str, str]:
    """Content type and text of the answer."""
    message = fault.message or f"this answer is a fault of the simulator ({status})"
    if chosen == "html":
        return "text/html", _HTML.format(f"Error {status}", message)
    if chosen == "xml":
        return "application/xml", _XML.format(CODES.get(status, "error"), message)
    if chosen == "plain":
        return "text/plain", message + "\n"
    if chosen == "deep":
        return "application/json", "[" * 100_000 + "]" * 100_000
    if chosen == "echo":
        message = f"{fault.message or 'the key was not accepted'}: Authorization: {authorization}"
        content = envelope(status, message, {"headers": {"Authorization": authorization}}, fault.code)
    else:
        contents = {None: fault.json_body, "null": None, "list": [{}, [], None, "job", 1], "nested": _NESTED}
        content = contents[chosen] if chosen in contents else envelope(status, message, None, fault.code)
    return "application/json", json.dumps(content)


def _huge(size: int) -> Iterator[bytes]:
    yield b'{"padding":"'
    for start in range(_SHORTEST, size, CHUNK):
        yield b"x" * min(CHUNK, size - start)
    yield b'"}'


def _latin(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")


def _retry_after(text: str) -> str:
    """The header's value: as given, or the HTTP date (``date+5``) or Unix time (``unix+5``) in 5 s."""
    prefix, plus, seconds = text.partition("+")
    if prefix not in ("date", "unix") or not plus:
        return text
    try:
        moment = time.time() + float(seconds)
        return http_date(moment) if prefix == "date" else str(round(moment))
    except (ValueError, OverflowError):
        return text
