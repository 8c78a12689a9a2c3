"""Answers made by chance, each sent to both clients: what both promise has to hold for every one of them.

``python -m tests.hooks.fuzz_http --answers 20000 --seed 1`` tries many, ``--replay NUMBER`` one again.
Each exchange ends within its deadline, in an answer or in an error of this package, alike in both clients,
and is followed by one that succeeds; nobody else hears of it, and the key is in no text, log line or warning.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import queue
import re
import resource
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import tests.conftest  # noqa: F401  (an Airflow of its own, and nobody's proxies)
from pixxel_provider.hooks.pixxel import PixxelHook
from tests.hooks.answers import CALL, JOB, sized
from tests.hooks.clients import CLIENTS, Asking, Outcome, connection_to
from tests.hooks.grammar import Case, make
from tests.loopback import End, Raw, RawServer
from tests.support import CANARY

#: Seconds for each time-out of the connection, and those that an exchange may take longer on a busy machine.
STEP, MARGIN = 0.3, 3.0
#: What the process may grow by, in bytes.
MEMORY = 700 * 2**20

_CHUNKED = re.compile(rb"(?is)\r?\ntransfer-encoding:[ \t]*chunked[ \t]*\r?\n.*?\r?\n\r?\n(.*)\Z")
_CHUNK = re.compile(rb"0*([0-9A-Fa-f]{1,16})[ \t]*(;[^\r\n\0]*)?\r\n")
_LAST = re.compile(rb"0+[ \t]*(;[^\r\n\0]*)?\r\n\r\n")


def _ends_of_chunks(case: Case, *outcomes: Outcome) -> bool:
    """Ends of chunks that aren't where they should be, or something after the last of them."""
    for parts, _ in case.made:
        found = _CHUNKED.search(b"".join(part for part in parts if isinstance(part, bytes)))
        if found and not _well_chunked(found[1]):
            return all(outcome.kind == "answer" or outcome.transient for outcome in outcomes)
    return False


def _well_chunked(body: bytes) -> bool:
    while not (last := _LAST.match(body)):
        found = _CHUNK.match(body)
        end = found.end() + int(found[1], 16) if found else 0
        if not found or body[end : end + 2] != b"\r\n":
            return False
        body = body[end + 2 :]
    return last.end() == len(body)


_FOLDED = re.compile(rb"\n[ \t]")


def _folded_and_many(case: Case, *outcomes: Outcome) -> bool:
    """Folded lines, which count as headers on a worker, among so many that the limit is near."""
    for parts, _ in case.made:
        found = b"".join(part for part in parts if isinstance(part, bytes))
        if _FOLDED.search(found) and found.count(b"\n") > 95:
            return all(outcome.kind == "answer" or outcome.transient for outcome in outcomes)
    return False


#: Where a library can't be told to read as the other does; docs/hooks.rst says the same.
KNOWN = {"ends of chunks": _ends_of_chunks, "folded and many": _folded_and_many}


@dataclass
class Place:
    """One server with a connection that leads to it, and those that must hear nothing."""

    number: int
    api: RawServer
    evil: list[RawServer]

    @property
    def conn_id(self) -> str:
        return f"fuzz_{self.number}"

    def hosts(self) -> dict[str, str]:
        own, evil, other = (f"{each.host}:{each.port}" for each in (self.api, *self.evil))
        return {"own": own, "port": str(self.api.port), "evil": evil, "other": other}

    def connect(self, seconds: float) -> None:
        os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"] = connection_to(self.api, seconds)


@dataclass
class Report:
    """What was found, by the number of the case."""

    tried: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    failures: dict[int, list[str]] = field(default_factory=dict)


@contextlib.contextmanager
def place(number: int = 0) -> Iterator[Place]:
    """Start the servers of one worker."""
    with RawServer() as api, RawServer() as beside, RawServer("127.0.0.2", api.port) as other:
        yield Place(number, api, [beside, other])


def exchange(here: Place, case: Case, seconds: float) -> tuple[dict[str, list[Outcome]], list[str]]:
    """Let both clients have the answers of a case, and a good one after them; return what is wrong, too."""
    here.connect(seconds)
    answers, problems, found = case.answers(here.hosts()), [], {}
    deadline = PixxelHook(here.conn_id).settings.exchange_timeout
    for name, client in CLIENTS.items():
        here.api.answer_with(*answers)
        for each in here.evil:
            each.answer_with(sized())

        def steps() -> Iterator[Any]:
            yield case.call
            # A connection that is closed under a request is another matter.
            here.api.settle()
            yield 0.002
            here.api.go_on_with(Raw((sized(),), End.KEEP))
            yield CALL

        asking = Asking(partial(client, steps(), here.conn_id), name=f"case {case.number}")
        try:
            found[name] = asking.result(2 * deadline + MARGIN)
        except AssertionError as endless:
            problems.append(f"{name}: {endless}")
            here.api.hang_up()
        problems += [f"{name}: {each}" for each in _heard(here)]
    return found, problems


def _heard(here: Place) -> Iterator[str]:
    for each in here.evil:
        if each.connections:
            yield f"{each.origin} was connected to, and got {each.requests!r}"
    own = here.hosts()["own"].encode()
    for request in here.api.requests:
        if not re.fullmatch(rb"[A-Z]+ /[!-~]* HTTP/1\.1", request.split(b"\r\n")[0]):
            yield f"no request line: {request[:200]!r}"
        if b"\r\nhost: " + own + b"\r\n" not in request.lower():
            yield f"another host: {request[:300]!r}"


