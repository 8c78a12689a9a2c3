"""A stage for the pages inside Airflow, and a Chromium that looks at it, for tests and for pictures.

A whole Airflow beside a simulated Pixxel, with a task for every condition a job can be in; and a second API
server over the same database, below a path, for which people log in and see no more than they may.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from local_airflow import ROOT, AirflowTrouble, Standalone, eventually, fetch, free_port

TESTS = ROOT / "tests" / "browser"
START_SECONDS = 180.0
RUN_SECONDS = 120.0

#: Where the second server is, below its host.
PREFIX = "/team/airflow"
#: Who may log in there, with which role. ``tests/browser/server`` says what they may see.
USERS = {"admin": "admin", "viewer": "viewer", "nobody": "viewer"}

KEY = "canary-of-the-key-5d21"
EXTRA = "canary-of-the-extra-90ae"
SIGNATURE = "canary-of-the-signature-c417"
SIGNED_URL = f"https://results.example.com/mosaic.tif?X-Amz-Expires=900&X-Amz-Signature={SIGNATURE}"

#: What a text must never do in a page: make an element, run, or leave an attribute.
PAYLOAD = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'>"

DAG, HIDDEN_DAG = "pixxel_page", "pixxel_hidden"
WAITING, ENDED = "deferred", frozenset({"success", "failed", "skipped", "upstream_failed"})
#: The tasks of DAG, and the state in which each stays; a mapped one has several.
TASKS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys("running unknown payload_waiting many retried followed watched".split(), (WAITING,)),
    **dict.fromkeys("succeeded signed looked_at not_pixxel cleared".split(), ("success",)),
    **dict.fromkeys("failed invalid archived payload_failed".split(), ("failed",)),
    "rescheduled": ("up_for_reschedule",),
    "mapped": (WAITING, "success"),
    "not_begun": ("",),
}

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    # Whatever a page or the browser itself might ask of anybody else isn't found.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class NoBrowser(Exception):
    """There is no Chromium; the text says what to install."""


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium of the system, as Playwright's Browser.

    :raises NoBrowser: there is none.
    """
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        raise NoBrowser(
            "Chromium is missing, and nothing else can look at the pages inside Airflow. Install it so that "
            "its command is in PATH; on Debian: apt-get install chromium fonts-liberation"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


# -------------------------------------------------------------------------------------------------- addresses


@dataclass(frozen=True)
class Place:
    """A task instance, and where it is found."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def _quoted(self) -> tuple[str, str, str]:
        dag, run, task = (quote(each, safe="") for each in (self.dag_id, self.run_id, self.task_id))
        return dag, run, task

    @property
    def page(self) -> str:
        """Return the address of the job's page by itself, below Airflow's."""
        return "/pixxel/job/{}/{}/{}/{}".format(*self._quoted(), self.map_index)

    @property
    def task(self) -> str:
        """Return the address of Airflow's own page of the task instance, below Airflow's."""
        mapped = f"/mapped/{self.map_index}" if self.map_index >= 0 else ""
        return "/dags/{}/runs/{}/tasks/{}".format(*self._quoted()) + mapped

    @property
    def tab(self) -> str:
        """Return the address of the tab on that page, below Airflow's."""
        return f"{self.task}/plugin/pixxel-job"


@dataclass(frozen=True)
class Stage:
    """All that was started, and where everything is."""

    airflow: Standalone
    pixxel: Any
    run_id: str
    hidden: Place
    prefixed: str

    @property
    def url(self) -> str:
        """Return the address of the Airflow whose visitors are all admins."""
        return self.airflow.url

    def place(self, task_id: str, map_index: int = -1) -> Place:
        """Return one of the tasks of TASKS."""
        return Place(DAG, self.run_id, task_id, map_index)


def token(url: str, user: str = "") -> str:
    """Log in at an Airflow: as one of USERS, or as whoever comes.

    :raises AirflowTrouble: it refuses.
    :raises OSError: it can't be reached.
    """
    body = {"username": user, "password": user} if user else None
    return str(fetch("POST" if user else "GET", f"{url}/auth/token", body)["access_token"])


# ------------------------------------------------------------------------------------------------------- jobs


def create_jobs(pixxel: Any) -> None:
    """Create the jobs that the tasks of ``tests/browser/dags`` wait for."""
    world = pixxel.world
    # Those that wait for jobs of one workflow share their looks: what a test counts has one of its own.
    for name in ("followed", "watched"):
        world.add_workflow(f"wf-{name}")
    tasks = world.workflow("wf-succeeds").tasks
    lots = [
        tasks[number % 4].model_copy(
            update={"name": f"Tile {number}", "depends_on": (f"Tile {number - 5}",) * (number >= 5)}
        )
        for number in range(200)
    ]
    world.add_workflow("wf-many", tasks=tuple(lots))
    half_done = {"seconds": 7200, "age": 2100}
    for name in ("running", "rescheduled", "mapped-0", "retried-2", "cleared-2", "hidden", "not-begun"):
        pixxel.create_job("wf-succeeds", f"job-{name}", **half_done)
    pixxel.create_job("wf-followed", "job-followed", **half_done)
    pixxel.create_job("wf-watched", "job-watched", **half_done)
    pixxel.create_job("wf-many", "job-many", **half_done)
    pixxel.create_job("wf-succeeds", "job-mapped-1", age=900)
    pixxel.create_job("wf-succeeds", "job-cleared-1", age=1200)
    pixxel.create_job("wf-fails", "job-looked-at", age=1500)
    pixxel.create_job("wf-invalid", "job-invalid", age=60)
    pixxel.create_job("wf-odd-status", "job-unknown", age=60)
    pixxel.create_job("wf-odd-ended", "job-archived", age=900)
    job = pixxel.create_job("wf-succeeds", "job-signed", age=900)
    signed = [{**task, "result": _as_bytes({"url": SIGNED_URL})} for task in world.full(job)["tasks"]]
    pixxel.change_job("job-signed", tasks=signed)
    _create_payloads(pixxel)


def _as_bytes(value: Any) -> list[int]:
    return list(json.dumps(value).encode())


def _create_payloads(pixxel: Any) -> None:
    waiting = pixxel.create_job("wf-succeeds", "job-payload-waiting", seconds=7200, age=2100)
    failed = pixxel.create_job("wf-fails", "job-payload-failed", age=600)
    for job, status in ((waiting, PAYLOAD), (failed, "failed")):
        raw = _poisoned(pixxel.world.full(job))
        for number, task in enumerate(raw["tasks"]):
            task.update(id=f"{PAYLOAD}{number}", name=f"{PAYLOAD} {number}")
            task["depends_on"] = [f"{PAYLOAD} {number - 1}", PAYLOAD] if number else []
            task["status"] = "failed" if status == "failed" and number > 2 else PAYLOAD
        words = dict.fromkeys(("from", "to", "err", "reason", "component_name"), PAYLOAD)
        raw.update(status=status, val_errors=[words, PAYLOAD])
        pixxel.change_job(job.id, **raw)


def _poisoned(value: Any, name: str = "") -> Any:
    """Return a job's JSON with the payload in the place of every text that isn't an id or a time."""
    if name in ("spec", "inputs", "result", "info_logs"):
        return _as_bytes({PAYLOAD: [PAYLOAD]})
    if isinstance(value, Mapping):
        return {key: _poisoned(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_poisoned(each, name) for each in value]
    kept = name in ("id", "workflow_id", "progress") or name.endswith(("_at", "_time"))
    return PAYLOAD if isinstance(value, str) and not kept else value


# ---------------------------------------------------------------------------------------------- the processes


@contextlib.contextmanager
def airflow_beside_pixxel(home: Path, dags: Path) -> Iterator[tuple[Standalone, Any]]:
    """A whole Airflow and the simulated Pixxel that its connection leads to; both end with the block.

    :param home: an empty folder.
    :raises AirflowTrouble: Airflow didn't do what it should.
    """
    from pixxel_provider.simulator import serve

    (home / "airflow").mkdir()
    airflow = Standalone(home / "airflow", dags)
    with serve(key=KEY) as pixxel:
        try:
            airflow.start()
            for _ in airflow.waiting(time.monotonic() + START_SECONDS):
                pass
            airflow.store_connection({**pixxel.airflow_connection, "extra": json.dumps({"note": EXTRA})})
            yield airflow, pixxel
        except AirflowTrouble as trouble:
            raise AirflowTrouble(f"{trouble}\n{airflow.said()}") from None
        finally:
            airflow.stop()


@contextlib.contextmanager
def stage(home: Path) -> Iterator[Stage]:
    """Everything, started and in the states of TASKS; all of it ends with the block.

    :param home: an empty folder.
    :raises AirflowTrouble: Airflow didn't do what it should.
    """
    with airflow_beside_pixxel(home, TESTS / "dags") as (airflow, pixxel):
        create_jobs(pixxel)
        run_id, hidden = (trigger(airflow, dag_id) for dag_id in (DAG, HIDDEN_DAG))
        wait_for_states(airflow, DAG, run_id, TASKS)
        # Not earlier: a small machine is busy enough with the tasks.
        prefixed = _start_second_server(airflow, home)
        _clear(airflow, run_id)
        wait_for_states(airflow, HIDDEN_DAG, hidden, {"wait": (WAITING,)})
        health = f"{prefixed}/api/v2/monitor/health"
        eventually(lambda: fetch("GET", health), "the second server", RUN_SECONDS)
        yield Stage(airflow, pixxel, run_id, Place(HIDDEN_DAG, hidden, "wait"), prefixed)


def _start_second_server(airflow: Standalone, home: Path) -> str:
    port = free_port()
    url = f"http://127.0.0.1:{port}{PREFIX}"
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({user: user for user in USERS}))
    more = {
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__AUTH_MANAGER": "per_dag_auth.PerDagAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            f"{user}:{role}" for user, role in USERS.items()
        ),
        "PYTHONPATH": str(TESTS / "server"),
    }
    airflow.adopt(airflow.spawn("api-server", home / "second-server.log", more))
    return url


