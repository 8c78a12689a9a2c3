"""What Pixxel answered lately, shared by everybody who looks: however many tabs are open, it is asked once.

Of one process and one event loop: an API server of several processes asks as many times.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from pixxel_provider.api.errors import PixxelConnectionError, PixxelError

V = TypeVar("V")

log = logging.getLogger(__name__)

#: Seconds after which trouble is asked about again.
TROUBLE_LASTS = 5.0
#: The longest such pause, in seconds, whatever a server asks for: somebody is looking.
LONGEST_PAUSE = 300.0
_UNEXPECTED = "Something unexpected went wrong; the log of Airflow's API server says what."


@dataclass(frozen=True)
class Found(Generic[V]):
    """The newest answer there is, and the trouble that kept a newer one away."""

    value: V | None = None
    at: datetime | None = None
    """When that was the answer."""
    trouble: PixxelError | None = None


@dataclass
class _Entry(Generic[V]):
    found: Found[V]
    fresh_until: float = 0.0
    asking: asyncio.Task[None] | None = None


class Answers(Generic[V]):
    """Answers by key: fresh ones from memory, others asked for, once at a time.

    :param pool: where the asking is done; its threads bound how many requests run at once.
    :param keep: how many answers are kept; those nobody looked at for longest are forgotten.
    :param waiting: how many may wait for a thread; beyond, what is known has to do.
    :param told: is told of each answer, also of one that nobody waits for any more.
    """

    def __init__(
        self,
        pool: Executor,
        *,
        keep: int,
        waiting: int = 32,
        told: Callable[[Any, V, datetime], None] = lambda *_: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._keep, self._waiting = pool, keep, waiting
        self._told, self._monotonic = told, monotonic
        self._entries: OrderedDict[Hashable, _Entry[V]] = OrderedDict()
        self._asked = 0

    async def get(
        self, key: Hashable, ask: Callable[[], V], lasts: Callable[[V], float], *, patience: float
    ) -> Found[V]:
        """Return the answer to a question.

        :param ask: asks Pixxel, in a thread; raises PixxelError.
        :param lasts: tells for how many seconds an answer is fresh.
        :param patience: seconds to wait for one that isn't there yet; then what is known has to do.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(Found())
            self._forget()
        self._entries.move_to_end(key)
        if entry.asking is None and self._monotonic() >= entry.fresh_until and self._asked < self._waiting:
            self._asked += 1
            entry.asking = asyncio.ensure_future(self._refresh(key, entry, ask, lasts))
        if entry.asking is not None:
            # Not wait_for: whoever gives up must not take the answer away from the others.
            await asyncio.wait({entry.asking}, timeout=patience)
        if entry.found.value is None and entry.found.trouble is None:
            return Found(trouble=PixxelConnectionError("Pixxel hasn't answered yet.", reason="timeout"))
        return entry.found

    async def _refresh(
        self, key: Hashable, entry: _Entry[V], ask: Callable[[], V], lasts: Callable[[V], float]
    ) -> None:
        try:
            value = await asyncio.get_running_loop().run_in_executor(self._pool, ask)
            now = datetime.now(timezone.utc)
            entry.found = Found(value, now)
            self._told(key, value, now)
            pause = lasts(value)
        except PixxelError as trouble:
            # Without its traceback, which would keep the answer's bytes.
            entry.found = replace(entry.found, trouble=trouble.with_traceback(None))
            pause = min(max(trouble.retry_after or 0.0, TROUBLE_LASTS), LONGEST_PAUSE)
        except Exception:
            # Whatever it is, its words may hold what isn't meant for a browser.
            log.exception("Pixxel couldn't be asked for a page")
            entry.found = replace(entry.found, trouble=PixxelError(_UNEXPECTED))
            pause = TROUBLE_LASTS
        finally:
            self._asked -= 1
            entry.asking = None
        entry.fresh_until = self._monotonic() + pause

    def _forget(self) -> None:
        for key, entry in list(self._entries.items())[: max(0, len(self._entries) - self._keep)]:
            if entry.asking is None:
                del self._entries[key]
