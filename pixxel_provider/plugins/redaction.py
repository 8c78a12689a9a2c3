"""Redacts texts for a browser: without the key, however short it is, and not too long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pixxel_provider.api.redaction import without_secrets
from pixxel_provider.connection import Settings

#: The most characters of a single text, so that a log in a message doesn't fill the screen.
LONGEST = 4_000


@dataclass(frozen=True)
class Redactor:
    """Redacts the key of a connection in texts."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The longest first."""

    @classmethod
    def of(cls, read: Iterable[Settings]) -> Redactor:
        """Return the redaction of a connection's key, which may have been read more than once."""
        secrets: set[str] = set()
        for settings in read:
            # The client only redacts long keys; here, a redacted word too many does no harm.
            header = settings.authorization
            secrets |= {*settings.secrets, header, header.split(None, 1)[-1]}
        # A key that contains another one covers it.
        parts = [each for each in secrets if not any(other in each for other in secrets - {each})]
        return cls(tuple(sorted(parts, key=len, reverse=True)))

    def __call__(self, text: str) -> str:
        """Return the text without the key."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def shown(self, text: str) -> str:
        """Return the text without the key, its addresses without their secret parts, and not too long."""
        if not text:
            return text
        # Cut before the search, and again if it is still too long.
        clean = without_secrets(self(self._beginning(text)))
        if len(clean) <= LONGEST and len(text) <= 2 * LONGEST:
            return clean
        return f"{clean[: LONGEST - 1]}…"

    def _beginning(self, text: str) -> str:
        """Return the beginning of a long text, which doesn't end within a key or an address."""
        if len(text) <= 2 * LONGEST:
            return text
        text = text[: 2 * LONGEST]
        for secret in self.secrets:
            sizes = range(min(len(secret), len(text)), 0, -1)
            half = next((size for size in sizes if text.endswith(secret[:size])), 0)
            text = text[: len(text) - half]
        space = max(text.rfind(sign, LONGEST) for sign in " \n\t")
        return text if space < 0 else text[:space]
