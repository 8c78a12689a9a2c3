"""What a job may cost: the limit people set, and what happens where Pixxel's estimate is above it."""

from __future__ import annotations

import math

from airflow.providers.common.compat.sdk import AirflowFailException

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.api.messages import plain

Credits = int | float


class PixxelCostError(AirflowFailException):
    """A job would cost more than ``max_cost``, or the estimate is no number of credits.

    Nothing was created, and Airflow doesn't retry the task.
    """


def read_max_cost(value: object) -> Credits | None:
    """Return ``max_cost`` as a number of credits; None, and an empty text, mean that there is no limit.

    :raises PixxelInputError: it isn't a number, or is negative.
    """
    if value is None or value == "":
        return None
    found = value
    if isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            found = None
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found < math.inf:
        raise PixxelInputError("max_cost", f"must be a number of credits, 0 or more, not {value!r}")
    return found


def check_estimate(workflow_id: str, estimate: Credits, max_cost: Credits | None) -> str:
    """Return a sentence for the log on an estimate that is within the limit.

    :raises PixxelCostError: it is above, or no amount of credits; the error names both numbers.
    """
    if max_cost is None:
        return f"Pixxel estimates {plain(estimate)} credits for a job of workflow {workflow_id}"
    # Whatever isn't a number of credits is no reason to spend.
    if isinstance(estimate, bool) or not isinstance(estimate, (int, float)) or not 0 <= estimate < math.inf:
        raise PixxelCostError(
            f"Pixxel estimates {estimate!r} for a job of workflow {workflow_id}, which is no number of "
            f"credits, and max_cost is {plain(max_cost)}: no job was created."
        )
    words = f"Pixxel estimates {plain(estimate)} credits for a job of workflow {workflow_id}"
    if estimate > max_cost:
        raise PixxelCostError(f"{words}, and max_cost is {plain(max_cost)}: no job was created.")
    return f"{words}; max_cost is {plain(max_cost)}"
