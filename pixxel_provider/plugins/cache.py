"""A cache of Pixxel's answers, shared by all viewers: the number of open tabs doesn't change the requests.

It belongs to one process and one event loop: an API server of several processes has several.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import Generic, TypeVar

from pixxel_provider.api.errors import PixxelConnectionError, PixxelError
from pixxel_provider.clock import CLOCK, Clock
from pixxel_provider.plugins.threads import Threads

K = TypeVar("K", bound=tuple[str, ...])
V = TypeVar("V")

log = logging.getLogger(__name__)

#: Seconds after which a request that failed is sent again.
ERROR_LASTS = 5.0
#: The longest delay, in seconds, whatever a server's Retry-After: a person is waiting.
LONGEST_PAUSE = 300.0
#: Seconds that a caller with an older answer waits for a newer one.
KNOWN_WAIT = 1.0
#: Seconds after which an answer that nobody requested is dropped.
KEPT_FOR = 600.0
#: Bytes of answers that a cache keeps.
ROOM = 32 * 2**20
_UNEXPECTED = "An unexpected error occurred; it is in the log of Airflow's API server."


@dataclass(frozen=True)
class CachedAnswer(Generic[V]):
    """The newest answer, and the error that prevented a newer one."""

    value: V | None = None
    at: datetime | None = None
    """When that was the answer."""
    error: PixxelError | None = None


@dataclass
class _Entry(Generic[V]):
    answer: CachedAnswer[V]
    fresh_until: float = 0.0
    request: asyncio.Task[None] | None = None
    size: int = 0
    used_at: float = 0.0


class AnswerCache(Generic[K, V]):
    """Answers by key: fresh ones from the cache, others requested, once at a time.

    A key begins with a connection's id, which has threads of its own: a server that hangs blocks no other.

    :param send: sends the request for a key, in a thread; raises PixxelError.
    :param lifetime: returns for how many seconds an answer is fresh.
    :param keep: how many answers are kept; the least recently requested are dropped.
    :param room: how many bytes they may have together.
    :param size: returns the bytes of an answer.
    :param on_answer: called with each answer, also with one that nobody waits for any more.
    """

    def __init__(
        self,
        threads: Threads,
        send: Callable[[K], V],
        lifetime: Callable[[V], float],
        *,
        keep: int = 256,
        room: int = ROOM,
        size: Callable[[V], int] = lambda _: 0,
        on_answer: Callable[[K, V, datetime], None] = lambda *_: None,
        clock: Clock = CLOCK,
    ) -> None:
        self._threads, self._send, self._lifetime = threads, send, lifetime
        self._keep, self._room, self._size = keep, room, size
        self._on_answer, self._clock = on_answer, clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._sweep_at = 0.0

    async def get(self, key: K, max_wait: float) -> CachedAnswer[V]:
        """Return the answer for a key.

        :param max_wait: seconds to wait for a missing answer; with an older one it is a second at most.
        """
        self._evict()
        entry = self._entries.setdefault(key, _Entry(CachedAnswer()))
        self._entries.move_to_end(key)
        entry.used_at = self._clock.monotonic()
        if entry.request is None and entry.used_at >= entry.fresh_until:
            future = self._threads.submit(key[0], partial(self._send, key))
            if future is not None:
                refresh = self._refresh(key, entry, asyncio.wrap_future(future))
                entry.request = asyncio.ensure_future(refresh)
        if entry.request is not None:
            # Not wait_for: one caller's timeout must not cancel the request for the others.
            known = entry.answer.value is not None
            await asyncio.wait({entry.request}, timeout=min(max_wait, KNOWN_WAIT) if known else max_wait)
        is_late = entry.request is not None or entry.answer.value is None
        if is_late and entry.answer.error is None:
            late = PixxelConnectionError("Pixxel hasn't answered yet.", reason="timeout")
            return replace(entry.answer, error=late)
        return entry.answer

    async def _refresh(self, key: K, entry: _Entry[V], answer: asyncio.Future[V]) -> None:
        try:
            value = await answer
            now = datetime.now(timezone.utc)
            entry.answer, entry.size = CachedAnswer(value, now), self._size(value)
            self._on_answer(key, value, now)
            pause = self._lifetime(value)
        except PixxelError as error:
            # Without its traceback, which would keep the answer's bytes.
            error.__context__ = None
            entry.answer = replace(entry.answer, error=error.with_traceback(None))
            pause = min(max(error.retry_after or 0.0, ERROR_LASTS), LONGEST_PAUSE)
        except Exception:
            # Any exception: its message may contain what isn't meant for a browser.
            log.exception("The request to Pixxel for a page failed")
            entry.answer = replace(entry.answer, error=PixxelError(_UNEXPECTED))
            pause = ERROR_LASTS
        finally:
            entry.request = None
        entry.fresh_until = self._clock.monotonic() + pause
        self._evict()
        # Once more, for what is left when nobody requests anything any more.
        if self._clock.monotonic() >= self._sweep_at:
            self._sweep_at = self._clock.monotonic() + KEPT_FOR
            asyncio.get_running_loop().call_later(KEPT_FOR + 1, self._evict)

    def _evict(self) -> None:
        """Drop what nobody has requested for long, and of the rest what there is no room for."""
        total = sum(entry.size for entry in self._entries.values())
        too_old = self._clock.monotonic() - KEPT_FOR
        for key, entry in list(self._entries.items()):
            if len(self._entries) <= self._keep and total <= self._room and entry.used_at > too_old:
                return
            if entry.request is None:
                total -= entry.size
                del self._entries[key]
