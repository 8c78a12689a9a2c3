"""What the simulator was asked: numbers per route, and the last requests one by one. Never a key.

Everything is counted before it is sent, so that whoever has an answer finds it counted.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from dataclasses import asdict, dataclass, field
from typing import Any

KEPT = 1000  # requests remembered one by one


@dataclass
class SeenRequest:
    """One request. ``path`` and ``query`` are as they were sent; of the key only the scheme is kept.

    ``status`` is the answer's, ``dropped`` where there was none, None while it is being answered.
    """

    route: str
    method: str
    path: str
    query: str
    ids: dict[str, str] = field(default_factory=dict)
    host: str = ""
    user_agent: str = ""
    authorization: str = "none"  # none, plain (the bare key), or the scheme's word in small letters
    at: float = 0.0
    status: int | str | None = None
    bytes_sent: int = 0
    in_flight: bool = True


class Counters:
    """Counts of the API's requests; the control routes aren't counted. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight = 0
        self._open = 0
        self._clear()

    def _clear(self) -> None:
        self.total = 0
        self.connections = 0
        self.bytes_sent = 0
        self.max_concurrent = self._in_flight
        self.routes: Counter[str] = Counter()
        self.jobs: Counter[tuple[str, str]] = Counter()
        self.statuses: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.seen: deque[SeenRequest] = deque(maxlen=KEPT)

    def clear(self) -> None:
        with self._lock:
            self._clear()

    def connected(self) -> None:
        """A client opened a connection."""
        with self._lock:
            self.connections += 1
            self._open += 1

    def disconnected(self) -> None:
        """A connection was closed, by either side."""
        with self._lock:
            self._open -= 1

    def begin(self, request: SeenRequest) -> None:
        """A request has arrived."""
        with self._lock:
            self.total += 1
            self.routes[request.route] += 1
            if "job_id" in request.ids:
                self.jobs[request.route, request.ids["job_id"]] += 1
            self.seen.append(request)
            self._in_flight += 1
            self.max_concurrent = max(self.max_concurrent, self._in_flight)

    def answer(self, request: SeenRequest, status: int) -> None:
        """The first byte of an answer is about to be sent."""
        with self._lock:
            request.status = status
            self.statuses[request.route][str(status)] += 1

    def send(self, request: SeenRequest, count: int) -> None:
        """So many bytes of an answer's body are about to be sent."""
        with self._lock:
            request.bytes_sent += count
            self.bytes_sent += count

    def end(self, request: SeenRequest) -> None:
        """The last byte is about to be sent, or no answer will come. Said twice, it counts once."""
        with self._lock:
            if request.in_flight:
                request.in_flight = False
                self._in_flight -= 1
                if request.status is None:
                    request.status = "dropped"
                    self.statuses[request.route]["dropped"] += 1

    def requests(self, route: str | None = None, job_id: str | None = None) -> int:
        """How many requests came: in all, of one route, or of one route for one job."""
        with self._lock:
            if job_id is None:
                return self.total if route is None else self.routes[route]
            of_job = {name: count for (name, job), count in self.jobs.items() if job == job_id}
            return sum(of_job.values()) if route is None else of_job.get(route, 0)

    def snapshot(self) -> dict[str, Any]:
        """The numbers as JSON. ``bytes_sent`` counts the bodies of answers."""
        with self._lock:
            return {
                "total": self.total,
                "routes": dict(self.routes),
                "statuses": {route: dict(counts) for route, counts in self.statuses.items()},
                "connections": self.connections,
                "open_connections": self._open,
                "bytes_sent": self.bytes_sent,
                "in_flight": self._in_flight,
                "max_concurrent": self.max_concurrent,
            }

    def recent(self) -> list[dict[str, Any]]:
        """The last requests, oldest first, as JSON."""
        with self._lock:
            return [asdict(request) for request in self.seen]
