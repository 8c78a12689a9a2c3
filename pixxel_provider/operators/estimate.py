"""Estimate the cost of a job before one is created."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from pixxel_provider.job_creation.cost_limit import Credits, check_estimate, read_max_cost
from pixxel_provider.outcome import without_causes
from pixxel_provider.provider_info import DEFAULT_CONNECTION_ID
from pixxel_provider.xcom import ESTIMATED_COST, WORKFLOW, push

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class PixxelEstimateCostOperator(BaseOperator):
    """Estimate the cost of one job of a workflow. Nothing is created or billed.

    XCom: the estimate, a number of credits, as ``return_value`` and as ``estimated_cost``; ``workflow_id``.
    Both keys are also pushed if the estimate is above ``max_cost``.

    :param workflow_id: the workflow (templated).
    :param pixxel_conn_id: id of the Airflow connection (templated).
    :param max_cost: credits; if the estimate is above, the task fails (templated). None and an
        empty text mean no limit.
    :raises PixxelCostError: the estimate is above ``max_cost``, or negative; not retried.
    :raises PixxelInputError: an argument or the connection can't be used; no request was sent.
    :raises PixxelError: there is no estimate; transient errors are retried for 60 seconds first.
    """

    template_fields: Sequence[str] = ("workflow_id", "pixxel_conn_id", "max_cost")
    ui_color = "#dfe9e2"

    def __init__(
        self,
        *,
        workflow_id: str,
        pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
        max_cost: Credits | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workflow_id = workflow_id
        self.pixxel_conn_id = pixxel_conn_id
        self.max_cost = max_cost

    @without_causes
    def execute(self, context: Context) -> Credits:
        """Request the estimate, compare it with ``max_cost``, and return it."""
        # Imported here: a DAG file that is only parsed never needs them.
        from pixxel_provider.api.calls import estimate_cost
        from pixxel_provider.hooks.pixxel import PixxelHook

        call = estimate_cost(self.workflow_id)
        limit = read_max_cost(self.max_cost)
        estimate = PixxelHook(self.pixxel_conn_id).send(call)
        # Before the limit is judged: whoever asks why the task failed finds the number here.
        push(context, {ESTIMATED_COST: estimate, WORKFLOW: self.workflow_id})
        self.log.info(check_estimate(self.workflow_id, estimate, limit))
        return estimate
