"""What can go wrong on demand: faults as data, and which request meets which.

A fault is written as JSON for the control route, as keyword arguments in Python, or on the command line as
``route=get_job,status=503,retry_after=2,times=3``. All three are read by ``Fault.read``.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pixxel_provider.simulator.fault_reading import BODIES, DROPS, ROUTES, FaultError, read_fields, split

__all__ = ["BODIES", "DROPS", "ROUTES", "WAYS", "Fault", "FaultBook", "FaultError"]

# One of these makes a fault; the other fields say when, where and how.
WAYS = frozenset("latency status body json location drop truncate stall announce pause hide".split())
CHUNK = 64 * 1024  # bytes of an answer between two pauses, unless a fault says otherwise


@dataclass
class Fault:
    """One thing that goes wrong, ``times`` times (None: always), after ``after`` requests went well.

    It concerns the requests of ``route`` (an operation, or ``*`` for all), with ``job_id`` only that job's.

    At most one of these is done: ``drop`` the connection; answer with ``status``, ``body``, ``json`` or
    ``location``; send so many bytes of the real answer, then ``truncate`` it or ``stall``; ``announce``
    another length than the real answer has (a number of bytes, a difference such as ``+5``, or ``none``);
    ``hide`` jobs from the list. ``pause`` (seconds, after each ``chunk`` bytes) slows the real answer down.
    ``latency`` (seconds) comes before all that, or alone before the real answer.

    ``drop`` and ``status`` and its kin come instead of the API's doing, unless the request is
    ``carried_out``: then the API does what it is asked, and its answer is lost. ``latency`` comes
    between the two.
    """

    route: str = "*"
    job_id: str | None = None
    times: int | None = 1
    after: int = 0
    latency: float = 0.0
    carried_out: bool = False
    status: int | None = None
    retry_after: str | None = None
    body: str | None = None
    json: Any = None
    has_json: bool = False
    message: str | None = None
    code: str | None = None
    location: str | None = None
    megabytes: float = 50.0
    drop: str | None = None
    truncate: int | None = None
    stall: int | None = None
    announce: str | None = None
    pause: float = 0.0
    chunk: int = CHUNK
    hide: tuple[str, ...] = ()
    hide_share: float = 0.0
    served: int = 0

    @classmethod
    def read(cls, spec: Mapping[str, Any] | str) -> Fault:
        """A fault from its JSON form or its text form. Raises FaultError."""
        fault = cls(**read_fields(spec))
        fault._check()
        return fault

    @property
    def hides(self) -> bool:
        """True if the fault leaves jobs out of a list."""
        return bool(self.hide) or self.hide_share > 0

    @property
    def replaces(self) -> bool:
        """True if the fault answers instead of the API."""
        return self.status is not None or self.body is not None or self.has_json or self.location is not None

    @property
    def tampers(self) -> bool:
        """True if the API's own answer is sent, but not as it should be."""
        cut = self.truncate is not None or self.stall is not None
        return cut or self.announce is not None or self.pause > 0

    @property
    def acts(self) -> bool:
        """True if the fault does more than delay an answer."""
        return self.drop is not None or self.replaces or self.tampers or self.hides

    def meets(self, route: str, job_id: str | None) -> bool:
        """True if the fault concerns such a request and isn't used up."""
        return (
            self.route in (route, "*")
            and self.job_id in (None, job_id)
            and (self.times is None or self.served < self.times)
            and not (self.hides and route != "list_jobs")
        )

    def hidden(self, job_id: str) -> bool:
        """True if the list leaves this job out. A share picks the same jobs each time."""
        return (
            job_id in self.hide
            or zlib.crc32(job_id.encode("utf-8", "replace")) % 1000 < self.hide_share * 1000
        )

    def to_json(self) -> dict[str, Any]:
        """The fault as the control route shows it: the fields that were set, and how often it was served."""
        shown = {key: value for key, value in asdict(self).items() if value != getattr(_PLAIN, key)}
        shown.pop("has_json", None)
        if self.has_json:
            shown["json"] = self.json
        if "hide_share" in shown:
            shown["hide"] = shown.pop("hide_share")
        return {"route": self.route, "times": self.times, "served": self.served, **shown}

    def _check(self) -> None:
        ways = {
            "drop": self.drop is not None,
            "truncate": self.truncate is not None,
            "stall": self.stall is not None,
            "announce": self.announce is not None,
            "hide": self.hides,
            "status, body, json or location": self.replaces,
        }
        chosen = [name for name, used in ways.items() if used]
        if self.pause and (self.drop is not None or self.hides or self.replaces):
            chosen.append("pause")
        if len(chosen) > 1:
            raise FaultError(f"{' and '.join(chosen)} can't be combined in one fault; write two")
        if not chosen and not self.latency and not self.pause:
            raise FaultError(f"the fault does nothing; give latency, pause, {', '.join(ways)}")
        if self.hides and self.route not in ("list_jobs", "*"):
            raise FaultError("hide: only the route list_jobs can leave jobs out")
        if self.has_json and self.body is not None:
            raise FaultError("json and body can't be combined in one fault")
        if self.chunk != CHUNK and not self.pause:
            raise FaultError("chunk: is for pause, and there is none")


class FaultBook:
    """The faults in force, asked once per request. Safe to use from several threads."""

    def __init__(self, faults: Iterable[Mapping[str, Any] | str] = ()) -> None:
        self._at_start = [dict(split(spec)) if isinstance(spec, str) else dict(spec) for spec in faults]
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.reset()

    def reset(self) -> None:
        """Keep only the faults given at the start, none of them served yet."""
        fresh = [Fault.read(spec) for spec in self._at_start]
        with self._lock:
            self._faults = fresh

    def add(self, spec: Mapping[str, Any] | str | None = None, /, **fields: Any) -> Fault:
        """Add a fault, as a mapping, as text, or as keyword arguments. Raises FaultError."""
        fault = Fault.read(fields if spec is None else spec)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._faults = []

    def take(self, route: str, job_id: str | None) -> Fault | None:
        """What happens to this request, counted as served; None if all goes well.

        Faults that end come before those that last for ever, older ones before newer ones. The first one that
        does more than delay is carried out, after all the delays.
        """
        latency = 0.0
        carried_out = False
        chosen: Fault | None = None
        with self._lock:
            for fault in sorted(self._faults, key=lambda fault: fault.times is None):
                if not fault.meets(route, job_id) or (fault.acts and chosen is not None):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.served += 1
                latency += fault.latency
                carried_out = carried_out or fault.carried_out
                if fault.acts:
                    chosen = fault
        if chosen is None:
            return Fault(latency=latency, carried_out=carried_out) if latency else None
        return replace(chosen, latency=latency)

    def to_json(self) -> list[dict[str, Any]]:
        """All faults in force, those that are used up too."""
        with self._lock:
            return [fault.to_json() for fault in self._faults]


_PLAIN = Fault()
