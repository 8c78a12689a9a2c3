"""What an asset watcher runs in the triggerer: one event for each job of a workflow that ends."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from airflow.triggers.base import TriggerEvent

from pixxel_provider.api import calls, parsing
from pixxel_provider.api.calls import Call
from pixxel_provider.api.ended_jobs import read_moment
from pixxel_provider.api.errors import PixxelError, PixxelInputError, PixxelTriggerArgumentError
from pixxel_provider.api.event_cursor import OUTCOMES, EventCursor, outcome
from pixxel_provider.api.job import Job
from pixxel_provider.api.judges import JobPoll
from pixxel_provider.api.messages import Log
from pixxel_provider.api.parsing import shown
from pixxel_provider.api.polling import Poll, PollState, WaitPlan, check_seconds
from pixxel_provider.api.status import StatusRules
from pixxel_provider.clock import CLOCK, Clock
from pixxel_provider.compat.event_triggers import BaseEventTrigger, SharedStreamProducer, asset_stores
from pixxel_provider.hooks.pixxel_async import PixxelAsyncHook
from pixxel_provider.hooks.shared_hooks import acquire
from pixxel_provider.poller import Subscription
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID

log = logging.getLogger(__name__)

_RULES = StatusRules()
# A watcher has no deadline; PollState wants a number.
_FOREVER = 100 * 365 * 86_400.0


class PixxelJobEventTrigger(BaseEventTrigger):
    """Fire one event for each job of a workflow that ends, for an ``AssetWatcher``.

    Watchers of one connection and workflow share their requests, also with sensors in the same triggerer.

    From Airflow 3.3 on, the asset's store holds which jobs were announced, and changes only after Airflow has
    stored their events: a job that ends while no triggerer runs is announced later, and after a crash an
    event may come twice, with the same ``event_id``. Before Airflow 3.3 only jobs that end while the trigger
    runs are announced.

    :param workflow_id: the workflow whose jobs are watched.
    :param outcomes: those that fire, of ``succeeded``, ``failed`` and ``unknown`` (ended in a status that
        isn't known); all if it isn't given.
    :param created_by: id of a user; jobs of others, and those without a creator, don't fire.
    :param pixxel_conn_id: the Airflow connection.
    :param poke_interval: seconds; the longest gap between two requests.
    :param since: an ISO 8601 time with zone; a new watcher announces jobs that ended after it as well.
    :raises PixxelTriggerArgumentError: an argument can't be used; it is a PixxelInputError.
    """

    clock: Clock = CLOCK

    def __init__(
        self,
        workflow_id: str,
        outcomes: Collection[str] | None = None,
        created_by: str | None = None,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        poke_interval: float = 30.0,
        since: str | datetime | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.workflow_id = workflow_id
        self.created_by = created_by
        self.pixxel_conn_id = pixxel_conn_id
        self.poke_interval = poke_interval
        try:
            self.outcomes = _outcomes(outcomes)
            self.since = None if since is None else read_moment("since", since)
            self._check()
        except PixxelInputError as error:
            raise PixxelTriggerArgumentError(error.field, error.problem) from None

    def _check(self) -> None:
        calls.list_jobs(self.workflow_id)
        calls.check_id("pixxel_conn_id", self.pixxel_conn_id)
        if self.created_by is not None:
            calls.check_id("created_by", self.created_by)
        check_seconds("poke_interval", self.poke_interval)
        if not self.poke_interval > 0:
            raise PixxelInputError("poke_interval", f"must be above 0, not {self.poke_interval!r}")

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and every argument, all of them JSON."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "workflow_id": self.workflow_id,
            "outcomes": self.outcomes,
            "created_by": self.created_by,
            "pixxel_conn_id": self.pixxel_conn_id,
            "poke_interval": self.poke_interval,
            "since": None if self.since is None else self.since.isoformat(),
        }

    def shared_stream_key(self) -> Hashable | None:
        """Return what has to be the same for two watchers to share one stream."""
        return (type(self).__qualname__, self.pixxel_conn_id, self.workflow_id, self.poke_interval)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the stream of a group of watchers; with it Airflow says when an event is stored."""
        return _Producer(cls(**kwargs))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch alone, as before Airflow 3.3."""
        async for event in self.filter_shared_stream(self.listings()):
            yield event

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each job of a listing that isn't announced yet."""
        cursor: EventCursor | None = None
        async for listing in shared_stream:
            try:
                cursor = cursor or await self._begin(listing)
            except Exception as error:
                log.warning(f"The cursor of {self._name} can't be read or stored: {error}. Trying again.")
                continue
            changed = False
            for job in cursor.pending(listing.jobs, _RULES):
                found = job if self._is_filtered(job) else await listing.read(job)
                ended = found and outcome(found, _RULES)
                if not found or not ended:
                    # The next listing shows it again.
                    continue
                cursor.announce(found, ended)
                changed = True
                if not self._is_filtered(found):
                    yield TriggerEvent(event_of(self.workflow_id, found, ended))
            if changed:
                cursor.prune(self._now())
                listing.when_stored(self._storing(cursor.to_json()))

    @property
    def _name(self) -> str:
        return f"the watcher of workflow {self.workflow_id}"

    def _is_filtered(self, job: Job) -> bool:
        # As for a sensor without an id: a job whose creator isn't known is nobody's.
        others = self.created_by is not None and not calls.same_id(job.created_by, self.created_by)
        return others or outcome(job, _RULES) not in (self.outcomes or OUTCOMES.values())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time(), timezone.utc)

    # ------------------------------------------------------------------------------------------- the cursor

    def _key(self, what: str) -> str:
        # One asset may have several watchers.
        who = repr((self.pixxel_conn_id, self.workflow_id, self.outcomes, self.created_by))
        return f"pixxel_{what}_{hashlib.sha256(who.encode()).hexdigest()[:16]}"

    async def _begin(self, listing: Listing) -> EventCursor:
        """Return the stored cursor, or that of a new watcher, which is stored before it is used."""
        stores = asset_stores(self)
        stored = [await store.aget(self._key("announced")) for store in stores]
        cursors = [cursor for each in stored if (cursor := EventCursor.read(each)) is not None]
        if cursors:
            # Several assets: the one that was stored first has announced least.
            return min(cursors, key=lambda cursor: len(cursor.announced))
        began = [await store.aget(self._key("began")) for store in stores]
        earlier = [cursor for each in began if (cursor := EventCursor.read(each)) is not None]
        if earlier or any(each is not None for each in (*stored, *began)):
            log.warning(
                f"The cursor of {self._name} is lost or can't be read: jobs that ended since it began are "
                "announced again, with the same event_id"
            )
            return earlier[0] if earlier else EventCursor()
        cursor = EventCursor.begin(listing.jobs, _RULES, self.since, self._now())
        for what in ("announced", "began"):
            for store in stores:
                await store.aset(self._key(what), cursor.to_json())
        return cursor

    def _storing(self, cursor: dict[str, Any]) -> Callable[[], Awaitable[None]]:
        async def store_it() -> None:
            try:
                for store in asset_stores(self):
                    await store.aset(self._key("announced"), cursor)
            except Exception as error:
                # The next one holds these jobs as well; until then they would be announced again.
                log.warning(f"The cursor of {self._name} can't be stored: {type(error).__name__}: {error}")

        return store_it

    # ----------------------------------------------------------------------------------------- the listings

    async def listings(self) -> AsyncIterator[Listing]:
        """Yield the list of the workflow's jobs, each time it is read; errors are logged and waited out."""
        state = PollState(_ListPoll(self.workflow_id), self._plan(), log=log)
        connection = acquire(self.pixxel_conn_id, self.clock)
        jobs = Subscription(connection, self.workflow_id, None, lambda job: False)
        try:
            await jobs.join()
            state.jitter = jobs.jitter
            # After a restart many begin together.
            delay = state.next_delay(0) * state.jitter()
            while True:
                answer = await jobs.next_answer(delay)
                if (result := state.judge(answer)) is not None:
                    log.error(f"{result.message} Waiting on.")
                if isinstance(answer, list):
                    yield Listing(answer, self.workflow_id, jobs.poller.hook)
                delay = state.next_delay(0)
        finally:
            await jobs.leave()

    def _plan(self) -> WaitPlan:
        return WaitPlan(poke_interval=self.poke_interval, timeout=_FOREVER, silent_fail=True)


