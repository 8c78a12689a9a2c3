"""The state of a wait between two requests: when it ends, and when the next request is due.

Nothing here sends, sleeps or reads a clock. A :class:`Poll` defines the request and what its answer means;
:mod:`pixxel_provider.api.judges` has those of this package.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pixxel_provider.api.errors import (
    PixxelApiError,
    PixxelError,
    PixxelInputError,
    PixxelNotFoundError,
    PixxelResponseError,
    rebuild,
)
from pixxel_provider.api.messages import Log, plain, status_of
from pixxel_provider.api.parsing import shown
from pixxel_provider.api.retry import LONGEST_RETRY_AFTER
from pixxel_provider.api.status import StatusRules

if TYPE_CHECKING:
    from pixxel_provider.api.calls import Call

T = TypeVar("T")

#: The shortest delay between two requests, in seconds, whatever ``poke_interval`` is.
SHORTEST_DELAY = 0.5
#: The longest delay after the first of several failed requests, in seconds; it doubles with each.
_FIRST_RETRY_DELAY = 2.0
#: The fixed part of a delay; the rest is jitter.
_FIXED_PART = 0.8


def check_seconds(field: str, value: object, *, optional: bool = False) -> None:
    """Raise PixxelInputError with the field's name unless a value is a number of seconds.

    :param optional: whether it may be None.
    """
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise PixxelInputError(field, f"must be a number of seconds, not {shown(value)}")


@dataclass(frozen=True)
class WaitPlan:
    """How often a wait polls, and for how long. JSON types only, as the triggerer gets it as JSON."""

    poke_interval: float = 30.0
    """Seconds; the longest delay between two requests."""
    timeout: float = 7 * 24 * 3600.0
    """Seconds from the wait's start."""
    exponential_backoff: bool = False
    """Increase the time between polls: the interval plus the time waited so far, up to ``max_wait``."""
    max_wait: float | None = None
    """Seconds; the longest time between polls with ``exponential_backoff``."""
    not_found_grace: float = 60.0
    """Seconds, from the first 404 in a row, that a job may be missing: it may be new, or a gateway fails."""
    silent_fail: bool = False
    """Keep waiting after errors that would end the wait."""

    def check(self) -> None:
        """Raise PixxelInputError with the name of an argument that can't be used."""
        check_seconds("poke_interval", self.poke_interval)
        check_seconds("timeout", self.timeout)
        check_seconds("max_wait", self.max_wait, optional=True)
        check_seconds("not_found_grace", self.not_found_grace)
        if not 0 <= self.not_found_grace < math.inf:
            raise PixxelInputError("not_found_grace", f"must be 0 or more, not {self.not_found_grace!r}")


@dataclass(frozen=True)
class PollResult:
    """How a wait ended, in JSON types: the payload of the trigger's event."""

    kind: str
    """``succeeded``, ``failed``, ``timed_out`` or ``error``; ``identified``: the job to wait for is known."""
    message: str
    metadata: dict[str, Any] | None = None
    """The job, if it has ended; its ``id`` alone for ``identified``."""
    error: dict[str, Any] | None = None
    """:meth:`PixxelError.fields` of an error."""

    @classmethod
    def from_error(cls, error: PixxelError, metadata: dict[str, Any] | None = None) -> PollResult:
        """Return the result for an error that ends a wait."""
        return cls("error", str(error), metadata=metadata, error=error.fields())

    def exception(self) -> PixxelError:
        """Return the error behind a result of kind ``error``."""
        fields = self.error or {}
        return rebuild({**fields, "message": fields.get("message") or self.message})


_DEFAULT_RULES = StatusRules()


