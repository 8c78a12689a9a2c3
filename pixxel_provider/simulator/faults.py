"""What can go wrong on demand: faults as data, and which request meets which.

A fault is written as JSON for the control route, as keyword arguments in Python, or on the command line as
``route=get_job,status=503,retry_after=2,times=3``. All three are read by ``Fault.read``.
"""

from __future__ import annotations

import random
import re
import threading
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    field_validator,
    model_validator,
)

from pixxel_provider.simulator.routing import BY_NAME
from pixxel_provider.simulator.validation import Model, one_of

if TYPE_CHECKING:
    from pydantic import ValidationInfo
    from typing_extensions import Self

ROUTES = (*BY_NAME, "*")
BODIES = tuple("envelope html xml plain none null list nested deep huge echo".split())
DROPS = ("reset", "close")
# One of these makes a fault; the other fields say when, where and how.
WAYS = frozenset("latency status body json location drop truncate stall announce pause hide".split())
CHUNK = 64 * 1024  # bytes of an answer between two pauses, unless a fault says otherwise

_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Bytes = Annotated[int | None, Field(ge=0)]
_always = BeforeValidator(lambda value: None if value in (0, "0") else value)
_Times = Annotated[Annotated[int, Field(ge=1)] | None, _always]
_as_text = BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)


def _announce(value: Any) -> str:
    text = value if isinstance(value, str) else str(value) if type(value) is int and value >= 0 else ""
    if not re.fullmatch(r"none|[+-]?[0-9]{1,15}", text):
        raise ValueError("must be a number of bytes, a difference as text (+5 or -5) or none")
    return text


def _hide(value: Any) -> float | tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = value.split("|")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise ValueError("must be job ids (a list, or id|id as text) or a share above 0 and up to 1")


class Fault(Model):
    """One thing that goes wrong with the requests of a route, as often as ``times`` says.

    At most one of these is done: ``drop`` the connection; answer with ``status``, ``body``, ``json`` or
    ``location``; send part of the real answer, then ``truncate`` it or ``stall``; ``announce`` another length
    than it has; ``hide`` jobs from the list. ``pause`` slows the real answer down. ``latency`` comes before
    all that, or alone before the real answer.

    ``drop`` and ``status`` and its kin come instead of the API's doing, unless the request is
    ``carried_out``. ``latency`` then comes between the doing and the loss of the answer.
    """

    model_config = ConfigDict(frozen=False)  # ``after`` is counted down

    route: Annotated[str, one_of(ROUTES)] = Field(
        default="*",
        description=f"the operation: {', '.join(f'``{name}``' for name in BY_NAME)} (behind the signed "
        "URL), or ``*`` for all",
    )
    job_id: str | None = Field(default=None, description="only requests for this job")
    workflow_id: str | None = Field(default=None, description="only requests for this workflow")
    share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="which share of those requests, by chance (above 0 and up to 1); all unless set",
    )
    times: _Times = Field(default=1, description="how often: once unless set; 0: always")
    after: int = Field(default=0, ge=0, description="how many requests go well first")
    latency: _Number = Field(
        default=0.0, description="seconds to wait before anything else; alone, or together with the following"
    )
    carried_out: bool = Field(
        default=False,
        description="true: the API does what it is asked, then its answer is lost, with ``drop``, "
        "``status``, ``body``, ``json`` or ``location``, or late, with ``latency``",
    )
    status: int | None = Field(default=None, ge=200, le=599, description="200 to 599")
    retry_after: Annotated[str | None, _as_text] = Field(
        default=None,
        description="seconds, a date, or ``date+5``, ``unix+5``: the date, Unix time in five seconds",
    )
    message: str | None = Field(default=None, description="what the error says")
    code: str | None = Field(default=None, description="the error's code")
    body: Annotated[str, one_of(BODIES)] | None = Field(
        default=None,
        description="``envelope``, ``html``, ``xml`` (as a store of files answers), ``plain``, ``none``, "
        "``null``, ``list``, ``nested``, ``deep``, ``huge``, ``echo`` (repeats the Authorization header)",
    )
    megabytes: _Number = Field(default=50.0, description="how long a ``huge`` body is (50 unless set)")
    json_body: Any = Field(default=None, alias="json", description="an answer of your own")
    location: str | None = Field(
        default=None, description="where to redirect to (302 unless ``status`` is set)"
    )
    drop: Annotated[str, one_of(DROPS)] | None = Field(
        default=None, description="``reset`` or ``close`` the connection before any answer"
    )
    truncate: _Bytes = Field(
        default=None,
        description="how many bytes of the real answer are sent before the connection closes: at least one "
        "less than it has. A download's rest that is no longer than that is sent whole.",
    )
    stall: _Bytes = Field(
        default=None, description="how many bytes of the real answer are sent before nothing more comes"
    )
    announce: Annotated[str | None, PlainValidator(_announce)] = Field(
        default=None,
        description='another Content-Length than the real answer has: bytes, ``"+5"`` or ``"-5"`` for so '
        'many more or fewer, ``"none"`` for none at all',
    )
    pause: _Number = Field(
        default=0.0,
        description="seconds between two parts of the real answer; alone, or with ``truncate``, ``stall`` or "
        "``announce``",
    )
    chunk: int = Field(default=CHUNK, ge=1, description="how many bytes such a part has (65,536 unless set)")
    hide: Annotated[float | tuple[str, ...] | None, PlainValidator(_hide)] = Field(
        default=None,
        description="jobs that a list leaves out: ids (``id|id`` as text), or a share such as 0.5",
    )
    _served: int = PrivateAttr(0)

    @classmethod
    def read(cls, fields: Mapping[str, Any] | str) -> Self:
        """A fault from its JSON form or its text form. Raises ValueError."""
        if isinstance(fields, str):
            return cls._validated(_split(fields), strict=False)
        return super().read(fields)

    @property
    def replaces(self) -> bool:
        """True if the fault answers instead of the API."""
        return self.has_json or {self.status, self.body, self.location} != {None}

    @property
    def has_json(self) -> bool:
        """True if there is an answer in ``json``, which may be null."""
        return "json_body" in self.model_fields_set

    @property
    def tampers(self) -> bool:
        """True if the API's own answer is sent, but not as it should be."""
        return self.pause > 0 or {self.truncate, self.stall, self.announce} != {None}

    @property
    def acts(self) -> bool:
        """True if the fault does more than delay an answer."""
        return self.drop is not None or self.hide is not None or self.replaces or self.tampers

    def meets(self, route: str, job_id: str | None = None, workflow_id: str | None = None) -> bool:
        """True if the fault concerns such a request and isn't used up."""
        return (
            self.route in (route, "*")
            and self.job_id in (None, job_id)
            and self.workflow_id in (None, workflow_id)
            and (self.times is None or self._served < self.times)
            and (self.hide is None or route == "list_jobs")
        )

    def hidden(self, job_id: str) -> bool:
        """True if the list leaves this job out. A share picks the same jobs each time."""
        if isinstance(self.hide, float):
            return zlib.crc32(job_id.encode("utf-8", "replace")) % 1000 < self.hide * 1000
        return job_id in (self.hide or ())

    def to_json(self) -> dict[str, Any]:
        """The fault as the control route shows it: the fields that were set, and how often it was served."""
        shown = self.model_dump(by_alias=True, exclude_unset=True)
        return {"route": self.route, "times": self.times, "served": self._served, **shown}

    @field_validator("*", mode="before")
    @classmethod
    def _not_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in ("times", "json_body"):
            raise ValueError("can't be null")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = {name: getattr(self, name) is not None for name in "drop truncate stall announce hide".split()}
        ways["status, body, json or location"] = self.replaces
        chosen = [name for name, used in ways.items() if used]
        if self.pause and (self.drop is not None or self.hide is not None or self.replaces):
            chosen.append("pause")
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} can't be combined in one fault; write two")
        if not chosen and not self.latency and not self.pause:
            raise ValueError(f"the fault does nothing; give latency, pause, {', '.join(ways)}")
        if self.hide is not None and self.route not in ("list_jobs", "*"):
            raise ValueError("hide: only the route list_jobs can leave jobs out")
        if self.has_json and self.body is not None:
            raise ValueError("json and body can't be combined in one fault")
        if self.chunk != CHUNK and not self.pause:
            raise ValueError("chunk: is for pause, and there is none")
        return self


