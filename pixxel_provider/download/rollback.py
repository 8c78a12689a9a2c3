"""Steps that change a place which isn't new, and how the new of it is taken back where a later one fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from pixxel_provider.download.destination import Place
from pixxel_provider.download.errors import PixxelDownloadError


class Rollback:
    """What changes a place that isn't new, and how the new of it is taken back."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self.replaced = 0

    def undo(self, step: Callable[[], None]) -> None:
        """Take back the last step so, where a later one fails."""
        self._undo.append(step)

    def take_back(self) -> str:
        """Take back what is new, and say what stays all the same."""
        stuck = 0
        for step in reversed(self._undo):
            try:
                step()
            except Exception:
                # What led here is what a person has to know; and the others can be taken back still.
                stuck += 1
        replaced = (
            f" Members that were replaced before, and stay so: {self.replaced}." if self.replaced else ""
        )
        left = f" New ones that couldn't be removed again: {stuck}." if stuck else ""
        return replaced + left


@contextlib.contextmanager
def one_by_one(place: Path | Place) -> Iterator[Rollback]:
    """Take back what is new where a step fails, and add to the error what that doesn't undo."""
    steps = Rollback()
    try:
        yield steps
    except BaseException as error:
        left = steps.take_back()
        if left and isinstance(error, OSError):
            why = error.strerror or type(error).__name__
            raise PixxelDownloadError(f"{place} can't be written: {why}.{left}") from error
        if left and isinstance(error, PixxelDownloadError):
            raise PixxelDownloadError(f"{str(error).rstrip('.')}.{left}") from error
        raise