@dataclass(frozen=True)
class Poll(ABC, Generic[T]):
    """What a wait is for: the call to send, its name in messages, and what an answer means.

    A subclass is a frozen dataclass whose fields have JSON types, as the triggerer gets them as JSON.
    """

    asked: ClassVar[str] = "read"
    """The verb of messages, as in "it couldn't be read"."""

    @property
    def unfinished(self) -> str:
        """What messages say about it after a timeout."""
        return "had not ended"

    @property
    def rules(self) -> StatusRules:
        """Which statuses are known."""
        return _DEFAULT_RULES

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages call it."""

    @abstractmethod
    def call(self) -> Call[T]:
        """Return the call to repeat; raises PixxelInputError for ids that can't be sent."""

    @abstractmethod
    def result(self, answer: T) -> PollResult | PixxelError | None:
        """Return the result of the wait, or the error that the answer stands for; None to keep waiting."""

    def explain(self, error: PixxelError) -> PixxelError:
        """Return an error that ends the wait, with a hint if there is one."""
        return error

    def last_seen(self, answer: T) -> str:
        """Return what the message of a timeout says about the last answer."""
        return status_of(answer)

    def news(self, answer: T) -> tuple[object, ...]:
        """Return what is compared to decide whether to log an answer, the status first."""
        return (status_of(answer),)

    def log_news(self, answer: T, seen: str, log: Log, new_status: bool) -> None:
        """Log an answer that differs from the last one.

        :param seen: what :meth:`last_seen` returned.
        :param new_status: whether its status differs.
        """
        status = status_of(answer)
        if self.rules.knows(status):
            log.info(f"{self.name} is {status}")
        else:
            log.warning(f"{self.name} is {status!r}, which isn't known: waiting on")

    def fields(self) -> dict[str, Any]:
        """Return the fields as keyword arguments."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def check(self) -> None:
        """Raise PixxelInputError with the name of an argument that can't be used."""
        self.call()