@dataclass(eq=False)
class Listing:
    """The jobs of a workflow at one moment, for all watchers of a stream."""

    jobs: list[Job]
    workflow_id: str
    hook: PixxelAsyncHook = field(repr=False)
    _full: dict[str, asyncio.Future[Job | None]] = field(default_factory=dict, repr=False)
    _stored: list[Callable[[], Awaitable[None]]] = field(default_factory=list, repr=False)

    async def read(self, job: Job) -> Job | None:
        """Return a job in full, read once for all watchers; None if it can't be read now."""
        if job.id not in self._full:
            self._full[job.id] = asyncio.ensure_future(self._read(job.id))
        # A watcher that leaves doesn't take the answer from the others.
        return await asyncio.shield(self._full[job.id])

    async def _read(self, job_id: str) -> Job | None:
        try:
            return await self.hook.send(calls.get_job(self.workflow_id, job_id), retry_for=0)
        except PixxelError as error:
            log.warning(f"{error} The job is announced later.")
            return None

    def when_stored(self, store: Callable[[], Awaitable[None]]) -> None:
        """Call this once all events of this listing are stored."""
        self._stored.append(store)

    async def advance(self) -> None:
        """Call what waits for the events of this listing to be stored."""
        for store in self._stored:
            await store()


class _Producer(SharedStreamProducer):
    """The stream of a group of watchers, which hears from Airflow what was stored."""

    def __init__(self, trigger: PixxelJobEventTrigger) -> None:
        self._trigger = trigger

    async def open_stream(self) -> AsyncIterator[tuple[Listing, Listing]]:
        async for listing in self._trigger.listings():
            yield listing, listing

    async def advance(self, batch: Sequence[Any]) -> None:
        for item in batch:
            # Where storing failed for one watcher, nobody's cursor moves: the events come again.
            if not item.outcome.failed:
                await item.broker_payload.advance()


