"""What the simulator's workflows do: their blocks, how long each runs, and how a job of theirs ends.

A plan is data. ``timeline`` turns a plan and a number of seconds into a state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from pixxel_provider.simulator.validation import Model

if TYPE_CHECKING:
    from typing_extensions import Self

NEVER = math.inf
"""The length of a task that doesn't end."""

SLOWEST, FASTEST = 1e-6, 1e6
"""Bounds of a speed; within them every time is a time that can be written."""


def check_speed(speed: float) -> float:
    """The speed, if it is a number from ``SLOWEST`` to ``FASTEST``. Raises ValueError otherwise."""
    if not SLOWEST <= speed <= FASTEST:
        raise ValueError(f"speed must be a number from {SLOWEST:g} to {FASTEST:.0f}, not {speed!r}")
    return speed


class Failure(Model):
    """Why a block gives up: Pixxel's ``failure_type`` and ``err_msg``."""

    failure_type: str
    err_msg: str


class TaskPlan(Model):
    """One processing block's step. ``seconds`` is how long it runs, ``estimate`` what the API promises."""

    name: str
    block: str
    seconds: float = Field(ge=0)
    depends_on: tuple[str, ...] = ()
    version: str = "1.0.0"
    estimate: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    failure: Failure | None = None
    inputs: Mapping[str, Any] = {}
    result: Mapping[str, Any] = {}
    logs: tuple[str, ...] = ()
    disclaimer: tuple[str, ...] = ()

    @property
    def promised(self) -> float:
        """Seconds the API says the task will take; always finite."""
        return self.seconds if self.estimate is None else self.estimate


class WorkflowPlan(Model):
    """A workflow and the course that each of its jobs takes.

    ``last_status`` is the status of a job whose tasks have all ended well. ``stuck_status``, where set, is
    the status in which a job stays for ever once it left the queue. With ``val_errors`` a job fails at once.
    ``estimated_cost`` is what the estimate says (None: the ``cost``, which is what a job costs in any case).
    Its tasks may not wait for each other, or for one that isn't there.
    """

    id: str
    name: str
    description: str
    project_id: str
    cost: int
    tasks: tuple[TaskPlan, ...]
    val_errors: tuple[Mapping[str, str], ...] = ()
    last_status: str = "completed"
    stuck_status: str | None = None
    created_seconds: float = 2.0
    queued_seconds: float = 3.0
    package_seconds: float = 3.0
    estimated_cost: int | None = None

    # Compared and hashed by identity, so that what follows from a plan is worked out once.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    @property
    def promised_cost(self) -> int:
        """Credits the API says a job will cost."""
        return self.cost if self.estimated_cost is None else self.estimated_cost

    @model_validator(mode="after")
    def _has_an_order(self) -> Self:
        try:
            self.in_order()
        except (CycleError, KeyError):
            raise ValueError("tasks wait for each other, or for one that isn't there") from None
        return self

    @lru_cache(maxsize=1024)  # noqa: B019 - plans are few and live as long as the world
    def in_order(self) -> tuple[TaskPlan, ...]:
        """The tasks, each after those that it depends on."""
        by_name = {task.name: task for task in self.tasks}
        graph = TopologicalSorter({task.name: task.depends_on for task in self.tasks})
        return tuple(by_name[name] for name in graph.static_order())

    @lru_cache(maxsize=1024)  # noqa: B019 - plans are few and live as long as the world
    def faster(self, speed: float) -> WorkflowPlan:
        """The same course ``speed`` times as fast: every length of time divided, what it costs unchanged."""
        if speed == 1:
            return self
        tasks = tuple(
            task.model_copy(update={"seconds": task.seconds / speed, "estimate": task.promised / speed})
            for task in self.tasks
        )
        lengths = ("created_seconds", "queued_seconds", "package_seconds")
        return self.model_copy(
            update={"tasks": tasks, **{name: getattr(self, name) / speed for name in lengths}}
        )


FIELDS_AND_FARMS = "project-agriculture"
COAST = "project-coast"

AREA = {"type": "Point", "coordinates": [76.64, 12.3]}

