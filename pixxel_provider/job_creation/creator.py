"""Get a task instance its one job. :data:`TRANSITIONS` is the whole decision; the methods carry it out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
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


class Action(Enum):
    """What a try does to get its job. A new job is billed, and every other way comes before it."""

    CREATE = "create a job"
    RESUME = "take the recorded job, without a request"
    READ = "take the recorded job, unless it failed before the task had succeeded: then create one"
    CONFIRM = "the same, but create one as well if that job is missing for the whole grace period"
    SEARCH = "search the list for the job; if it stays unknown, ask a person"
    SEARCH_ONCE = "request the list once; if it doesn't show the job, create one"
    SEARCH_RUN = "take the one job listed since the DAG run began; if there are several, ask a person"
    ASK = "ask a person to check"


# What a try finds, beside the four states of a record.
NOTHING = "no record, and no earlier request"
UNRECORDED = "no record, as an earlier try could store none"
UNREADABLE = "a record that this version can't read"
OTHER_WORKFLOW = "a record about another workflow"

#: By what a try finds, what it does if that is its own (each poll of reschedule mode is another process),
#: if it is an earlier try's, and if a person has cleared the task since.
TRANSITIONS: dict[str, tuple[Action, Action, Action]] = {
    NOTHING: (Action.CREATE, Action.CREATE, Action.CREATE),
    UNRECORDED: (Action.SEARCH_RUN, Action.SEARCH_RUN, Action.SEARCH_RUN),
    UNREADABLE: (Action.ASK, Action.ASK, Action.ASK),
    OTHER_WORKFLOW: (Action.ASK, Action.ASK, Action.CREATE),
    ASKING: (Action.SEARCH, Action.SEARCH, Action.SEARCH),
    UNCONFIRMED: (Action.SEARCH, Action.SEARCH, Action.SEARCH_ONCE),
    CREATED: (Action.RESUME, Action.READ, Action.CONFIRM),
    DONE: (Action.RESUME, Action.READ, Action.CREATE),
}

_CLEARED = {
    DONE: "The task had succeeded and was cleared",
    OTHER_WORKFLOW: "The task was cleared since, and runs another workflow",
}


class PixxelUnconfirmedJobError(AirflowFailException):
    """It isn't known whether a job was created, and a second one would be billed: a person has to check.

    Airflow doesn't retry the task. By clearing it, a person confirms that a new job may be created.
    """


@dataclass
class CreatedJob:
    """The job of a task instance; ``job`` is the API's answer, if there was one.

    :param read: whether ``job`` was just read by its id, as the wait's first poll would.
    """

    job_id: str
    job: Job | None = None
    read: bool = False


@dataclass
class JobCreator:
    """Carries out :data:`TRANSITIONS`.

    :param begun: when the DAG run began; all that a retry without a checkpoint can use.
    :param publish: called with the job's id as soon as it is known.
    :param publish_estimate: called with Pixxel's estimate before that is compared with ``max_cost``.
    """

    hook: PixxelHook
    checkpoint: Checkpoint
    search: JobSearch
    workflow_id: str
    project_id: str
    rules: StatusRules
    log: Log
    publish: Callable[[str], None]
    publish_estimate: Callable[[Credits], None]
    max_cost: Credits | None = None
    durable: bool = True
    begun: datetime | None = None
    asking: bool = field(default=False, init=False)
    """Whether a request to create a job is in progress."""
    _estimate: Credits | None = field(default=None, init=False)

    def job(self) -> CreatedJob:
        """Return the one job of this task instance: an earlier try's, or a new one.

        :raises PixxelUnconfirmedJobError: there may be a job, and it isn't known which.
        :raises PixxelCostError: the job would cost more than ``max_cost``.
        :raises PixxelError: the API refused, or couldn't be reached. If there may be a job all the same,
            the checkpoint has it, and the next try searches for it first.
        """
        state, record = self._state()
        cleared = self.checkpoint.cleared_since(record)
        action = TRANSITIONS[state][2 if cleared else record.attempt != self.checkpoint.attempt]
        if action is Action.CREATE:
            if cleared:
                self.log.info(f"{_CLEARED[state]}: a new job is created")
            return self._create(record if state == DONE else None)
        if action is Action.SEARCH_RUN:
            return self._search_run(record)
        if action is Action.ASK:
            raise self._not_readable(state, record)
        if record.estimated_cost is not None:
            self._estimate = record.estimated_cost
            self.publish_estimate(record.estimated_cost)
        if action in (Action.SEARCH, Action.SEARCH_ONCE):
            self.log.info("An earlier try may have created a job: searching for it first")
            return self._search(record) if action is Action.SEARCH else self._search_once(record)
        return self._take(record, action)

    def _state(self) -> tuple[str, Record]:
        """Return what this try finds, and the record; a blank one of this try where there is none."""
        try:
            record = self.checkpoint.load()
        except ValueError:
            return UNREADABLE, self._blank()
        if record is None:
            known = self.checkpoint.lasts or self.checkpoint.first_try or not self.durable
            return NOTHING if known else UNRECORDED, self._blank()
        if record.workflow_id not in (None, self.workflow_id):
            return OTHER_WORKFLOW, record
        # A person who was asked about another workflow's job may have put the workflow back.
        return CREATED if record.job_id and record.state != DONE else record.state, record

    # ------------------------------------------------------------------------------------------ a new job

    def _create(self, before: Record | None = None) -> CreatedJob:
        """Create a job.

        :param before: the checkpoint of an earlier try.
        """
        self._check_cost()
        began_at = self.search.clock.time()
        listed = self._listed_before()
        earlier = [before.job_id] if before is not None and before.job_id else []
        known = None if listed is None else [*reconcile.worth_remembering(listed, began_at), *earlier]
        if before is not None and not before.job_id:
            # An earlier request is still in doubt, and a new job in the list may be its result.
            known = None
        # Retried for as long as that, and sent twice if the key is read again.
        longest = RETRY_FOR + 2 * self.hook.settings.exchange_timeout
        record = replace(
            self._blank(),
            began_at=began_at,
            known=known,
            over_by=self.search.clock.time() + longest,
            estimated_cost=self._estimate,
        )
        # From here on, a worker that dies leaves a checkpoint that there may be a job.
        self.checkpoint.save(record)
        self.asking = True
        try:
            job = self._send_request({*earlier, *(job.id for job in listed or ())})
        except PixxelError as error:
            if not reconcile.may_have_been_accepted(error):
                self.asking = False
                self.checkpoint.restore(before)
                raise
            self.log.warning(
                f"{error} The job may have been created all the same. The request isn't sent again, as it "
                "could be billed twice; the job is searched for in the workflow's list",
            )
            return self._adopt(self._settle(record, str(error), self.search.clock.time()), record)
        self.log.info(f"{name_of(self.workflow_id, job.id)} is created: {status_of(job)}")
        return self._created(record, job)

    def _send_request(self, listed: Collection[str]) -> Job:
        call = calls.create_job(self.workflow_id, self.project_id)
        job = self.hook.send(call)
        if job.id in listed:
            raise PixxelResponseError(f"{call}: the answer names job {job.id}, which existed before.")
        return job

    def _check_cost(self) -> None:
        self._estimate = None
        if self.max_cost is None:
            return
        self._estimate = self.hook.send(calls.estimate_cost(self.workflow_id))
        self.publish_estimate(self._estimate)
        self.log.info(check_estimate(self.workflow_id, self._estimate, self.max_cost))

    def _listed_before(self) -> list[Job] | None:
        try:
            return self.hook.send(calls.list_jobs(self.workflow_id))
        except (PixxelApiError, PixxelResponseError) as error:
            if isinstance(error, PixxelApiError) and not reconcile.refuses_the_list(error):
                raise
            self._log_without_list(error)
            return None

    def _log_without_list(self, error: PixxelError) -> None:
        self.log.warning(f"{error} Without the list of jobs, a job whose answer is lost can't be found")

    def _created(self, record: Record, job: Job) -> CreatedJob:
        self.asking = False
        known = replace(record, state=CREATED, job_id=job.id, estimated_cost=self._estimate)
        self._save(self.checkpoint.stamped(known))
        self.publish(job.id)
        return CreatedJob(job.id, job)

    def _save(self, record: Record) -> None:
        try:
            self.checkpoint.save(record)
        except Exception as error:
            # The job runs and is waited for; only after a crash would it have to be searched for.
            self.log.warning(f"The job couldn't be stored for the next try: {type(error).__name__}: {error}")

    # ------------------------------------------------------------------------------ what an earlier try left

    def _take(self, record: Record, action: Action) -> CreatedJob:
        job_id = str(record.job_id)
        if action is Action.RESUME:
            self.publish(job_id)
            return CreatedJob(job_id)
        job: Job | None = None
        try:
            # Treating it as gone too soon would cost a second bill.
            job = self.search.job(job_id) if action is Action.CONFIRM else self._read(job_id)
        except PixxelNotFoundError as error:
            if action is Action.CONFIRM:
                self.log.warning(f"{error} The task was cleared since: a new job is created")
                return self._create(record)
            # The wait decides, as it does for any job.
        if job is not None and record.state != DONE and self._failed(job):
            self.log.warning(f"Job {job_id} of an earlier try failed: a new job is created")
            return self._create(record)
        state = "not found" if job is None else status_of(job)
        self.log.info(f"Resuming job {job_id} of an earlier try, which is {state}: no new one is created")
        self._save(self.checkpoint.stamped(record))
        self.publish(job_id)
        return CreatedJob(job_id, job, read=job is not None)

    def _read(self, job_id: str) -> Job:
        return self.hook.send(calls.get_job(self.workflow_id, job_id))

    def _failed(self, job: Job) -> bool:
        verdict = job.verdict(self.rules)
        return verdict is Verdict.FAILED or bool(job.val_errors and verdict is not Verdict.SUCCEEDED)

    def _search(self, record: Record) -> CreatedJob:
        why = "An earlier try ended during its request to create a job."
        return self._adopt(self._settle(record, why, record.began_at), record)

    def _search_once(self, record: Record) -> CreatedJob:
        job = None
        try:
            job = beyond_doubt(self.search.once(record), record)
        except PixxelApiError as error:
            if not reconcile.refuses_the_list(error):
                raise
            self._log_without_list(error)
        if job is not None:
            return self._adopt(job, record)
        self.log.info("The task was cleared since: a new job is created")
        return self._create(record)

    def _search_run(self, record: Record) -> CreatedJob:
        record = replace(record, began_at=self.begun.timestamp() if self.begun else 0.0)
        listed = [job for job in self.search.once(record) if not self._failed(job)]
        if len(listed) > 1:
            why = "An earlier try may have created one of several jobs."
            raise self._for_a_person(why, reconcile.possible(listed), record)
        if listed:
            return self._adopt(listed[0], record)
        self.log.info("This is a retry, and no job of this run is listed: a new job is created")
        return self._create()

    def _settle(self, record: Record, why: str, since: float) -> Job:
        """Return the one job that can be of the record's request, as soon as that is known.

        :param since: when the grace period began, in Unix seconds.
        """
        match = self.search.until_settled(record, since)
        job = beyond_doubt(match.jobs, record)
        if job is not None:
            return job
        error = match.error
        if error is not None and error.transient and self.checkpoint.lasts:
            self.log.warning(f"{why} {error} There may be a job: the next try searches for it first")
            raise error
        raise self._for_a_person(f"{why} {error or ''}".rstrip(), reconcile.possible(match.jobs), record)

    def _adopt(self, job: Job, record: Record) -> CreatedJob:
        self.log.warning(
            f"Adopting {reconcile.describe([job])}: the only job of the workflow that appeared since the "
            "request to create one",
        )
        created = self._created(record, job)
        try:
            # A list has no validation errors.
            return CreatedJob(job.id, self._read(job.id), read=True)
        except PixxelError as error:
            self.log.warning(f"{error} The job is used as the list has it")
            return created

    # ------------------------------------------------------------------------------------------ for a person

    def _not_readable(self, state: str, record: Record) -> PixxelUnconfirmedJobError:
        if state == UNREADABLE:
            why = "The task's stored record isn't one that this version can read."
            return self._for_a_person(why, reconcile.possible(None), record)
        why = f"An earlier try was about workflow {record.workflow_id}."
        return self._for_a_person(why, f"Its job is {record.job_id}." if record.job_id else "", record)

    def _for_a_person(self, why: str, which: str, record: Record) -> PixxelUnconfirmedJobError:
        reasons = " ".join(filter(None, (why, which)))
        words = (
            f"It isn't known whether Pixxel created a job of workflow {self.workflow_id}. {reasons} No "
            "second job is created, as it could be billed twice. Check the workflow's jobs in Pixxel's "
            "console; then wait for the right one with PixxelJobSensor, or clear this task to create one."
        )
        # First, because a clearing after this is stored counts as a person's confirmation.
        self.log.error(words)
        self._save(self.checkpoint.stamped(replace(record, state=UNCONFIRMED)))
        return PixxelUnconfirmedJobError(words)

    def _blank(self) -> Record:
        record = Record(state=ASKING, began_at=self.search.clock.time(), workflow_id=self.workflow_id)
        return self.checkpoint.stamped(record)
