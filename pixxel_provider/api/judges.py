"""What this package waits for: a job's end, a job that has ended, and a package that can be downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import ClassVar

from pixxel_provider.api import calls
from pixxel_provider.api.calls import Call
from pixxel_provider.api.ended_jobs import check_filters, describe_filters, ended_jobs, read_moment
from pixxel_provider.api.errors import (
    PixxelBadRequestError,
    PixxelError,
    PixxelInputError,
    PixxelResponseError,
    PixxelUnknownStatusError,
    rebuild,
)
from pixxel_provider.api.job import Job
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
from pixxel_provider.api.models import Download
from pixxel_provider.api.polling import Poll, PollResult
from pixxel_provider.api.status import FAILURE_WORDS, SUCCESS_WORDS, StatusRules, Verdict, normalise

# The API documents "pending" and "ready"; the others are usual words with the same meanings.
_READY = SUCCESS_WORDS | {"ready"}
# A package that has expired is made again when it is requested.
_FAILED = FAILURE_WORDS - {"expired"}


@dataclass(frozen=True)
class JobPoll(Poll[Job]):
    """Wait until a job has ended."""

    workflow_id: str
    job_id: str
    success_statuses: list[str] | None = None
    failure_statuses: list[str] | None = None

    @property
    def name(self) -> str:
        return name_of(self.workflow_id, self.job_id)

    @cached_property
    def rules(self) -> StatusRules:
        return StatusRules.of(self.success_statuses, self.failure_statuses)

    def call(self) -> Call[Job]:
        return calls.get_job(self.workflow_id, self.job_id)

    def check(self) -> None:
        super().check()
        StatusRules.of(self.success_statuses, self.failure_statuses)

    def has_ended(self, job: Job) -> bool:
        """Return whether a job's status ends the wait."""
        return job.verdict(self.rules) is not Verdict.WAITING

    def result(self, job: Job) -> PollResult | None:
        verdict = job.verdict(self.rules)
        if verdict is Verdict.WAITING:
            return None
        if verdict is Verdict.SUCCEEDED:
            cost = "" if job.cost is None else f", for {plain(job.cost)} credits"
            return PollResult("succeeded", f"{self.name} has ended: {status_of(job)}{cost}", job.metadata())
        if verdict is Verdict.FAILED:
            return PollResult("failed", f"{self.name} failed: {failure_text(job)}", job.metadata())
        error = PixxelUnknownStatusError(
            f"{self.name} has ended in status {status_of(job)!r}, which is neither a success nor a "
            "failure that this package knows; name it in success_statuses or failure_statuses to say what "
            "it means"
        )
        return PollResult.from_error(error, job.metadata())

    def last_seen(self, job: Job) -> str:
        # Without the time left, which is no longer true when this is shown.
        return status_line(job)

    def news(self, job: Job) -> tuple[object, ...]:
        # Sorted: Pixxel doesn't promise an order of tasks, and another order isn't a change.
        running = sorted(task.id for task in job.tasks if is_running(task))
        return normalise(job.status), job.progress, tasks_done(job), running

    def log_news(self, job: Job, seen: str, log: Log, new_status: bool) -> None:
        if new_status and not self.rules.knows(job.status):
            log.warning(f"{self.name} is in status {status_of(job)!r}, which isn't known: waiting on")
        log.info(f"{self.name}: {progress_line(job, seen)}")


