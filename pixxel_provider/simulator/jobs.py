"""A job as the simulator keeps it: its plan and when it was created. All else follows from the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pixxel_provider.simulator.plans import WorkflowPlan
from pixxel_provider.simulator.timeline import JobState, state_at


@dataclass
class SimulatedJob:
    """One job. ``fields`` and ``omit`` change its JSON after it was worked out.

    A list shows it from ``listed_at`` on. ``packages`` holds when the package of a task ("" for the whole
    job) was first asked for. Times are Unix seconds.
    """

    id: str
    workflow_id: str
    project_id: str
    created_by: str
    created_at: float
    plan: WorkflowPlan
    listed_at: float = 0.0
    fields: dict[str, Any] = field(default_factory=dict)
    omit: frozenset[str] = frozenset()
    packages: dict[str, float] = field(default_factory=dict)

    def state(self, now: float) -> JobState:
        """What the plan says about the job at ``now``; ``fields`` and ``omit`` don't count."""
        return state_at(self.plan, now - self.created_at)

    def task_id(self, number: int) -> str:
        """The id of the job's task, counted from 1."""
        return f"{self.id}-task-{number}"
