"""What people write in DAGs besides the sensor; everything is imported from here."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from pixxel_provider.links.pixxel import PixxelJobLink, publish_link
from pixxel_provider.operators.download import PixxelDownloadJobOperator
from pixxel_provider.operators.estimate import PixxelEstimateCostOperator
from pixxel_provider.operators.run import PixxelRunJobOperator
from pixxel_provider.outcome import push_end, push_job, without_causes
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = [
    "PixxelDownloadJobOperator",
    "PixxelEstimateCostOperator",
    "PixxelGetJobOperator",
    "PixxelRunJobOperator",
]


class PixxelGetJobOperator(BaseOperator):
    """Fetch a job once and put its metadata into XCom, whatever its status.

    XCom: the metadata as ``return_value``, and ``job_id``, ``workflow_id``, ``pixxel_conn_id``,
    ``status``, ``cost`` one by one.

    :param workflow_id: the workflow the job belongs to (templated).
    :param job_id: the job (templated).
    :param pixxel_conn_id: id of the Airflow connection (templated).
    :param include: raw fields to add, decoded: ``spec``, and of each task ``inputs``, ``result``,
        ``info_logs``. The whole stays below 64 KiB; what had to go is named under ``truncated``.
    :raises PixxelError: the job can't be read; trouble that may pass is tried again for 60 seconds first.
    """

    template_fields: Sequence[str] = ("workflow_id", "job_id", "pixxel_conn_id")
    operator_extra_links = (PixxelJobLink(),)
    ui_color = "#dfe9e2"

    def __init__(
        self,
        *,
        workflow_id: str,
        job_id: str,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        include: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_id = workflow_id
        self.job_id = job_id
        self.pixxel_conn_id = pixxel_conn_id
        self.include = include

    @without_causes()
    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch the job and return its metadata."""
        # Imported here: a DAG file that is only parsed never needs them.
        from pixxel_provider.api.calls import get_job
        from pixxel_provider.api.job import check_include
        from pixxel_provider.api.messages import progress_line
        from pixxel_provider.hooks.pixxel import PixxelHook

        call = get_job(self.workflow_id, self.job_id)
        include = check_include(self.include)
        hook = PixxelHook(self.pixxel_conn_id)
        publish_link(context, hook.settings.console_link(self.workflow_id, self.job_id))
        push_job(context, self.workflow_id, self.job_id, self.pixxel_conn_id)
        job = hook.send(call)
        self.log.info("%s: %s", job.id, progress_line(job))
        metadata = job.metadata(include)
        if include:
            # Bytes that were only decoded now may echo the key as well as any text.
            metadata = json.loads(hook.settings.redact_bytes(json.dumps(metadata).encode()))
        push_end(context, metadata)
        return metadata