def trigger(airflow: Standalone, dag_id: str, **more: Any) -> str:
    """Start a run of a DAG as soon as Airflow knows it; return its id.

    :param more: what the request says besides: ``dag_run_id``, ``conf``.
    """

    def known() -> bool:
        return any(dag["dag_id"] == dag_id for dag in airflow.get("/api/v2/dags")["dags"])

    eventually(known, f"the DAG {dag_id}", RUN_SECONDS)
    body = {"logical_date": None, **more}
    return str(airflow.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"])


def wait_for_states(
    airflow: Standalone, dag_id: str, run_id: str, tasks: Mapping[str, tuple[str, ...]]
) -> None:
    """Wait until these tasks of a run are in these states, several for a mapped one.

    :raises AirflowTrouble: not in time, or one has ended in another state.
    """

    def reached() -> bool:
        found = _states(airflow, dag_id, run_id)
        for task_id, wanted in tasks.items():
            states = found.get(task_id, [])
            if ENDED.issuperset(states) and len(states) == len(wanted) and states != sorted(wanted):
                raise AirflowTrouble(f"{dag_id}.{task_id} is {', '.join(states)}, not {', '.join(wanted)}.")
        return all(found.get(task_id) == sorted(wanted) for task_id, wanted in tasks.items())

    eventually(reached, f"the states of {dag_id}", RUN_SECONDS)


def _clear(airflow: Standalone, run_id: str) -> None:
    body = {"dry_run": False, "task_ids": ["cleared"], "dag_run_id": run_id, "only_failed": False}
    airflow.ask("POST", f"/api/v2/dags/{DAG}/clearTaskInstances", body)
    path = f"/api/v2/dags/{DAG}/dagRuns/{quote(run_id)}/taskInstances/cleared"

    def waits_again() -> bool:
        task = airflow.get(path)
        return (task["state"], task["try_number"]) == (WAITING, 2)

    eventually(waits_again, "the cleared task", RUN_SECONDS)


def _states(airflow: Standalone, dag_id: str, run_id: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances?limit=100"
    for task in airflow.get(path)["task_instances"]:
        found.setdefault(task["task_id"], []).append(task["state"] or "")
    return {task_id: sorted(states) for task_id, states in found.items()}