_FETCH = TaskPlan(
    name="Fetch scenes", block="scene-fetch", version="2.1.0", seconds=15,
    inputs={"collection": "hyperspectral-l1c", "area": AREA, "max_cloud_cover": 20},
    result={"scenes": ["FF01-20250611", "FF02-20250613"]},
    logs=("searching the archive", "2 scenes match", "scenes staged"),
)  # fmt: skip
_REFLECTANCE = TaskPlan(
    name="Surface reflectance", block="atmospheric-correction", version="1.4.2", seconds=35,
    depends_on=("Fetch scenes",), inputs={"method": "isofit", "water_vapour": "estimate"},
    result={"bands": 135, "resolution_m": 5},
    logs=("estimating water vapour", "135 bands corrected", "reflectance written"),
)  # fmt: skip
_CLOUDS = TaskPlan(
    name="Cloud mask", block="cloud-mask", version="1.0.3", seconds=20,
    depends_on=("Fetch scenes",), inputs={"threshold": 0.4}, result={"cloud_cover_percent": 7.5},
    logs=("masking clouds", "7.5 % of the pixels masked"), disclaimer=("Thin cirrus may remain.",),
)  # fmt: skip
_STRESS = TaskPlan(
    name="Crop stress index", block="spectral-index", version="3.0.1", seconds=30,
    depends_on=("Surface reflectance", "Cloud mask"),
    inputs={"index": "red-edge position", "crop": "sugarcane"},
    result={"mean": 0.62, "stressed_hectares": 184}, logs=("computing the index", "index written"),
)  # fmt: skip
_MOSAIC = TaskPlan(
    name="Mosaic", block="mosaic", version="1.2.0", seconds=35,
    depends_on=("Crop stress index",), inputs={"format": "COG", "crs": "EPSG:32643"},
    result={"files": ["crop-stress.tif"], "bytes": 48_113_664},
    logs=("merging tiles", "crop-stress.tif written"),
)  # fmt: skip
_SHORELINE = TaskPlan(
    name="Shoreline", block="water-line", version="0.9.0", seconds=NEVER, estimate=60,
    depends_on=("Fetch scenes",), inputs={"index": "NDWI"}, logs=("tracing the water line", "still tracing"),
)  # fmt: skip

_PIPELINE = (_FETCH, _REFLECTANCE, _CLOUDS, _STRESS, _MOSAIC)
_BLOOM = (_FETCH, _REFLECTANCE, _MOSAIC.model_copy(update={"depends_on": ("Surface reflectance",)}))

_OUT_OF_PIXELS = Failure(
    failure_type="runtime_exception",
    err_msg="band 112 (870 nm) holds no valid pixel inside the area of interest",
)
_BROKEN = _STRESS.model_copy(
    update={
        "seconds": 10, "estimate": 30, "failure": _OUT_OF_PIXELS,
        "logs": ("computing the index", "band 112: every pixel is masked"),
    }
)  # fmt: skip
_MISMATCH = {
    "from": "Cloud mask", "to": "Crop stress index", "component_name": "Crop stress index",
    "err": "output and input don't match",
    "reason": "it takes a raster of reflectance, and was given a vector mask",
}  # fmt: skip

WORKFLOWS: tuple[WorkflowPlan, ...] = (
    WorkflowPlan(
        id="wf-succeeds", name="Crop stress over Mysuru", project_id=FIELDS_AND_FARMS, cost=120,
        description="Runs all of its blocks and completes after two minutes.", tasks=_PIPELINE,
    ),
    WorkflowPlan(
        id="wf-fails", name="Crop stress over a cloudy valley", project_id=FIELDS_AND_FARMS, cost=80,
        description="Its block 'Crop stress index' fails after a minute; the mosaic never starts.",
        tasks=(_FETCH, _REFLECTANCE, _CLOUDS, _BROKEN, _MOSAIC),
    ),
    WorkflowPlan(
        id="wf-invalid", name="Crop stress, badly wired", project_id=FIELDS_AND_FARMS, cost=0,
        description="Fails validation: its jobs end at once, and no block runs.",
        tasks=_PIPELINE, val_errors=(_MISMATCH,),
    ),
    WorkflowPlan(
        id="wf-endless", name="Shoreline watch", project_id=COAST, cost=40,
        description="Its second block never ends.",
        tasks=(_FETCH, _SHORELINE, _MOSAIC.model_copy(update={"depends_on": ("Shoreline",)})),
    ),
    WorkflowPlan(
        id="wf-odd-status", name="Algal bloom, to be tasked", project_id=COAST, cost=60, tasks=_BLOOM,
        description="Its jobs stay in a status that is not documented, 'awaiting_tasking'.",
        stuck_status="awaiting_tasking",
    ),
    WorkflowPlan(
        id="wf-odd-ended", name="Algal bloom, archived", project_id=COAST, cost=60, tasks=_BLOOM,
        description="Its jobs end after a minute and a half, in a status that is not documented, 'archived'.",
        last_status="archived",
    ),
)  # fmt: skip

PROJECTS: tuple[Mapping[str, Any], ...] = (
    {
        "id": FIELDS_AND_FARMS, "name": "agriculture", "title": "Fields and farms",
        "org_id": "org-simulator", "members_count": 4, "metadata": {"region": "Karnataka"},
        "created_at": "2025-01-15T09:00:00.000Z", "updated_at": "2025-03-02T12:30:00.000Z",
    },
    {
        "id": COAST, "name": "coast", "title": "Coast and estuaries",
        "org_id": "org-simulator", "members_count": 2, "metadata": {},
        "created_at": "2025-02-20T09:00:00.000Z", "updated_at": "2025-02-20T09:00:00.000Z",
    },
)  # fmt: skip
