"""Ask a person before a job is created, which is billed: estimate its cost, wait for an answer, run it.

Trigger it with ``{"workflow_id": "...", "project_id": "..."}``, and answer in Airflow's UI, under Required
Actions. Airflow has its ApprovalOperator from 3.1 on; earlier versions don't see this DAG.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException, Param, dag

from pixxel_provider.operators.pixxel import PixxelEstimateCostOperator, PixxelRunJobOperator

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowOptionalProviderFeatureException):
    ApprovalOperator = None

WORKFLOW = "{{ params.workflow_id }}"
ESTIMATE = "{{ ti.xcom_pull(task_ids='estimate') }}"

if ApprovalOperator is not None:

    @dag(
        schedule=None,
        start_date=datetime(2026, 1, 1),
        catchup=False,
        tags=["example", "pixxel"],
        # For a worker that dies. From Airflow 3.3 on, the next try resumes its job: docs/money.rst.
        default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
        params={
            "workflow_id": Param("wf-succeeds", type="string"),
            "project_id": Param("project-agriculture", type="string"),
        },
    )
    def pixxel_ask_before_run():
        """Run a workflow only if somebody approves its cost."""
        estimate = PixxelEstimateCostOperator(task_id="estimate", workflow_id=WORKFLOW)

        # If the answer is "Reject", the run is skipped.
        ask = ApprovalOperator(
            task_id="ask",
            subject=f"Run workflow {WORKFLOW} for {ESTIMATE} credits?",
            body="A job that was created can't be stopped, and is billed.",
        )

        run = PixxelRunJobOperator(
            task_id="run",
            workflow_id=WORKFLOW,
            project_id="{{ params.project_id }}",
            # What was approved. If the estimate is higher by now, nothing is created.
            max_cost=ESTIMATE,
            deferrable=True,
            poke_interval=10,
            timeout=timedelta(hours=6).total_seconds(),
        )

        estimate >> ask >> run

    pixxel_ask_before_run()
