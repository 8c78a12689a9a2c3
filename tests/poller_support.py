"""What tests of the shared poll need: a clock that jumps, and a server that is a script and counts."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from pixxel_provider import poller
from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import (
    PixxelError,
    PixxelNotFoundError,
    PixxelServerError,
)
from pixxel_provider.api.job import Job
from pixxel_provider.api.status import Verdict
from pixxel_provider.clock import Clock
from pixxel_provider.connection import Settings, read_connection
from pixxel_provider.hooks import shared_hooks
from pixxel_provider.hooks.pixxel import PixxelAsyncHook


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: with nothing ready, its clock jumps to the next timer."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        if not self._ready and timers:  # type: ignore[attr-defined]
            self.now = max(self.now, min(timers))
        super()._run_once()  # type: ignore[misc]


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run in a jumping loop; nothing may be left over at the end."""
    loop = JumpingLoop()
    try:
        result = loop.run_until_complete(asyncio.wait_for(work(), 10_000_000))
        for _ in range(5):
            loop.run_until_complete(asyncio.sleep(0))
        assert not asyncio.all_tasks(loop)
        assert not shared_hooks._SHARED
        return result
    finally:
        loop.close()


def settings_of(host: str) -> Settings:
    """Return a connection as it is read, all but its host the same."""
    connection = SimpleNamespace(
        conn_id="c", conn_type="pixxel", host=host, schema=None, port=None, password="key", extra=None
    )
    return read_connection(connection)  # type: ignore[arg-type]


@dataclass
class Script:
    """A server in this process. ``ends`` holds when each job ends; a list tells what the jobs do."""

    ends: dict[str, float] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    list_error: PixxelError | None = None
    filters: bool = True
    list_bytes: int = 1_000
    job_bytes: int = 8_000
    outage: tuple[float, float] = (0, 0)
    error: PixxelError = field(default_factory=lambda: PixxelServerError("busy", status_code=503))
    latency: float = 0.01
    settings: Settings = field(default_factory=lambda: settings_of("one"))
    unread: PixxelError | None = None
    read_at: list[float] = field(default_factory=list)
    hosts: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0

    def serve(self, patch: pytest.MonkeyPatch) -> None:
        """Let all asynchronous hooks read their connection and send here."""
        patch.setattr(PixxelAsyncHook, "get_settings", lambda hook: self.read(hook))
        patch.setattr(PixxelAsyncHook, "send", lambda hook, call, **words: self.send(hook, call, **words))

    async def read(self, hook: PixxelAsyncHook) -> Settings:
        self.read_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.latency)
        if self.unread is not None:
            hook.refresh.was_read(asyncio.get_running_loop().time(), self.unread)
            raise self.unread
        hook.adopt(self.settings)
        return self.settings

    async def send(self, hook: Any, call: Call[Any], *, retry_for: float = 0, on_size: Any = None) -> Any:
        loop = asyncio.get_running_loop()
        on_size = on_size or (lambda size: None)
        self.asked[call.name] += 1
        self.hosts[hook.settings.base_url if hook.settings else ""] += 1
        self.times.append(loop.time())
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.under_way -= 1
        if self.outage[0] <= loop.time() < self.outage[1]:
            raise self.error
        if call.name == "list_jobs":
            if self.list_error is not None:
                raise self.list_error
            seen = [name for name in self.ends if name not in self.hidden]
            if self.filters and "id" in call.params:
                seen = [name for name in seen if name == call.params["id"]]
                on_size(300)
            else:
                on_size(self.list_bytes)
            return [self.job(name, full=False) for name in seen]
        on_size(self.job_bytes)
        name = call.path.rsplit("/", 1)[-1]
        if name not in self.ends:
            raise PixxelNotFoundError("no such job", status_code=404)
        return self.job(name, full=True)

    def job(self, name: str, *, full: bool) -> Job:
        ended = asyncio.get_running_loop().time() >= self.ends[name]
        answer: dict[str, Any] = {"id": name, "status": "completed" if ended else "running"}
        if full:
            answer["tasks"] = [{"name": "one", "status": answer["status"]}]
        return Job.read(answer)


def has_ended(job: Job) -> bool:
    return job.verdict() is not Verdict.WAITING


@contextlib.asynccontextmanager
async def subscribed(
    conn_id: str, workflow_id: str, job_id: str | None, *, monotonic: Any, **how: Any
) -> AsyncIterator[poller.Subscription]:
    """Subscribe for as long as the context lasts."""
    connection = shared_hooks.acquire(conn_id, Clock(monotonic=monotonic))
    subscription = poller.Subscription(connection, workflow_id, job_id, **how)
    try:
        await subscription.join()
        yield subscription
    finally:
        await subscription.leave()


async def wait_for(
    job_id: str, interval: float = 30, first: float | None = None, workflow_id: str = "w"
) -> tuple[Job, list[float]]:
    """Wait as a trigger does; return the job and when each look came."""
    loop = asyncio.get_running_loop()
    looks = []
    async with subscribed("c", workflow_id, job_id, ended=has_ended, monotonic=loop.time) as jobs:
        delay = interval * random.random() if first is None else first
        while True:
            answer = await jobs.next_answer(delay)
            looks.append(loop.time())
            if isinstance(answer, Job) and has_ended(answer):
                return answer, looks
            delay = interval * (0.8 + 0.2 * jobs.jitter())


def ending(count: int, at: float) -> dict[str, float]:
    return {f"job-{n}": 1000.0 + at for n in range(count)}
