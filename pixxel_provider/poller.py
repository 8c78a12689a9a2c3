"""One poll for all waits for jobs of a workflow: one list request, whose answer goes to each of them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import random
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

from pixxel_provider.api import calls
from pixxel_provider.api.errors import PixxelApiError, PixxelError, PixxelNotFoundError, PixxelResponseError
from pixxel_provider.api.job import Job
from pixxel_provider.clock import Clock
from pixxel_provider.hooks.connection_lookup import as_transient
from pixxel_provider.hooks.pixxel_async import PixxelAsyncHook
from pixxel_provider.hooks.shared_hooks import SharedConnection, SharedHook

T = TypeVar("T")
JobAnswer = Job | list[Job] | PixxelError

log = logging.getLogger(__name__)

#: The assumed size of one full job until one was read, in bytes.
_USUAL_JOB = 8_000
#: How many subscribers receive a list's changes before other tasks of the loop run.
_AT_A_TIME = 25
#: Seconds without lists after two that couldn't be read; they double with each further one, up to an hour.
_LIST_PAUSE, _LONGEST_LIST_PAUSE = 60.0, 3600.0
#: The longest Retry-After, in seconds, that delays others than its receiver: for them it is a guess.
RETRY_AFTER_LIMIT = 300.0
#: From how many polls of a connection on a single job is read in full only once it seems to have ended.
MANY = 33


@dataclass(eq=False, slots=True)
class Subscription:
    """What waits for news of one job, or of all, and shares the requests of its event loop for the workflow.

    The connection is read anew for each; where it has changed, the poll is another one.

    :param connection: acquired for this subscription, which releases it.
    :param job_id: the job; None for the whole list.
    :param ended: whether a job's status means the end to this subscriber: such a job is read in full first.
    """

    connection: SharedConnection = field(repr=False)
    workflow_id: str
    job_id: str | None
    ended: Callable[[Job], bool] = field(repr=False)
    shared: SharedHook | None = field(default=None, repr=False)
    poller: SharedPoller = field(init=False, repr=False)
    due: float | None = None
    latest: float = 0.0
    answer: asyncio.Future[JobAnswer] | None = field(default=None, repr=False)
    # Why the connection couldn't be read anew for this one.
    unread: PixxelError | None = field(default=None, repr=False)

    async def join(self) -> None:
        """Begin; :meth:`leave` has to follow, also where this is interrupted."""
        self.shared, self.unread = await self.connection.join()
        pollers: dict[str, SharedPoller] = self.shared.pollers
        if self.workflow_id not in pollers:
            clock, many = self.connection.clock, lambda: len(pollers) >= MANY
            pollers[self.workflow_id] = SharedPoller(self.shared.hook, self.workflow_id, clock, many)
        self.poller = pollers[self.workflow_id]
        self.poller.join(self)

    async def leave(self) -> None:
        """End it."""
        try:
            if self.shared is not None and self.poller.leave(self):
                self.connection.leave(self.shared, self.workflow_id)
        finally:
            await self.connection.release()

    def jitter(self) -> float:
        """Return jitter from 0 to 1, the same for all who receive one list, as the next is one request, too.

        If each had its own, the smallest of many would always decide.
        """
        shared = self.poller.shared_jitter
        return random.random() if shared is None else shared

    async def next_answer(self, within: float, at_most: float = math.inf) -> JobAnswer:
        """Return the next answer about the job; errors are returned, too.

        :param within: seconds within which to poll, unless a Retry-After is longer.
        :param at_most: seconds after which to poll in any case.
        """
        self.answer = asyncio.get_running_loop().create_future()
        self.due = self.poller.monotonic() + within
        self.latest = self.poller.monotonic() + max(within, at_most)
        self.poller.wake(self.due)
        try:
            return await self.answer
        finally:
            self.answer = self.due = None


class SharedPoller:
    """Watches jobs of one workflow for as long as somebody subscribes; see :class:`Subscription`.

    The list is a hint and never a verdict: a job that is missing from it is requested by id, and one that
    seems to have ended is read in full before any subscriber gets it.
    """

    def __init__(
        self, hook: PixxelAsyncHook, workflow_id: str, clock: Clock, many_polls: Callable[[], bool]
    ) -> None:
        self.hook, self.workflow_id, self.many_polls = hook, workflow_id, many_polls
        self.pause, self.monotonic = clock.async_sleep, clock.monotonic
        self.shared_jitter: float | None = None
        self._subscriptions: dict[str | None, set[Subscription]] = {}
        self._asked = asyncio.Event()
        self._sleeper: asyncio.Future[Any] | None = None
        self._sleeps_until = math.inf
        self._poll: asyncio.Task[None] | None = None
        self._gets: dict[str, asyncio.Task[None]] = {}
        self._no_list_until = -math.inf
        self._unreadable, self._filter_helps = 0, True
        self._list_bytes: int | None = None
        self._job_bytes = float(_USUAL_JOB)
        self._not_before = 0.0

    def join(self, subscription: Subscription) -> None:
        """Add a subscriber; the poll starts with the first request that one asks for."""
        self._subscriptions.setdefault(subscription.job_id, set()).add(subscription)

    def leave(self, subscription: Subscription) -> bool:
        """Take a subscriber off; True where it was the last, with whom the poll ends."""
        same_job = self._subscriptions.get(subscription.job_id, set())
        same_job.discard(subscription)
        if not same_job:
            self._subscriptions.pop(subscription.job_id, None)
        if self._subscriptions:
            return False
        for task in (self._poll, *self._gets.values()):
            if task is not None:
                task.cancel()
        self._poll = None
        self._gets.clear()
        return True

    def wake(self, due: float) -> None:
        """Let the poll see that somebody asks for a look; a sleep that ends before that goes on."""
        self._asked.set()
        if self._sleeper is not None and due < self._sleeps_until:
            self._sleeper.cancel()
        if self._poll is None or self._poll.done():
            self._poll = _detached(self._run())

    async def _run(self) -> None:
        while self._subscriptions:
            self._asked.clear()
            waiting = self._waiting()
            due = min((self._due(s) for s in waiting), default=math.inf)
            if due == math.inf:
                await self._asked.wait()
                continue
            delay = due - self.monotonic()
            if delay > 0:
                self._sleeps_until = due
                await self._sleep(delay)
                continue
            try:
                await self._poll_once(waiting)
            except Exception as error:
                # Every subscriber must receive the error: they would otherwise wait for ever.
                log.exception("The poll of workflow %s broke", self.workflow_id)
                self._deliver(
                    waiting, PixxelError(f"The poll of the workflow broke: {type(error).__name__}.")
                )

    def _due(self, subscription: Subscription) -> float:
        """Return when to look for a subscriber: after the quiet the server wants, but not past its end."""
        if subscription.due is None:
            return math.inf
        return max(subscription.due, min(self._not_before, subscription.latest))

    async def _sleep(self, seconds: float) -> None:
        """Sleep until then, or until somebody asks for an earlier look."""
        sleeper = self._sleeper = asyncio.ensure_future(self.pause(seconds))
        try:
            await asyncio.wait({sleeper})
        finally:
            self._sleeper = None
            sleeper.cancel()

    async def _poll_once(self, waiting: list[Subscription]) -> None:
        if self._list_is_smaller({s.job_id for s in waiting}):
            self.shared_jitter = random.random()
            await self._ask_list(waiting)
            return
        self.shared_jitter = None
        now = self.monotonic()
        due = [subscription for subscription in waiting if self._due(subscription) <= now]
        for subscription in due:
            if subscription.job_id is not None:
                self._ask_job(subscription.job_id, filtered=self.many_polls())
        if any(subscription.job_id is None for subscription in due):
            await self._ask_list([subscription for subscription in waiting if subscription.job_id is None])

    def _list_is_smaller(self, jobs: set[str | None]) -> bool:
        if len(jobs) < 2 or not self._lists_help():
            return jobs == {None}
        return None in jobs or self._list_bytes is None or self._list_bytes <= len(jobs) * self._job_bytes

    async def _ask_list(self, waiting: list[Subscription]) -> None:
        found = await self._send(calls.list_jobs(self.workflow_id), self._list_size)
        if isinstance(found, PixxelError):
            if _refuses_the_list(found):
                self._do_without_list(found, self._without_list_after(found))
                self._deliver(self._subscriptions.get(None, ()), found)
            elif isinstance(found, PixxelResponseError):
                await self._unreadable_list(found, waiting)
            else:
                self._deliver(waiting, found)
            return
        self._unreadable = 0
        listed = {job.id: job for job in found}
        for number, subscription in enumerate(waiting, 1):
            if number % _AT_A_TIME == 0:
                # Each who hears news does something about it: not a thousand in one turn of the loop.
                await asyncio.sleep(0)
            if subscription.answer is None or subscription.answer.done():
                # It heard from a request of its own while the list was under way.
                continue
            if subscription.job_id is None:
                self._deliver([subscription], found)
                continue
            job = listed.get(subscription.job_id)
            if job is None or subscription.ended(job):
                self._ask_job(subscription.job_id)
            else:
                self._deliver([subscription], job)

    def _lists_help(self) -> bool:
        return self.monotonic() >= self._no_list_until

    def _do_without_list(self, why: PixxelError, seconds: float) -> None:
        self._no_list_until = self.monotonic() + seconds
        span = "from now on" if seconds == math.inf else f"for {seconds:.0f} s"
        log.warning("%s Jobs of workflow %s are read one by one %s.", why, self.workflow_id, span)

    def _without_list_after(self, refusal: PixxelError) -> float:
        """Return for how long lists aren't requested: for good, unless a gateway may have lost its route."""
        if not isinstance(refusal, PixxelNotFoundError):
            return math.inf
        self._unreadable += 1
        return min(_LIST_PAUSE * 2.0 ** min(self._unreadable - 1, 10), _LONGEST_LIST_PAUSE)

    async def _unreadable_list(self, error: PixxelError, waiting: list[Subscription]) -> None:
        """Find out whether it is about the list, or about everything, as a page about maintenance is."""
        self._unreadable += 1
        job_id = next((s.job_id for s in waiting if s.job_id is not None), None)
        if self._unreadable > 1 and job_id is not None:
            # One job shows it, where all of them would be too many requests to a failing server.
            probe = await self._send(calls.get_job(self.workflow_id, job_id), self._job_size)
            self._deliver(self._subscriptions.get(job_id, ()), probe)
            if not isinstance(probe, PixxelError):
                pause = _LIST_PAUSE * 2.0 ** min(self._unreadable - 2, 10)
                self._do_without_list(error, min(pause, _LONGEST_LIST_PAUSE))
                waiting = [s for s in waiting if s.job_id is None]
        self._deliver(waiting, error)

    def _ask_job(self, job_id: str, filtered: bool = False) -> None:
        # Whoever waits for this job hears what comes back, also one who came while the request was under way.
        for subscription in self._subscriptions.get(job_id, ()):
            subscription.due = None
        if job_id not in self._gets:
            self._gets[job_id] = _detached(self._get(job_id, filtered))

    async def _get(self, job_id: str, filtered: bool) -> None:
        try:
            found = await self._ask_filtered(job_id) if filtered else None
            if found is None:
                found = await self._send(calls.get_job(self.workflow_id, job_id), self._job_size)
        except Exception as error:
            log.exception("The request for job %s broke", job_id)
            found = PixxelError(f"The request for the job broke: {type(error).__name__}.")
        self._gets.pop(job_id, None)
        self._deliver(self._subscriptions.get(job_id, ()), found)

    async def _ask_filtered(self, job_id: str) -> JobAnswer | None:
        """Return a job as the list filtered for it has it, without tasks; None: read it in full."""
        if not (self._filter_helps and self._lists_help()):
            return None
        found = await self._send(calls.list_jobs(self.workflow_id, job_id=job_id), self._filtered_size)
        if isinstance(found, PixxelError):
            if _refuses_the_list(found):
                if self._lists_help():
                    self._do_without_list(found, self._without_list_after(found))
                return None
            # One that can't be read doesn't keep the job itself from being read.
            return None if isinstance(found, PixxelResponseError) else found
        job = next((job for job in found if job.id == job_id), None)
        if job is None:
            self._filter_helps = False
            return None
        ended = any(subscription.ended(job) for subscription in self._subscriptions.get(job_id, ()))
        return None if ended else job

    async def _send(self, call: calls.Call[T], on_size: Callable[[int], None]) -> T | PixxelError:
        try:
            answer = await self.hook.send(call, retry_for=0, on_size=on_size)
        except PixxelError as error:
            if error.retry_after:
                # For newcomers too, who haven't heard of it.
                self._not_before = self.monotonic() + min(error.retry_after, RETRY_AFTER_LIMIT)
            # Who waits has begun to: a connection that can't be read any more is no reason to end.
            return as_transient(error)
        self._not_before = 0.0
        return answer

    def _list_size(self, size: int) -> None:
        self._list_bytes = size

    def _filtered_size(self, size: int) -> None:
        # A server that doesn't filter sends the whole list.
        self._filter_helps = size < self._job_bytes

    def _job_size(self, size: int) -> None:
        # Jobs of one workflow are of similar size; the newest counts for a quarter.
        self._job_bytes += (size - self._job_bytes) / 4

    def _waiting(self) -> list[Subscription]:
        everybody = chain.from_iterable(self._subscriptions.values())
        return [s for s in everybody if s.answer is not None and not s.answer.done()]

    @staticmethod
    def _deliver(subscriptions: Iterable[Subscription], answer: JobAnswer) -> None:
        for subscription in subscriptions:
            if subscription.answer is not None and not subscription.answer.done():
                subscription.due = None
                subscription.answer.set_result(answer)


def _refuses_the_list(error: PixxelError) -> bool:
    # 401 is about the key and so about everything; transient errors aren't about lists.
    return isinstance(error, PixxelApiError) and not error.transient and error.status_code != 401


def _detached(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    # A task begun in a trigger would inherit its context, and with it the task log of whoever came first.
    return contextvars.Context().run(asyncio.ensure_future, work)