class FaultBook:
    """The faults in force, asked once per request. Safe to use from several threads.

    With a ``seed``, a share of the requests is the same one in every run.
    """

    def __init__(self, faults: Iterable[Mapping[str, Any] | str] = (), seed: int | None = None) -> None:
        self._at_start = [Fault.read(spec) for spec in faults]
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.reset()

    def reset(self) -> None:
        """Keep only the faults given at the start, none of them served yet."""
        with self._lock:
            self._faults = [fault.model_copy() for fault in self._at_start]

    def add(self, *faults: Fault) -> tuple[Fault, ...]:
        """Add faults to those in force; returns them."""
        with self._lock:
            self._faults += faults
        return faults

    def clear(self) -> None:
        with self._lock:
            self._faults = []

    def take(self, route: str, job_id: str | None = None, workflow_id: str | None = None) -> Fault | None:
        """What happens to this request, counted as served; None if all goes well.

        Faults that end come before those that last for ever, older ones before newer ones. The first one that
        does more than delay is carried out, after all the delays.
        """
        latency = 0.0
        carried_out = False
        chosen: Fault | None = None
        with self._lock:
            for fault in sorted(self._faults, key=lambda fault: fault.times is None):
                if not fault.meets(route, job_id, workflow_id) or (fault.acts and chosen is not None):
                    continue
                if fault.share is not None and self._chance.random() >= fault.share:
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault._served += 1  # noqa: SLF001
                latency += fault.latency
                carried_out = carried_out or fault.carried_out
                if fault.acts:
                    chosen = fault
        if chosen is None:
            return Fault(latency=latency, carried_out=carried_out) if latency else None
        return chosen.model_copy(update={"latency": latency})

    def to_json(self) -> list[dict[str, Any]]:
        """All faults in force, those that are used up too."""
        with self._lock:
            return [fault.to_json() for fault in self._faults]


def _split(text: str) -> dict[str, str]:
    """The fields of ``route=get_job,status=503`` as texts. Raises ValueError."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not name:
            raise ValueError(f"{part.strip()!r} is not of the form field=value; more are joined by commas")
        if name in fields:
            raise ValueError(f"{name}: given twice")
        fields[name] = value
    return fields
