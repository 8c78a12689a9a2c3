"""One wait for one job: what an answer means, what the time means, and when to look again.

The sensor's poke and the trigger both ask this; it neither sleeps nor reads a clock.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pixxel_provider.api.errors import (
    PixxelApiError,
    PixxelError,
    PixxelInputError,
    PixxelNotFoundError,
    PixxelResponseError,
    PixxelUnknownStatusError,
    rebuild,
)
from pixxel_provider.api.messages import (
    Log,
    failure_text,
    is_running,
    name_of,
    plain,
    progress_line,
    status_line,
    status_of,
    tasks_done,
)
from pixxel_provider.api.retry import LONGEST_RETRY_AFTER
from pixxel_provider.api.status import StatusRules, Verdict, normalise

if TYPE_CHECKING:
    from pixxel_provider.api.job import Job

#: The shortest gap between two looks, in seconds, whatever ``poke_interval`` says.
SHORTEST_DELAY = 0.5
#: The longest gap after the first of several failed looks, in seconds; it doubles with each.
_FIRST_RETRY_DELAY = 2.0
#: A gap is this part of the interval at least; the rest is jitter.
_FIXED_PART = 0.8


@dataclass(frozen=True)
class WaitPlan:
    """What a wait was asked to do. Only JSON types, so that it travels into the triggerer as it is."""

    workflow_id: str
    job_id: str
    success_statuses: list[str] | None = None
    failure_statuses: list[str] | None = None
    poke_interval: float = 30.0
    """Seconds; the longest gap between two looks."""
    timeout: float = 7 * 24 * 3600.0
    """Seconds from the wait's start."""
    exponential_backoff: bool = False
    """Let the gap grow with the time waited: it is the interval plus what has passed, up to ``max_wait``."""
    max_wait: float | None = None
    """Seconds; the longest gap with ``exponential_backoff``."""
    not_found_grace: float = 60.0
    """Seconds, from the first 404 in a row, that a job may be missing: it may be new, or a gateway astray."""
    silent_fail: bool = False
    """Go on waiting after errors that would end the wait."""

    def fields(self) -> dict[str, Any]:
        """Return the plan as keyword arguments."""
        return asdict(self)


@dataclass(frozen=True)
class PollResult:
    """How a wait ended, in JSON types: it is what the trigger's event carries."""

    kind: str
    """``succeeded``, ``failed``, ``timed_out`` or ``error``."""
    message: str
    metadata: dict[str, Any] | None = None
    """The job, where it has ended."""
    error: dict[str, Any] | None = None
    """:meth:`PixxelError.fields` of an error."""

    @classmethod
    def from_error(cls, error: PixxelError, metadata: dict[str, Any] | None = None) -> PollResult:
        """Return the result that an error makes."""
        return cls("error", str(error), metadata=metadata, error=error.fields())

    def exception(self) -> PixxelError:
        """Return the error behind an result of kind ``error``."""
        return rebuild(self.error or {"message": self.message})