@dataclass(slots=True)
class PollState:
    """The state of one wait: failures, Retry-After, the grace period, what was logged.

    :param jitter: returns a number from 0 to 1.
    """

    poll: Poll[Any]
    plan: WaitPlan
    log: Log
    jitter: Callable[[], float] = random.random
    retries_soon: bool = True
    """Retry soon after an error. Not in reschedule mode, where each request needs a new process."""
    longest_not_found: float = math.inf
    """Seconds of 404s in a row that end the wait after the grace period, if no process sees a longer row."""
    _last_logged: tuple[object, ...] = field(default=(), init=False)
    _last_seen: str = field(default="", init=False)
    _last_error: str = field(default="", init=False)
    _last_kind: object = field(default=None, init=False)
    _missing: PixxelNotFoundError | None = field(default=None, init=False)
    _missing_since: float | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)
    _retry_after: float = field(default=0.0, init=False)

    def judge(self, answer: Any) -> PollResult | None:
        """Record an answer, or the error in its place; return the result if it ends the wait.

        Transient errors never end a wait. A 404 is only recorded: :meth:`overdue` decides.
        """
        result = answer if isinstance(answer, PixxelError) else self.poll.result(answer)
        if isinstance(result, PixxelError):
            return self._judge_error(result)
        if self._failures:
            self.log.info(f"{self.poll.name} can be {self.poll.asked} again")
        self._missing = self._missing_since = None
        self._failures, self._retry_after = 0, 0.0
        if result is None:
            self._last_error, self._last_kind = "", None
            self._log_news(answer)
        elif result.kind == "error" and self.plan.silent_fail:
            self._last_seen, self._last_logged = self.poll.last_seen(answer), ()
            self._log_error(result.exception())
            return None
        return result

    def _judge_error(self, error: PixxelError) -> PollResult | None:
        self._retry_after = error.retry_after or 0.0
        self._failures += 1
        self._missing = error if isinstance(error, PixxelNotFoundError) else None
        if self._missing is None:
            # Any other answer ends the row of 404s: a server with errors is unreliable about what is missing.
            self._missing_since = None
        # A connection that can't be used stays so: waiting doesn't help.
        silent = self.plan.silent_fail and not isinstance(error, PixxelInputError)
        if error.transient or self._missing or silent:
            self._log_error(error)
            return None
        return PollResult.from_error(self.poll.explain(error))

    def overdue(self, elapsed: float) -> PollResult | None:
        """Return the result if the deadline has passed, or a 404 has lasted for the grace period.

        To be called after each answer that didn't end the wait.
        """
        if elapsed > self.plan.timeout:
            return self.timed_out()
        if self._missing is None or self.plan.silent_fail:
            return None
        if self._missing_since is None:
            self._missing_since = elapsed
        if self.plan.not_found_grace > 0 and self._grace_left(elapsed) >= 0:
            return None
        return PollResult.from_error(self._missing)

    def resume_not_found(self, since: float, elapsed: float) -> None:
        """Continue a row of 404s that began in another process, unless that is too long ago.

        :param since: when it began, in seconds from the wait's start.
        """
        # With silent_fail nothing is decided when the grace period is over.
        if elapsed - since < self.plan.not_found_grace and not self.plan.silent_fail:
            self._missing_since, self._failures = since, 1

    def keeps_worker(self, elapsed: float) -> bool:
        """Return whether this process should send the next request: no other one knows its row of 404s."""
        counts = self._missing is not None and not self.plan.silent_fail
        return counts and self.plan.not_found_grace <= max(self.longest_not_found, elapsed)

    def _grace_left(self, elapsed: float) -> float:
        grace, since = self.plan.not_found_grace, self._missing_since or 0.0
        return max(min(grace, self.longest_not_found) - (elapsed - since), grace - elapsed)

    def timed_out(self, limit: float | None = None) -> PollResult:
        """Return the result of a wait whose deadline has passed.

        :param limit: the timeout in seconds, if it isn't the plan's.
        """
        # Of the last answer only: in reschedule mode nothing older is known.
        last = f"it was {self._last_seen or 'never seen'}."
        if self._last_error:
            unread = f"it couldn't be {self.poll.asked}: {self._last_error}"
            last = unread if self._failures else f"{last} {self._last_error}"
        seconds = plain(self.plan.timeout if limit is None else limit)
        return PollResult(
            "timed_out",
            f"{self.poll.name} {self.poll.unfinished} when the timeout of {seconds} s was over; {last}",
        )

    def next_delay(self, elapsed: float) -> float:
        """Return the seconds to the next request: jittered, after a Retry-After, within the deadline."""
        plan = self.plan
        steady = plan.poke_interval
        if plan.exponential_backoff:
            steady = min(steady + elapsed, max(plan.max_wait or elapsed + steady, SHORTEST_DELAY))
        delay = steady * (_FIXED_PART + (1 - _FIXED_PART) * self.jitter())
        if self._failures and self.retries_soon:
            # 2**30 delays are longer than any timeout, and larger exponents overflow a float.
            delay = min(delay, self.jitter() * _FIRST_RETRY_DELAY * 2.0 ** min(self._failures - 1, 30))
            if self._missing_since is not None:
                # The request that decides comes just after the grace period.
                delay = min(delay, self._grace_left(elapsed) + SHORTEST_DELAY)
        # Each a little later than requested, so that rejected clients don't all return at the same time.
        delay = max(delay, self._retry_after * (1 + self.jitter() / 10), SHORTEST_DELAY)
        return min(delay, self.until_deadline(elapsed))

    def initial_delay(self, until: float | None, now: float, elapsed: float) -> float:
        """Return the seconds to the first request, after a Retry-After that an earlier process received.

        :param until: when it ends, in Unix seconds, like ``now``. Clocks may differ.
        """
        wished = 0.0 if until is None else min(until - now, LONGEST_RETRY_AFTER)
        return max(min(wished, self.plan.timeout - elapsed), 0.0)

    def until_deadline(self, elapsed: float) -> float:
        """Return the seconds until the last request, which comes just after the deadline."""
        return max(self.plan.timeout - elapsed, 0.0) + SHORTEST_DELAY

    def _log_news(self, answer: Any) -> None:
        news = self.poll.news(answer)
        if news != self._last_logged:
            new_status = not self._last_logged or self._last_logged[0] != news[0]
            self._last_seen, self._last_logged = self.poll.last_seen(answer), news
            self.poll.log_news(answer, self._last_seen, self.log, new_status)

    def _log_error(self, error: PixxelError) -> None:
        words = str(error)
        self._last_error = words if words.endswith((".", "!", "?")) else f"{words}."
        # A server's message may contain a request id or a countdown: another text isn't another error.
        kind: object = self._last_error
        if isinstance(error, PixxelApiError):
            kind = (error.status_code, error.code)
        elif isinstance(error, PixxelResponseError):
            kind = type(error)
        if kind != self._last_kind:
            self._last_kind = kind
            self.log.warning(f"{self._last_error} Waiting on.")
