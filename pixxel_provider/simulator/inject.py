"""Faults carried out: the ASGI layer between the counters and the API."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixxel_provider.simulator.faults import Fault, FaultBook
from pixxel_provider.simulator.problems import envelope
from pixxel_provider.simulator.routing import header

FAULT = "pixxel.fault"  # where handlers find a fault that concerns the content of their answer
DROPPING = "pixxel.dropping"  # what is called before a request is left without an answer
TRANSPORT = "pixxel.transport"  # where the server puts the connection's asyncio transport
CHUNK = 64 * 1024

_HTML = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1><p>{1}</p></body></html>\n"
_NESTED: Any = {
    "id": {"id": []},
    "workflow_id": 7,
    "status": {"status": ["running", {"status": None}]},
    "progress": [[[]]],
    "cost": "many",
    "tasks": {"0": {"tasks": [None, 1, "task"]}},
    "val_errors": "none",
    "spec": {"spec": -1},
    "created_at": 0,
    "finished_at": [],
    "jobs": {"jobs": 3},
    "workflows": 1,
    "projects": None,
    "pagination": [],
    "estimated_cost": {},
    "signed_url": [],
    "error": {"code": [], "message": {"message": 1}, "details": [[{}]]},
}


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
        if fault.latency and not await self._wait(fault.latency):
            await _hang_up(scope, receive, reset=True)
        elif fault.drop is not None:
            await _hang_up(scope, receive, reset=fault.drop == "reset")
        elif fault.truncate is not None:
            await self._truncated(fault.truncate, scope, receive, send)
        elif fault.replaces:
            await _replaced(fault, scope, send)
        else:
            await self.app({**scope, FAULT: fault}, receive, send)

    async def _wait(self, seconds: float) -> bool:
        """False if the server stops before the time is over.

        A client that gives up meanwhile changes nothing: its request has arrived and will be carried out.
        """
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except asyncio.TimeoutError:
            return True
        return False

    async def _truncated(self, kept: int, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        body = bytearray()

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self.app(scope, receive, keep)
        # Content-Length still announces the whole answer, so at least one byte of it has to be missing.
        part = bytes(body[: min(kept, len(body) - 1)])
        await send(start)
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await _hang_up(scope, receive, reset=False)


async def _hang_up(scope: Scope, receive: Receive, *, reset: bool) -> None:
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
    await _gone(receive)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _replaced(fault: Fault, scope: Scope, send: Send) -> None:
    redirects = fault.location is not None
    status = fault.status if fault.status is not None else (302 if redirects else 200)
    chosen = fault.body
    if chosen is None and not fault.has_json:
        chosen = "envelope" if status >= 400 else "none"
    if chosen == "echo" and fault.status is None:
        status = 401
    kind, chunks, size = _body(fault, chosen, status, scope)
    headers = [(b"content-length", str(size).encode())] if status != 204 else []
    if size:
        headers.append((b"content-type", kind.encode()))
    if fault.retry_after is not None:
        headers.append((b"retry-after", _retry_after(fault.retry_after).encode("latin-1", "replace")))
    if fault.location is not None:
        headers.append((b"location", fault.location.encode("latin-1", "replace")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _body(fault: Fault, chosen: str | None, status: int, scope: Scope) -> tuple[str, Iterator[bytes], int]:
    """Content type, chunks and size of the answer."""
    message = fault.message or f"this answer is a fault of the simulator ({status})"
    if chosen == "huge":
        return _huge(int(fault.megabytes * 1024 * 1024))
    if chosen == "none" or status in (204, 304):
        return "", iter(()), 0
    if chosen == "html":
        return _whole("text/html; charset=utf-8", _HTML.format(f"Error {status}", message))
    if chosen == "plain":
        return _whole("text/plain; charset=utf-8", message + "\n")
    if chosen == "deep":
        return _whole("application/json", "[" * 100_000 + "]" * 100_000)
    if chosen == "echo":
        sent = header(scope, "authorization")
        message = f"{fault.message or 'the key was not accepted'}: Authorization: {sent}"
        content = envelope(status, message, {"headers": {"Authorization": sent}}, fault.code)
    elif chosen is None:
        content = fault.json
    else:
        contents: dict[str, Any] = {"null": None, "list": [{}, [], None, "job", 1], "nested": _NESTED}
        content = contents[chosen] if chosen in contents else envelope(status, message, None, fault.code)
    return _whole("application/json", json.dumps(content))


def _whole(kind: str, text: str) -> tuple[str, Iterator[bytes], int]:
    raw = text.encode("utf-8", "replace")
    return kind, iter((raw,)), len(raw)


def _huge(size: int) -> tuple[str, Iterator[bytes], int]:
    head, tail = b'{"padding":"', b'"}'
    padding = max(0, size - len(head) - len(tail))

    def chunks() -> Iterator[bytes]:
        yield head
        for start in range(0, padding, CHUNK):
            yield b"x" * min(CHUNK, padding - start)
        yield tail

    return "application/json", chunks(), len(head) + padding + len(tail)


def _retry_after(text: str) -> str:
    """The header's value: as given, or for ``date+5`` the HTTP date five seconds from now."""
    prefix, plus, seconds = text.partition("+")
    if prefix == "date" and plus:
        try:
            return formatdate(time.time() + float(seconds), usegmt=True)
        except (ValueError, OverflowError):
            return text
    return text