@dataclass(frozen=True)
class _ListPoll(Poll[Any]):
    """The list of a workflow's jobs, which is read for ever and logged only where it can't be read."""

    workflow_id: str

    @property
    def name(self) -> str:
        return f"The list of jobs of workflow {self.workflow_id}"

    def call(self) -> Call[Any]:
        return calls.list_jobs(self.workflow_id)

    def result(self, answer: Any) -> None:
        return None

    def last_seen(self, answer: Any) -> str:
        return ""

    def news(self, answer: Any) -> tuple[object, ...]:
        return ("read",)

    def log_news(self, answer: Any, seen: str, log: Log, new_status: bool) -> None:
        pass


def event_of(workflow_id: str, job: Job, ended: str) -> dict[str, Any]:
    """Return what an event holds, in JSON types. Its id is the same whenever it is announced again."""
    result = JobPoll(workflow_id, job.id).result(job)
    return {
        "event_id": f"{workflow_id}/{job.id}/{ended}",
        "workflow_id": workflow_id,
        "job_id": job.id,
        "outcome": ended,
        "status": job.status,
        "cost": job.cost,
        "created_by": job.created_by,
        "finished_at": parsing.timestamp_text(job.raw.get("finished_at")),
        "message": result.message if result else "",
    }


def _outcomes(given: Collection[str] | None) -> list[str] | None:
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Collection) or not given:
        raise PixxelInputError("outcomes", f"must be a list of outcomes, not {shown(given)}")
    known = list(OUTCOMES.values())
    for each in given:
        if each not in known:
            raise PixxelInputError("outcomes", f"holds {shown(each)}; it may hold {', '.join(known)}")
    return [each for each in known if each in given]
