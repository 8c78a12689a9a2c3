"""``make demo`` when it is not let finish, and what it says; its whole course is a command of CI's own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from story import Story
from terminal import Screen

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# It always runs on the newest Airflow.
pytestmark = pytest.mark.slow


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Any]:
    """Start the demo; its temporary files go into ``tmp_path``."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str = "import sys, demo; sys.exit(demo.main())") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=SCRIPTS,
            env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def children(process: subprocess.Popen[str], at_least: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 60
    while len(found := psutil.Process(process.pid).children(recursive=True)) < at_least:
        assert time.monotonic() < deadline, "the demo started nothing"
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_demo_says_so_and_leaves_neither_processes_nor_files(
    demo: Any, tmp_path: Path, number: signal.Signals
) -> None:
    process = demo()
    # Airflow, and beside it the process that makes its database.
    started = children(process, at_least=2)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.endswith("Stopped.\n")
    assert "Traceback" not in said
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_takes_too_long_says_so_and_where_the_log_is(demo: Any, tmp_path: Path) -> None:
    process = demo("import sys, demo; demo.DEADLINE = 1.0; sys.exit(demo.main())")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The demo did not work out: Airflow took too long." in said
    # Airflow may not have said anything by then; if it has, the log is kept, and nothing else is.
    assert [file for file in tmp_path.iterdir() if str(file) not in said] == []
    assert "Traceback" not in said


def test_a_demo_without_its_simulator_says_what_to_do(demo: Any) -> None:
    process = demo("import sys; sys.modules['uvicorn'] = None; import demo; sys.exit(demo.main())")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said == "The demo needs uvicorn, which isn't installed here; make demo installs it.\n"


LINES = {
    "2.11": "[2026-01-01T00:00:00.000+0000] {pixxel.py:106} INFO - %s",
    "3.3": "2026-01-01T00:00:00.000000Z [info     ] %s [pixxel_provider.triggers.pixxel.X] loc=pixxel.py:1",
}


JOB = "5fcd2c1e-0000-4000-8000-000000000000"
SAID = (
    "Pixxel estimates 120 credits for a job of workflow wf-succeeds",
    "Something that Airflow says",
    "Pixxel estimates 120 credits for a job of workflow wf-succeeds; max_cost is 200",
    "POST /v0/workflows/wf-succeeds/jobs: could not get an answer from http://127.0.0.1:1: the connection "
    "was dropped before the answer was complete. The job may have been created all the same. The request "
    "isn't sent again, as it could be billed twice; the job is searched for in the workflow's list",
    f"Adopting {JOB} (created, of 2026-01-01T00:00:00+00:00 by user-1): the only job of the workflow that "
    "appeared since the request to create one",
    f"Pixxel job {JOB} of workflow wf-succeeds: running, 7 %, 0 of 5 tasks done, now scene-fetch 2.1.0, "
    "about 10 s left",
    "Marking task as DEFERRED.",
    f"Pixxel job {JOB} of workflow wf-succeeds: running, 9 %, 0 of 5 tasks done, now scene-fetch 2.1.0, "
    "about 5 s left",
    f"Pixxel job {JOB} of workflow wf-succeeds: running, 50 %, 2 of 5 tasks done, now spectral-index 3.0.1, "
    "longer than estimated",
    f"Pixxel job {JOB} of workflow wf-succeeds has ended: completed, for 120 credits",
    f"The package of Pixxel job {JOB} of workflow wf-succeeds is 'pending'",
    "Marking task as DEFERRED.",
)


def told(stream: io.StringIO, line: str) -> Story:
    story = Story(Screen(stream), 10, 200)
    for words in SAID:
        story.said(line % words)
    return story


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_the_story_tells_price_lost_answer_adoption_and_each_step_once(line: str) -> None:
    stream = io.StringIO()
    told(stream, line)
    lines = [text.split("%")[-1].strip() for text in stream.getvalue().splitlines()]
    assert lines == [
        "estimate        120 credits; 200 are allowed, so the DAG continues",
        "run             Pixxel creates a job, which is billed, and its answer is lost on the way",
        "sent again, it could be billed twice: the operator lists the jobs",
        f"and adopts {JOB}, the only new one",
        "0 of 5 tasks done, now scene-fetch",
        "it isn't done, so the task is deferred: no worker is busy from here on",
        "2 of 5 tasks done, now spectral-index",
        "completed, for 120 credits",
    ]


@pytest.mark.parametrize(("jobs", "asked", "words"), [(1, 1, "1 job, 120"), (2, 2, "2 jobs, 240")])
def test_the_bill_at_the_end_is_what_it_is(jobs: int, asked: int, words: str) -> None:
    stream = io.StringIO()
    Story(Screen(stream), 10, 200).ending(jobs, 120 * jobs, asked, 40)
    assert f"{words} credits. Requested {'once' if asked == 1 else '2 times'}" in stream.getvalue()


def test_the_outcome_shows_the_package_and_what_was_made_of_it() -> None:
    stream = io.StringIO()
    package = {"files": 5, "bytes": 1842, "sha256": "0123456789abcdef" * 4}
    used = {"3-cloud-mask.json": {}, "4-stress.json": {"mean": 0.62}, "5-mosaic.json": {"files": ["a", "b"]}}
    told(stream, "%s").outcome(
        {
            "xcoms": [
                {"task_id": "download", "key": "return_value", "value": package},
                {"task_id": "use", "key": "return_value", "value": used},
            ]
        }
    )
    assert stream.getvalue().splitlines()[-3:] == [
        "download        5 files, from a package of 1,842 bytes with sha256 0123456789abcdef...",
        "use             stress                 mean 0.62",
        "                mosaic                 files a, b",
    ]


@pytest.mark.parametrize(("encoding", "bar"), [("utf-8", "━━──"), ("ascii", "##.."), ("latin-1", "##..")])
def test_bars_are_drawn_with_what_the_encoding_has(encoding: str, bar: str) -> None:
    screen = Screen(io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert screen.bar(50, cells=4) == bar


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_colours_unless_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Screen(Terminal()).paint("word", "bold") == "\x1b[1mword\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen(Terminal()).paint("word", "bold") == "word"
    monkeypatch.delenv("NO_COLOR")
    assert Screen(io.StringIO()).paint("word", "bold") == "word"


def test_a_line_for_now_is_written_over_on_a_terminal_and_left_out_of_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    told = {}
    for stream in (Terminal(), io.StringIO()):
        screen = Screen(stream)
        screen.now("1 %")
        screen.now("2 %")
        screen.line("done")
        told[type(stream)] = stream.getvalue()
    assert told == {Terminal: "1 %\r\x1b[K2 %\r\x1b[Kdone\n", io.StringIO: "done\n"}


def test_a_line_for_now_can_be_left_or_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(Terminal())
    screen.now("1 %")
    screen.settle()
    screen.now("2 %")
    screen.settle(keep=False)
    screen.line("done")
    assert screen.stream.getvalue() == "1 %\n2 %\r\x1b[Kdone\n"
