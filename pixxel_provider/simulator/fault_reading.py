"""How faults are written: their fields, the words they take, and what is said about one that is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pixxel_provider.simulator.routing import BY_NAME

BODIES: Mapping[str, str] = {
    "envelope": "Pixxel's error envelope",
    "html": "a page of HTML, as a proxy sends it",
    "xml": "an error in XML, as a store of files sends it",
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


def read_fields(spec: Mapping[str, Any] | str) -> dict[str, Any]:
    """The arguments of a Fault from its JSON form or its text form. Raises FaultError."""
    fields = split(spec) if isinstance(spec, str) else spec
    if not isinstance(fields, Mapping):
        raise FaultError("a fault is an object, or text like 'route=get_job,status=503'")
    arguments: dict[str, Any] = {}
    for name, value in fields.items():
        reader = READERS.get(name)
        if reader is None:
            raise FaultError(f"{name}: there is no such field; the fields are {', '.join(READERS)}")
        arguments.update(reader(name, value))
    return arguments


def split(text: str) -> dict[str, Any]:
    """The fields of ``route=get_job,status=503`` as texts. Raises FaultError."""
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


_Reader = Callable[[str, Any], dict[str, Any]]


def _word(words: Iterable[str]) -> _Reader:
    allowed = tuple(words)

    def read(name: str, value: Any) -> dict[str, Any]:
        if value not in allowed:
            raise FaultError(f"{name}: {value!r} is not one of {', '.join(allowed)}")
        return {name: value}

    return read


def _whole(low: int, high: int | None, *, always: bool = False) -> _Reader:
    bounds = f"{low} or more" if high is None else f"{low} to {high}"

    def read(name: str, value: Any) -> dict[str, Any]:
        if always and value in (None, 0, "0"):
            return {name: None}
        try:
            if isinstance(value, (bool, float)):
                raise ValueError
            number = int(value)
        except (TypeError, ValueError):
            raise FaultError(f"{name}: {value!r} is not a whole number ({bounds})") from None
        if number < low or (high is not None and number > high):
            raise FaultError(f"{name}: {number} is out of range ({bounds})")
        return {name: number}

    return read


def _number(name: str, value: Any) -> dict[str, Any]:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise FaultError(f"{name}: {value!r} is not a number of 0 or more")
    return {name: number}


def _text(name: str, value: Any) -> dict[str, Any]:
    if name == "retry_after" and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise FaultError(f"{name}: {value!r} is not text")
    return {name: value}


def _flag(name: str, value: Any) -> dict[str, Any]:
    word = str(value).lower() if isinstance(value, (bool, str)) else ""
    if word not in ("true", "false"):
        raise FaultError(f"{name}: {value!r} is neither true nor false")
    return {name: word == "true"}


def _any_json(name: str, value: Any) -> dict[str, Any]:
    return {"json": value, "has_json": True}


def _length(name: str, value: Any) -> dict[str, Any]:
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if text != "none" and not re.fullmatch(r"[+-]?[0-9]{1,15}", text):
        raise FaultError(
            f"{name}: {value!r} is not a number of bytes, a difference (+5 or -5 as text) or none"
        )
    if isinstance(value, int) and value < 0:
        raise FaultError(f"{name}: {value} is out of range (0 or more; a difference is written as text)")
    return {name: text}


def _hide(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = value.split("|")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 < value <= 1:
            raise FaultError(f"hide: {value} is not a share above 0 and up to 1")
        return {"hide_share": float(value)}
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, str) for each in value):
        return {"hide": tuple(value)}
    raise FaultError("hide: give job ids (a list, or id|id as text) or a share such as 0.5")


READERS: Mapping[str, _Reader] = {
    "route": _word(ROUTES),
    "job_id": _text,
    "times": _whole(1, None, always=True),
    "after": _whole(0, None),
    "latency": _number,
    "carried_out": _flag,
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
    "stall": _whole(0, None),
    "announce": _length,
    "pause": _number,
    "chunk": _whole(1, None),
    "hide": _hide,
}
