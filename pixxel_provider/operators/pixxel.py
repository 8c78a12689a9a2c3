"""The operators; everything is imported from here."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from pixxel_provider.api.errors import PixxelError, PixxelInputError
from pixxel_provider.links.pixxel import PixxelJobLink, publish_link
from pixxel_provider.operators.download import PixxelDownloadJobOperator
from pixxel_provider.operators.estimate import PixxelEstimateCostOperator
from pixxel_provider.operators.run import PixxelRunJobOperator
from pixxel_provider.outcome import without_causes
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID
from pixxel_provider.xcom import push_end, push_job

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from pixxel_provider.hooks.pixxel import PixxelHook

__all__ = [
    "PixxelDownloadJobOperator",
    "PixxelEstimateCostOperator",
    "PixxelGetJobOperator",
    "PixxelRunJobOperator",
]


class PixxelGetJobOperator(BaseOperator):
    """Read a job once and push its metadata to XCom, whatever its status.

    XCom: the metadata as ``return_value``, and ``job_id``, ``workflow_id``, ``pixxel_conn_id``,
    ``status``, ``cost`` one by one.

    :param workflow_id: the workflow the job belongs to (templated).
    :param job_id: the job (templated). Without it, the newest job of the workflow that has ended, of those
        that Pixxel lists.
    :param created_by: without ``job_id``: id of a user; jobs of others don't count (templated).
    :param statuses: without ``job_id``: jobs that ended in other statuses don't count. Compared without
        case, spaces, hyphens and underscores.
    :param pixxel_conn_id: id of the Airflow connection (templated).
    :param include: raw fields to add, decoded: ``spec``, and of each task ``inputs``, ``result``,
        ``info_logs``. At most 64 KiB in all; shortened and removed fields are named under ``truncated``.
    :raises PixxelError: the job can't be read, or the workflow has no job that ended; transient errors are
        retried for 60 seconds first.
    """

    template_fields: Sequence[str] = ("workflow_id", "job_id", "pixxel_conn_id", "created_by")
    operator_extra_links = (PixxelJobLink(),)
    ui_color = "#dfe9e2"

    def __init__(
        self,
        *,
        workflow_id: str,
        job_id: str | EllipsisType = ...,
        created_by: str | None = None,
        statuses: Sequence[str] | None = None,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        include: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_id = workflow_id
        # Not where it is given as None: the task that should have pushed it to XCom may have pushed nothing.
        self._finds_job = job_id is ...
        for name, value in (("created_by", created_by), ("statuses", statuses)):
            if value is not None and not self._finds_job:
                raise PixxelInputError(name, "chooses among jobs that ended: leave out job_id")
        # Empty until it is known.
        self.job_id: Any = "" if self._finds_job else job_id
        self.created_by = created_by
        self.statuses = statuses
        self.pixxel_conn_id = pixxel_conn_id
        self.include = include

    @without_causes
    def execute(self, context: Context) -> dict[str, Any]:
        """Read the job and return its metadata."""
        # Imported here: a DAG file that is only parsed never needs them.
        from pixxel_provider.api.calls import get_job
        from pixxel_provider.api.job import check_include
        from pixxel_provider.api.messages import progress_line
        from pixxel_provider.hooks.pixxel import PixxelHook

        include = check_include(self.include)
        hook = PixxelHook(self.pixxel_conn_id)
        if self._finds_job:
            self.job_id = self._newest(hook)
        call = get_job(self.workflow_id, self.job_id)
        publish_link(context, hook.settings.console_link(self.workflow_id, self.job_id))
        push_job(context, self.workflow_id, self.job_id, self.pixxel_conn_id)
        job = hook.send(call)
        self.log.info("%s: %s", job.id, progress_line(job))
        metadata = job.metadata(include)
        if include:
            # Bytes that were decoded only now may contain the key, like any other text.
            metadata = json.loads(hook.settings.redact_bytes(json.dumps(metadata).encode()))
        push_end(context, metadata)
        return metadata

    def _newest(self, hook: PixxelHook) -> str:
        """Return the id of the listed job that ended last."""
        from pixxel_provider.api.calls import list_jobs
        from pixxel_provider.api.ended_jobs import check_filters, describe_filters, ended_jobs
        from pixxel_provider.api.status import StatusRules

        check_filters(self.created_by, self.statuses)
        listed = hook.send(list_jobs(self.workflow_id))
        ended = ended_jobs(listed, StatusRules(), created_by=self.created_by, statuses=self.statuses)
        if not ended:
            filters = describe_filters(self.created_by, self.statuses)
            raise PixxelError(f"Pixxel lists no job of workflow {self.workflow_id} that has ended{filters}")
        end, job = ended[-1]
        self.log.info("%s ended last, at %s", job.id, end.isoformat())
        return job.id
