"""``make standalone``, ``make cluster``: a whole Airflow with its UI beside a simulated Pixxel."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from local_airflow import AirflowTrouble, LocalAirflow, Standalone, free_port
from local_cluster import Cluster
from local_pixxel import Pixxel
from terminal import Screen, Stopped, stop_on_signals

DEADLINE = 180.0
PORT = 8080


def show(screen: Screen, airflow: LocalAirflow, pixxel: Pixxel, home: str) -> None:
    """Say where everything is, and what to try."""

    def entry(label: str, text: str) -> None:
        screen.line(f"{screen.paint(label.ljust(12), 'cyan')} {text}")

    control = f"{pixxel.url}/_control/jobs"
    screen.line()
    entry("Airflow", f"{screen.paint(airflow.url, 'bold')}  (everybody is an admin, there is no login)")
    entry("Pixxel", f"{pixxel.url}  (simulated; the key is {pixxel.key})")
    entry("connection", f"{airflow.url}/connections  pixxel_default: look at its form, and test it")
    screen.line()
    screen.line("Things to try:")
    entry("  gate", f"{airflow.url}/dags/pixxel_gate  trigger it; its job has ended already")
    entry("  wait", "start a job of two minutes, then trigger pixxel_gate with job_id job-1:")
    screen.line(f"""  curl -X POST {control} -d '{{"workflow_id": "wf-succeeds", "id": "job-1"}}'""")
    entry("  hurry", "let the job end now:")
    screen.line(f"""  curl -X PATCH {control}/job-1 -d '{{"finish": true}}'""")
    entry("  fail", f"{airflow.url}/dags/pixxel_failing_job  its log says which block failed, and why")
    entry("  run", f"{airflow.url}/dags/pixxel_run_and_download  pays for one job, and fetches its files")
    screen.line()
    screen.line(f"AIRFLOW_HOME is {airflow.home}{home}. Ctrl-C ends everything.")


def main() -> int:
    """Run until somebody wants it to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    parts = (
        "PostgreSQL, Redis, Celery's workers and two triggerers, each a process of its own, as on a cluster"
    )
    add("--cluster", action="store_true", help=parts)
    add("--port", type=int, help=f"of the UI ({PORT}, or a free one where that is taken)")
    add("--pixxel-port", type=int, default=0, help="of the simulated Pixxel; a free one unless given")
    add("--speed", type=float, default=1.0, help="how many times as fast as in reality jobs run (default 1)")
    add("--home", type=Path, help="AIRFLOW_HOME, which is kept; a temporary one unless given")
    add("--ready-file", type=Path, help="a file that gets the addresses, as JSON, once all is ready")
    wanted = parser.parse_args()
    screen = Screen()
    version = metadata.version("apache-airflow")
    if version.startswith("2."):
        screen.line(f"This needs Airflow 3, and {version} is installed here.")
        return 1
    stop_on_signals()
    try:
        with contextlib.ExitStack() as stack:
            return _run(stack, wanted, screen, version)
    except Stopped:
        screen.settle()
        screen.line("Ended.")
        return 0
    except ModuleNotFoundError as error:
        screen.line(f"{error.name} isn't installed here; make standalone installs it.")
    except (AirflowTrouble, OSError, ValueError, RuntimeError) as error:
        screen.settle()
        screen.line(screen.paint(f"error: {error}", "red"))
    return 1


def _run(stack: contextlib.ExitStack, wanted: Any, screen: Screen, version: str) -> int:
    if wanted.home is None:
        folder = tempfile.TemporaryDirectory(prefix="pixxel-airflow-", ignore_cleanup_errors=True)
        home, fate = Path(stack.enter_context(folder)), ", and goes with it"
    else:
        home, fate = wanted.home.resolve(), ", and stays"
        home.mkdir(parents=True, exist_ok=True)
    pixxel = Pixxel(home, port=wanted.pixxel_port, speed=wanted.speed)
    stack.callback(pixxel.stop)
    airflow: LocalAirflow = (Cluster if wanted.cluster else Standalone)(
        home, port=wanted.port or free_port(PORT)
    )
    stack.callback(airflow.stop)
    stack.callback(screen.settle)
    began = time.monotonic()
    airflow.start()
    try:
        for _ in airflow.waiting(began + DEADLINE):
            screen.now(f"Airflow {version} is starting ... {time.monotonic() - began:.0f} s")
        airflow.store_connection(pixxel.airflow_connection)
    except AirflowTrouble as error:
        raise AirflowTrouble(f"{error} The end of what it said:\n{airflow.said()}") from None
    screen.line(f"Airflow {version} is ready, after {time.monotonic() - began:.0f} s.")
    show(screen, airflow, pixxel, fate)
    if wanted.ready_file is not None:
        draft = wanted.ready_file.with_name(f".{wanted.ready_file.name}.draft")
        draft.write_text(json.dumps({"airflow": airflow.url, "pixxel": pixxel.url, "home": str(home)}) + "\n")
        draft.replace(wanted.ready_file)
    airflow.until_it_ends()
    return 1


if __name__ == "__main__":
    sys.exit(main())
