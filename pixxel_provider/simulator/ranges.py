"""The Range header: which part of something a client wants."""

from __future__ import annotations

import re

_SINGLE = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.ASCII | re.IGNORECASE)


class UnsatisfiableError(ValueError):
    """No byte of what there is lies within the wanted range."""


def wanted_part(text: str | None, size: int) -> tuple[int, int] | None:
    """First byte, and the one after the last, of a single range; None where all is to be sent.

    That is so without a header, and for one that can't be understood or holds several ranges, which a server
    may ignore. Raises UnsatisfiableError.
    """
    found = _SINGLE.fullmatch(text or "")
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), int(found[2]) + 1 if found[2] else size
        if found[2] and end <= start:
            return None  # the last byte before the first: no range at all
    if start >= size:
        raise UnsatisfiableError(f"{text} is outside of {size} bytes")
    return start, min(end, size)
