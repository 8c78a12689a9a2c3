"""Fetch what a job has made: wait for its package, and put that where it belongs, whole or not at all."""

from __future__ import annotations

import datetime
import math
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from pixxel_provider.api.errors import PixxelError, PixxelInputError, PixxelNotFoundError
from pixxel_provider.api.polling import WaitPlan, check_plan
from pixxel_provider.api.retry import RETRY_FOR
from pixxel_provider.links.pixxel import PixxelJobLink, publish_link
from pixxel_provider.outcome import (
    conclude,
    push_job,
    result_of,
    started_at,
    why_no_result,
    without_causes,
)
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from pixxel_provider.api.models import Download

# What Airflow resumes a task with whose trigger crashed, or never answered.
_TRIGGER_FAILED = "__fail__"
# The trigger keeps the deadline itself; Airflow's comes this many seconds later, if the triggerer is gone.
_SLACK = 120.0
# Airflow can't add more seconds than these to a date.
_LONGEST = datetime.timedelta(days=3650).total_seconds()
# Seconds that are slept at a time: a signal's handler doesn't end a sleep.
_SLEEP = 1.0


class PixxelDownloadJobOperator(BaseOperator):
    """Download the package of a job's files, or of one task's, to a disk or an object store.

    What is at ``destination`` afterwards is the whole package or what was there before. A broken transfer is
    resumed, an expired URL replaced. Where the package is there already, nothing is transferred.

    XCom: ``path``, ``bytes`` and ``sha256`` one by one, ``job_id``, ``workflow_id`` and ``pixxel_conn_id``;
    as ``return_value`` a dict with the first three, ``checked`` (the checksums of the storage host that were
    compared) and ``transferred`` (bytes); with ``unpack`` also ``paths``, ``files``, ``written`` and
    ``unpacked_bytes``, ``path`` then being the folder, ``bytes`` and ``sha256`` the package's. The signed URL
    goes nowhere.

    :param workflow_id: the workflow the job belongs to (templated).
    :param job_id: the job, which has ended (templated).
    :param destination: a path, a URL such as ``s3://bucket/key.zip``, or an ``ObjectStoragePath``; with
        ``unpack`` a folder (templated).
    :param pixxel_task_id: the job's task whose files are wanted, instead of the whole job's (templated). Not
        ``task_id``, which is the id of the Airflow task.
    :param storage_conn_id: id of the Airflow connection for the object store (templated).
    :param pixxel_conn_id: id of the Airflow connection to Pixxel (templated).
    :param unpack: unpack the package, a zip, into the folder ``destination``.
    :param deferrable: wait in the triggerer until the package is ready.
    :param poke_interval: seconds between two looks at the most, 0.5 at the least, jittered.
    :param timeout: seconds from the start of the wait until the package has to be ready, however often the
        task is deferred meanwhile. The transfer has no limit but ``stall_timeout`` and ``execution_timeout``.
    :param not_found_grace: seconds, from the first 404 in a row, during which a 404 doesn't end the wait.
    :param stall_timeout: seconds without a new byte after which the transfer is given up.
    :param max_bytes: refuse a larger package.
    :param max_unpacked_bytes: refuse a package that unpacks to more.
    :param max_ratio: refuse a package, or a member of it, that unpacks to so many times its size.

    :raises PixxelDownloadError: the package couldn't be fetched or written; the subclasses
        ``PixxelAddressError`` and ``PixxelArchiveError`` say that its URL, or what is in it, is refused.
    :raises AirflowSensorTimeout: the package wasn't ready in time; Airflow doesn't retry the task.
    :raises PixxelError: the API refused, or an argument or the connection can't be used.
    """

    template_fields: Sequence[str] = (
        "workflow_id",
        "job_id",
        "pixxel_task_id",
        "destination",
        "storage_conn_id",
        "pixxel_conn_id",
    )
    operator_extra_links = (PixxelJobLink(),)
    ui_color = "#dfe9e2"
    _stopped = False

    def __init__(
        self,
        *,
        workflow_id: str,
        job_id: str,
        destination: Any,
        pixxel_task_id: str | None = None,
        storage_conn_id: str | None = None,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        unpack: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: datetime.timedelta | float = 30.0,
        timeout: datetime.timedelta | float = 3600.0,
        not_found_grace: float = 60.0,
        stall_timeout: datetime.timedelta | float = 300.0,
        max_bytes: int | None = None,
        max_unpacked_bytes: int = 50 * 1024**3,
        max_ratio: float = 200.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_id = workflow_id
        self.job_id = job_id
        self.destination = _rendered_as_text(destination)
        self.pixxel_task_id = pixxel_task_id
        self.storage_conn_id = storage_conn_id
        self.pixxel_conn_id = pixxel_conn_id
        self.unpack = unpack
        self.deferrable = deferrable
        self.poke_interval = poke_interval
        self.timeout = timeout
        self.not_found_grace = not_found_grace
        self.stall_timeout = stall_timeout
        self.max_bytes = max_bytes
        self.max_unpacked_bytes = max_unpacked_bytes
        self.max_ratio = max_ratio

    @without_causes()
    def execute(self, context: Context) -> dict[str, Any]:
        """Wait for the package, fetch it, and say where it is."""
        return self._run(context)

    @without_causes()
    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Take over from the trigger: its event says that the package is ready, and never where."""
        result = result_of(event)
        if result is None:
            self.log.warning("Looking again, on a worker: %s.", why_no_result(event))
        else:
            conclude(result)
        return self._run(context, _passed(context, event))

    @without_causes()
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the trigger; where that broke or never answered, look once more before giving up."""
        if next_method == _TRIGGER_FAILED:
            self._begin(context, _passed(context))
            why = str((next_kwargs or {}).get("error", ""))
            answer = self._ask()
            result = self._poll.judge(answer)
            if result is None and "timeout" in why.lower():
                result = self._poll.timed_out()
            if result is not None:
                conclude(result)
                return self._collect(answer, context)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Stop, and remove what is cancellation: Airflow may end the process before the transfer can.

        Airflow 3 lets the task go on after this. Nothing is written any more, and the next step fails it.
        """
        self._stopped = True
        if hasattr(self, "_collector"):
            self._collector.give_up()

    def _run(self, context: Context, passed: float | None = None) -> dict[str, Any]:
        """Wait, and collect.

        :param passed: seconds of the wait that are over already, where it was resumed.
        """
        begun = time.monotonic() - (passed or 0.0)
        self._begin(context, passed)
        # A package that was ready in time isn't lost to one answer that fails long after.
        answer = self._ask(once=(passed or 0.0) <= self._plan.timeout)
        while True:
            elapsed = time.monotonic() - begun
            result = self._poll.judge(answer) or self._poll.overdue(elapsed)
            if result is not None:
                conclude(result)
                return self._collect(answer, context)
            self._check_stopped()
            if self.deferrable:
                self._defer(elapsed, answer)
            self._rest(self._poll.next_delay(elapsed))
            answer = self._ask()

    def _rest(self, seconds: float) -> None:
        while seconds > 0:
            self._check_stopped()
            time.sleep(min(seconds, _SLEEP))
            seconds -= _SLEEP
        self._check_stopped()

    def _check_stopped(self) -> None:
        from pixxel_provider.download.errors import PixxelDownloadError

        if self._stopped:
            raise PixxelDownloadError("The download was given up, as its task was stopped.")

    def _begin(self, context: Context, passed: float | None = None) -> None:
        # Imported here: a DAG file that is only parsed never needs them.
        from pixxel_provider.download.archive import Limits
        from pixxel_provider.download.collector import Collector
        from pixxel_provider.download.destination import read_destination
        from pixxel_provider.download.package_poll import PackagePoll, request
        from pixxel_provider.hooks.pixxel import PixxelHook

        self._plan = WaitPlan(
            workflow_id=self.workflow_id,
            job_id=self.job_id,
            poke_interval=_number("poke_interval", self.poke_interval, least=0),
            timeout=_number("timeout", self.timeout, least=0),
            not_found_grace=self.not_found_grace,
        )
        check_plan(self._plan)
        self._call = request(self._plan, self.pixxel_task_id)
        self._poll = PackagePoll(self._plan, log=self.log, pixxel_task_id=self.pixxel_task_id)
        self._hook = PixxelHook(self.pixxel_conn_id, monotonic=time.monotonic)
        if passed is not None:
            self._defer_if_unreadable(passed)
        self._place = read_destination(self.destination, self.storage_conn_id, folder=self.unpack)
        limits = Limits(
            int(_number("max_unpacked_bytes", self.max_unpacked_bytes)), _number("max_ratio", self.max_ratio)
        )
        self._collector = Collector(
            settings=self._hook.settings,
            renew=self._renew,
            log=self.log,
            max_bytes=None if self.max_bytes is None else int(_number("max_bytes", self.max_bytes)),
            limits=limits,
            stall_timeout=_number("stall_timeout", self.stall_timeout),
            pause=self._rest,
            monotonic=time.monotonic,
        )
        publish_link(context, self._hook.settings.console_link(self.workflow_id, self.job_id))
        push_job(context, self.workflow_id, self.job_id, self.pixxel_conn_id)

    def _defer_if_unreadable(self, passed: float) -> None:
        from pixxel_provider.hooks.connection_lookup import as_transient

        try:
            self._hook.settings  # noqa: B018
        except PixxelError as error:
            # It could be read when the wait began: its secrets backend may be away for a moment.
            unread = as_transient(error)
            self._poll.judge(unread)
            self._defer(passed, unread)

    def _ask(self, *, once: bool = True) -> Download | PixxelError:
        try:
            # Once: the wait itself decides when to try again.
            return self._hook.send(self._call, retry_for=0 if once else RETRY_FOR)
        except PixxelError as error:
            return error

    def _renew(self) -> str:
        from pixxel_provider.download.errors import PixxelTransferError
        from pixxel_provider.download.package_poll import is_ready

        try:
            found = self._hook.send(self._call, retry_for=0)
        except PixxelNotFoundError as error:
            # A moment's 404 is no reason to throw away what has come; stall_timeout ends a longer one.
            raise PixxelTransferError(str(error)) from None
        if not is_ready(found):
            raise PixxelTransferError("Pixxel doesn't have the package ready any more.")
        return found.signed_url

    def _defer(self, elapsed: float, answer: Download | PixxelError) -> None:
        from pixxel_provider.triggers.package import PixxelPackageTrigger

        now = time.time()
        retry_after = answer.retry_after if isinstance(answer, PixxelError) else None
        self.defer(
            trigger=PixxelPackageTrigger(
                workflow_id=self.workflow_id,
                job_id=self.job_id,
                pixxel_task_id=self.pixxel_task_id,
                pixxel_conn_id=self.pixxel_conn_id,
                poke_interval=self._plan.poke_interval,
                timeout=self._plan.timeout,
                not_found_grace=self._plan.not_found_grace,
                started_at=now - elapsed,
                not_before=now + retry_after if retry_after else None,
                missing_since=now if isinstance(answer, PixxelNotFoundError) else None,
            ),
            method_name="execute_complete",
            timeout=datetime.timedelta(seconds=min(self._poll.until_deadline(elapsed) + _SLACK, _LONGEST)),
        )

    def _collect(self, answer: Any, context: Context) -> dict[str, Any]:
        self._check_stopped()
        # Its proxy and certificates may have been mended during the wait.
        self._collector.settings = self._hook.settings
        collect = self._collector.into_folder if self.unpack else self._collector.into_file
        try:
            found = collect(answer.signed_url, self._place)
        finally:
            self._hook.close()
        for key in ("path", "bytes", "sha256"):
            context["ti"].xcom_push(key=key, value=found[key])
        self._check_stopped()
        return found


def _passed(context: Context, event: Any = None) -> float:
    """Return the seconds since the wait began, by the trigger's event or else by the task's own start."""
    began = started_at(event)
    if began is None and isinstance(start := getattr(context["ti"], "start_date", None), datetime.datetime):
        began = start.timestamp()
    return 0.0 if began is None else max(time.time() - began, 0.0)


def _rendered_as_text(destination: Any) -> Any:
    """Return a path as text, in which Airflow renders templates, as it does in an ``ObjectStoragePath``."""
    is_path = isinstance(destination, os.PathLike) and not getattr(destination, "protocol", "")
    return os.fsdecode(destination) if is_path else destination


def _number(name: str, value: Any, *, least: float | None = None) -> float:
    """Return seconds, bytes or a ratio as a number.

    :raises PixxelInputError: it isn't one, or is too small.
    """
    found = value.total_seconds() if isinstance(value, datetime.timedelta) else value
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
        raise PixxelInputError(name, f"must be a number, not {value!r}")
    if found < least if least is not None else found <= 0:
        allowed = "above 0" if least is None else f"{least:g} or more"
        raise PixxelInputError(name, f"must be {allowed}, not {value!r}")
    return float(found)
