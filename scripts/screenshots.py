"""Take the documentation's pictures of the pages inside Airflow: ``make screenshots``.

The DAGs are those of ``example_dags``, the jobs a simulated Pixxel's, the browser is the system's Chromium.
Sizes are always the same; the times in the pictures are those at which they were taken.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from browser import (
    WAITING,
    NoBrowser,
    Place,
    airflow_beside_pixxel,
    chromium,
    token,
    trigger,
    wait_for_states,
)
from local_airflow import EXAMPLES, ROOT, AirflowTrouble

PICTURES = ROOT / "docs" / "images"
RUN = "2026-week-27"
RUNNING, FAILED = Place("pixxel_gate", RUN, "wait"), Place("pixxel_failing_job", RUN, "wait")
MANY = Place("pixxel_mapped_gate", RUN, "wait", 2)


@dataclass(frozen=True)
class Picture:
    """What is seen of a page, at which size, in which theme."""

    name: str
    address: str
    width: int
    height: int
    theme: str = "light"
    title: str = "Pixxel job"
    """Of the frame that holds our page inside Airflow's; empty where it is opened by itself."""


SHOTS = (
    Picture("page-running", RUNNING.tab, 1360, 760),
    Picture("page-failed-dark", FAILED.tab, 1360, 940, theme="dark"),
    Picture("page-jobs", "/plugin/pixxel-jobs", 1360, 560, title="Pixxel jobs"),
    Picture("page-narrow", RUNNING.page, 360, 760, title=""),
)


def prepare(airflow: Any, pixxel: Any) -> None:
    """Create the jobs, and start the runs that wait for them."""
    for job, seconds, age in (
        ("crop-stress-27", 1800, 850),
        ("north-27", 1500, 300),
        ("east-27", 1200, 700),
        ("south-27", 2400, 2000),
        ("west-27", 1800, 1900),
    ):
        pixxel.create_job("wf-succeeds", job, seconds=seconds, age=age)
    pixxel.create_job("wf-fails", "cloudy-valley-27", seconds=1100, age=1200)
    jobs = ["north-27", "east-27", "south-27", "west-27"]
    for place, conf in (
        (RUNNING, {"job_id": "crop-stress-27"}),
        (FAILED, {"job_id": "cloudy-valley-27"}),
        (MANY, {"job_ids": jobs}),
    ):
        trigger(airflow, place.dag_id, dag_run_id=RUN, conf=conf)
    wait_for_states(airflow, RUNNING.dag_id, RUN, {"wait": (WAITING,)})
    wait_for_states(airflow, FAILED.dag_id, RUN, {"wait": ("failed",)})
    wait_for_states(airflow, MANY.dag_id, RUN, {"wait": (WAITING, WAITING, WAITING, "success")})


def take(context: Any, url: str, picture: Picture) -> Path:
    """Take a picture of a page once it shows what it has to show."""
    page = context.new_page()
    page.set_viewport_size({"width": picture.width, "height": picture.height})
    page.add_init_script(
        f"try {{ localStorage.setItem('theme', '{picture.theme}'); }} catch (error) {{ /* no storage */ }}"
    )
    page.goto(url + picture.address)
    frame = page
    if picture.title:
        frame = page.wait_for_selector(f'iframe[title="{picture.title}"]').content_frame()
    frame.wait_for_selector("table")
    page.wait_for_load_state("networkidle")
    file = PICTURES / f"{picture.name}.png"
    page.screenshot(path=file, animations="disabled")
    page.close()
    return file


def main() -> int:
    """Take all of them."""
    try:
        with (
            chromium() as browser,
            tempfile.TemporaryDirectory(prefix="pixxel-pictures-", ignore_cleanup_errors=True) as home,
            airflow_beside_pixxel(Path(home), EXAMPLES) as (airflow, pixxel),
        ):
            prepare(airflow, pixxel)
            context = browser.new_context(timezone_id="UTC", reduced_motion="reduce")
            context.add_cookies([{"name": "_token", "value": token(airflow.url), "url": airflow.url}])
            for picture in SHOTS:
                file = take(context, airflow.url, picture)
                print(f"{file.relative_to(ROOT)}: {picture.width} x {picture.height}", flush=True)
    except (AirflowTrouble, NoBrowser) as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
