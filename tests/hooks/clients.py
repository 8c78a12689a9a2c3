"""Both clients, asked the same way, and what they make of a server's answers."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import PixxelApiError, PixxelError
from pixxel_provider.hooks.pixxel import PixxelAsyncHook, PixxelHook
from tests.loopback import RawServer
from tests.support import CANARY


def connection_to(server: RawServer, seconds: float = 1.0, **extras: Any) -> str:
    """Return a connection to a server as its environment variable; an exchange may take four times that."""
    times = {"connect_timeout": seconds, "read_timeout": seconds, "verify": "false"}
    return json.dumps(
        {"conn_type": "pixxel", "host": server.origin, "password": CANARY, "extra": {**times, **extras}}
    )


@dataclass(frozen=True)
class Outcome:
    """What a client made of an answer, with all in which the two must agree."""

    kind: str
    """``answer``, or the name of the error's class."""
    answer: Any = None
    fields: Any = None
    """The answer's own JSON, where it keeps that."""
    reason: str | None = None
    sent: bool | None = None
    status: int | None = None
    retry_after: float | None = None
    transient: bool | None = None
    sent_back: Any = None
    """What an error of the API holds, word by word."""
    words: str = field(default="", compare=False)

    @classmethod
    def of(cls, ask: Callable[[], Any]) -> Outcome:
        try:
            found = ask()
        except PixxelError as error:
            return cls(
                type(error).__name__,
                reason=getattr(error, "reason", None),
                sent=getattr(error, "sent", None),
                status=getattr(error, "status_code", None),
                retry_after=error.retry_after,
                transient=error.transient,
                sent_back=error.fields() if isinstance(error, PixxelApiError) else None,
                words=str(error),
            )
        except Exception as error:
            return cls(f"foreign: {type(error).__module__}.{type(error).__qualname__}", words=str(error))
        return cls("answer", found, getattr(found, "raw", None))

    @property
    def gist(self) -> str:
        """The message without what may differ: numbers, and what stands in brackets."""
        return re.sub(r"\([^()]*\)|\d+", "", self.words)


class Asking:
    """A client at work in a thread of its own, so that one that never ends is noticed."""

    def __init__(self, ask: Callable[[], list[Outcome]], name: str | None = None) -> None:
        self._found: list[list[Outcome]] = []
        self._thread = threading.Thread(target=lambda: self._found.append(ask()), name=name, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, and no longer than this."""
        self._thread.join(seconds)

    def result(self, seconds: float) -> list[Outcome]:
        """Return what came of it.

        :raises AssertionError: nothing did in this time.
        """
        self.wait(seconds)
        assert not self._thread.is_alive(), f"no end within {seconds:.1f} s"
        return self._found[0]


Steps = Iterable["Call[Any] | float"]


def ask_worker(steps: Steps, conn_id: str = "pixxel_default") -> list[Outcome]:
    """Send calls one after another with the client of tasks; a number is a pause between two."""
    hook = PixxelHook(conn_id)
    found = []
    try:
        for step in steps:
            if isinstance(step, Call):
                found.append(Outcome.of(partial(hook.send, step, retry_for=0)))
            else:
                time.sleep(step)
    finally:
        hook.close()
    return found


async def ask_in_loop(steps: Steps, conn_id: str = "pixxel_default") -> list[Outcome]:
    """Send calls one after another with the client of triggers; a number is a pause between two."""
    hook = PixxelAsyncHook(conn_id)
    found = []
    for step in steps:
        if isinstance(step, Call):
            sending = asyncio.ensure_future(hook.send(step, retry_for=0))
            await asyncio.wait([sending])
            found.append(Outcome.of(sending.result))
        else:
            await asyncio.sleep(step)
    return found


def ask_triggerer(steps: Steps, conn_id: str = "pixxel_default") -> list[Outcome]:
    """Do the same as :func:`ask_in_loop`, in a loop of its own."""
    return asyncio.run(ask_in_loop(steps, conn_id))


CLIENTS = {"worker": ask_worker, "triggerer": ask_triggerer}
