"""Addresses in what Pixxel says: shown without what lets anybody in who has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

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
