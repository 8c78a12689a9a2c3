"""Which triggers of an event loop share a hook, and with it one reading of an Airflow connection."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.clock import Clock
from pixxel_provider.hooks.pixxel_async import PixxelAsyncHook
from pixxel_provider.hooks.sessions import release_session


@dataclass(eq=False)
class SharedHook:
    """One reading of a connection, and the polls that use it, by workflow."""

    hook: PixxelAsyncHook
    pollers: dict[str, Any] = field(default_factory=dict)


class SharedConnection:
    """The hooks of one event loop for one connection id: one, unless the connection was changed meanwhile.

    A new wait reads the connection again, and doesn't depend on what was read before. Earlier waits keep
    settings that work for them; if they don't work, they switch to those that the new wait has read.
    """

    def __init__(self, conn_id: str, clock: Clock) -> None:
        self.conn_id, self.clock = conn_id, clock
        self.hooks: list[SharedHook] = []
        self.users = 0
        self._newest = PixxelAsyncHook(conn_id, clock=clock)
        self._reading = asyncio.Lock()
        self._arrivals = self._read_for = 0

    async def join(self) -> tuple[SharedHook, PixxelError | None]:
        """Return the hook for a new wait, and why the connection couldn't be read again."""
        newest = await self._read()
        settings = newest.settings
        if settings is None and self.hooks:
            # Settings that others have read are better than none.
            return self.hooks[-1], newest.refresh.unread
        for shared in self.hooks:
            if settings is not None and shared.hook.refresh.unreachable:
                shared.hook.adopt(settings)
        same = next((shared for shared in self.hooks if shared.hook.settings == settings), None)
        if same is None:
            same = SharedHook(newest)
            self.hooks.append(same)
        return same, newest.refresh.unread

    def leave(self, shared: SharedHook, workflow_id: str) -> None:
        """Remove a poll, and the hook with its last one."""
        del shared.pollers[workflow_id]
        if not shared.pollers:
            self.hooks.remove(shared)

    async def release(self) -> None:
        """Record that a user has left; the session is closed when the last one has."""
        self.users -= 1
        if not self.users:
            _SHARED.pop((asyncio.get_running_loop(), self.conn_id), None)
            await release_session(self.conn_id)

    async def _read(self) -> PixxelAsyncHook:
        """Return a hook that has read the connection since; waits that begin together share one look-up."""
        self._arrivals += 1
        mine = self._arrivals
        async with self._reading:
            if self._read_for < mine:
                # A triggerer begins many triggers in one turn of the loop.
                await asyncio.sleep(0)
                self._read_for = self._arrivals
                self._newest = PixxelAsyncHook(self.conn_id, clock=self.clock)
                # Where it can't be read, whoever waits hears that as the answer to each request.
                with contextlib.suppress(PixxelError):
                    await self._newest.get_settings()
            return self._newest


_SHARED: dict[tuple[asyncio.AbstractEventLoop, str], SharedConnection] = {}


def acquire(conn_id: str, clock: Clock) -> SharedConnection:
    """Return what the running loop shares for a connection; :meth:`SharedConnection.release` has to follow.

    No context manager: for each of thousands of waits that would keep another kilobyte.

    :param clock: the first one's counts.
    """
    for gone in [key for key in _SHARED if key[0].is_closed()]:
        del _SHARED[gone]
    key = (asyncio.get_running_loop(), conn_id)
    shared = _SHARED.get(key)
    if shared is None:
        shared = _SHARED[key] = SharedConnection(conn_id, clock)
    shared.users += 1
    return shared
