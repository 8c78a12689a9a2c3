"""What tasks push to XCom besides what they return: the keys, and how they are pushed and pulled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pixxel_provider.compat.xcom import pull_plain, push_plain

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Which job it is, and the connection to ask for it. They are also arguments of most operators.
JOB_KEYS = CONNECTION, WORKFLOW, JOB = ("pixxel_conn_id", "workflow_id", "job_id")
#: How it ended.
END_KEYS = STATUS, COST = ("status", "cost")
ESTIMATED_COST = "estimated_cost"
#: Where a package lies, and what is in it.
PACKAGE_KEYS = ("path", "bytes", "sha256")
#: Airflow's, for what ``execute`` returns.
RETURN_VALUE = "return_value"
#: Airflow's, for a link of the class PixxelJobLink.
LINK = "_link_PixxelJobLink"


def push(context: Context, values: Mapping[str, Any]) -> None:
    """Push each value under its key; each is a request to Airflow."""
    for key, value in values.items():
        context["ti"].xcom_push(key=key, value=value)


def push_job(context: Context, workflow_id: str, job_id: str, pixxel_conn_id: str) -> None:
    """Push at the start of a try which job it is, and the connection to ask for it."""
    push(context, {JOB: job_id, WORKFLOW: workflow_id, CONNECTION: pixxel_conn_id})


def push_end(context: Context, metadata: Mapping[str, Any]) -> None:
    """Push ``status`` and ``cost``; the job's ids are there since the start, also after a deferral."""
    push(context, {key: metadata.get(key) for key in END_KEYS})


def pull_job_id(context: Context) -> Any:
    """Return the job's id as this task instance has pushed it, None where it hasn't."""
    ti: Any = context["ti"]
    return ti.xcom_pull(task_ids=ti.task_id, key=JOB, map_indexes=ti.map_index)


def push_link(context: Context, url: str) -> None:
    """Push the job's page; done early, it makes the button work during the wait."""
    push_plain(context["ti"], LINK, url)


def pull_link(ti_key: Any) -> str:
    """Return the job's page, an empty text where there is none."""
    return pull_plain(ti_key, LINK) or ""
