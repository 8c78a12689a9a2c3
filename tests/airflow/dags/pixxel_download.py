"""A download alone, for the tests."""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import dag

from pixxel_provider.operators.pixxel import PixxelDownloadJobOperator


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False)
def pixxel_download():
    PixxelDownloadJobOperator(
        task_id="download",
        workflow_id="wf-succeeds",
        job_id="job-finished",
        destination="/nowhere",
        unpack=True,
        deferrable=False,
    )


pixxel_download()
