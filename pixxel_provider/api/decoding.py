"""JSON decoding with limits, so that a large or hostile answer costs a bounded amount of time."""

from __future__ import annotations

import json
from typing import Any

from pixxel_provider.api.errors import PixxelResponseError
from pixxel_provider.api.parsing import SMALL, too_many

#: The most objects that are kept; later ones are read as empty. A list with an empty job is unreadable, and
#: of a job's tasks fewer are kept anyway.
OBJECTS_LIMIT = 100_000


def decode(body: bytes) -> Any:
    """Decode JSON.

    :raises PixxelResponseError: it has more values than any answer of the API.
    :raises ValueError: it isn't JSON.
    """
    if len(body) <= SMALL:
        return json.loads(body)
    if what := too_many(body):
        raise PixxelResponseError(f"the answer holds {what}, which no job does")
    keep = _Keep()
    found = json.loads(body, object_hook=keep)
    # Objects are handed over from the inside out: the last one is the whole answer.
    return keep.last if isinstance(found, dict) else found


class _Keep:
    """Receives each object of an answer; the call lets other threads run while a large one is decoded."""

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}
        self._count = 0
        self._empty: dict[str, Any] = {}

    def __call__(self, found: dict[str, Any]) -> dict[str, Any]:
        self.last = found
        self._count += 1
        return found if self._count <= OBJECTS_LIMIT else self._empty
