from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import PixxelError
from pixxel_provider.hooks.pixxel import PixxelAsyncHook, PixxelHook
from tests.loopback import RawServer
from tests.support import FakeClock


@dataclass
class Client:
    """One of the two hooks, asked the same way."""

    kind: str
    clock: FakeClock = field(default_factory=FakeClock)

    @property
    def pauses(self) -> list[float]:
        """The delays between its attempts."""
        return self.clock.slept

    def send(self, call: Call[Any], retry_for: float = 0, conn_id: str = "pixxel_default") -> Any:
        return self.send_all([call], retry_for, conn_id)[0]

    def send_all(
        self, calls: list[Call[Any]], retry_for: float = 0, conn_id: str = "pixxel_default"
    ) -> list[Any]:
        if self.kind == "sync":
            hook = PixxelHook(conn_id, clock=self.clock)
            try:
                return [hook.send(call, retry_for=retry_for) for call in calls]
            finally:
                hook.close()

        async def ask() -> list[Any]:
            hook = PixxelAsyncHook(conn_id, clock=self.clock)
            return [await hook.send(call, retry_for=retry_for) for call in calls]

        return asyncio.run(ask())

    def error(self, call: Call[Any], **options: Any) -> PixxelError:
        with pytest.raises(PixxelError) as caught:
            self.send(call, **options)
        return caught.value


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Client:
    """Both hooks in turn: whatever is tested through this holds for each."""
    return Client(request.param)


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as running:
        yield running


@pytest.fixture
def both() -> Callable[[Callable[[Client], Any]], tuple[Any, Any]]:
    """Do the same through both hooks and return both results."""
    return lambda do: (do(Client("sync")), do(Client("async")))