def check(here: Place, case: Case, report: Report, seconds: float = STEP) -> list[str]:
    """Return what is wrong with what came of a case."""
    found, problems = exchange(here, case, seconds)
    for name, outcomes in found.items():
        first, second = outcomes
        if first.kind.startswith("foreign"):
            problems.append(f"{name}: {first.kind}: {first.words}")
        if CANARY in repr(outcomes):
            problems.append(f"{name}: the key is shown")
        # A server that closes a connection on which it is asked again loses that request.
        lost = any(end is End.HOLD for _, end in case.made) and second.reason == "dropped"
        if second.answer != JOB and not lost:
            problems.append(f"{name}: the next answer is spoilt: {second}")
    if len(found) == 2:
        worker, triggerer = (found[name][0] for name in CLIENTS)
        if _gist(worker) != _gist(triggerer):
            known = [name for name, applies in KNOWN.items() if applies(case, worker, triggerer)]
            if known:
                report.known[known[0]] = report.known.get(known[0], 0) + 1
            else:
                problems.append(f"not alike:\n      worker {worker}\n   triggerer {triggerer}")
        report.kinds[worker.kind] = report.kinds.get(worker.kind, 0) + 1
    return problems


def _gist(outcome: Outcome) -> tuple[Any, ...]:
    return outcome.kind, outcome.transient, outcome.answer


class _Watch(logging.Handler):
    """Hears what is logged or warned of, and in which case's thread."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            words = f"{record.getMessage()} {record.args!r} {record.exc_info!r}"
        except Exception as error:
            words = f"a log line that can't be written: {error!r}: {record.msg!r}"
            self.heard.put((threading.current_thread().name, words))
        if CANARY in words:
            self.heard.put((threading.current_thread().name, "the key is logged"))
        if record.name.startswith("asyncio") and record.levelno >= logging.WARNING:
            self.heard.put((threading.current_thread().name, words))

    def complain(self, what: Any, *_: Any) -> None:
        self.heard.put((threading.current_thread().name, repr(what)))

    @contextlib.contextmanager
    def on_duty(self) -> Iterator[None]:
        root = logging.getLogger()
        before = root.handlers, root.level, sys.unraisablehook, threading.excepthook, warnings.showwarning
        root.handlers = [self]
        root.setLevel(logging.DEBUG)
        sys.unraisablehook = threading.excepthook = warnings.showwarning = self.complain
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", ResourceWarning)
                warnings.showwarning = self.complain
                yield
                gc.collect()
        finally:
            root.handlers, level, sys.unraisablehook, threading.excepthook, warnings.showwarning = before
            root.setLevel(level)


def run(answers: int, seed: int, workers: int = 4, tell: Callable[[str], None] = print) -> Report:
    """Try so many answers, and return what was found."""
    report, watch = Report(), _Watch()
    numbers = iter(range(seed * 1_000_000, seed * 1_000_000 + answers))
    before = _most_memory()

    def work(worker: int) -> None:
        with place(worker) as here:
            # The workers share it: each number goes to one of them.
            for number in numbers:
                case = make(number)
                problems = check(here, case, report)
                if problems:
                    # On a machine that is busy a time-out means little: what is wrong stays so.
                    problems = check(here, case, report, 6 * STEP)
                if problems:
                    report.failures.setdefault(number, []).extend(problems)
                report.tried += 1
                if report.tried % 1_000 == 0:
                    tell(f"{report.tried} answers, {len(report.failures)} failures")

    with watch.on_duty(), ThreadPoolExecutor(workers, "fuzz") as pool:
        list(pool.map(work, range(workers)))
    while not watch.heard.empty():
        name, words = watch.heard.get()
        number = int(name.rpartition(" ")[2]) if name.startswith("case ") else -1
        report.failures.setdefault(number, []).append(words)
    grown = _most_memory() - before
    if grown > MEMORY:
        report.failures.setdefault(-1, []).append(f"the process has grown by {grown // 2**20} MiB")
    return report


def _most_memory() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def replay(number: int) -> Report:
    """Try one answer again, and show it."""
    report, case = Report(tried=1), make(number)
    with place() as here, (watch := _Watch()).on_duty():
        print(case.call)
        for answer in case.answers(here.hosts()):
            print(f"  {answer.end}", *(repr(part)[:2_000] for part in answer.to(b"")), sep="\n    ")
        for name, outcomes in exchange(here, case, 4 * STEP)[0].items():
            print(f"{name}:", *outcomes, sep="\n    ")
        problems = check(here, case, report, 6 * STEP)
    problems += [watch.heard.get()[1] for _ in range(watch.heard.qsize())]
    if problems:
        report.failures[number] = problems
    return report


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--replay", type=int, metavar="NUMBER")
    given = parser.parse_args()
    began = time.monotonic()
    if given.replay is not None:
        report = replay(given.replay)
    else:
        report = run(given.answers, given.seed, given.workers, partial(print, flush=True))
    for number, problems in sorted(report.failures.items()):
        print(f"--replay {number}:", *problems, sep="\n    ")
    print(f"{report.tried} answers in {time.monotonic() - began:.0f} s: {len(report.failures)} failures")
    print("outcomes:", dict(sorted(report.kinds.items())), "known differences:", report.known)
    return bool(report.failures)


if __name__ == "__main__":
    sys.exit(main())
