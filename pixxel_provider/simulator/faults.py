"""What can go wrong on demand: faults as data, how they are written, and which request meets which.

A fault is written as JSON for the control route, as keyword arguments in Python, or on the command line as
``route=get_job,status=503,retry_after=2,times=3``. All three are read by ``Fault.read``.
"""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pixxel_provider.simulator.routing import BY_NAME

BODIES: Mapping[str, str] = {
    "envelope": "Pixxel's error envelope",
    "html": "a page of HTML, as a proxy sends it",
    "plain": "a line of plain text",
    "none": "no bytes at all",
    "null": "JSON null",
    "list": "a JSON list",
    "nested": "a JSON object with the wrong type in every field",
    "deep": "JSON lists nested 100,000 deep",
    "huge": "a JSON object of many megabytes (see megabytes)",
    "echo": "an error envelope that repeats the Authorization header it received",
}
DROPS: Mapping[str, str] = {
    "reset": "the connection is reset before any answer",
    "close": "the connection is closed before any answer",
}
ROUTES = (*BY_NAME, "*")


class FaultError(ValueError):
    """A fault that can't be understood. Says which field is wrong and what it may be."""


@dataclass
class Fault:
    """One thing that goes wrong, ``times`` times (None: always), after ``after`` requests went well.

    It concerns the requests of ``route`` (an operation, or ``*`` for all), with ``job_id`` only that job's.

    At most one of these is done: ``drop`` the connection; ``truncate`` the real answer after so many bytes;
    ``hide`` jobs from the list; or answer with ``status``, ``body``, ``json`` or ``location``. ``latency``
    (seconds) comes before it, or alone before the real answer.
    """

    route: str = "*"
    job_id: str | None = None
    times: int | None = 1
    after: int = 0
    latency: float = 0.0
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
    hide: tuple[str, ...] = ()
    hide_share: float = 0.0
    served: int = 0

    @classmethod
    def read(cls, spec: Mapping[str, Any] | str) -> Fault:
        """A fault from its JSON form or its text form. Raises FaultError."""
        fields = _split(spec) if isinstance(spec, str) else spec
        if not isinstance(fields, Mapping):
            raise FaultError("a fault is an object, or text like 'route=get_job,status=503'")
        fault = cls()
        for name, value in fields.items():
            reader = _READERS.get(name)
            if reader is None:
                raise FaultError(f"{name}: there is no such field; the fields are {', '.join(_READERS)}")
            reader(fault, name, value)
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
    def acts(self) -> bool:
        """True if the API's own answer isn't sent whole, or not at all."""
        return self.replaces or self.drop is not None or self.truncate is not None

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
            "hide": self.hides,
            "status, body, json or location": self.replaces,
        }
        chosen = [name for name, used in ways.items() if used]
        if len(chosen) > 1:
            raise FaultError(f"{' and '.join(chosen)} can't be combined in one fault; write two")
        if not chosen and self.latency == 0:
            raise FaultError(f"the fault does nothing; give latency, {', '.join(ways)}")
        if self.hides and self.route not in ("list_jobs", "*"):
            raise FaultError("hide: only the route list_jobs can leave jobs out")
        if self.has_json and self.body is not None:
            raise FaultError("json and body can't be combined in one fault")


class FaultBook:
    """The faults in force, asked once per request. Safe to use from several threads."""

    def __init__(self, faults: Iterable[Mapping[str, Any] | str] = ()) -> None:
        self._at_start = [dict(_split(spec)) if isinstance(spec, str) else dict(spec) for spec in faults]
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
        chosen: Fault | None = None
        with self._lock:
            for fault in sorted(self._faults, key=lambda fault: fault.times is None):
                does_more = fault.acts or fault.hides
                if not fault.meets(route, job_id) or (does_more and chosen is not None):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.served += 1
                latency += fault.latency
                if does_more:
                    chosen = fault
        if chosen is None:
            return Fault(latency=latency) if latency else None
        return replace(chosen, latency=latency)

    def to_json(self) -> list[dict[str, Any]]:
        """All faults in force, those that are used up too."""
        with self._lock:
            return [fault.to_json() for fault in self._faults]


def _split(text: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or not name:
            raise FaultError(
                f"{part.strip()!r} is not of the form field=value; a fault is field=value,field=value"
            )
        if name.strip() in fields:
            raise FaultError(f"{name.strip()}: given twice")
        fields[name.strip()] = value.strip()
    return fields


_Reader = Callable[[Fault, str, Any], None]


def _word(words: Iterable[str]) -> _Reader:
    allowed = tuple(words)

    def read(fault: Fault, name: str, value: Any) -> None:
        if value not in allowed:
            raise FaultError(f"{name}: {value!r} is not one of {', '.join(allowed)}")
        setattr(fault, name, value)

    return read


def _whole(low: int, high: int | None, *, always: bool = False) -> _Reader:
    bounds = f"{low} or more" if high is None else f"{low} to {high}"

    def read(fault: Fault, name: str, value: Any) -> None:
        if always and value in (None, 0, "0"):
            setattr(fault, name, None)
            return
        try:
            if isinstance(value, (bool, float)):
                raise ValueError
            number = int(value)
        except (TypeError, ValueError):
            raise FaultError(f"{name}: {value!r} is not a whole number ({bounds})") from None
        if number < low or (high is not None and number > high):
            raise FaultError(f"{name}: {number} is out of range ({bounds})")
        setattr(fault, name, number)

    return read


def _number(fault: Fault, name: str, value: Any) -> None:
    setattr(fault, name, _float(name, value))


def _float(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise FaultError(f"{name}: {value!r} is not a number of 0 or more")
    return number


def _text(fault: Fault, name: str, value: Any) -> None:
    if name == "retry_after" and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise FaultError(f"{name}: {value!r} is not text")
    setattr(fault, name, value)


def _any_json(fault: Fault, name: str, value: Any) -> None:
    fault.json, fault.has_json = value, True


def _hide(fault: Fault, name: str, value: Any) -> None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = value.split("|")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 < value <= 1:
            raise FaultError(f"hide: {value} is not a share above 0 and up to 1")
        fault.hide_share = float(value)
    elif isinstance(value, (list, tuple)) and value and all(isinstance(each, str) for each in value):
        fault.hide = tuple(value)
    else:
        raise FaultError("hide: give job ids (a list, or id|id as text) or a share such as 0.5")


_READERS: Mapping[str, _Reader] = {
    "route": _word(ROUTES),
    "job_id": _text,
    "times": _whole(1, None, always=True),
    "after": _whole(0, None),
    "latency": _number,
    "status": _whole(200, 599),
    "retry_after": _text,
    "body": _word(BODIES),
    "json": _any_json,
    "message": _text,
    "code": _text,
    "location": _text,
    "megabytes": _number,
    "drop": _word(DROPS),
    "truncate": _whole(0, None),
    "hide": _hide,
}
_PLAIN = Fault()
