"""Secrets out of texts: the API key however a server has written it, and what makes an address secret."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

MASK = "***"
_NAMED = {"&": ("&amp;",), "<": ("&lt;",), ">": ("&gt;",), '"': ("&quot;",), "'": ("&apos;",)}

# What makes an address secret: user and password before its host, and its query. Slashes may be escaped.
_ADDRESS = re.compile(
    r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,30}:(?:\\?/){2})([^\s/?#\"<>]*@)?([^\s?#\"<>]*)([?#][^\s\"<>]*)?",
    re.I,
)
# What does so in a query that stands alone.
_PARAMETER = re.compile(
    r"(?<![a-z0-9])((?:x-(?:amz|goog)-)?(?:signature|credential|security-token)|sig|token|password)=[^&\s\"<>]+",
    re.I,
)


def redact(words: str, secrets: Sequence[str]) -> str:
    """Return a text without the secrets, in any case of letters and however they were escaped."""
    if words:
        for secret in secrets:
            words = _in_text(secret).sub(MASK, words)
    return words


def redact_json(body: bytes, secrets: Sequence[str]) -> bytes:
    r"""Return the bytes of JSON without the secrets: plain, or with any of their characters escaped.

    JSON may write each character as ``\u0061``, so that the key is there only once the text is decoded.
    """
    if b"\0" in body[:4]:
        # UTF-16 or UTF-32, which json.loads takes as well.
        with contextlib.suppress(UnicodeError):
            body = body.decode(json.detect_encoding(body), "surrogatepass").encode("utf-8", "surrogatepass")
    for secret in secrets:
        escaped, whole = _in_json(secret)
        # Looking for the escapes first is twenty times as fast, and most answers have none.
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
        quoted = rf"{named}{re.escape(char)}|\\+u{code:04x}|%(?:25)*{code:02x}|&#(?:0*{code}|x0*{code:x});"
        return rf"(?:{quoted})" if char.isalnum() else rf"(?:\\*(?:{quoted}))"

    return re.compile("".join(map(forms, secret)), re.IGNORECASE)


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
    """Return a text whose addresses have lost user, password and query; and parts of one that stand alone."""
    return _PARAMETER.sub(r"\1=…", _ADDRESS.sub(_shortened, text))


def scrubbed(value: Any, clean: Callable[[str], str] = without_secrets) -> Any:
    """Return JSON in which no text holds a secret, keys included.

    :param clean: takes the secrets out of a text.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): scrubbed(entry, clean) for key, entry in value.items()}
    return [scrubbed(entry, clean) for entry in value] if isinstance(value, list) else value


def _shortened(match: re.Match[str]) -> str:
    return f"{match[1]}{match[3]}{'?…' if match[4] else ''}"
