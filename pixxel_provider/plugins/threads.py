"""Threads for requests that may hang: few for each connection, and never waited for at the process's end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any


@dataclass
class _Lane:
    running: int = 0
    queue: deque[tuple[Future[Any], Callable[[], Any]]] = field(default_factory=deque)


class Threads:
    """Runs work in daemon threads, which start and end with it.

    Not a ThreadPoolExecutor: at its end Python waits for running work, and one for all connections is
    full as soon as one server hangs.

    :param at_once: the most work that runs at the same time for one key.
    :param waiting: the most work that may wait for its turn for one key.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._at_once, self._waiting = at_once, waiting
        self._lock = threading.Lock()
        self._lanes: dict[Hashable, _Lane] = {}

    def submit(self, key: Hashable, work: Callable[[], Any]) -> Future[Any] | None:
        """Run work when it is its turn; None if too much is waiting already."""
        with self._lock:
            lane = self._lanes.setdefault(key, _Lane())
            if len(lane.queue) >= self._waiting:
                return None
            future: Future[Any] = Future()
            lane.queue.append((future, work))
            if lane.running < self._at_once:
                lane.running += 1
                threading.Thread(target=self._run, args=(key, lane), name="pixxel-page", daemon=True).start()
        return future

    def _run(self, key: Hashable, lane: _Lane) -> None:
        while True:
            with self._lock:
                if not lane.queue:
                    lane.running -= 1
                    if not lane.running:
                        del self._lanes[key]
                    return
                future, work = lane.queue.popleft()
            if future.set_running_or_notify_cancel():
                _finish(future, work)
            # An answer that is no longer wanted would otherwise stay until the next one.
            del future, work


def _finish(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
