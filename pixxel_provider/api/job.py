"""A job and its tasks, read tolerantly from the API's JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar, overload

from pixxel_provider.api import parsing, truncation
from pixxel_provider.api.errors import PixxelInputError, PixxelResponseError
from pixxel_provider.api.status import StatusRules, Verdict, shows_failure

T = TypeVar("T")

#: Fields that stay out of XCom unless named; ``spec`` is the job's, the others each task's.
RAW_FIELDS = ("spec", "inputs", "result", "info_logs")
_NUMBERS_AND_TEXTS = "id workflow_id status progress cost created_by time_taken estimated_duration".split()
_ERROR_KEYS = ("from", "to", "err", "reason", "component_name")
_TIMES = ("created_at", "updated_at", "finished_at", "exec_created_at", "exec_updated_at")


class Late(Generic[T]):
    """An attribute that is read from ``raw`` on first access.

    A poll of a running job needs few of them, and a job may have 50 tasks. (functools.cached_property would
    do the same, but takes a lock on each access before Python 3.12.)
    """

    def __init__(self, key: str, read: Callable[[Any], T], meaning: str) -> None:
        self._key, self._read, self.__doc__ = key, read, meaning

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Late[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: Any, owner: type) -> Late[T] | T:
        if instance is None:
            return self
        # The next access finds it there, before this method is called.
        value = instance.__dict__[self._name] = self._read(instance.raw.get(self._key))
        return value


def _moment(key: str, meaning: str) -> Late[datetime | None]:
    return Late(key, parsing.timestamp, f"{meaning} In UTC; None for not yet.")


def _block(answer: Any) -> dict[str, str]:
    get, text = _object(answer).get, parsing.text
    return {"id": text(get("id")), "name": text(get("name")), "version": text(get("version"))}


@dataclass(frozen=True)
class BlockInfo:
    """The processing block of a task."""

    id: str = ""
    name: str = ""
    version: str = ""

    @classmethod
    def read(cls, answer: Any) -> BlockInfo:
        """Read ``block_info``; anything but an object is a block without a name."""
        return cls(**_block(answer))

    def __str__(self) -> str:
        return " ".join(part for part in (self.name or self.id, self.version) if part)


@dataclass(frozen=True)
class ValidationError:
    """Why Pixxel refused to run the workflow; ``source`` and ``target`` are its from and to."""

    source: str = ""
    target: str = ""
    err: str = ""
    reason: str = ""
    component_name: str = ""

    @classmethod
    def read(cls, answer: Any) -> ValidationError:
        """Read one entry of ``val_errors``; a plain string is used as the error's message."""
        if isinstance(answer, str):
            return cls(err=parsing.text(answer))
        raw = _object(answer)
        return cls(*(parsing.text(raw.get(key)) for key in _ERROR_KEYS))

    def fields(self) -> dict[str, str]:
        """Return the error under the API's own field names."""
        return dict(zip(_ERROR_KEYS, vars(self).values(), strict=True))


def _texts(answer: Any) -> tuple[str, ...]:
    return tuple(map(parsing.text, _list(answer)))


