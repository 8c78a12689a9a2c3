"""One aiohttp session for each event loop and connection, closed with the loop or with the last watch."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pixxel_provider.connection import Settings

if TYPE_CHECKING:
    import aiohttp

#: Idle connections are kept this long, in seconds: longer than the usual poll, so that TLS is set up once.
KEEP_ALIVE = 90.0

#: How many requests of a loop and connection are under way at once; others wait their turn.
AT_ONCE = 32

_Key = tuple[asyncio.AbstractEventLoop, str, str, "bool | str"]
# Loops are strong keys: a session refers to its loop, so weak ones would never go. Closed ones are swept
# instead.
_HOLDERS: dict[_Key, _Holder] = {}


@contextlib.asynccontextmanager
async def shared_session(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    """Lend the session of the running loop for a connection; all hooks of that loop get the same one.

    It holds connections, no key: that travels with each request.
    """
    for key in [key for key in _HOLDERS if key[0].is_closed()]:
        del _HOLDERS[key]
    key = (asyncio.get_running_loop(), settings.conn_id, settings.origin, settings.verify)
    holder = _HOLDERS.setdefault(key, _Holder())
    holder.users += 1
    try:
        # Not a limit of the connector: there, who comes just as a connection gets free overtakes the rest.
        async with holder.turns:
            yield await holder.session(settings)
    finally:
        holder.users -= 1
        if holder.released and not holder.users:
            await holder.close()


# Turns by loop, swept like the sessions.
_TURNS: dict[tuple[asyncio.AbstractEventLoop, bool], asyncio.Lock] = {}


@contextlib.asynccontextmanager
async def reading_turn(large: bool = False) -> AsyncIterator[None]:
    """Wait for a turn of the loop in which nobody else reads an answer.

    A job of 50 tasks takes a millisecond to read. Many that arrive together would hold up all triggers of the
    process, one by one they don't.

    :param large: for an answer that is read in a thread; those have turns of their own.
    """
    loop = asyncio.get_running_loop()
    turns = _TURNS.get((loop, large))
    if turns is None:
        for gone in [key for key in _TURNS if key[0].is_closed()]:
            del _TURNS[gone]
        turns = _TURNS[loop, large] = asyncio.Lock()
    async with turns:
        await asyncio.sleep(0)
        yield


async def release_session(conn_id: str) -> None:
    """Close what the running loop holds for a connection, as soon as nobody uses it.

    Whoever asks next gets a new session.
    """
    loop = asyncio.get_running_loop()
    for key in [key for key in _HOLDERS if key[:2] == (loop, conn_id)]:
        holder = _HOLDERS.pop(key)
        holder.released = True
        if not holder.users:
            await holder.close()


class _Holder:
    def __init__(self) -> None:
        self.users = 0
        self.released = False
        self.turns = asyncio.Semaphore(AT_ONCE)
        self._lock = asyncio.Lock()
        self._keeper: AsyncGenerator[aiohttp.ClientSession, None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def session(self, settings: Settings) -> aiohttp.ClientSession:
        if self._session is not None and not self._session.closed:
            return self._session
        async with self._lock:
            if self._session is None or self._session.closed:
                # A loop that ends closes the asynchronous generators begun in it, and this one the session.
                self._keeper = _keep(settings)
                self._session = await anext(self._keeper)
            return self._session

    async def close(self) -> None:
        async with self._lock:
            if self._keeper is not None:
                await self._keeper.aclose()
            self._keeper = self._session = None


async def _keep(settings: Settings) -> AsyncGenerator[aiohttp.ClientSession, None]:
    # Importing aiohttp takes 100 ms and reading a CA bundle 25 ms: too long for a loop that others share.
    aiohttp = await asyncio.to_thread(import_module, "aiohttp")
    bounded = await asyncio.to_thread(import_module, "pixxel_provider.hooks.aiohttp_transport")
    context = await asyncio.to_thread(_tls, settings.verify)
    session = aiohttp.ClientSession(
        connector=bounded.Connector(ssl=context, keepalive_timeout=KEEP_ALIVE, limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Decoded within a limit, by what both clients share.
        auto_decompress=False,
        # Settings has read the environment already, the same for both clients.
        trust_env=False,
        **bounded.LIMITS,
    )
    # Where a kept connection broke, the exchange sends once more; aiohttp would do so whatever broke.
    session._retry_connection = False
    try:
        yield session
    finally:
        await session.close()


#: A session of its own, for a request that needs a fresh connection.
fresh_session = contextlib.asynccontextmanager(_keep)


def _tls(verify: bool | str) -> ssl.SSLContext | bool:
    if verify is False:
        return False
    if verify is True:
        # The same bundle as requests uses.
        import certifi

        verify = certifi.where()
    if Path(str(verify)).is_dir():
        return ssl.create_default_context(capath=str(verify))
    return ssl.create_default_context(cafile=str(verify))