@dataclass(frozen=True)
class EndedJobPoll(Poll[list[Job]]):
    """Wait until a workflow's list has a job that ended after a moment.

    The list is a hint: the result, of kind ``identified``, only names the job, for a :class:`JobPoll`.

    :param ended_after: an ISO 8601 time with zone.
    :param created_by: jobs of other users don't count.
    :param statuses: jobs that ended in other statuses don't count.
    """

    workflow_id: str
    ended_after: str
    created_by: str | None = None
    statuses: list[str] | None = None
    success_statuses: list[str] | None = None
    failure_statuses: list[str] | None = None

    @property
    def name(self) -> str:
        return f"The list of jobs of workflow {self.workflow_id}"

    @property
    def unfinished(self) -> str:
        return f"had no job that {self._condition}"

    @cached_property
    def rules(self) -> StatusRules:
        return StatusRules.of(self.success_statuses, self.failure_statuses)

    @cached_property
    def _moment(self) -> datetime:
        return read_moment("ended_after", self.ended_after)

    @property
    def _condition(self) -> str:
        moment = self._moment.isoformat().replace("+00:00", "Z")
        return f"ended after {moment}{describe_filters(self.created_by, self.statuses)}"

    def call(self) -> Call[list[Job]]:
        # Without filters, as triggers share the whole list: every mode sees the same.
        return calls.list_jobs(self.workflow_id)

    def check(self) -> None:
        super().check()
        read_moment("ended_after", self.ended_after)
        check_filters(self.created_by, self.statuses)
        StatusRules.of(self.success_statuses, self.failure_statuses)

    def result(self, jobs: list[Job]) -> PollResult | None:
        ended = ended_jobs(
            jobs, self.rules, after=self._moment, created_by=self.created_by, statuses=self.statuses
        )
        if not ended:
            return None
        _, first = ended[0]
        message = f"{name_of(self.workflow_id, first.id)} is the first listed one that {self._condition}"
        return PollResult("identified", message, {"id": first.id})

    def last_seen(self, jobs: list[Job]) -> str:
        return "empty" if not jobs else f"{len(jobs)} job{'s' if len(jobs) > 1 else ''} long"

    def news(self, jobs: list[Job]) -> tuple[object, ...]:
        return (len(jobs),)

    def log_news(self, jobs: list[Job], seen: str, log: Log, new_status: bool) -> None:
        log.info(f"{self.name} is {seen}; waiting for one that {self._condition}")


@dataclass(frozen=True)
class PackagePoll(Poll[Download]):
    """Wait until a package can be downloaded.

    :param pixxel_task_id: the task that made the package; None for the package of the whole job.
    """

    workflow_id: str
    job_id: str
    pixxel_task_id: str | None = None

    asked: ClassVar[str] = "asked for"
    unfinished: ClassVar[str] = "was not ready"

    @property
    def name(self) -> str:
        task = "" if self.pixxel_task_id is None else f"task {self.pixxel_task_id} of "
        return f"The package of {task}{name_of(self.workflow_id, self.job_id)}"

    def call(self) -> Call[Download]:
        if self.pixxel_task_id is None:
            return calls.download_job(self.workflow_id, self.job_id)
        try:
            return calls.download_task(self.workflow_id, self.job_id, self.pixxel_task_id)
        except PixxelInputError as error:
            # In a DAG, task_id is the id of the Airflow task.
            name = "pixxel_task_id" if error.field == "task_id" else error.field
            raise PixxelInputError(name, error.problem) from None

    def result(self, package: Download) -> PollResult | PixxelError | None:
        status, word = status_of(package), normalise(package.status)
        if is_ready(package):
            return PollResult("succeeded", f"{self.name} is ready")
        if word in _READY:
            return PixxelResponseError(f"{self.name} is {status}, and there is no signed_url")
        failed = f"{self.name} could not be made: Pixxel says it is {status!r}."
        return PixxelError(failed) if word in _FAILED else None

    def explain(self, error: PixxelError) -> PixxelError:
        if not isinstance(error, PixxelBadRequestError):
            return error
        words = error.message if error.message.endswith((".", "!", "?")) else f"{error.message}."
        hint = "Only what a job has made can be downloaded: wait for its end first, with PixxelJobSensor."
        return rebuild({**error.fields(), "message": f"{words} {hint}"})


def is_ready(package: Download) -> bool:
    """Return whether a package can be downloaded."""
    return bool(package.signed_url) and normalise(package.status) in _READY
