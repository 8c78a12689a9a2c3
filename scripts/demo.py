"""``make demo``: a DAG runs a workflow of a simulated Pixxel on a real Airflow, and pays for it once."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dag_runner import DagRunner
from local_airflow import AirflowTrouble
from story import Story
from terminal import Screen, Stopped, stop_on_signals

DAG = "pixxel_run_and_download"
WORKFLOW = "wf-succeeds"
JOB_SECONDS = 9.0
DEADLINE = 150.0
LIMIT = 200


def tell(story: Story, home: Path) -> None:
    """Run the DAG and tell its story.

    :raises AirflowTrouble: it didn't go as it should.
    """
    from pixxel_provider.simulator import serve
    from pixxel_provider.simulator.plans import WORKFLOWS
    from pixxel_provider.simulator.timeline import length

    began = time.monotonic()
    deadline = began + DEADLINE
    seconds = length(next(plan for plan in WORKFLOWS if plan.id == WORKFLOW))
    with serve(speed=seconds / story.seconds) as pixxel:
        story.opening(pixxel.url, seconds)
        runner = DagRunner(home, pixxel.airflow_connection)
        try:
            ready: dict[str, Any] = {}
            for thing in runner.follow(deadline, pulse=True):
                story.preparing(time.monotonic() - began)
                if isinstance(thing, dict):
                    ready = thing
            if ready["import_errors"] or DAG not in ready["dags"]:
                raise AirflowTrouble(f"Airflow can't import the DAG: {ready['import_errors']}")
            story.ready(ready["airflow"], time.monotonic() - began)
            # What this package is for: the job is created and billed, and nobody hears of it.
            pixxel.fail_next("create_job", drop="reset", carried_out=True)
            conf = {"workflow_id": WORKFLOW, "max_credits": LIMIT, "folder": str(home / "files")}
            # The file's ten seconds would be all of this job's life.
            soon = {"poke_interval": 1.0}
            runner.ask(DAG, conf, run=soon, download=soon)
            answer: dict[str, Any] = {}
            for thing in runner.follow(deadline):
                if isinstance(thing, dict):
                    answer = thing
                else:
                    story.said(thing)
            if answer["state"] != "success":
                bad = ", ".join(f"{each['task_id']} {each['state']}" for each in answer["tasks"])
                raise AirflowTrouble(f"The DAG's run has ended as {answer['state']}: {bad}.")
            story.outcome(answer)
        finally:
            runner.close()
        bill = pixxel.bill()
        asked = pixxel.requests("create_job")
        story.ending(len(bill.jobs), bill.credits, asked, time.monotonic() - began)


def explain(screen: Screen, error: Exception, home: Path) -> None:
    """Say what went wrong, and keep what Airflow said about it."""
    screen.settle()
    log = home / "airflow.log"
    screen.line(screen.paint(f"The demo did not work out: {error}", "red"))
    if log.exists() and (lines := log.read_text(encoding="utf-8", errors="replace").splitlines()):
        kept = Path(tempfile.gettempdir()) / f"pixxel-demo-{os.getpid()}.log"
        shutil.copyfile(log, kept)
        screen.line(f"The end of what Airflow said, all of which is in {kept}:")
        for line in lines[-15:]:
            screen.line(f"  {line}", clip=True)


def main() -> int:
    """Run the demo; 0 if all of it happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=JOB_SECONDS, help="how long the job takes (default %(default)s)"
    )
    wanted = parser.parse_args()
    if not 1 <= wanted.seconds <= 60:
        parser.error("--seconds: from 1 to 60")
    screen = Screen()
    stop_on_signals()
    with contextlib.ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="pixxel-demo-", ignore_cleanup_errors=True)
        home = Path(stack.enter_context(folder))
        try:
            tell(Story(screen, wanted.seconds, LIMIT), home)
        except Stopped as stopped:
            screen.settle()
            screen.line("Stopped.")
            return 128 + stopped.number
        except BrokenPipeError:
            # Whoever read this has left. Python itself must not stumble over it either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except ModuleNotFoundError as error:
            screen.line(f"The demo needs {error.name}, which isn't installed here; make demo installs it.")
            return 1
        except (AirflowTrouble, OSError, RuntimeError) as error:
            explain(screen, error, home)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
