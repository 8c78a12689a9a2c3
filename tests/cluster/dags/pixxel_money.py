"""Runs of a workflow for the tests that kill processes of a whole Airflow."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import dag

from pixxel_provider.operators.pixxel import PixxelRunJobOperator

ARGUMENTS: dict[str, Any] = {
    "workflow_id": "{{ params.workflow_id }}",
    "project_id": "project-agriculture",
    "created_by": "user-simulator-1",
    "max_cost": "{{ params.max_cost }}",
    "poke_interval": 1,
    "not_found_grace": 3,
    "retries": 2,
    "retry_delay": timedelta(seconds=1),
}


class SlowRunJobOperator(PixxelRunJobOperator):
    """In its first try it stops for a while where a run says, and leaves word of that: time to be killed in.

    Nothing else is changed. Between an answer and its record there are milliseconds otherwise, too few for a
    test to hit.
    """

    def _prepare(self, context: Any) -> Any:
        creation = super()._prepare(context)
        save = creation.memory.save

        def save_slowly(record: Any) -> None:
            if record.job_id:
                self._stop("before the job is stored", context)
            save(record)

        creation.memory.save = save_slowly
        return creation

    def _remember_done(self, context: Any) -> None:
        self._stop("before the end is stored", context)
        super()._remember_done(context)
        self._stop("after the end is stored", context)

    def _stop(self, where: str, context: Any) -> None:
        if context["params"]["stop"] == where and context["ti"].try_number == 1:
            context["ti"].xcom_push(key="stopped", value=where)
            time.sleep(120)


def run(dag_id: str, operator: type[PixxelRunJobOperator] = PixxelRunJobOperator, **arguments: Any) -> None:
    @dag(
        dag_id=dag_id,
        schedule=None,
        start_date=datetime(2026, 1, 1),
        catchup=False,
        params={"workflow_id": "wf-succeeds", "max_cost": 500, "stop": ""},
    )
    def build() -> None:
        operator(task_id="run", **ARGUMENTS, **arguments)

    build()


run("money_polled", deferrable=False)
run("money_deferred", deferrable=True)
run("money_slow", SlowRunJobOperator, deferrable=True)
