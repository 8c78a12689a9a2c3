"""How a connection is ended without an answer, or in the middle of one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from starlette.types import Receive, Scope

DROPPING = "pixxel.dropping"  # what is called before a request is left without an answer
TRANSPORT = "pixxel.transport"  # where the server puts the connection's asyncio transport


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
            with contextlib.suppress(asyncio.CancelledError):
                await each
