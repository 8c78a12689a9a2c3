"""Get a task instance its one job: create it, find it again, or say that a person has to look."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException

from pixxel_provider.api import calls
from pixxel_provider.api.errors import PixxelApiError, PixxelError, PixxelNotFoundError, PixxelResponseError
from pixxel_provider.api.messages import Log, name_of, status_of
from pixxel_provider.api.retry import RETRY_FOR
from pixxel_provider.api.status import StatusRules, Verdict
from pixxel_provider.job_creation import reconcile
from pixxel_provider.job_creation.checkpoint import ASKING, CREATED, DONE, UNCONFIRMED, Checkpoint, Record
from pixxel_provider.job_creation.cost_limit import Credits, check_estimate
from pixxel_provider.job_creation.reconcile import JobSearch, beyond_doubt

if TYPE_CHECKING:
    from pixxel_provider.api.job import Job
    from pixxel_provider.hooks.pixxel import PixxelHook


class PixxelUnconfirmedJobError(AirflowFailException):
    """Whether a job was created isn't known, and a second one would be billed: a person has to look.

    Airflow doesn't retry the task. Clearing it is the person's word that a new job may be created.
    """


@dataclass
class CreatedJob:
    """The job of a task instance; ``job`` is its answer, where there was one.

    :param read: whether ``job`` was just asked for by its id, as the wait's first look would.
    """

    job_id: str
    job: Job | None = None
    read: bool = False


@dataclass
class JobCreator:
    """The decision whether to create a job, with everything that it depends on.

    :param begun: when the DAG run began; all there is to go by in a retry without a checkpoint.
    :param tell: is told the job's id as soon as it is known.
    :param tell_estimate: is told what Pixxel estimates before that is compared with ``max_cost``.
    """

    hook: PixxelHook
    checkpoint: Checkpoint
    search: JobSearch
    workflow_id: str
    project_id: str
    rules: StatusRules
    log: Log
    tell: Callable[[str], None]
    tell_estimate: Callable[[Credits], None]
    max_cost: Credits | None = None
    durable: bool = True
    begun: datetime | None = None
    asking: bool = field(default=False, init=False)
    """Whether a request to create a job is under way."""
    _estimate: Credits | None = field(default=None, init=False)

    def job(self) -> CreatedJob:
        """Return the one job of this task instance: an earlier try's, or a new one.

        :raises PixxelUnconfirmedJobError: there may be a job, and which one can't be told.
        :raises PixxelCostError: the job would cost more than ``max_cost``.
        :raises PixxelError: the API refused, or couldn't be reached. Where there may be a job all the same,
            the checkpoint says so, and the next try looks for it first.
        """
        try:
            record = self.checkpoint.load()
        except ValueError as error:
            raise self._for_a_person(f"{error}.", _which(None), self._blank()) from None
        if record is None:
            return self._without_a_record()
        if record.workflow_id not in (None, self.workflow_id):
            return self._of_another_workflow(record)
        if record.state == DONE and self.checkpoint.cleared_since(record):
            self.log.info("The task had succeeded and was cleared: a new job is created")
            return self._create(record)
        if record.estimated_cost is not None:
            self._estimate = record.estimated_cost
            self.tell_estimate(record.estimated_cost)
        return self._with(record) if record.job_id else self._in_doubt(record)

    # ------------------------------------------------------------------------------------------ a new job

    def _create(self, before: Record | None = None) -> CreatedJob:
        """Create a job.

        :param before: what an earlier try left.
        """
        self._check_cost()
        began_at = self.search.now()
        listed = self._listed_before()
        earlier = [before.job_id] if before is not None and before.job_id else []
        known = None if listed is None else [*reconcile.worth_remembering(listed, began_at), *earlier]
        if before is not None and not before.job_id:
            # A request is still in doubt, and what appears may have come of that one.
            known = None
        record = replace(
            self._blank(),
            began_at=began_at,
            known=known,
            over_by=self.search.now() + self._longest_request(),
            estimated_cost=self._estimate,
        )
        # From here on, a worker that dies leaves word that there may be a job.
        self.checkpoint.save(record)
        self.asking = True
        try:
            job = self._ask_for_a_new_one({*earlier, *(job.id for job in listed or ())})
        except PixxelError as error:
            if not reconcile.may_have_been_accepted(error):
                self.asking = False
                self.checkpoint.restore(before)
                raise
            self.log.warning(
                f"{error} The job may have been created all the same. It isn't asked for again, which could "
                "be billed twice, but looked for in the workflow's list",
            )
            return self._found(self._look_for(record, str(error), self.search.now()), record)
        self.log.info(f"{name_of(self.workflow_id, job.id)} is created: {status_of(job)}")
        return self._known(record, job)

    def _ask_for_a_new_one(self, there: Collection[str]) -> Job:
        call = calls.create_job(self.workflow_id, self.project_id)
        job = self.hook.send(call)
        if job.id in there:
            raise PixxelResponseError(f"{call}: the answer names job {job.id}, which was there before.")
        return job

    def _longest_request(self) -> float:
        # Tried again for as long as that, and twice where the key is read anew.
        return RETRY_FOR + 2 * self.hook.settings.exchange_timeout

    def _check_cost(self) -> None:
        self._estimate = None
        if self.max_cost is None:
            return
        self._estimate = self.hook.send(calls.estimate_cost(self.workflow_id))
        self.tell_estimate(self._estimate)
        self.log.info(check_estimate(self.workflow_id, self._estimate, self.max_cost))

    def _listed_before(self) -> list[Job] | None:
        try:
            return self.hook.send(calls.list_jobs(self.workflow_id))
        except (PixxelApiError, PixxelResponseError) as error:
            if isinstance(error, PixxelApiError) and not _refuses_the_list(error):
                raise
            self._say_unlisted(error)
            return None

    def _say_unlisted(self, error: PixxelError) -> None:
        words = f"{error} Without the list of jobs, one whose creation is in doubt can't be found again"
        self.log.warning(words)

    def _known(self, record: Record, job: Job) -> CreatedJob:
        self.asking = False
        known = replace(record, state=CREATED, job_id=job.id, estimated_cost=self._estimate)
        self._save(self.checkpoint.stamped(known))
        self.tell(job.id)
        return CreatedJob(job.id, job)

    def _save(self, record: Record) -> None:
        try:
            self.checkpoint.save(record)
        except Exception as error:
            # The job runs and is waited for; only a crash from here on would have to look for it.
            self.log.warning(f"The job couldn't be stored for a next try: {type(error).__name__}: {error}")

    # ------------------------------------------------------------------------------ what an earlier try left

    def _with(self, record: Record) -> CreatedJob:
        job_id = str(record.job_id)
        if record.attempt == self.checkpoint.attempt and not self.checkpoint.cleared_since(record):
            # The same try, after a pause in reschedule mode.
            self.tell(job_id)
            return CreatedJob(job_id)
        cleared = self.checkpoint.cleared_since(record)
        job: Job | None = None
        try:
            # To believe too soon that it is gone would be paid for.
            job = self.search.job(job_id) if cleared else self._read(job_id)
        except PixxelNotFoundError as error:
            if cleared:
                self.log.warning(f"{error} The task was cleared since: a new job is created")
                return self._create(record)
            # The wait decides, as it does for any job.
        if job is not None and record.state != DONE and self._failed(job):
            self.log.warning(f"Job {job_id} of an earlier try failed: a new job is created")
            return self._create(record)
        state = "not found" if job is None else status_of(job)
        self.log.info(f"Taking up job {job_id} of an earlier try, which is {state}: no new one is created")
        self._save(self.checkpoint.stamped(record))
        self.tell(job_id)
        return CreatedJob(job_id, job, read=job is not None)

    def _read(self, job_id: str) -> Job:
        return self.hook.send(calls.get_job(self.workflow_id, job_id))

    def _failed(self, job: Job) -> bool:
        verdict = job.verdict(self.rules)
        return verdict is Verdict.FAILED or bool(job.val_errors and verdict is not Verdict.SUCCEEDED)

    def _in_doubt(self, record: Record) -> CreatedJob:
        told = record.state == UNCONFIRMED
        self.log.info("An earlier try may have created a job: looking for it before anything else")
        if told and self.checkpoint.cleared_since(record):
            found = None
            try:
                found = beyond_doubt(self.search.once(record), record)
            except PixxelApiError as error:
                if not _refuses_the_list(error):
                    raise
                self._say_unlisted(error)
            if found is not None:
                return self._found(found, record)
            self.log.info("The task was cleared since: a new job is created")
            return self._create(record)
        why = "An earlier try ended while it asked Pixxel to create a job."
        return self._found(self._look_for(record, why, record.began_at), record)

    def _of_another_workflow(self, record: Record) -> CreatedJob:
        if self.checkpoint.cleared_since(record):
            self.log.info("The task was cleared since, and runs another workflow: a new job is created")
            return self._create()
        why = f"An earlier try was about workflow {record.workflow_id}."
        raise self._for_a_person(why, f"Its job is {record.job_id}." if record.job_id else "", record)

    def _without_a_record(self) -> CreatedJob:
        if self.checkpoint.lasts or self.checkpoint.first_try or not self.durable:
            return self._create()
        record = replace(self._blank(), began_at=self.begun.timestamp() if self.begun else 0.0)
        found = [job for job in self.search.once(record) if not self._failed(job)]
        if len(found) > 1:
            why = "An earlier try may have created one of several jobs."
            raise self._for_a_person(why, _which(found), record)
        if found:
            return self._found(found[0], record)
        self.log.info("This is a retry, and no job of this run is listed: a new job is created")
        return self._create()

    # ------------------------------------------------------------------------------------------ in doubt

    def _look_for(self, record: Record, why: str, since: float) -> Job:
        """Return the one job that can be ours."""
        finding = self.search.until_settled(record, since)
        found = beyond_doubt(finding.jobs, record)
        if found is not None:
            return found
        trouble = finding.trouble
        if trouble is not None and trouble.transient and self.checkpoint.lasts:
            self.log.warning(f"{why} {trouble} There may be a job: the next try looks for it first")
            raise trouble
        raise self._for_a_person(f"{why} {trouble or ''}".rstrip(), _which(finding.jobs), record)

    def _found(self, job: Job, record: Record) -> CreatedJob:
        self.log.warning(
            f"Adopting {reconcile.describe([job])}: the only job of the workflow that appeared since the "
            "request to create one",
        )
        started = self._known(record, job)
        try:
            # A list has no validation errors.
            return CreatedJob(job.id, self._read(job.id), read=True)
        except PixxelError as error:
            self.log.warning(f"{error} The job is as the list has it")
            return started

    def _for_a_person(self, why: str, which: str, record: Record) -> PixxelUnconfirmedJobError:
        told = " ".join(filter(None, (why, which)))
        words = (
            f"Whether Pixxel created a job of workflow {self.workflow_id} isn't known. {told} No "
            "second job is created, as it could be billed twice. Look at the workflow's jobs in Pixxel's "
            "console; then wait for the right one with PixxelJobSensor, or clear this task to create one."
        )
        # First, as clearing what is stored so counts as the word of somebody who was told.
        self.log.error(words)
        self._save(self.checkpoint.stamped(replace(record, state=UNCONFIRMED)))
        return PixxelUnconfirmedJobError(words)

    def _blank(self) -> Record:
        record = Record(state=ASKING, began_at=self.search.now(), workflow_id=self.workflow_id)
        return self.checkpoint.stamped(record)


def _refuses_the_list(error: PixxelApiError) -> bool:
    """Tell whether the key may create jobs and not list them; 401 and 404 are about more than the list."""
    return not error.transient and error.status_code not in (401, 404)


def _which(found: list[Job] | None) -> str:
    if found is None:
        return "The list of jobs couldn't be had."
    # Newest first: where there are many, the older ones are the less likely.
    return f"It may be one of these: {reconcile.describe(found[::-1])}." if found else "No new job is listed."
