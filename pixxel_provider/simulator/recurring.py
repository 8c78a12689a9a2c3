"""Jobs that the simulator starts by itself now and then, as other people and systems do."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from pixxel_provider.simulator.validation import Model, one_of

if TYPE_CHECKING:
    from typing_extensions import Self

#: The workflow whose course a job takes, by its outcome.
COURSES = {"succeeded": "wf-succeeds", "failed": "wf-fails", "unknown": "wf-odd-ended"}
MIXED = "mixed"
# After a jump of the clock only the newest are started.
_MOST = 1_000


class RecurringJobs(Model):
    """Jobs of one workflow, started every so many simulated seconds from the simulator's start on."""

    workflow: str = Field(default="wf-succeeds", description="the workflow (``wf-succeeds`` unless set)")
    every: float = Field(gt=0, allow_inf_nan=False, description="simulated seconds between two jobs")
    outcome: Annotated[str, one_of((*COURSES, MIXED))] = Field(
        default="succeeded",
        description="``succeeded`` (unless set), ``failed``, ``unknown``, or ``mixed``: each by chance, the "
        "same ones with the same seed",
    )
    created_by: str = Field(
        default="user-outside", description="id of the user who starts them (``user-outside`` unless set)"
    )
    seconds: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="how long each lasts; as its workflow unless set"
    )

    @classmethod
    def read(cls, fields: Mapping[str, Any] | str) -> Self:
        """Recurring jobs from a mapping, or from text (``workflow=wf-fails,every=30``). Raises ValueError."""
        if not isinstance(fields, str):
            return super().read(fields)
        pairs = [part.partition("=") for part in fields.split(",")]
        if not all(name and equals for name, equals, _ in pairs):
            raise ValueError(f"must be field=value joined by commas, not {fields!r}")
        return cls._validated({name.strip(): value for name, _, value in pairs}, strict=False)

    def due(self, began: float, since: float, until: float) -> Iterator[tuple[int, float]]:
        """Yield the number and the age of each job that is to start after ``since`` and up to ``until``."""
        last = math.floor((until - began) / self.every)
        first = max(math.floor((since - began) / self.every) + 1, last - _MOST + 1)
        for number in range(first, last + 1):
            yield number, until - (began + number * self.every)

    def course(self, seed: str) -> str:
        """Return the workflow whose course a job takes."""
        outcome = self.outcome
        if outcome == MIXED:
            outcome = random.Random(seed).choice(list(COURSES))
        return COURSES[outcome]
