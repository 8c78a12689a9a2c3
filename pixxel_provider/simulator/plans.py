"""What the simulator's workflows do: their blocks, how long each runs, and how a job of theirs ends.

A plan is data. ``timeline`` turns a plan and a number of seconds into a state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

NEVER = math.inf
"""The length of a task that doesn't end."""

SLOWEST, FASTEST = 1e-6, 1e6
"""Bounds of a speed; within them every time is a time that can be written."""

CREATED_SECONDS = 2.0
QUEUED_SECONDS = 3.0
PACKAGE_SECONDS = 3.0


def check_speed(speed: float) -> float:
    """The speed, if it is a number from ``SLOWEST`` to ``FASTEST``. Raises ValueError otherwise."""
    if not SLOWEST <= speed <= FASTEST:
        raise ValueError(f"speed must be a number from {SLOWEST:g} to {FASTEST:.0f}, not {speed!r}")
    return speed


@dataclass(frozen=True)
class Failure:
    """Why a block gives up: Pixxel's ``failure_type`` and ``err_msg``."""

    failure_type: str
    err_msg: str


@dataclass(frozen=True)
class TaskPlan:
    """One processing block's step. ``seconds`` is how long it runs, ``estimate`` what the API promises."""

    name: str
    block: str
    seconds: float
    depends_on: tuple[str, ...] = ()
    version: str = "1.0.0"
    estimate: float | None = None
    failure: Failure | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    logs: tuple[str, ...] = ()
    disclaimer: tuple[str, ...] = ()

    @property
    def promised(self) -> float:
        """Seconds the API says the task will take; always finite."""
        return self.seconds if self.estimate is None else self.estimate


