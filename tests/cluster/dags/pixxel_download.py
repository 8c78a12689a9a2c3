"""A download for the tests on a whole Airflow: the package isn't ready at first, so the task defers."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import dag

from pixxel_provider.operators.pixxel import PixxelDownloadJobOperator


@dag(
    dag_id="pixxel_download",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    params={"destination": ""},
)
def pixxel_download() -> None:
    PixxelDownloadJobOperator(
        task_id="download",
        workflow_id="wf-succeeds",
        job_id="job-finished",
        destination="{{ params.destination }}",
        deferrable=True,
        poke_interval=1,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )


pixxel_download()
