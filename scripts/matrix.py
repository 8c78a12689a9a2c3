"""Run the tests on every supported Airflow, each in an environment of its own: ``matrix.py [VERSION ...]``.

Two versions at a time; one that is left over, or alone, has two processes for its tests. What they print
goes to ``.matrix/<version>.log``; its end is shown when something failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from environments import (
    NEWEST,
    ROOT,
    SUPPORTED,
    Environment,
    SetupError,
    Supported,
    find_python,
    python_version,
    without_airflow_settings,
)

FOLDER = ROOT / ".matrix"
AT_ONCE = min(2, os.cpu_count() or 1)
LINES_SHOWN = 60


@dataclass(frozen=True)
class Outcome:
    """How the tests went on one version."""

    supported: Supported
    python: str
    result: str
    passed: bool
    setup: float
    tests: float

    def __str__(self) -> str:
        word = "passed" if self.passed else "FAILED"
        return (
            f"Airflow {self.supported.airflow:7} Python {self.python:5} {word}"
            f"  set up {self.setup:4.0f} s, tests {self.tests:4.0f} s  {self.result}"
        )


running: set[subprocess.Popen[bytes]] = set()
stopping = threading.Event()


def choose_python(supported: Supported) -> str:
    """The Python this version is meant to be tested with, or else the one that runs this."""
    if found := find_python(supported.python):
        return found
    mine = python_version(sys.executable) or ""
    if _minor(mine) <= _minor(supported.newest_python):
        return sys.executable
    for minor in range(_minor(supported.newest_python), 9, -1):
        if found := find_python(f"3.{minor}"):
            return found
    raise SetupError(f"it wants a Python of at most {supported.newest_python}, and there is none")


def _minor(version: str) -> int:
    return int(version.partition(".")[2])


def run(command: list[str], log: Path, environ: dict[str, str]) -> int:
    """The command's exit code; its output goes to the log's end."""
    if stopping.is_set():
        return 130
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        running.add(process)
        try:
            return process.wait()
        finally:
            running.discard(process)


def try_version(supported: Supported, processes: int, pytest_arguments: list[str]) -> Outcome:
    """Set one version up and test with it."""
    log = FOLDER / f"{supported.airflow}.log"
    log.write_text("", encoding="utf-8")
    started = time.monotonic()
    python = "?"
    try:
        base = choose_python(supported)
        python = python_version(base) or "?"
        environment = Environment(FOLDER / supported.airflow, supported.constraints)
        environment.ensure(base, ("test",))
    except SetupError as error:
        log.write_text(f"{error}\n", encoding="utf-8")
        return Outcome(supported, python, "could not be set up", False, time.monotonic() - started, 0)
    ready = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pixxel-matrix-") as home:
        environ = {
            **without_airflow_settings(),
            **dict(supported.environment),
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # `make test` takes all; here the question is only whether another Airflow changes something.
            "PIXXEL_TEST_HISTORIES": "100",
        }
        mine = str(environment.python)
        wrong = run([mine, "scripts/check_package.py", "--provider-info"], log, environ)
        command = [mine, "-m", "pytest", "--ignore=tests/cluster", "--ignore=tests/browser"]
        command += ["--ignore=tests/fab", "--ignore=tests/stores", "-p", "no:cacheprovider", "--color=no"]
        if processes > 1:
            command += ["-n", str(processes), "--dist", "worksteal"]
        if supported is NEWEST:
            command += ["-p", "scripts.deprecations"]
        failed = run([*command, *pytest_arguments], log, environ)
    result = _closing_line(log)
    if wrong:
        result += " (and the provider info is wrong)"
    done = time.monotonic()
    return Outcome(supported, python, result, not (wrong or failed), ready - started, done - ready)


def _closing_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip("= ") if lines else "said nothing"


def stop(*_: object) -> None:
    """End what was started, all of it, when the person or the machine wants this to end."""
    stopping.set()
    for process in list(running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def main() -> int:
    """Test on the versions named, or on all; 0 if every one passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("version", nargs="*", help="such as 2.11.2; every supported one unless named")
    parser.add_argument(
        "-p", "--pytest", nargs=argparse.REMAINDER, default=[], help="further words for pytest"
    )
    arguments = parser.parse_args()
    known = {supported.airflow: supported for supported in SUPPORTED}
    if unknown := set(arguments.version) - set(known):
        parser.error(f"not supported: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    chosen = [known[version] for version in arguments.version] or list(SUPPORTED)

    FOLDER.mkdir(exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    print(f"Testing on Airflow {', '.join(s.airflow for s in chosen)}, {AT_ONCE} at a time ...", flush=True)
    started = time.monotonic()
    outcomes = []
    # Else a core has nothing to do while the last of an odd number is tested.
    left_over = chosen[len(chosen) - len(chosen) % AT_ONCE :]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [
            pool.submit(try_version, s, AT_ONCE if s in left_over else 1, arguments.pytest) for s in chosen
        ]
        for future in as_completed(futures):
            outcome = future.result()
            outcomes.append(outcome)
            print(outcome, flush=True)
            if not outcome.passed and not stopping.is_set():
                log = FOLDER / f"{outcome.supported.airflow}.log"
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
                print(f"---- the end of {log.relative_to(ROOT)}")
                wrong = [line for line in lines[:-LINES_SHOWN] if line.startswith("WRONG")]
                print("\n".join(wrong + lines[-LINES_SHOWN:]))
                print("----", flush=True)
    bad = [outcome.supported.airflow for outcome in outcomes if not outcome.passed]
    took = time.monotonic() - started
    print(f"{len(outcomes) - len(bad)} of {len(outcomes)} versions passed in {took:.0f} s.")
    return 1 if bad or stopping.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
