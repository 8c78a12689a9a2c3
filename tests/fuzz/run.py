"""The fuzzer: cases that hypothesis makes, for every place where something from outside is read.

``python -m tests.fuzz --cases 200000`` tries many, ``--surface NAME`` those of one place, and
``--replay NAME:NUMBER`` again those of a number. One number stands for 500 cases; hypothesis makes the same
ones of it each time, and shows the simplest of those that fail.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

import tests.conftest  # noqa: F401  (an Airflow of its own, and nobody's proxies)
from tests.fuzz.surface import Check, KeyInLog, Surface

#: Cases of one number.
CHUNK = 500
#: How many numbers a process tries.
PER_PROCESS = 40
#: What a process may grow by while it tries those, in bytes.
MEMORY = 400 * 2**20
#: The share of whole HTTP answers, which both clients are sent (tests/hooks/fuzz_http.py).
HTTP_SHARE = 10


def surfaces() -> dict[str, Surface]:
    """Return all surfaces by their names."""
    from tests.fuzz import answers, packages, pages, settings, stored

    found = [
        each for module in (answers, settings, stored, packages, pages) for each in vars(module).values()
    ]
    return {each.name: each for each in found if isinstance(each, Surface)}


@dataclass
class Outcome:
    """What came of the cases of one number."""

    surface: str
    number: int
    tried: int = 0
    seconds: float = 0.0
    failure: str = ""


def try_number(name: str, number: int, cases: int = CHUNK) -> Outcome:
    """Try the cases of one number."""
    found, watch = surfaces()[name], KeyInLog()
    outcome = Outcome(name, number)
    began, before = time.monotonic(), _most_memory()
    with found.opened() as check, watch.on_duty():
        try:
            while outcome.tried < cases:
                # Where there are fewer different ones, the next ones of them.
                at = (number << 8) + outcome.tried % 256
                _try(found, check, watch, at, cases - outcome.tried, outcome)
        except Exception as error:
            outcome.failure = _describe(error)
    outcome.seconds = time.monotonic() - began
    gc.collect()
    if (grown := _most_memory() - before) > MEMORY and not outcome.failure:
        outcome.failure = f"the process has grown by {grown // 2**20} MiB"
    return outcome


def _try(surface: Surface, check: Check, watch: KeyInLog, at: int, cases: int, outcome: Outcome) -> None:
    @seed(at)
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(surface.cases)
    def one(case: Any) -> None:
        outcome.tried += 1
        check(case)
        assert not watch.heard, watch.heard.pop()

    one()


def _describe(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    # What was wrong comes before the case, which may be long.
    return text if len(text) < 8_000 else f"{text[:4_000]}\n...\n{text[-4_000:]}"


def _most_memory() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def plan(cases: int, first: int, only: str | None = None) -> Iterator[tuple[str, int, int]]:
    """Yield surface, number and cases of each part of a run."""
    found = surfaces()
    for name, each in found.items():
        if only is not None and name != only:
            continue
        left = cases if only else max(round(cases * each.share / 100), 1)
        for number in range(first, first + -(-left // CHUNK)):
            yield name, number, min(left, CHUNK)
            left -= CHUNK


@dataclass
class Total:
    """What came of the cases of one surface."""

    tried: int = 0
    seconds: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        self.tried += outcome.tried
        self.seconds += outcome.seconds
        if outcome.failure:
            self.failures[f"{outcome.surface}:{outcome.number}"] = outcome.failure


def run(parts: list[tuple[str, int, int]], workers: int, tell: Callable[[str], None]) -> dict[str, Total]:
    """Try all parts, in so many processes."""
    totals = {name: Total() for name, *_ in parts}
    began = time.monotonic()
    # All surfaces in turn, so that a run which is stopped has tried some of each.
    outcomes = _outcomes(sorted(parts, key=lambda part: part[1]), workers)
    try:
        for done, outcome in enumerate(outcomes, 1):
            totals[outcome.surface].add(outcome)
            if outcome.failure:
                tell(f"--replay {outcome.surface}:{outcome.number}\n{outcome.failure}")
            if done % 20 == 0:
                tell(f"{done} of {len(parts)} parts, {time.monotonic() - began:.0f} s")
    except KeyboardInterrupt:
        tell("stopped")
    finally:
        outcomes.close()
    return totals


def _outcomes(parts: list[tuple[str, int, int]], workers: int) -> Generator[Outcome, None, None]:
    """Yield what comes of each part, as soon as it is there."""
    # New processes now and then, so that what one part has left in memory isn't there for all later ones.
    # Python 3.11's own max_tasks_per_child hangs instead of starting them.
    batch = PER_PROCESS * workers
    for at in range(0, len(parts), batch):
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            try:
                for future in as_completed(
                    [pool.submit(try_number, *part) for part in parts[at : at + batch]]
                ):
                    yield future.result()
            finally:
                pool.shutdown(cancel_futures=True)


def http(cases: int, first: int, workers: int, tell: Callable[[str], None]) -> Total:
    """Send whole answers to both clients."""
    from tests.hooks import fuzz_http

    began = time.monotonic()
    report = fuzz_http.run(cases, first, workers, tell)
    total = Total(report.tried, time.monotonic() - began)
    for number, problems in sorted(report.failures.items()):
        total.failures[f"http:{number}"] = "\n    ".join(problems)
        tell(f"--replay http:{number}\n    " + total.failures[f"http:{number}"])
    tell(f"outcomes: {dict(sorted(report.kinds.items()))} known differences: {report.known}")
    return total


def replay(name: str, number: int) -> Total:
    """Try the cases of a number again."""
    total = Total()
    if name == "http":
        from tests.hooks import fuzz_http

        report = fuzz_http.replay(number)
        return Total(
            1, 0.0, {f"http:{at}": "\n    ".join(problems) for at, problems in report.failures.items()}
        )
    total.add(try_number(name, number))
    return total


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200_000, help="in all, or of the one surface")
    parser.add_argument("--seed", type=int, default=1, help="the first number; another one makes other cases")
    parser.add_argument("--surface", help=f"one of {', '.join([*surfaces(), 'http'])}")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", metavar="SURFACE:NUMBER")
    given = parser.parse_args()
    tell = partial(print, flush=True)
    if given.replay:
        name, _, number = given.replay.rpartition(":")
        totals = {name: replay(name, int(number))}
        tell(*totals[name].failures.values(), sep="\n")
    else:
        totals = {}
        if given.surface != "http":
            parts = list(plan(given.cases, given.seed, given.surface))
            totals = run(parts, given.workers, tell)
        if given.surface in (None, "http"):
            share = given.cases * HTTP_SHARE // 100 if given.surface is None else given.cases
            totals["http"] = http(share, given.seed, 4, tell)
        written = Path("build") / "fuzz.json"
        written.parent.mkdir(exist_ok=True)
        written.write_text(json.dumps({name: asdict(total) for name, total in totals.items()}, indent=1))
    tell(f"\n{'surface':<14}{'cases':>9}{'seconds':>9}{'failures':>10}")
    for name, total in totals.items():
        tell(f"{name:<14}{total.tried:>9,}{total.seconds:>9.0f}{len(total.failures):>10}")
    tell(f"{'':<14}{sum(total.tried for total in totals.values()):>9,}")
    return int(any(total.failures for total in totals.values()))
