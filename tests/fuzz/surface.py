"""What each surface of the fuzzer has: cases that hypothesis makes, and what has to hold for every one."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from pixxel_provider.api.errors import PixxelError
from tests.support import CANARY

#: CPU seconds that one case may take. Two are promised for the largest answer, and these are small.
CPU = 2.0

#: What a surface does with a case: nothing if all is well, else it raises.
Check = Callable[[Any], None]


@dataclass(frozen=True)
class Surface:
    """One place where something from outside is read."""

    name: str
    share: int
    """How many of 100 cases are for it."""
    cases: st.SearchStrategy[Any]
    opened: Callable[[], AbstractContextManager[Check]]
    """Provides what the surface needs, such as a database, and the check."""


def surface(name: str, share: int, cases: st.SearchStrategy[Any]) -> Callable[[Check], Surface]:
    """Make a surface of a check that needs nothing around it."""

    def of(check: Check) -> Surface:
        @contextmanager
        def opened() -> Iterator[Check]:
            yield check

        return Surface(name, share, cases, opened)

    return of


class TooLongError(AssertionError):
    """Something took more CPU than it may."""


@contextmanager
def bounded(seconds: float = CPU) -> Iterator[None]:
    """Check that what is done takes no more CPU than this."""
    began = time.thread_time()
    yield
    spent = time.thread_time() - began
    if spent >= seconds:
        raise TooLongError(f"it took {spent:.1f} s of CPU")


def attempt(read: Callable[[], Any], *documented: type[BaseException], seconds: float = CPU) -> Any:
    """Return what was read, or the documented error in its place, of which no text shows the key.

    Another exception leaves this, and fails the case.
    """
    try:
        with bounded(seconds):
            found = _read_or_refused(read, documented)
    except TooLongError:
        # The first call may have imported what it needed, and once more it is fast.
        with bounded(seconds):
            found = _read_or_refused(read, documented)
    if isinstance(found, (PixxelError, *documented)):
        assert_nameable(found)
    return found


def _read_or_refused(read: Callable[[], Any], documented: tuple[type[BaseException], ...]) -> Any:
    try:
        return read()
    except (PixxelError, *documented) as error:
        return error


def assert_nameable(error: BaseException) -> None:
    """Check an error's texts: they say something, and hold no key."""
    words = str(error)
    assert words.strip(), repr(error)
    assert len(words) < 20_000, len(words)
    shown = [words, repr(error), repr(error.args)]
    if isinstance(error, PixxelError):
        shown.append(json.dumps(error.fields(), allow_nan=False))
        assert str(error.__reduce__()[0](*error.__reduce__()[1])).strip()
    for each in shown:
        assert CANARY not in each, each
        each.encode("utf-8", "surrogatepass")


def assert_json(value: Any) -> str:
    """Check that a value is JSON as Airflow stores it, and return it as text without the key."""
    text = json.dumps(value, allow_nan=False)
    assert CANARY not in text, text[:2_000]
    return text


class KeyInLog(logging.Handler):
    """Hears all that is logged, and keeps what shows the key or can't be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            words = f"{record.getMessage()} {record.exc_info or ''}"
        except Exception as error:
            words = f"a line that can't be written: {error!r}: {CANARY}"
        if CANARY in words:
            self.heard.append(words)

    @contextmanager
    def on_duty(self) -> Iterator[KeyInLog]:
        """Hear all loggers of this process."""
        root = logging.getLogger()
        before, level = root.handlers, root.level
        root.handlers = [self]
        root.setLevel(logging.DEBUG)
        try:
            yield self
        finally:
            root.handlers = before
            root.setLevel(level)
