"""Texts as a browser may have them: without the key, however short it is, and not too long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pixxel_provider.api.redaction import without_secrets
from pixxel_provider.connection import Settings

#: Characters of a single text; a log that was put into a message fills no screen.
LONGEST = 4_000


@dataclass(frozen=True)
class Redactor:
    """Takes the key of a connection out of texts."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The longest first."""

    @classmethod
    def of(cls, read: Iterable[Settings]) -> Redactor:
        """Return what takes out the key of a connection, which may have been read more than once."""
        found: set[str] = set()
        for settings in read:
            # The client looks for long ones alone; here it does no harm to hide a word too many.
            header = settings.authorization
            found |= {*settings.secrets, header, header.split(None, 1)[-1]}
        # One that holds another is gone with that.
        parts = [each for each in found if not any(other in each for other in found - {each})]
        return cls(tuple(sorted(parts, key=len, reverse=True)))

    def __call__(self, text: str) -> str:
        """Return the text without the key."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def shown(self, text: str) -> str:
        """Return the text without the key, its addresses without what makes them secret, and not too long."""
        if not text:
            return text
        # Cut before anything is looked for, and again where what is left is still too long.
        clean = without_secrets(self(self._beginning(text)))
        if len(clean) <= LONGEST and len(text) <= 2 * LONGEST:
            return clean
        return f"{clean[: LONGEST - 1]}…"

    def _beginning(self, text: str) -> str:
        """Return the beginning of a long text, which ends neither in half a key nor in half an address."""
        if len(text) <= 2 * LONGEST:
            return text
        text = text[: 2 * LONGEST]
        for secret in self.secrets:
            sizes = range(min(len(secret), len(text)), 0, -1)
            half = next((size for size in sizes if text.endswith(secret[:size])), 0)
            text = text[: len(text) - half]
        space = max(text.rfind(sign, LONGEST) for sign in " \n\t")
        return text if space < 0 else text[:space]
