"""Tolerant readers for single values: fields that the API documents loosely are read loosely, in one place.

Each reader takes any JSON value and returns a typed one or "nothing" (None, an empty string); none raises.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

# RFC 3339 as Go writes it, Go's own time.String() ("2026-01-02 03:04:05.6 +0000 UTC"), and both cut short.
_TIMESTAMP = re.compile(
    r"^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?)?"
    r"\s*(?:([Zz]|UTC)|([+-])(\d\d):?(\d\d))?(?:\s+[A-Za-z]{1,5})?$"
)
# Characters that aren't text; white space and the escape character of coloured logs are kept.
_NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")
_DEEPEST = 40
_SHOWN = 200
#: JSON of up to this many bytes is decoded without counting.
SMALL = 256 * 1024
#: The most values, lists and names in JSON, by their separators. Together they take less
#: than two seconds to decode. A list of 50,000 jobs has a million of the last signs, and byte fields have a
#: value for each byte.
LIMITS = {b",": 4_000_000, b"[": 200_000, b":": 2_000_000}
# No date is longer, and expressions for dates take far longer for a text that is.
_LONGEST_TIME = 100
# Go's zero time is in the year 1 and protobuf's in 1970; no job is older than the company.
_FIRST_REAL_YEAR = 1971


def text(value: Any) -> str:
    """Return a string or number as text that every database accepts; everything else is an empty string."""
    if isinstance(value, str):
        # Nearly every text: a job has some hundred.
        return value if value.isascii() and "\x00" not in value else _storable(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number_text(value)
    return ""


def number(value: Any) -> int | float | None:
    """Return a finite number, also from text such as ``"12"``; whole ones as int."""
    if isinstance(value, str):
        try:
            value = float(value.strip())
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int):
        # Beyond 2**63 no database column and no JSON reader downstream keeps it.
        return value if abs(value) < 2**63 else None
    if not math.isfinite(value) or abs(value) >= 2**63:
        return None
    return int(value) if value.is_integer() else value


def percent(value: Any) -> int | float | None:
    """Return a progress from 0 to 100, from ``75``, ``"75"`` or ``"75%"``."""
    if type(value) is int:
        return min(max(value, 0), 100)
    if isinstance(value, str):
        value = value.strip().removesuffix("%")
    found = number(value)
    return None if found is None else min(max(found, 0), 100)


def timestamp(value: Any) -> datetime | None:
    """Return a time in UTC, None for "not yet" (empty, null, a zero time) and for text that isn't a date.

    The API probably sends RFC 3339. Go's and e-mail's formats and Unix seconds or milliseconds
    are read, too, because the format isn't documented.
    """
    found = _moment(value)
    return found if found is not None and found.year >= _FIRST_REAL_YEAR else None


def timestamp_text(value: Any) -> str | None:
    """Return a timestamp as ISO 8601 in UTC, None for "not yet"; text that isn't a date is kept unchanged."""
    found = _moment(value)
    if found is not None:
        return found.isoformat().replace("+00:00", "Z") if found.year >= _FIRST_REAL_YEAR else None
    return text(value).strip() or None


def _moment(value: Any) -> datetime | None:
    try:
        if isinstance(value, str) and len(value) == 20 and value[4::3] == "--T::Z":
            # The usual format, one in every entry of a list: ten times as fast as what follows.
            return datetime.fromisoformat(f"{value[:19]}+00:00")
        numeric = number(value)
        if numeric is not None:
            return datetime.fromtimestamp(numeric / 1000 if abs(numeric) > 1e11 else numeric, timezone.utc)
        if not isinstance(value, str) or len(value) > _LONGEST_TIME:
            return None
        match = _TIMESTAMP.match(value.strip())
        if match is None:
            parsed = parsedate_to_datetime(value)
            return (
                parsed.replace(tzinfo=timezone.utc)
                if parsed.tzinfo is None
                else parsed.astimezone(timezone.utc)
            )
        *parts, fraction, _, sign, hours, minutes = match.groups()
        if int(parts[0]) <= 1:
            # A zero time in another zone may lie before the first time that Python supports.
            return datetime.min.replace(tzinfo=timezone.utc)
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        parts.append((fraction or "0").ljust(6, "0")[:6])
        numbers: Any = [int(part or 0) for part in parts]
        moment = datetime(*numbers).replace(tzinfo=timezone.utc)
        return moment + offset if sign == "-" else moment - offset
    except (ValueError, OverflowError, OSError, TypeError, IndexError):
        return None


def too_many(body: bytes) -> str | None:
    """Return which sign JSON has more often than :data:`LIMITS` allows, None if none."""
    if len(body) > SMALL:
        for sign, limit in LIMITS.items():
            if body.count(sign) > limit:
                return f"more than {limit:,} of {sign.decode()!r}"
    return None


def raw_bytes(value: Any) -> Any:
    """Decode a field that is documented as raw bytes holding JSON or text.

    On the wire it may be a list of byte values, a base64 string, or JSON. What can't be decoded, or has too
    many values, is kept unchanged.
    """
    if isinstance(value, list) and value and all(type(b) is int and 0 <= b <= 255 for b in value):
        return _decoded(bytes(value), value)
    if isinstance(value, str) and value:
        if value.lstrip()[:1] in ("{", "[", '"'):
            return _decoded(value.encode("utf-8", "surrogatepass"), value)
        try:
            return _decoded(base64.b64decode(value, validate=True), value)
        except (binascii.Error, ValueError):
            return value
    return value


def _decoded(data: bytes, otherwise: Any) -> Any:
    if too_many(data):
        # As base64 or with escapes, an answer within the limits may hold more.
        return otherwise
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        pass
    try:
        words = data.decode("utf-8")
    except UnicodeDecodeError:
        return otherwise
    return otherwise if _NOT_TEXT.search(words) else words


def json_safe(value: Any, depth: int = 0) -> Any:
    """Return the value with JSON types only, as strict JSON and every database's text columns accept them.

    NaN and infinities become None, integers past 64 bits text, NUL the replacement character, lone surrogates
    a question mark, and values nested more than 40 levels deep are left out.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, int):
        return value if abs(value) < 2**63 else _number_text(value) or None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= _DEEPEST:
        return None
    if isinstance(value, dict):
        return {text(k): json_safe(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(v, depth + 1) for v in value]
    return _storable(str(value))


def _storable(words: str) -> str:
    # PostgreSQL refuses NUL in text and JSON; UTF-8 has no lone surrogates.
    if "\x00" in words:
        words = words.replace("\x00", "\ufffd")
    return words if words.isascii() else words.encode("utf-8", "replace").decode("utf-8")


def _number_text(value: int | float) -> str:
    try:
        return str(value)
    except ValueError:
        # Python refuses to write integers of more than 4,300 digits.
        return ""


def shown(value: object) -> str:
    """Return a value for an error's message: as in Python, and not too long."""
    try:
        words = repr(value)
    except (ValueError, RecursionError):
        # A number of thousands of digits, or lists in lists.
        words = f"this {type(value).__name__}"
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}…"
