"""What a person sees: colours where there is a terminal, bars in whatever its encoding has."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from typing import Any, TextIO

_CODES = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "red": "31", "cyan": "36"}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
WIDTH = 100


class Stopped(BaseException):
    """Somebody wants this to end."""

    def __init__(self, number: int) -> None:
        self.number = number


def stop_on_signals() -> None:
    """Raise `Stopped` on a signal, once: what follows is short, and must not be interrupted itself."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, _: Any) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    for each in numbers:
        signal.signal(each, stop)


class Screen:
    """Text for a person, on a stream that may or may not be a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.live = terminal
        """Whether a line can be written anew."""
        self.colours = terminal and not os.environ.get("NO_COLOR")
        self.full, self.empty = ("━", "─") if self._can("━─") else ("#", ".")
        columns = shutil.get_terminal_size((WIDTH, 24)).columns if terminal else WIDTH
        self.width = min(columns, WIDTH)
        self._open = ""

    def _can(self, text: str) -> bool:
        try:
            text.encode(getattr(self.stream, "encoding", None) or "ascii")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def paint(self, text: str, *styles: str) -> str:
        """Return the text in that style, or as it is."""
        if not self.colours or not text:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def bar(self, percent: float, cells: int = 24) -> str:
        """Return a bar that is full at 100."""
        done = max(0, min(cells, int(percent / 100 * cells + 0.5)))
        return self.paint(self.full * done, "green") + self.paint(self.empty * (cells - done), "dim")

    def line(self, text: str = "", *, clip: bool = False) -> None:
        """Write a line for good; it takes the place of one that was only for now."""
        self._write(self.clipped(text) if clip else text, "\n")
        self._open = ""

    def now(self, text: str) -> None:
        """Write a line that the next one takes the place of; nothing where that can't be."""
        if self.live and text != self._open:
            # A line longer than the terminal would break, and then can't be written anew.
            self._write(self.clipped(text), "")
            self._open = text

    def settle(self, *, keep: bool = True) -> None:
        """Let a line that was only for now stay, or take it away."""
        if self._open:
            self.stream.write("\n" if keep else "\r\x1b[K")
            self.stream.flush()
            self._open = ""

    def _write(self, text: str, end: str) -> None:
        if not self._can(text):
            text = text.encode(self.stream.encoding or "ascii", "replace").decode(
                self.stream.encoding or "ascii"
            )
        self.stream.write(("\r\x1b[K" if self._open else "") + text + end)
        self.stream.flush()

    def clipped(self, text: str) -> str:
        """Return no more of the text than fits into a line, then without colours."""
        plain = _ESCAPE.sub("", text)
        return (
            text if len(plain) <= self.width else plain[: self.width - 1] + ("…" if self._can("…") else "~")
        )
