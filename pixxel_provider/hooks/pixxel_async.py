"""The client for triggers: aiohttp drives the exchange of :mod:`pixxel_provider.hooks.protocol`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from pixxel_provider.api import retry
from pixxel_provider.api.errors import PixxelError
from pixxel_provider.clock import CLOCK, Clock
from pixxel_provider.connection import Settings
from pixxel_provider.hooks import protocol
from pixxel_provider.hooks.connection_lookup import STALE, look_up_async
from pixxel_provider.hooks.connection_refresh import ConnectionRefresh
from pixxel_provider.hooks.network_errors import unreachable
from pixxel_provider.hooks.sessions import fresh_session, reading_turn, release_session, shared_session
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID

if TYPE_CHECKING:
    from pixxel_provider.api.calls import Call

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    # A dependency of aiohttp there.
    from async_timeout import timeout

T = TypeVar("T")


class PixxelAsyncHook(BaseHook):
    """Reach the API of Pixxel from a trigger; same settings, policy and errors as ``PixxelHook``.

    All hooks of one event loop and connection share one HTTP session, which is closed with the loop, or when
    the last trigger that waits for a job has left.

    :param pixxel_conn_id: id of an Airflow connection of type ``pixxel``.
    """

    def __init__(self, pixxel_conn_id: str = DEFAULT_CONNECTION_ID, *, clock: Clock = CLOCK) -> None:
        super().__init__()
        self.pixxel_conn_id = pixxel_conn_id
        self._clock = clock
        self._refresh = ConnectionRefresh()
        self._settings: Settings | None = None
        self._reading = asyncio.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # Without the key, and without the lock of a loop: a copy reads the connection itself.
        return {k: v for k, v in self.__dict__.items() if k not in ("_settings", "_reading")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _settings=None, _reading=asyncio.Lock(), _refresh=ConnectionRefresh())

    @property
    def settings(self) -> Settings | None:
        """The connection's settings as they were last read, None if they never could be."""
        return self._settings

    @property
    def refresh(self) -> ConnectionRefresh:
        """When the connection is read again, and how the last attempts ended."""
        return self._refresh

    def adopt(self, settings: Settings) -> None:
        """Use from now on the settings that another hook of the same connection has read."""
        self._settings = settings
        self._refresh.was_read(self._clock.monotonic())

    async def get_settings(self) -> Settings:
        """Return the settings; they are read at first use, and at intervals while requests fail."""
        if (found := self._usable()) is not None:
            return found
        # Many waits may begin at once, and each look-up is a request to Airflow.
        async with self._reading:
            if (found := self._usable()) is not None:
                return found
            try:
                return await self._reread()
            except PixxelError as error:
                if self._settings is None:
                    raise
                self.log.warning(STALE, error)
                return self._settings

    def _usable(self) -> Settings | None:
        if self._refresh.due(self._clock.monotonic()):
            return None
        if self._settings is None and (unread := self._refresh.unread):
            raise unread
        return self._settings

    async def _reread(self) -> Settings:
        try:
            found = await look_up_async(self.pixxel_conn_id)
        except PixxelError as error:
            self._refresh.was_read(self._clock.monotonic(), error)
            raise
        if self._settings is not None:
            # Its file of certificates may have changed, under the same name.
            await release_session(self.pixxel_conn_id)
        self.adopt(found)
        return found

    async def send(
        self,
        call: Call[T],
        *,
        retry_for: float = retry.RETRY_FOR,
        on_size: Callable[[int], None] | None = None,
    ) -> T:
        """Send a call and return its answer; see :meth:`~pixxel_provider.hooks.pixxel.PixxelHook.send`.

        :param on_size: called with the size of the answer, in bytes.
        """
        if retry_for <= 0:
            return await self._attempt(call, on_size)
        from tenacity import AsyncRetrying

        policy = retry.policy(call, retry_for)
        return await AsyncRetrying(sleep=self._clock.async_sleep, **policy)(self._attempt, call, on_size)

    async def _attempt(self, call: Call[T], on_size: Callable[[int], None] | None) -> T:
        try:
            answer = await self._send_once(call, on_size)
        except PixxelError as error:
            self._refresh.ended(self._clock.monotonic(), error)
            raise
        self._refresh.ended(self._clock.monotonic(), None)
        return answer

    async def _send_once(self, call: Call[T], on_size: Callable[[int], None] | None = None) -> T:
        settings = await self.get_settings()
        steps = protocol.exchange(settings, call)
        step = next(steps)
        while True:
            got: protocol.Answer | Settings | None
            if isinstance(step, protocol.ReadConnection):
                got = settings = await self._read_anew(step.before)
            else:
                got = await self._exchange(settings, call, step)
            try:
                step = steps.send(got)
            except StopIteration as done:
                settings, answer = done.value
                break
        if on_size is not None:
            on_size(len(answer.body))
        async with reading_turn(answer.is_large):
            if answer.is_large:
                # A long decoding doesn't block the event loop there.
                return await asyncio.to_thread(protocol.read, settings, call, answer)
            return protocol.read(settings, call, answer)

    async def _read_anew(self, before: Settings) -> Settings:
        """Return the settings after a 401, as ``PixxelHook`` does."""
        async with self._reading:
            if self._settings is before and self._refresh.due_at_401(self._clock.monotonic()):
                with contextlib.suppress(PixxelError):
                    await self._reread()
        if unread := self._refresh.unread:
            raise unread
        return self._settings or before

    async def _exchange(
        self, settings: Settings, call: Call[Any], request: protocol.Request
    ) -> protocol.Answer | None:
        try:
            session = fresh_session if request.fresh else shared_session
            async with session(settings) as lent, timeout(request.timeout):
                return await self._ask(lent, settings, call, request)
        except PixxelError:
            raise
        except Exception as error:
            # Any exception that a library raises on what a server has sent, or on a file of certificates.
            if type(error).__name__ == "TooLargeError":
                raise protocol.too_large(call) from None
            if type(error).__name__ == "KeptConnectionBrokeError" and not request.fresh:
                return None
            raise unreachable(settings, call, error) from None

    async def _ask(
        self, session: Any, settings: Settings, call: Call[Any], request: protocol.Request
    ) -> protocol.Answer:
        body = protocol.Body(call)
        import aiohttp
        from yarl import URL

        limits = aiohttp.ClientTimeout(
            # Not aiohttp's timeout: it doesn't end everything that may follow a malformed answer.
            total=None,
            connect=settings.connect_timeout,
            sock_connect=settings.connect_timeout,
            sock_read=settings.read_timeout,
        )
        async with session.request(
            request.method,
            # Already quoted: yarl would otherwise decode what it considers unnecessary.
            URL(request.url, encoded=True),
            headers=request.headers,
            timeout=limits,
            allow_redirects=False,
            proxy=settings.proxy,
        ) as response:
            if not protocol.is_redirect(response.status):
                async for chunk in response.content.iter_chunked(protocol.CHUNK):
                    body.add(chunk)
            pairs = ((n.decode("latin-1"), v.decode("latin-1")) for n, v in response.raw_headers)
            return protocol.Answer(response.status, protocol.joined(pairs), body.whole())