@dataclass(
    frozen=True, eq=False
)  # compared and hashed by identity, so that what follows from it is worked out once
class WorkflowPlan:
    """A workflow and the course that each of its jobs takes.

    ``last_status`` is the status of a job whose tasks have all ended well. ``stuck_status``, where set, is
    the status in which a job stays for ever once it left the queue. With ``val_errors`` a job fails at once.
    ``estimated_cost`` is what the estimate says (None: the ``cost``, which is what a job costs in any case).
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
    created_seconds: float = CREATED_SECONDS
    queued_seconds: float = QUEUED_SECONDS
    package_seconds: float = PACKAGE_SECONDS
    estimated_cost: int | None = None

    @property
    def promised_cost(self) -> int:
        """Credits the API says a job will cost."""
        return self.cost if self.estimated_cost is None else self.estimated_cost

    @lru_cache(maxsize=1024)  # noqa: B019 - plans are few and live as long as the world
    def faster(self, speed: float) -> WorkflowPlan:
        """The same course ``speed`` times as fast: every length of time divided, what it costs unchanged."""
        if speed == 1:
            return self
        tasks = tuple(
            replace(task, seconds=task.seconds / speed, estimate=task.promised / speed) for task in self.tasks
        )
        return replace(
            self,
            tasks=tasks,
            created_seconds=self.created_seconds / speed,
            queued_seconds=self.queued_seconds / speed,
            package_seconds=self.package_seconds / speed,
        )


FIELDS_AND_FARMS = "project-agriculture"
COAST = "project-coast"

AREA = {"type": "Point", "coordinates": [76.64, 12.3]}

_FETCH = TaskPlan(
    name="Fetch scenes",
    block="scene-fetch",
    version="2.1.0",
    seconds=15,
    inputs={"collection": "hyperspectral-l1c", "area": AREA, "max_cloud_cover": 20},
    result={"scenes": ["FF01-20250611", "FF02-20250613"]},
    logs=("searching the archive", "2 scenes match", "scenes staged"),
)
_REFLECTANCE = TaskPlan(
    name="Surface reflectance",
    block="atmospheric-correction",
    version="1.4.2",
    seconds=35,
    depends_on=("Fetch scenes",),
    inputs={"method": "isofit", "water_vapour": "estimate"},
    result={"bands": 135, "resolution_m": 5},
    logs=("estimating water vapour", "135 bands corrected", "reflectance written"),
)
_CLOUDS = TaskPlan(
    name="Cloud mask",
    block="cloud-mask",
    version="1.0.3",
    seconds=20,
    depends_on=("Fetch scenes",),
    inputs={"threshold": 0.4},
    result={"cloud_cover_percent": 7.5},
    logs=("masking clouds", "7.5 % of the pixels masked"),
    disclaimer=("Thin cirrus may remain.",),
)
_STRESS = TaskPlan(
    name="Crop stress index",
    block="spectral-index",
    version="3.0.1",
    seconds=30,
    depends_on=("Surface reflectance", "Cloud mask"),
    inputs={"index": "red-edge position", "crop": "sugarcane"},
    result={"mean": 0.62, "stressed_hectares": 184},
    logs=("computing the index", "index written"),
)
_MOSAIC = TaskPlan(
    name="Mosaic",
    block="mosaic",
    version="1.2.0",
    seconds=35,
    depends_on=("Crop stress index",),
    inputs={"format": "COG", "crs": "EPSG:32643"},
    result={"files": ["crop-stress.tif"], "bytes": 48_113_664},
    logs=("merging tiles", "crop-stress.tif written"),
)

_PIPELINE = (_FETCH, _REFLECTANCE, _CLOUDS, _STRESS, _MOSAIC)

_BROKEN = replace(
    _STRESS,
    seconds=10,
    estimate=30,
    failure=Failure(
        "runtime_exception", "band 112 (870 nm) holds no valid pixel inside the area of interest"
    ),
    logs=("computing the index", "band 112: every pixel is masked"),
)

WORKFLOWS: tuple[WorkflowPlan, ...] = (
    WorkflowPlan(
        id="wf-succeeds",
        name="Crop stress over Mysuru",
        description="Runs all of its blocks and completes after two minutes.",
        project_id=FIELDS_AND_FARMS,
        cost=120,
        tasks=_PIPELINE,
    ),
    WorkflowPlan(
        id="wf-fails",
        name="Crop stress over a cloudy valley",
        description="Its block 'Crop stress index' fails after a minute; the mosaic never starts.",
        project_id=FIELDS_AND_FARMS,
        cost=80,
        tasks=(_FETCH, _REFLECTANCE, _CLOUDS, _BROKEN, _MOSAIC),
    ),
    WorkflowPlan(
        id="wf-invalid",
        name="Crop stress, badly wired",
        description="Fails validation: its jobs end at once, and no block runs.",
        project_id=FIELDS_AND_FARMS,
        cost=0,
        tasks=_PIPELINE,
        val_errors=(
            {
                "from": "Cloud mask",
                "to": "Crop stress index",
                "err": "output and input don't match",
                "reason": "it takes a raster of reflectance, and was given a vector mask",
                "component_name": "Crop stress index",
            },
        ),
    ),
    WorkflowPlan(
        id="wf-endless",
        name="Shoreline watch",
        description="Its second block never ends.",
        project_id=COAST,
        cost=40,
        tasks=(
            _FETCH,
            TaskPlan(
                name="Shoreline",
                block="water-line",
                version="0.9.0",
                seconds=NEVER,
                estimate=60,
                depends_on=("Fetch scenes",),
                inputs={"index": "NDWI"},
                logs=("tracing the water line", "still tracing"),
            ),
            replace(_MOSAIC, depends_on=("Shoreline",)),
        ),
    ),
    WorkflowPlan(
        id="wf-odd-status",
        name="Algal bloom, to be tasked",
        description="Its jobs stay in a status that is not documented, 'awaiting_tasking'.",
        project_id=COAST,
        cost=60,
        tasks=(_FETCH, _REFLECTANCE, replace(_MOSAIC, depends_on=("Surface reflectance",))),
        stuck_status="awaiting_tasking",
    ),
    WorkflowPlan(
        id="wf-odd-ended",
        name="Algal bloom, archived",
        description="Its jobs end after a minute and a half, in a status that is not documented, 'archived'.",
        project_id=COAST,
        cost=60,
        tasks=(_FETCH, _REFLECTANCE, replace(_MOSAIC, depends_on=("Surface reflectance",))),
        last_status="archived",
    ),
)

PROJECTS: tuple[Mapping[str, Any], ...] = (
    {
        "id": FIELDS_AND_FARMS,
        "name": "agriculture",
        "title": "Fields and farms",
        "org_id": "org-simulator",
        "members_count": 4,
        "created_at": "2025-01-15T09:00:00.000Z",
        "updated_at": "2025-03-02T12:30:00.000Z",
        "metadata": {"region": "Karnataka"},
    },
    {
        "id": COAST,
        "name": "coast",
        "title": "Coast and estuaries",
        "org_id": "org-simulator",
        "members_count": 2,
        "created_at": "2025-02-20T09:00:00.000Z",
        "updated_at": "2025-02-20T09:00:00.000Z",
        "metadata": {},
    },
)
