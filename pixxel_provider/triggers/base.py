"""What every wait in the triggerer has in common; by itself it waits for whatever a judge describes."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pkgutil import resolve_name
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pixxel_provider.api.calls import check_id
from pixxel_provider.api.errors import PixxelError, PixxelTriggerArgumentError
from pixxel_provider.api.parsing import shown
from pixxel_provider.api.polling import Poll, PollResult, PollState, WaitPlan, check_seconds
from pixxel_provider.clock import CLOCK, Clock
from pixxel_provider.hooks.connection_lookup import as_transient
from pixxel_provider.outcome import event_of, started_at
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID


class PixxelWaitTrigger(BaseTrigger):
    """Ask until a wait has ended, then fire one event that says how.

    Asking may be repeated, so a restarted triggerer may run it again. An answer stays here: it may hold a
    signed URL.

    :param poll: what is waited for: a judge, or its class as ``module:name``.
    :param target: the fields of a judge that is named.
    :param pixxel_conn_id: the Airflow connection.
    :param started_at: when the wait began, in Unix seconds; now where it isn't given.
    :param not_before: don't ask before this moment, in Unix seconds: the server's Retry-After.
    :param missing_since: when the worker got a 404, in Unix seconds, where it was the last thing it got.
    :param plan: the fields of :class:`~pixxel_provider.api.polling.WaitPlan`.
    """

    clock: Clock = CLOCK
    _longest_first_delay = math.inf

    def __init__(
        self,
        poll: Poll[Any] | str,
        target: dict[str, Any] | None = None,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        started_at: float | None = None,
        not_before: float | None = None,
        missing_since: float | None = None,
        **plan: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poll: Any = poll if isinstance(poll, Poll) else _poll(poll, target or {})
        self.pixxel_conn_id = pixxel_conn_id
        self.started_at = self.clock.time() if started_at is None else started_at
        self.not_before = not_before
        self.missing_since = missing_since
        self.plan = WaitPlan(**plan)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and every argument, all of them JSON."""
        names = ("pixxel_conn_id", "started_at", "not_before", "missing_since")
        arguments = {**self._target(), **vars(self.plan), **{name: getattr(self, name) for name in names}}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    def _target(self) -> dict[str, Any]:
        judge = type(self.poll)
        return {"poll": f"{judge.__module__}:{judge.__qualname__}", "target": self.poll.fields()}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until the wait has ended, then yield the one event."""
        result: PollResult | None = None
        try:
            try:
                await self._begin()
                result = await self._wait()
            except PixxelError as error:
                result = PollResult.from_error(error)
            event = self._event(result)
        except Exception as error:
            event = self._event_of_error(error, result)
        yield event

    async def _begin(self) -> None:
        """Prepare the wait."""

    def _event(self, result: PollResult) -> TriggerEvent:
        # A worker that takes over may have to wait again, by the same deadline.
        event = {**event_of(result), "started_at": self.started_at}
        # None for what is no moment, as NaN isn't JSON.
        return TriggerEvent({**event, "started_at": started_at(event)})

    def _event_of_error(self, error: Exception, result: PollResult | None) -> TriggerEvent:
        # Whatever it was, the task has to get an event: without one it would stay deferred.
        self.log.exception(f"The wait for {self.poll.name} broke")
        broken = PixxelError(f"The trigger broke: {type(error).__name__}: {error}")
        return PixxelWaitTrigger._event(self, result or PollResult.from_error(broken))

    async def _open(self, state: PollState) -> None:
        """Prepare the requests."""
        from pixxel_provider.hooks.pixxel_async import PixxelAsyncHook

        self._call = self.poll.call()
        self._hook = PixxelAsyncHook(self.pixxel_conn_id, clock=self.clock)

    async def _close(self) -> None:
        """Release what :meth:`_open` took, also where it was interrupted."""

    async def _next_answer(self, delay: float, at_most: float) -> Any:
        """Return the next answer, or the error in its place.

        :param delay: seconds until the request.
        :param at_most: seconds after which to ask, whatever else holds the request back.
        """
        await self.clock.async_sleep(delay)
        try:
            # Once: the wait itself decides when to try again.
            return await self._hook.send(self._call, retry_for=0)
        except PixxelError as error:
            return as_transient(error)

    def _check(self) -> None:
        """Raise PixxelInputError with the name of an argument that can't be used."""
        check_id("pixxel_conn_id", self.pixxel_conn_id)
        self.poll.check()
        self.plan.check()
        for name in ("started_at", "not_before", "missing_since"):
            check_seconds(name, getattr(self, name), optional=name != "started_at")

    async def _wait(self) -> PollResult:
        self._check()
        passed = min(max(self.clock.time() - self.started_at, 0.0), self.plan.timeout)
        # A clock that jumps moves neither the deadline nor the gaps once the trigger runs.
        begun = self.clock.monotonic() - passed
        state = PollState(self.poll, self.plan, log=self.log)
        if self.missing_since is not None:
            state.resume_not_found(self.missing_since - self.started_at, passed)
        # The task has just asked, and after a restart many begin together: spread them over one gap.
        spread = min(state.next_delay(passed), self._longest_first_delay) * state.jitter()
        delay = max(spread, state.initial_delay(self.not_before, self.clock.time(), passed))
        try:
            await self._open(state)
            while True:
                until_deadline = state.until_deadline(self.clock.monotonic() - begun)
                # In no variable: a parsed job costs 85 kB across the sleep, times a thousand triggers.
                result = state.judge(await self._next_answer(delay, until_deadline)) or state.overdue(
                    self.clock.monotonic() - begun
                )
                if result is not None:
                    return result
                delay = state.next_delay(self.clock.monotonic() - begun)
        finally:
            await self._close()


def _poll(name: Any, target: Any) -> Poll[Any]:
    """Return the judge that is named, and no other object.

    :raises PixxelTriggerArgumentError: there is none of that name, or not with these fields.
    """
    try:
        found = resolve_name(name)
    except Exception:
        # Whatever its module raises.
        found = None
    if not isinstance(found, type) or not issubclass(found, Poll):
        raise PixxelTriggerArgumentError("poll", f"names no judge: {shown(name)}")
    try:
        return found(**target)
    except TypeError as error:
        raise PixxelTriggerArgumentError("target", f"isn't that of {found.__qualname__}: {error}") from None
