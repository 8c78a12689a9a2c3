"""What Pixxel answered lately, shared by everybody who looks: however many tabs are open, it is asked once.

Of one process and one event loop: an API server of several processes asks as many times.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from pixxel_provider.api.errors import PixxelConnectionError, PixxelError
from pixxel_provider.plugins.threads import Threads

V = TypeVar("V")

log = logging.getLogger(__name__)

#: Seconds after which trouble is asked about again.
TROUBLE_LASTS = 5.0
#: The longest such pause, in seconds, whatever a server asks for: somebody is looking.
LONGEST_PAUSE = 300.0
#: Seconds after which an answer that nobody looked at is forgotten.
KEPT_FOR = 600.0
_UNEXPECTED = "Something unexpected went wrong; the log of Airflow's API server says what."


@dataclass(frozen=True)
class CachedAnswer(Generic[V]):
    """The newest answer there is, and the trouble that kept a newer one away."""

    value: V | None = None
    at: datetime | None = None
    """When that was the answer."""
    trouble: PixxelError | None = None


@dataclass
class _Entry(Generic[V]):
    found: CachedAnswer[V]
    fresh_until: float = 0.0
    asking: asyncio.Task[None] | None = None
    size: int = 0
    looked_at: float = 0.0


class AnswerCache(Generic[V]):
    """AnswerCache by key: fresh ones from memory, others asked for, once at a time.

    :param threads: where the asking is done.
    :param keep: how many answers are kept; those nobody looked at for longest are forgotten.
    :param room: how many bytes they may have together.
    :param size: tells how many an answer has.
    :param told: is told of each answer, also of one that nobody waits for any more.
    """

    def __init__(
        self,
        threads: Threads,
        *,
        keep: int,
        room: int,
        size: Callable[[V], int],
        told: Callable[[Any, V, datetime], None] = lambda *_: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads, self._keep, self._room, self._size = threads, keep, room, size
        self._told, self._monotonic = told, monotonic
        self._entries: OrderedDict[Hashable, _Entry[V]] = OrderedDict()
        self._sweep_at = 0.0

    async def get(
        self,
        key: Hashable,
        ask: Callable[[], V],
        lasts: Callable[[V], float],
        *,
        lane: Hashable,
        max_wait: float,
    ) -> CachedAnswer[V]:
        """Return the answer to a question.

        :param ask: asks Pixxel, in a thread; raises PixxelError.
        :param lasts: tells for how many seconds an answer is fresh.
        :param lane: whose threads it takes: the connection, so that one server that hangs holds up no other.
        :param max_wait: seconds to wait for one that isn't there yet; then what is known has to do.
        """
        self._forget()
        entry = self._entries.setdefault(key, _Entry(CachedAnswer()))
        self._entries.move_to_end(key)
        entry.looked_at = self._monotonic()
        if entry.asking is None and entry.looked_at >= entry.fresh_until:
            future = self._threads.submit(lane, ask)
            if future is not None:
                answer: asyncio.Future[V] = asyncio.wrap_future(future)
                entry.asking = asyncio.ensure_future(self._refresh(key, entry, answer, lasts))
        if entry.asking is not None:
            # Not wait_for: whoever gives up must not take the answer away from the others.
            await asyncio.wait({entry.asking}, timeout=max_wait)
        if entry.found.value is None and entry.found.trouble is None:
            return CachedAnswer(
                trouble=PixxelConnectionError("Pixxel hasn't answered yet.", reason="timeout")
            )
        return entry.found

    async def _refresh(
        self, key: Hashable, entry: _Entry[V], answer: asyncio.Future[V], lasts: Callable[[V], float]
    ) -> None:
        try:
            value = await answer
            now = datetime.now(timezone.utc)
            entry.found, entry.size = CachedAnswer(value, now), self._size(value)
            self._told(key, value, now)
            pause = lasts(value)
        except PixxelError as trouble:
            # Without its traceback, which would keep the answer's bytes.
            trouble.__context__ = None
            entry.found = replace(entry.found, trouble=trouble.with_traceback(None))
            pause = min(max(trouble.retry_after or 0.0, TROUBLE_LASTS), LONGEST_PAUSE)
        except Exception:
            # Whatever it is, its words may hold what isn't meant for a browser.
            log.exception("Pixxel couldn't be asked for a page")
            entry.found = replace(entry.found, trouble=PixxelError(_UNEXPECTED))
            pause = TROUBLE_LASTS
        finally:
            entry.asking = None
        entry.fresh_until = self._monotonic() + pause
        self._forget()
        self._sweep_later()

    def _forget(self) -> None:
        """Forget what nobody has looked at for long, and of the rest what there is no room for."""
        total, too_old = sum(entry.size for entry in self._entries.values()), self._monotonic() - KEPT_FOR
        for key, entry in list(self._entries.items()):
            if len(self._entries) <= self._keep and total <= self._room and entry.looked_at > too_old:
                return
            if entry.asking is None:
                total -= entry.size
                del self._entries[key]

    def _sweep_later(self) -> None:
        # What is left when nobody looks any more.
        if self._monotonic() >= self._sweep_at:
            self._sweep_at = self._monotonic() + KEPT_FOR
            asyncio.get_running_loop().call_later(KEPT_FOR + 1, self._forget)
