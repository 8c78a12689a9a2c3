"""A job's metadata cut to the size that XCom may have."""

from __future__ import annotations

import json
from typing import Any

from pixxel_provider.api.status import shows_failure

#: The most that a job's metadata takes, in bytes of JSON.
METADATA_LIMIT = 64 * 1024
#: Bytes of a validation error whose texts are all empty; a task has more.
SHORTEST_ENTRY = 67


def truncate(found: dict[str, Any], raw: tuple[str, ...], cut: set[str]) -> dict[str, Any]:
    """Cut a job's metadata to the limit, and name what had to go under ``truncated``.

    :param raw: the raw fields it holds.
    :param cut: the lists that are cut already.
    """
    if not cut and _size(found) <= METADATA_LIMIT:
        return found
    gone: list[str] = []
    found["truncated"] = gone
    by_size = sorted(raw, key=lambda name: _size([found.get(name), [t.get(name) for t in found["tasks"]]]))
    while by_size and _size(found) > METADATA_LIMIT:
        name = by_size.pop()
        gone.append("spec" if name == "spec" else f"tasks.{name}")
        for place in (found, *found["tasks"]):
            place.pop(name, None)
    for limit in (2_000, 200):
        if _size(found) > METADATA_LIMIT:
            gone += [name for name in _clip_texts(found, limit) if name not in gone]
    # A stable sort: failed tasks come first, otherwise the API's order stays.
    for name, keep_first in (
        ("tasks", lambda task: not shows_failure(task["status"], task["err_msg"], task["failure_type"])),
        ("val_errors", None),
    ):
        entries = found[name]
        if name in cut or _size(found) > METADATA_LIMIT:
            gone.append(name)
            ranked = sorted(entries, key=keep_first) if keep_first else list(entries)
            while ranked and _size(found) > METADATA_LIMIT:
                ranked = ranked[: len(ranked) // 2]
                found[name] = ranked
    return found


def _clip_texts(found: dict[str, Any], limit: int) -> list[str]:
    clipped: list[str] = []
    places = [("", found)]
    places += [("tasks.", task) for task in found["tasks"]]
    places += [("tasks.block.", task["block"]) for task in found["tasks"]]
    places += [("val_errors.", error) for error in found["val_errors"]]
    for prefix, place in places:
        for key, value in place.items():
            if isinstance(value, str) and len(value) > limit:
                place[key] = clip(value, limit)
                clipped.append(prefix + key)
    return list(dict.fromkeys(clipped))


def _size(value: Any) -> int:
    return len(json.dumps(value))


def clip(words: str, limit: int) -> str:
    """Return the beginning of a text, at most so many characters."""
    return words if len(words) <= limit else words[: limit - 1] + "…"
