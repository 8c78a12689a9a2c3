"""``make demo``: a DAG waits for a job of a simulated Pixxel, on a real Airflow, in half a minute."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from local_airflow import AirflowTrouble, DagRunner
from terminal import Screen

WORKFLOW = "wf-succeeds"
JOB = "job-demo"
JOB_SECONDS = 9.0
DEADLINE = 150.0
DEAR_FROM = 100

# "Pixxel job J of workflow W: running, 40 %, 2 of 5 tasks done, now cloud-mask 1.0.3", as the sensor and the
# trigger say it, whatever Airflow puts around it.
_SAID = re.compile(rf"Pixxel job {JOB} of workflow \S+?(?:: | has ended: )(.+?)(?: \[[\w.]+\].*)?$")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) %")
_VERSION = re.compile(r" \d+\.\d+\.\d+")
_LABEL = 15


class Stopped(BaseException):
    """Somebody wants this to end."""

    def __init__(self, number: int) -> None:
        self.number = number


def stop(number: int, _: Any) -> None:
    """End, once: what follows is short, and must not be interrupted itself."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


class Story:
    """The demo, as it is told."""

    def __init__(self, screen: Screen, seconds: float) -> None:
        self.screen = screen
        self.seconds = seconds
        self._began = time.monotonic()
        self._stage = ""
        self._deferred = False

    def entry(self, label: str, text: str) -> None:
        """One line with a name in front."""
        self.screen.line(f"{self.screen.paint(label.ljust(_LABEL), 'cyan')} {text}")

    def opening(self, url: str, length: float) -> None:
        """Say what is about to happen."""
        write, paint = self.screen.line, self.screen.paint
        write(paint("Gate a DAG on a Pixxel job", "bold"))
        write()
        write(
            "A DAG waits for a job that maps crop stress, asks what it cost, and goes on with what it found."
        )
        write(f"Airflow is real. Pixxel is simulated, at {url}: no account and no bill,")
        write(f"and a job of {length / 60:.0f} minutes takes {self.seconds:.0f} seconds.")
        write()

    def preparing(self, seconds: float) -> None:
        """Show that something goes on while Airflow gets ready."""
        self.screen.now(f"A fresh Airflow gets ready ... {seconds:.0f} s")

    def ready(self, airflow: str, seconds: float) -> None:
        """Airflow can run the DAG."""
        self.screen.line(f"A fresh Airflow {airflow} got ready in {seconds:.0f} s.")
        self.screen.line()
        self._began = time.monotonic()
        self.entry("wait", "the sensor looks at the job:")

    def said(self, line: str) -> None:
        """Take in a line of Airflow's log; most of them aren't for the person."""
        if "as DEFERRED" in line and not self._deferred:
            self._deferred = True
            self.screen.settle()
            self.screen.line(
                " " * (_LABEL + 1) + "it isn't done, so the task is deferred: no worker is busy from here on"
            )
        if found := _SAID.search(line):
            self._progress(found[1])

    def _progress(self, words: str) -> None:
        ended = not words.startswith(("created", "queued", "running"))
        words = _VERSION.sub("", words)
        number = _PERCENT.search(words)
        percent = 100.0 if ended else float(number[1]) if number else 0.0
        status, _, rest = words.partition(", ")
        stage = f"{status}, {rest}" if ended else _PERCENT.sub("", rest, count=1).strip(" ,")
        if stage != self._stage:
            self.screen.settle()
            self._stage = stage
            for_good = ended or not self.screen.live
        else:
            # Only more per cent: news for somebody who watches, not for a file.
            for_good = False
        since = f"{time.monotonic() - self._began:4.0f} s"
        text = self.screen.paint(stage, "bold") if ended else stage
        line = f"{self.screen.paint(since, 'dim')}  {self.screen.bar(percent)} {percent:3.0f} %  {text}"
        if for_good:
            self.screen.line(line, clip=True)
        else:
            self.screen.now(line)

    def outcome(self, answer: dict[str, Any]) -> None:
        """Tell what came through XCom, and what the tasks behind the gate did with it."""
        found = {(each["task_id"], each["key"]): each["value"] for each in answer["xcoms"]}
        job, cost = found["wait", "return_value"], found["wait", "cost"]

        def strong(word: object) -> str:
            return self.screen.paint(str(word), "bold")

        self.screen.settle()
        self.screen.line()
        self.entry(
            "XCom of wait",
            f"status {strong(found['wait', 'status'])}, cost {strong(cost)}, "
            f"and the job's {len(job)} fields with its {len(job['tasks'])} tasks",
        )
        chosen = found["was_it_dear", "return_value"]
        compared = "no less than" if chosen == "tell_somebody" else "less than"
        self.entry(
            "was_it_dear",
            f"{cost} credits are {compared} {DEAR_FROM}, so {strong(chosen)} comes next",
        )
        if told := found.get(("tell_somebody", "return_value")):
            self.entry("tell_somebody", f'"{told}"')
        label = "use_results"
        for name, result in found["use_results", "return_value"].items():
            self.entry(label, f"{name:<20} {_in_words(result)}")
            label = ""

    def ending(self, statuses: Counter[str], seconds: float) -> None:
        """Say what the API saw, what is left of all this, and where to go from here."""
        total = sum(statuses.values())
        refused = total - statuses["200"]
        answers = "each was answered" if not refused else f"{refused} of them went wrong"
        self.screen.line()
        self.screen.line(
            f"Pixxel saw {total} requests for the job, and {answers}. "
            f"It took {seconds:.0f} s; nothing is left of it."
        )
        self.screen.line()
        for command, words in (
            ("make standalone", "the same in Airflow's UI, with jobs that fail and connections to try"),
            ("example_dags/", "the DAG that ran, pixxel_gate.py, and two more"),
            ("README.md", "how to use it in a DAG of your own"),
        ):
            self.screen.line(f"{self.screen.paint(command.ljust(_LABEL), 'green')} {words}")


def _in_words(result: Any) -> str:
    if not isinstance(result, dict):
        return str(result)
    return ", ".join(
        f"{name.replace('_', ' ')} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in result.items()
    )


def tell(story: Story, home: Path) -> None:
    """Run the DAG and tell its story.

    :raises AirflowTrouble: it didn't go as it should.
    """
    from pixxel_provider.simulator import serve
    from pixxel_provider.simulator.timeline import length

    began = time.monotonic()
    deadline = began + DEADLINE
    with serve() as pixxel:
        story.opening(pixxel.url, length(pixxel.world.workflow(WORKFLOW)))
        runner = DagRunner(home, pixxel.airflow_connection)
        try:
            ready: dict[str, Any] = {}
            for thing in runner.follow(deadline, pulse=True):
                story.preparing(time.monotonic() - began)
                if isinstance(thing, dict):
                    ready = thing
            if ready["import_errors"] or "pixxel_gate" not in ready["dags"]:
                raise AirflowTrouble(f"Airflow can't import the DAG: {ready['import_errors']}")
            story.ready(ready["airflow"], time.monotonic() - began)
            pixxel.create_job(WORKFLOW, JOB, seconds=story.seconds)
            conf = {"workflow_id": WORKFLOW, "job_id": JOB, "dear_from": DEAR_FROM}
            # The file's ten seconds would be all of this job's life.
            runner.ask("pixxel_gate", conf, wait={"poke_interval": 1.0})
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
        story.ending(Counter(pixxel.counters.statuses["get_job"]), time.monotonic() - began)


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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    with contextlib.ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="pixxel-demo-", ignore_cleanup_errors=True)
        home = Path(stack.enter_context(folder))
        try:
            tell(Story(screen, wanted.seconds), home)
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