@dataclass(frozen=True)
class Task:
    """One block's step in a job. ``raw`` is the API's object, including fields without an attribute here."""

    id: str
    name: str
    status: str
    raw: Mapping[str, Any] = field(repr=False, compare=False, default_factory=dict)

    progress = Late("progress", parsing.percent, "Percent, 0 to 100.")
    time_taken = Late("time_taken", parsing.text, "As Pixxel wrote it.")
    block = Late("block_info", BlockInfo.read, "The processing block of the task.")
    err_msg = Late("err_msg", parsing.text, "Pixxel's message on a failure.")
    failure_type = Late("failure_type", parsing.text, "Pixxel's word for the kind of failure.")
    state_msg = Late("state_msg", parsing.text, "Pixxel's message on the status.")
    depends_on = Late("depends_on", _texts, "Names of the tasks that must end first.")
    estimated_time_duration = Late("estimated_time_duration", parsing.number, "Seconds.")
    created_at = _moment("created_at", "When the task was created.")
    updated_at = _moment("updated_at", "When the task last changed.")
    finished_at = _moment("finished_at", "When the task ended.")
    inputs = Late("inputs", parsing.raw_bytes, "The task's JSON input, decoded from its bytes.")
    result = Late("result", parsing.raw_bytes, "The task's JSON result, decoded from its bytes.")
    info_logs = Late("info_logs", parsing.raw_bytes, "The task's own log, decoded from its bytes.")

    @classmethod
    def read(cls, answer: Any) -> Task:
        """Read one entry of ``tasks``; every field may be missing or of a wrong type."""
        raw = _object(answer)
        get, text = raw.get, parsing.text
        return cls(text(get("id")), text(get("name")), text(get("status")), raw)

    @property
    def has_failed(self) -> bool:
        """Whether its status, or what Pixxel says beside it, is a failure."""
        return shows_failure(self.status, self.err_msg, self.failure_type)


def _task_fields(answer: Any) -> dict[str, Any]:
    """Return what XCom gets of a task, under the API's own field names."""
    # Without a Task, which takes twice as long: every job that ends has some tens of them.
    get, text = _object(answer).get, parsing.text
    return {
        "id": text(get("id")),
        "name": text(get("name")),
        "status": text(get("status")),
        "progress": parsing.percent(get("progress")),
        "time_taken": text(get("time_taken")),
        "block": _block(get("block_info")),
        "err_msg": text(get("err_msg")),
        "failure_type": text(get("failure_type")),
    }


#: How many tasks, and how many validation errors, of one job are read; a workflow has some tens of blocks.
ENTRIES_LIMIT = 5_000


def _tasks(answer: Any) -> tuple[Task, ...]:
    return tuple(map(Task.read, _list(answer)[:ENTRIES_LIMIT]))


def _val_errors(answer: Any) -> tuple[ValidationError, ...]:
    return tuple(map(ValidationError.read, _list(answer)[:ENTRIES_LIMIT]))


