"""One wait for one package: what Pixxel's answer to a request for a download means, and when to ask again.

On a worker as in the triggerer; it neither sleeps nor reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pixxel_provider.api import calls
from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import (
    PixxelBadRequestError,
    PixxelError,
    PixxelInputError,
    PixxelResponseError,
)
from pixxel_provider.api.messages import name_of, plain, status_of
from pixxel_provider.api.models import Download
from pixxel_provider.api.polling import PollResult, PollState, WaitPlan
from pixxel_provider.api.status import FAILURE_WORDS, SUCCESS_WORDS, WAITING_WORDS, normalise

# The API documents "pending" and "ready"; the rest are usual words for the same things.
_READY = SUCCESS_WORDS | {"ready"}
# A package that has expired is made again for whoever asks.
_FAILED = FAILURE_WORDS - {"expired"}


def request(plan: WaitPlan, pixxel_task_id: str | None) -> Call[Download]:
    """Return the call that asks for a package; it may be repeated.

    :raises PixxelInputError: an id can't be one.
    """
    if pixxel_task_id is None:
        return calls.download_job(plan.workflow_id, plan.job_id)
    try:
        return calls.download_task(plan.workflow_id, plan.job_id, pixxel_task_id)
    except PixxelInputError as error:
        # What Pixxel calls task_id has another name in a DAG, where that is the Airflow task's.
        name = "pixxel_task_id" if error.field == "task_id" else error.field
        raise PixxelInputError(name, error.problem) from None


@dataclass
class PackagePoll(PollState):
    """The memory of one wait for a package.

    :param pixxel_task_id: the task whose package it is; None for the whole job's.
    """

    pixxel_task_id: str | None = None
    _status: str = field(default="", init=False)

    def judge(self, answer: Any) -> PollResult | None:
        """Take in what a request for the package gave; return the result if that is one."""
        if isinstance(answer, PixxelBadRequestError):
            hint = "Only what a job has made can be downloaded: wait for its end first, with PixxelJobSensor."
            fields = answer.fields()
            words = str(fields["message"])
            fields["message"] = f"{words if words.endswith(('.', '!', '?')) else words + '.'} {hint}"
            return PollResult("error", str(answer), error=fields)
        return super().judge(answer)

    def timed_out(self, limit: float | None = None) -> PollResult:
        """Return the result of a wait whose deadline has passed."""
        last = f"it was {self._status or 'never seen'}."
        if self._last_error and self._failures:
            last = f"it couldn't be asked for: {self._last_error}"
        seconds = plain(self.plan.timeout if limit is None else limit)
        return PollResult(
            "timed_out", f"{self._name()} was not ready when the timeout of {seconds} s was over; {last}"
        )

    def _job(self, answer: Any) -> PollResult | None:
        status, word = status_of(answer), normalise(answer.status)
        if word in _READY and not answer.signed_url:
            return super().judge(
                PixxelResponseError(f"{self._name()} is {status}, and there is no signed_url")
            )
        self._is_back("can be asked for again")
        self._last_error, self._last_kind = "", None
        if is_ready(answer):
            return PollResult("succeeded", f"{self._name()} is ready")
        if word in _FAILED:
            return PollResult.from_error(
                PixxelError(f"{self._name()} could not be made: Pixxel says it is {status!r}.")
            )
        if status != self._status:
            self._status = status
            if word in WAITING_WORDS | {"expired"}:
                self.log.info(f"{self._name()} is {status}")
            else:
                self.log.warning(f"{self._name()} is {status!r}, which nobody knows: waiting on")
        return None

    def _name(self) -> str:
        task = "" if self.pixxel_task_id is None else f"task {self.pixxel_task_id} of "
        return f"The package of {task}{name_of(self.plan.workflow_id, self.plan.job_id)}"


def is_ready(download: Download) -> bool:
    """Tell whether a package can be fetched."""
    return bool(download.signed_url) and normalise(download.status) in _READY
