"""Redacts secrets in texts: the API key in any encoding, and the secret parts of addresses."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

MASK = "***"
# Before a letter that was escaped several times, as in JSON in JSON: each time twice as many. If any number
# were allowed, the time would grow with the square of a row of them.
_BACKSLASHES = r"\\{1,64}"
_NAMED = {"&": ("&amp;",), "<": ("&lt;",), ">": ("&gt;",), '"': ("&quot;",), "'": ("&apos;",)}

# The secret parts of an address: user and password before its host, and its query. Slashes may be escaped.
_ADDRESS = re.compile(
    r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,30}:(?:\\?/){2})([^\s/?#\"<>]*@)?([^\s?#\"<>]*)([?#][^\s\"<>]*)?",
    re.I,
)
# The same in a query without an address.
_PARAMETER = re.compile(
    r"(?<![a-z0-9])((?:x-(?:amz|goog)-)?(?:signature|credential|security-token)|sig|token|password)=[^&\s\"<>]+",
    re.I,
)


def redact(words: str, secrets: Sequence[str]) -> str:
    """Return a text without the secrets, whatever their case and escaping."""
    if words:
        for secret in secrets:
            words = _in_text(secret).sub(MASK, words)
    return words


def redact_json(body: bytes, secrets: Sequence[str]) -> bytes:
    r"""Return the bytes of JSON without the secrets: plain, or with any of their characters escaped.

    JSON may write each character as ``\u0061``, so that the key is there only once the text is decoded.
    """
    if b"\0" in body[:4]:
        # UTF-16 or UTF-32, which json.loads accepts, too.
        with contextlib.suppress(UnicodeError):
            body = body.decode(json.detect_encoding(body), "surrogatepass").encode("utf-8", "surrogatepass")
    for secret in secrets:
        escaped, whole = _in_json(secret)
        # Searching for escapes first is twenty times as fast, and most answers have none.
        if b"\\" in body and escaped.search(body):
            body = whole.sub(MASK.encode(), body)
        else:
            body = body.replace(secret.encode(), MASK.encode())
    return body


@lru_cache(maxsize=64)
def _in_text(secret: str) -> re.Pattern[str]:
    def forms(char: str) -> str:
        code = ord(char)
        named = "".join(f"{name}|" for name in _NAMED.get(char, ()))
        plain = re.escape(char) if char != "\\" else _BACKSLASHES
        quoted = rf"{named}{plain}|%(?:25)*{code:02x}|&#(?:0*{code}|x0*{code:x});"
        escaped = f"u{code:04x}" if char.isalnum() or char == "\\" else f"(?:u{code:04x}|{quoted})"
        return f"(?:{quoted}|{_BACKSLASHES}{escaped})"

    # Each of several backslashes would match any number of them.
    single = re.sub(r"\\+", lambda _: "\\", secret)
    return re.compile("".join(map(forms, single)), re.IGNORECASE)


@lru_cache(maxsize=64)
def _in_json(secret: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    def hexes(char: str) -> str:
        # Only the digits of an escape may be of either case.
        return "".join(f"[{digit}{digit.upper()}]" for digit in f"{ord(char):04x}")

    def forms(char: str) -> str:
        short = rf"|\\{re.escape(char)}" if char in '"\\/' else ""
        return rf"(?:{re.escape(char)}|\\u{hexes(char)}{short})"

    letters = sorted(set(secret))
    escapes = [rf"\\u(?:{'|'.join(map(hexes, letters))})"]
    escapes += [rf"\\{re.escape(char)}" for char in letters if char in '"\\/']
    whole = "".join(map(forms, secret))
    return re.compile("|".join(escapes).encode()), re.compile(whole.encode())


def without_secrets(text: str) -> str:
    """Return a text whose addresses have lost user, password and query, including partial addresses."""
    return _PARAMETER.sub(r"\1=…", _ADDRESS.sub(_shortened, text))


def scrubbed(value: Any, clean: Callable[[str], str] = without_secrets) -> Any:
    """Return JSON in which no text holds a secret, keys included.

    :param clean: redacts the secrets in a text.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): scrubbed(entry, clean) for key, entry in value.items()}
    return [scrubbed(entry, clean) for entry in value] if isinstance(value, list) else value


def _shortened(match: re.Match[str]) -> str:
    return f"{match[1]}{match[3]}{'?…' if match[4] else ''}"
