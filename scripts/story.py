"""What the demo tells a person: a few lines, made from Airflow's log and from what came through XCom."""

from __future__ import annotations

import re
import time
from pathlib import PurePath
from typing import Any

from terminal import Screen

# What the provider says, whatever Airflow puts around it; "Pixxel job J of workflow W: running, 40 %, 2 of 5
# tasks done, now cloud-mask 1.0.3, about 40 s left" comes from the operator and from the trigger.
_ESTIMATED = re.compile(r"Pixxel estimates (\S+) credits for a job of workflow \S+?(?:;|$| \[)")
_LOST = "The job may have been created all the same"
_ADOPTED = re.compile(r"Adopting (\S+) \(")
_PROGRESS = re.compile(r"Pixxel job \S+ of workflow [\w-]+(?:: | has ended: )(.+?)(?: \[[\w.]+\].*)?$")
_PACKAGE = re.compile(r"[Tt]he package of Pixxel job")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) %")
_VERSION = re.compile(r" \d+\.\d+\.\d+")
# Another each time: it would make every line a new stage, and the bar beside it says as much.
_LEFT = re.compile(r", (?:about \d+ \w+ left|longer than estimated)$")
_LABEL = 15


class Story:
    """The demo, as it is told.

    :param seconds: how long the job takes.
    :param limit: credits that a job may cost.
    """

    def __init__(self, screen: Screen, seconds: float, limit: float) -> None:
        self.screen = screen
        self.seconds = seconds
        self.limit = limit
        self._began = time.monotonic()
        self._told: set[str] = set()
        self._stage = ""

    def entry(self, label: str, text: str) -> None:
        """One line with a name in front."""
        self.screen.line(f"{self.screen.paint(label.ljust(_LABEL), 'cyan')} {text}")

    def opening(self, url: str, length: float) -> None:
        """Say what is about to happen."""
        write = self.screen.line
        write(self.screen.paint("Run a Pixxel workflow, and pay for it once", "bold"))
        write()
        write("A DAG asks what a map of crop stress costs, runs the workflow, fetches the files, uses them.")
        shortened = f"{length / 60:.0f} minutes takes {self.seconds:.0f} seconds"
        write(f"Airflow is real. Pixxel is simulated, at {url}: no account and no bill, a job of")
        write(f"{shortened}, and one answer gets lost on purpose.")
        write()

    def preparing(self, seconds: float) -> None:
        """Show that something goes on while Airflow gets ready."""
        self.screen.now(f"A fresh Airflow gets ready ... {seconds:.0f} s")

    def ready(self, airflow: str, seconds: float) -> None:
        """Airflow can run the DAG."""
        self.screen.line(f"A fresh Airflow {airflow} got ready in {seconds:.0f} s.")
        self.screen.line()
        self._began = time.monotonic()

    def said(self, line: str) -> None:
        """Take in a line of Airflow's log; most of them aren't for the person."""
        if (found := _ESTIMATED.search(line)) and self._first("estimate"):
            self.entry("estimate", f"{found[1]} credits; {self.limit:g} are allowed, so the DAG continues")
        elif _LOST in line and self._first("lost"):
            lost = self.screen.paint("its answer is lost", "yellow")
            self.entry("run", f"Pixxel creates a job, which is billed, and {lost} on the way")
            self.entry("", "sent again, it could be billed twice: the operator lists the jobs")
        elif (found := _ADOPTED.search(line)) and self._first("adopted"):
            self.entry("", f"and {self.screen.paint('adopts', 'green')} {found[1]}, the only new one")
        elif "as DEFERRED" in line and self._first("deferred"):
            self.entry("", "it isn't done, so the task is deferred: no worker is busy from here on")
        elif found := _PROGRESS.search(line):
            self._progress(found[1])
        elif _PACKAGE.search(line) and self._first("package"):
            label = self.screen.paint("download".ljust(_LABEL), "cyan")
            self.screen.now(f"{label} Pixxel packs the files ...")

    def _first(self, what: str) -> bool:
        if what in self._told:
            return False
        self._told.add(what)
        self.screen.settle()
        return True

    def _progress(self, words: str) -> None:
        ended = not words.startswith(("created", "queued", "running"))
        words = _VERSION.sub("", _LEFT.sub("", words))
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
        """Tell what came through XCom of the download, and what the task behind it did with the files."""
        found = {(each["task_id"], each["key"]): each["value"] for each in answer["xcoms"]}
        package = found["download", "return_value"]
        self.screen.settle(keep=False)
        self.entry(
            "download",
            f"{self.screen.paint(str(package['files']), 'bold')} files, from a package of "
            f"{package['bytes']:,} bytes with sha256 {package['sha256'][:16]}...",
        )
        label = "use"
        # The last blocks of the workflow have what people want of it.
        for name, result in list(found["use", "return_value"].items())[-2:]:
            self.entry(label, f"{PurePath(name).stem.partition('-')[2]:<22} {_in_words(result)}")
            label = ""

    def ending(self, jobs: int, credits: float, asked: int, seconds: float) -> None:
        """Show the bill, say what is left of all this, and where to go from here."""
        once = "once" if asked == 1 else f"{asked} times"
        some = "1 job" if jobs == 1 else f"{jobs} jobs"
        self.screen.line()
        self.entry(
            "Pixxel's bill",
            f"{self.screen.paint(f'{some}, {credits:g} credits', 'bold')}. Requested {once}; "
            f"a second request would make it {2 * credits:g}.",
        )
        self.screen.line()
        self.screen.line(f"It took {seconds:.0f} s; nothing is left of it.")
        self.screen.line()
        for command, words in (
            ("make standalone", "Airflow's UI, with this DAG, jobs that fail and connections to try"),
            ("example_dags/", "the DAG that ran, pixxel_run_and_download.py, and others"),
            ("docs/money.rst", "what is never paid for twice, and where that ends"),
        ):
            self.screen.line(f"{self.screen.paint(command.ljust(_LABEL), 'green')} {words}")


def _in_words(result: Any) -> str:
    if not isinstance(result, dict):
        return str(result)
    return ", ".join(
        f"{name.replace('_', ' ')} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in result.items()
    )