@dataclass(frozen=True)
class Job:
    """One run of a workflow. A job from a list ("slim") has neither tasks nor validation errors.

    Field meanings are those of Pixxel's OpenAPI document ("stargate" v0.1.0, GetJobByIdTransformerResponse).
    """

    id: str
    workflow_id: str
    status: str
    """As Pixxel wrote it; :meth:`verdict` interprets it."""
    progress: int | float | None
    """Percent, 0 to 100."""
    cost: int | float | None
    """Credits (tokens)."""
    raw: Mapping[str, Any] = field(repr=False, compare=False, default_factory=dict)

    created_by = Late("created_by", parsing.text, "The user who created it.")
    time_taken = Late("time_taken", parsing.text, "As Pixxel wrote it.")
    estimated_duration = Late("estimated_duration", parsing.number, "Seconds.")
    tasks = Late("tasks", _tasks, "The first 5,000 steps; none in a job from a list.")
    val_errors = Late("val_errors", _val_errors, "Why Pixxel refused to run the workflow: the first 5,000.")
    created_at = _moment("created_at", "When the job was created.")
    updated_at = _moment("updated_at", "When the job last changed.")
    finished_at = _moment("finished_at", "When the job ended.")
    exec_created_at = _moment("exec_created_at", "When its execution was created.")
    exec_updated_at = _moment("exec_updated_at", "When its execution last changed.")
    spec = Late("spec", parsing.raw_bytes, "The job's specification, decoded from its bytes.")

    @classmethod
    def read(cls, answer: Any) -> Job:
        """Read a job from decoded JSON.

        :raises PixxelResponseError: the answer isn't an object with an ``id`` and a ``status``. Any other
            field may be missing or of a wrong type.
        """
        # Faster than a check for Mapping alone: a list has an entry for every job of its workflow.
        if not isinstance(answer, (dict, Mapping)):
            raise PixxelResponseError(f"expected a job, got {reading_kind(answer)}")
        get, text = answer.get, parsing.text
        job_id, status = text(get("id")), text(get("status"))
        for key, value in (("id", job_id), ("status", status)):
            if not value.strip():
                raise PixxelResponseError(f"expected a job, got an object without a usable {key!r}")
        progress, cost = parsing.percent(get("progress")), parsing.number(get("cost"))
        return cls(job_id, text(get("workflow_id")), status, progress, cost, answer)

    def count(self, key: str) -> int:
        """Return how many entries the API sent under ``tasks`` or ``val_errors``, read or not."""
        return len(_list(self.raw.get(key)))

    def verdict(self, rules: StatusRules | None = None) -> Verdict:
        """Return what the job's status means; the only place that decides it."""
        return (rules or StatusRules()).verdict(self.status, ended=self.finished_at is not None)

    def metadata(self, include: Collection[str] = ()) -> dict[str, Any]:
        """Return the job as JSON types under the API's own field names, at most 64 KiB of JSON.

        ``progress`` is a number from 0 to 100 and timestamps are ISO 8601 in UTC; both are None for "not
        yet". What had to go to stay within the limit is named under ``truncated``: raw fields first, then
        the ends of long texts, then tasks and validation errors from the end of their lists, failed tasks
        last.

        :param include: raw fields to add, decoded: ``spec``, and of each task ``inputs``, ``result``,
            ``info_logs``.
        :raises PixxelInputError: ``include`` isn't a collection of those names.
        """
        raw = check_include(include)
        # What can't fit in any case is cut before anything is worked out for it.
        most = truncation.METADATA_LIMIT // truncation.SHORTEST_ENTRY
        tasks = _list(self.raw.get("tasks"))[:ENTRIES_LIMIT]
        if len(tasks) > most:
            # A stable sort: failed tasks come first, otherwise the API's order stays.
            tasks = sorted(tasks, key=lambda task: not Task.read(task).has_failed)[:most]
        errors = self.val_errors[:most]
        found: dict[str, Any] = {
            **{key: getattr(self, key) for key in _NUMBERS_AND_TEXTS},
            **{key: parsing.timestamp_text(self.raw.get(key)) for key in _TIMES},
            "tasks": [_task_fields(task) for task in tasks],
            "val_errors": [error.fields() for error in errors],
        }
        if "spec" in raw:
            found["spec"] = parsing.json_safe(self.spec)
        for name in (name for name in raw if name != "spec"):
            for task, entry in zip(tasks, found["tasks"], strict=True):
                entry[name] = parsing.json_safe(parsing.raw_bytes(_object(task).get(name)))
        cut = {
            name for name, kept in (("tasks", tasks), ("val_errors", errors)) if len(kept) < self.count(name)
        }
        return truncation.truncate(found, raw, cut)


def check_include(include: Collection[str]) -> tuple[str, ...]:
    """Return the names of raw fields asked for, in their own order.

    :raises PixxelInputError: ``include`` isn't a collection of known names.
    """
    if isinstance(include, (str, bytes)) or not isinstance(include, Collection):
        raise PixxelInputError("include", f"must be a list of field names, not {type(include).__name__}")
    unknown = [name for name in include if name not in RAW_FIELDS]
    if unknown:
        raise PixxelInputError("include", f"names {unknown[0]!r}; it may name {', '.join(RAW_FIELDS)}")
    return tuple(name for name in RAW_FIELDS if name in include)


def reading_kind(answer: Any) -> str:
    """Name the JSON type of an answer, for an error message."""
    kinds = {type(None): "null", bool: "a boolean", str: "a string", int: "a number", float: "a number"}
    return kinds.get(type(answer), "a list" if isinstance(answer, list) else "an object")


def _object(value: Any) -> Mapping[str, Any]:
    # JSON objects are dicts; an isinstance check for Mapping takes ten times as long.
    return value if isinstance(value, (dict, Mapping)) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
