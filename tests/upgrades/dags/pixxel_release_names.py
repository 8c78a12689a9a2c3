"""Every public name of this release, and every argument of it; the DAG is imported, and its tasks are called.

``scripts/record_release.py`` keeps a copy with each release; it must be imported unchanged ever after.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.providers.common.compat.sdk import Asset, dag, task

from pixxel_provider.api import calls
from pixxel_provider.api.errors import (
    PixxelApiError,
    PixxelAuthError,
    PixxelBadRequestError,
    PixxelConnectionError,
    PixxelError,
    PixxelInputError,
    PixxelNotFoundError,
    PixxelRateLimitError,
    PixxelResponseError,
    PixxelServerError,
    PixxelTemporaryError,
    PixxelTriggerArgumentError,
    PixxelUnknownStatusError,
)
from pixxel_provider.assets import HAS_ASSET_WATCHERS, asset_uri, create_asset, watched_workflow
from pixxel_provider.download.errors import (
    PixxelAddressError,
    PixxelArchiveError,
    PixxelDownloadError,
    PixxelExpiredError,
    PixxelTransferError,
)
from pixxel_provider.hooks.pixxel import PixxelAsyncHook, PixxelHook
from pixxel_provider.job_creation.cost_limit import PixxelCostError
from pixxel_provider.job_creation.creator import PixxelUnconfirmedJobError
from pixxel_provider.links.pixxel import PixxelJobLink
from pixxel_provider.operators.pixxel import (
    PixxelDownloadJobOperator,
    PixxelEstimateCostOperator,
    PixxelGetJobOperator,
    PixxelRunJobOperator,
)
from pixxel_provider.outcome import PixxelJobFailedError
from pixxel_provider.sensors.pixxel import PixxelJobSensor
from pixxel_provider.triggers.events import PixxelJobEventTrigger
from pixxel_provider.triggers.pixxel import PixxelJobTrigger

MOMENT = datetime(2026, 1, 1, tzinfo=timezone.utc)
WORKFLOW, JOB, PROJECT, USER = "wf-succeeds", "job-finished", "project-agriculture", "user-simulator-1"
CONNECTION = "pixxel_default"
STATUSES: dict[str, Any] = {"success_statuses": ["completed"], "failure_statuses": ("failed", "cancelled")}
WAIT: dict[str, Any] = {
    "not_found_grace": 30,
    "poke_interval": timedelta(seconds=5),
    "timeout": 600,
    "exponential_backoff": True,
    "max_wait": timedelta(minutes=5),
    "soft_fail": False,
    "never_fail": False,
    "silent_fail": True,
    "mode": "poke",
}
ERRORS = (
    PixxelError,
    PixxelInputError,
    PixxelUnknownStatusError,
    PixxelConnectionError,
    PixxelResponseError,
    PixxelApiError,
    PixxelBadRequestError,
    PixxelAuthError,
    PixxelNotFoundError,
    PixxelTemporaryError,
    PixxelTriggerArgumentError,
    PixxelRateLimitError,
    PixxelServerError,
    PixxelDownloadError,
    PixxelAddressError,
    PixxelArchiveError,
    PixxelTransferError,
    PixxelExpiredError,
)
TASK_ERRORS = (PixxelCostError, PixxelJobFailedError, PixxelUnconfirmedJobError)


@task
def use_the_hook(job_id: str = JOB) -> dict[str, Any]:
    """Send each request, and read what answers have."""
    hook = PixxelHook(pixxel_conn_id=CONNECTION)
    works, message = hook.test_connection()
    hook.get_conn()
    hook.reread()
    job = hook.get_job(workflow_id=WORKFLOW, job_id=job_id)
    listed = hook.list_jobs(
        WORKFLOW, job_id=job_id, status="completed", created_by=USER, created_on="2026-11-28"
    )
    workflow = hook.get_workflow(workflow_id=WORKFLOW, project_id=PROJECT)
    workflows = list(hook.list_workflows(project_id=PROJECT, limit=2))
    download = hook.request_download(workflow_id=WORKFLOW, job_id=job_id, task_id=job.tasks[0].id)
    created = hook.create_job(workflow_id=WORKFLOW, project_id=PROJECT)
    found = {
        "works": works,
        "message": message,
        "job": [job.id, job.status, job.cost, job.progress, job.created_by, job.workflow_id],
        "tasks": [[each.id, each.name, each.status, each.err_msg] for each in job.tasks],
        "times": [job.created_at, job.updated_at, job.finished_at],
        "metadata": job.metadata(include=("spec",)),
        "verdict": job.verdict().name,
        "listed": len(listed),
        "workflow": [workflow.id, workflow.name, workflow.estimated_cost],
        "workflows": [each.id for each in workflows],
        "download": [download.status, bool(download.signed_url)],
        "created": created.id,
        "estimate": hook.estimate_cost(workflow_id=WORKFLOW),
        "origin": hook.settings.origin,
    }
    hook.close()
    return found


@task
def use_calls(job_id: str = JOB) -> list[Any]:
    """Send each call by itself, in an event loop."""

    async def answers() -> list[Any]:
        hook = PixxelAsyncHook(pixxel_conn_id=CONNECTION)
        await hook.get_settings()
        sent = (
            calls.ping(),
            calls.list_projects(page_num=1, page_size=10),
            calls.get_job(workflow_id=WORKFLOW, job_id=job_id),
            calls.list_jobs(workflow_id=WORKFLOW, job_id=job_id),
            calls.get_workflow(workflow_id=WORKFLOW, project_id=PROJECT),
            calls.list_workflows(project_id=PROJECT, workflow_id=WORKFLOW, name="Crop", offset=0, limit=5),
            calls.estimate_cost(workflow_id=WORKFLOW),
            calls.create_job(workflow_id=WORKFLOW, project_id=PROJECT),
            calls.download_job(workflow_id=WORKFLOW, job_id=job_id),
        )
        job = await hook.send(sent[2], retry_for=10)
        task_id = job.tasks[0].id
        download = calls.download_task(workflow_id=WORKFLOW, job_id=job_id, task_id=task_id)
        return [await hook.send(call, retry_for=0) for call in (*sent, download)]

    return asyncio.run(answers())


@task
def use_errors(job_id: str = "no-such-job") -> list[Any]:
    """Read what an error has."""
    try:
        PixxelHook().get_job(WORKFLOW, job_id)
    except PixxelNotFoundError as error:
        return [error.status_code, error.code, error.message, error.details, error.request, error.transient]
    raise AssertionError("there is such a job")


@dag(schedule=None, start_date=MOMENT, catchup=False, params={"folder": ""})
def release_names() -> None:
    PixxelJobSensor(
        task_id="waits",
        workflow_id=WORKFLOW,
        job_id=JOB,
        pixxel_conn_id=CONNECTION,
        deferrable=True,
        start_from_trigger=True,
        end_from_trigger=True,
        **STATUSES,
        **WAIT,
    )
    PixxelJobSensor(
        task_id="finds",
        workflow_id=WORKFLOW,
        ended_after=MOMENT,
        created_by=USER,
        statuses=["completed"],
        outlets=[create_asset(workflow_id=WORKFLOW, host="api.pixxel.space", extra={"of": "us"})],
    )
    run = PixxelRunJobOperator(
        task_id="runs",
        workflow_id=WORKFLOW,
        project_id=PROJECT,
        pixxel_conn_id=CONNECTION,
        max_cost=200,
        wait=True,
        durable=True,
        created_by=USER,
        deferrable=True,
        outlets=[Asset(uri=asset_uri(workflow_id=WORKFLOW, host="api.pixxel.space"))],
        **STATUSES,
        **WAIT,
    )
    download = PixxelDownloadJobOperator(
        task_id="downloads",
        workflow_id=WORKFLOW,
        job_id=run.output["job_id"],
        destination="{{ params.folder }}/{{ run_id }}",
        pixxel_task_id=None,
        storage_conn_id=None,
        pixxel_conn_id=CONNECTION,
        unpack=True,
        deferrable=True,
        poke_interval=timedelta(seconds=5),
        timeout=timedelta(hours=1),
        not_found_grace=60.0,
        stall_timeout=timedelta(minutes=5),
        max_bytes=10**9,
        max_unpacked_bytes=10**10,
        max_ratio=100.0,
    )
    get = PixxelGetJobOperator(
        task_id="gets",
        workflow_id=WORKFLOW,
        job_id=JOB,
        pixxel_conn_id=CONNECTION,
        include=["spec", "inputs", "result", "info_logs"],
    )
    PixxelGetJobOperator(task_id="gets_newest", workflow_id=WORKFLOW, created_by=USER, statuses=["completed"])
    PixxelEstimateCostOperator(
        task_id="estimates", workflow_id=WORKFLOW, pixxel_conn_id=CONNECTION, max_cost="200"
    )
    assert PixxelJobLink.name in {link.name for link in get.operator_extra_links}
    run >> download
    use_the_hook() >> use_calls() >> use_errors()


names = release_names()

triggers = [
    PixxelJobTrigger(
        workflow_id=WORKFLOW,
        job_id=JOB,
        pixxel_conn_id=CONNECTION,
        success_statuses=["completed"],
        failure_statuses=["failed"],
        deferred_for=None,
        task_end=None,
        started_at=MOMENT.timestamp(),
        not_before=None,
        missing_since=None,
        poke_interval=5.0,
        timeout=600.0,
        exponential_backoff=True,
        max_wait=300.0,
        not_found_grace=30.0,
        silent_fail=True,
    ),
    PixxelJobEventTrigger(
        workflow_id=WORKFLOW,
        outcomes=["succeeded", "failed", "unknown"],
        created_by=USER,
        pixxel_conn_id=CONNECTION,
        poke_interval=5.0,
        since=MOMENT.isoformat(),
    ),
]

if HAS_ASSET_WATCHERS:
    asset = watched_workflow(
        workflow_id=WORKFLOW,
        host="api.pixxel.space",
        outcomes=["succeeded"],
        created_by=USER,
        pixxel_conn_id=CONNECTION,
        poke_interval=5.0,
        since=MOMENT,
        name="jobs of names",
        group="pixxel",
        extra={"of": "us"},
    )

    @dag(schedule=[asset], start_date=MOMENT, catchup=False, is_paused_upon_creation=True)
    def release_names_scheduled() -> None:
        use_errors()

    scheduled = release_names_scheduled()