@dataclass
class PollState:
    """The memory of one wait: what it saw last, and what it has said.

    :param log: where it is logged.; called only when there is
        news.
    :param jitter: a source of jitter, from 0 to 1.
    """

    plan: WaitPlan
    log: Log
    jitter: Callable[[], float] = random.random
    retries_soon: bool = True
    """Look again soon after trouble. Not in reschedule mode, where each look is a new process."""
    longest_not_found: float = math.inf
    """Seconds of 404s in a row that end the wait after the grace, where nobody remembers a longer row."""
    _rules: StatusRules = field(init=False)
    _last_logged: tuple[object, ...] = field(default=(), init=False)
    _last_status: str = field(default="", init=False)
    _last_error: str = field(default="", init=False)
    _last_kind: object = field(default=None, init=False)
    _missing: PixxelNotFoundError | None = field(default=None, init=False)
    _missing_since: float | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)
    _retry_after: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._rules = StatusRules.of(self.plan.success_statuses, self.plan.failure_statuses)

    def judge(self, answer: Job | PixxelError) -> PollResult | None:
        """Take in what a look at the job gave; return the result if that is one.

        Trouble that may pass never ends a wait. A missing job is kept in mind: :meth:`overdue` decides.
        """
        if not isinstance(answer, PixxelError):
            return self._job(answer)
        self._retry_after = answer.retry_after or 0.0
        self._failures += 1
        self._missing = answer if isinstance(answer, PixxelNotFoundError) else None
        if self._missing is None:
            # Any other answer ends the row: a server in trouble isn't to be believed about what is missing.
            self._missing_since = None
        # A connection that can't be used stays so, and waiting for it is no service to anybody.
        silent = self.plan.silent_fail and not isinstance(answer, PixxelInputError)
        if answer.transient or self._missing or silent:
            self._log_error(answer)
            return None
        return PollResult.from_error(answer)

    def has_ended(self, job: Job) -> bool:
        """Tell whether a job's status isn't one to wait on, by the rules of this wait."""
        return job.verdict(self._rules) is not Verdict.WAITING

    def overdue(self, elapsed: float) -> PollResult | None:
        """Return the result that time brings: the deadline, or a job that was missing for the grace.

        To be asked after each look that didn't end the wait.
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
        """Take up a row of 404s that another process saw begin, unless that is too long ago to be the same.

        :param since: the seconds that had been waited when it began.
        """
        if elapsed - since < self.plan.not_found_grace:
            self._missing_since, self._failures = since, 1

    def keeps_worker(self, elapsed: float) -> bool:
        """Tell whether the next look had better be this process's: no other one knows of its row of 404s."""
        counts = self._missing is not None and not self.plan.silent_fail
        return counts and self.plan.not_found_grace <= max(self.longest_not_found, elapsed)

    def _grace_left(self, elapsed: float) -> float:
        grace, since = self.plan.not_found_grace, self._missing_since or 0.0
        return max(min(grace, self.longest_not_found) - (elapsed - since), grace - elapsed)

    def timed_out(self, limit: float | None = None) -> PollResult:
        """Return the result of a wait whose deadline has passed.

        :param limit: the seconds that were over, where they weren't the plan's.
        """
        # Of the last look only: in reschedule mode nothing older is remembered.
        last = f"it was {self._last_status or 'never seen'}."
        if self._last_error:
            last = (
                f"it couldn't be read: {self._last_error}" if self._failures else f"{last} {self._last_error}"
            )
        return PollResult(
            "timed_out",
            f"{self._name()} had not ended when the timeout of "
            f"{plain(self.plan.timeout if limit is None else limit)} s was over; {last}",
        )

    def next_delay(self, elapsed: float) -> float:
        """Return the seconds to the next look: jittered, at the server's Retry-After, within the deadline."""
        plan = self.plan
        steady = plan.poke_interval
        if plan.exponential_backoff:
            steady = min(steady + elapsed, max(plan.max_wait or elapsed + steady, SHORTEST_DELAY))
        gap = steady * (_FIXED_PART + (1 - _FIXED_PART) * self.jitter())
        if self._failures and self.retries_soon:
            # 2**30 gaps are beyond any deadline, and beyond it floats lose the doubling.
            gap = min(gap, self.jitter() * _FIRST_RETRY_DELAY * 2.0 ** min(self._failures - 1, 30))
            if self._missing_since is not None:
                # The look that decides comes just after the grace.
                gap = min(gap, self._grace_left(elapsed) + SHORTEST_DELAY)
        # A little later than asked, each by another bit: those who were turned away together don't return so.
        gap = max(gap, self._retry_after * (1 + self.jitter() / 10), SHORTEST_DELAY)
        return min(gap, self.until_deadline(elapsed))

    def initial_delay(self, until: float | None, now: float, elapsed: float) -> float:
        """Return for how many seconds nothing may be asked, as a server told the process that waited before.

        :param until: the moment that it named, in Unix seconds, like ``now``. Clocks may differ.
        """
        wished = 0.0 if until is None else min(until - now, LONGEST_RETRY_AFTER)
        return max(min(wished, self.plan.timeout - elapsed), 0.0)

    def until_deadline(self, elapsed: float) -> float:
        """Return the seconds until the last look, which comes just after the deadline."""
        return max(self.plan.timeout - elapsed, 0.0) + SHORTEST_DELAY

    def _is_back(self, words: str) -> None:
        if self._failures:
            self.log.info(f"{self._name()} {words}")
        self._missing = self._missing_since = None
        self._failures, self._retry_after = 0, 0.0

    def _job(self, job: Job) -> PollResult | None:
        self._is_back("can be read again")
        verdict = job.verdict(self._rules)
        if verdict is Verdict.WAITING:
            self._last_error, self._last_kind = "", None
            self._log_progress(job)
            return None
        if verdict is Verdict.SUCCEEDED:
            cost = "" if job.cost is None else f", for {plain(job.cost)} credits"
            return PollResult(
                "succeeded", f"{self._name()} has ended: {status_of(job)}{cost}", job.metadata()
            )
        if verdict is Verdict.FAILED:
            return PollResult("failed", f"{self._name()} failed: {failure_text(job)}", job.metadata())
        return self._unclear(job)

    def _unclear(self, job: Job) -> PollResult | None:
        error = PixxelUnknownStatusError(
            f"{self._name()} has ended in status {status_of(job)!r}, which is neither a success nor a "
            "failure that this package knows; name it in success_statuses or failure_statuses to say what "
            "it means"
        )
        if self.plan.silent_fail:
            self._last_status, self._last_logged = status_line(job), ()
            self._log_error(error)
            return None
        return PollResult.from_error(error, job.metadata())

    def _log_progress(self, job: Job) -> None:
        # Sorted: the order of tasks isn't promised, and another one is no news.
        running = sorted(task.id for task in job.tasks if is_running(task))
        news = (normalise(job.status), job.progress, tasks_done(job), running)
        if news == self._last_logged:
            return
        # Without the time left, which is another one by the time this is told.
        self._last_status = status_line(job)
        if not self._rules.knows(job.status) and (not self._last_logged or self._last_logged[0] != news[0]):
            status = status_of(job)
            self.log.warning(f"{self._name()} is in status {status!r}, which nobody knows: waiting on")
        self._last_logged = news
        self.log.info(f"{self._name()}: {progress_line(job)}")

    def _log_error(self, trouble: PixxelError) -> None:
        words = str(trouble)
        self._last_error = words if words.endswith((".", "!", "?")) else f"{words}."
        # A server's words may name a request or count seconds down: they are another each time, and no news.
        kind: object = self._last_error
        if isinstance(trouble, PixxelApiError):
            kind = (trouble.status_code, trouble.code)
        elif isinstance(trouble, PixxelResponseError):
            kind = type(trouble)
        if kind != self._last_kind:
            self._last_kind = kind
            self.log.warning(f"{self._last_error} Waiting on.")

    def _name(self) -> str:
        return name_of(self.plan.workflow_id, self.plan.job_id)


def check_plan(plan: WaitPlan) -> None:
    """Check everything of a plan that can be wrong before anything is asked.

    :raises PixxelInputError: with the name of the argument.
    """
    from pixxel_provider.api.calls import get_job

    get_job(plan.workflow_id, plan.job_id)
    StatusRules.of(plan.success_statuses, plan.failure_statuses)
    grace: object = plan.not_found_grace
    if isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0 <= grace < float("inf"):
        raise PixxelInputError(
            "not_found_grace", f"must be a number of seconds, not {plan.not_found_grace!r}"
        )
