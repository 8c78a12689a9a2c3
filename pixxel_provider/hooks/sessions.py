"""One aiohttp session for each event loop and connection, closed with its loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pixxel_provider.connection import Settings

if TYPE_CHECKING:
    import aiohttp

#: Idle connections are kept this long, in seconds: longer than the usual poll, so that TLS is set up once.
KEEP_ALIVE = 90.0

_Key = tuple[asyncio.AbstractEventLoop, str, str, "bool | str"]
# Loops are strong keys: a session refers to its loop, so weak ones would never go. Closed ones are swept
# instead.
_HOLDERS: dict[_Key, _Holder] = {}


async def shared_session(settings: Settings) -> aiohttp.ClientSession:
    """Return the session of the running loop for a connection; all hooks of that loop get the same one.

    It holds connections, no key: that travels with each request.
    """
    for key in [key for key in _HOLDERS if key[0].is_closed()]:
        del _HOLDERS[key]
    key = (asyncio.get_running_loop(), settings.conn_id, settings.origin, settings.verify)
    if key not in _HOLDERS:
        _HOLDERS[key] = _Holder()
    return await _HOLDERS[key].session(settings)


class _Holder:
    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._keeper: AsyncGenerator[aiohttp.ClientSession, None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def session(self, settings: Settings) -> aiohttp.ClientSession:
        async with self._lock:
            if self._session is None or self._session.closed:
                # A loop that ends closes the asynchronous generators begun in it, and this one closes the
                # session.
                self._keeper = _keep(settings)
                self._session = await anext(self._keeper)
            return self._session


async def _keep(settings: Settings) -> AsyncGenerator[aiohttp.ClientSession, None]:
    # Importing aiohttp takes 100 ms and reading a CA bundle 25 ms: too long for a loop that others share.
    aiohttp = await asyncio.to_thread(import_module, "aiohttp")
    context = await asyncio.to_thread(_tls, settings.verify)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, keepalive_timeout=KEEP_ALIVE),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Settings has read the environment already, the same for both clients.
        trust_env=False,
    )
    try:
        yield session
    finally:
        await session.close()


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
