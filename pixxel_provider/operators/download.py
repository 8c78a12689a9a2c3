"""Download the results of a job: wait for its package, and store it completely or not at all."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from pixxel_provider.api.errors import PixxelInputError, PixxelNotFoundError
from pixxel_provider.api.polling import PollResult, WaitPlan
from pixxel_provider.download.cancellation import Cancellation
from pixxel_provider.download.errors import PixxelTransferError
from pixxel_provider.outcome import conclude, without_causes
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID
from pixxel_provider.waiting.base import JobMixin
from pixxel_provider.xcom import PACKAGE_KEYS, push

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import OutputDataset
    from airflow.providers.common.compat.sdk import Context

    from pixxel_provider.api.judges import PackagePoll
    from pixxel_provider.download.archive import Member


class PixxelDownloadJobOperator(JobMixin, BaseOperator):
    """Download the package of a job's files, or of one task's, to a disk or an object store.

    ``destination`` then holds the whole package or what was there before. A broken transfer is
    resumed, an expired URL replaced. If the package is already there, nothing is transferred.

    XCom: ``path``, ``bytes`` and ``sha256`` one by one, ``job_id``, ``workflow_id`` and ``pixxel_conn_id``;
    as ``return_value`` a dict with the first three, ``checked`` (the checksums of the storage host that were
    compared) and ``transferred`` (bytes); with ``unpack`` also ``paths``, ``files``, ``written`` and
    ``unpacked_bytes``, ``path`` then being the folder, ``bytes`` and ``sha256`` the package's. The signed URL
    is never stored or shown.

    :param workflow_id: the workflow the job belongs to (templated).
    :param job_id: the job, which has ended (templated).
    :param destination: a path, a URL such as ``s3://bucket/key.zip``, or an ``ObjectStoragePath``; with
        ``unpack`` a folder (templated).
    :param pixxel_task_id: download the files of this task of the job, not the whole job's (templated). Not
        ``task_id``, which is the id of the Airflow task.
    :param storage_conn_id: id of the Airflow connection for the object store (templated).
    :param pixxel_conn_id: id of the Airflow connection to Pixxel (templated).
    :param unpack: unpack the package, a zip, into the folder ``destination``.
    :param deferrable: wait in the triggerer until the package is ready.
    :param poke_interval: the longest time between two polls in seconds, with jitter; at least 0.5.
    :param timeout: seconds from the start of the wait until the package has to be ready, however often the
        task is deferred meanwhile. The transfer has no limit but ``stall_timeout`` and ``execution_timeout``.
    :param not_found_grace: seconds, from the first 404 in a row, during which a 404 doesn't end the wait.
    :param stall_timeout: seconds without a new byte after which the transfer fails.
    :param max_bytes: refuse a larger package.
    :param max_unpacked_bytes: refuse a package that unpacks to more.
    :param max_ratio: refuse a package, or a member, that unpacks to more than this multiple of its size.

    :raises PixxelDownloadError: the package couldn't be downloaded or written; the subclasses
        ``PixxelAddressError`` and ``PixxelArchiveError`` mean that its URL or its content is refused.
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
    ui_color = "#dfe9e2"
    needs_answer = True

    # What was stored, and the members of an unpacked package.
    _stored: dict[str, Any] | None = None
    _members: Sequence[Member] = ()

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

    @without_causes
    def execute(self, context: Context) -> dict[str, Any]:
        """Wait for the package, fetch it, and return where it is."""
        return self._wait(context)  # type: ignore[no-any-return]

    def on_kill(self) -> None:
        """Stop, and remove what isn't complete: Airflow may end the process before the transfer can.

        Airflow 3 lets the task go on after this. Nothing is written any more, and the next step fails it.
        """
        self._cancellation.give_up()

    @cached_property
    def _cancellation(self) -> Cancellation:
        return Cancellation()

    def _pause(self, seconds: float) -> None:
        self._cancellation.clock.sleep(seconds)

    def make_poll(self) -> PackagePoll:
        from pixxel_provider.api.judges import PackagePoll

        return PackagePoll(self.workflow_id, self.job_id, self.pixxel_task_id)

    def make_plan(self) -> WaitPlan:
        return WaitPlan(
            poke_interval=_number("poke_interval", self.poke_interval, least=0),
            timeout=_number("timeout", self.timeout, least=0),
            not_found_grace=self.not_found_grace,
        )

    def _connect(self, context: Context, resumed: bool) -> None:
        # Imported here: a DAG file that is only parsed never needs them.
        from pixxel_provider.download.archive import Limits
        from pixxel_provider.download.collector import Collector
        from pixxel_provider.download.destination import read_destination

        self._place = read_destination(self.destination, self.storage_conn_id, folder=self.unpack)
        # Made when the wait has ended: proxy and certificates may be mended until then.
        self._new_collector = partial(
            Collector,
            renew=self._renew,
            log=self.log,
            max_bytes=None if self.max_bytes is None else int(_number("max_bytes", self.max_bytes)),
            limits=Limits(
                int(_number("max_unpacked_bytes", self.max_unpacked_bytes)),
                _number("max_ratio", self.max_ratio),
            ),
            stall_timeout=_number("stall_timeout", self.stall_timeout),
            cancellation=self._cancellation,
        )
        super()._connect(context, resumed)

    def _renew(self) -> str:
        from pixxel_provider.api.judges import is_ready

        try:
            package = self._hook.send(self._state.poll.call(), retry_for=0)
        except PixxelNotFoundError as error:
            # A moment's 404 is no reason to throw away what has come; stall_timeout ends a longer one.
            raise PixxelTransferError(str(error)) from None
        if not is_ready(package):
            raise PixxelTransferError("Pixxel doesn't have the package ready any more.")
        return str(package.signed_url)

    def _defer(self, answer: Any) -> None:
        self._cancellation.check()
        super()._defer(answer)

    def _conclude(self, result: PollResult, context: Context, answer: Any = None) -> dict[str, Any]:
        conclude(result)
        return self._collect(answer, context)

    def _collect(self, answer: Any, context: Context) -> dict[str, Any]:
        from pixxel_provider.download.signed_url import SignedUrl

        collector = self._new_collector(settings=self._hook.settings)
        self._cancellation.check()
        collect = collector.into_folder if self.unpack else collector.into_file
        try:
            result = collect(SignedUrl(answer.signed_url), self._place)
        finally:
            self._hook.close()
        self._stored, self._members = result, collector.members
        package = {key: result[key] for key in PACKAGE_KEYS}
        push(context, package)
        self._describe_outlets(context, package)
        self._cancellation.check()
        return result

    def _outputs(self) -> list[OutputDataset]:
        if self._stored is None:
            return []
        from pixxel_provider.lineage import stored_datasets

        return stored_datasets(self._place, self._stored, self._members)


def _rendered_as_text(destination: Any) -> Any:
    """Return a path as text, in which Airflow renders templates, as it does in an ``ObjectStoragePath``."""
    is_path = isinstance(destination, os.PathLike) and not getattr(destination, "protocol", "")
    return os.fsdecode(destination) if is_path else destination


def _number(name: str, value: Any, *, least: float | None = None) -> float:
    """Return seconds, bytes or a ratio as a number.

    :raises PixxelInputError: it isn't one, or is too small.
    """
    number = value.total_seconds() if isinstance(value, datetime.timedelta) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        raise PixxelInputError(name, f"must be a number, not {value!r}")
    if number < least if least is not None else number <= 0:
        allowed = "above 0" if least is None else f"{least:g} or more"
        raise PixxelInputError(name, f"must be {allowed}, not {value!r}")
    return float(number)
