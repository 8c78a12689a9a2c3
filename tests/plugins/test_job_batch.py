"""What is remembered of many jobs, and how long a look at them takes."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pixxel_provider.api.job import Job
from pixxel_provider.plugins.cache import CachedAnswer
from pixxel_provider.plugins.job_batch import JobBatch, JobRef

NOW = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
MAX_WAIT = 20.0


def key(number: int) -> JobRef:
    return JobRef("pixxel_default", "wf", f"job-{number}")


def job(number: int = 0, status: str = "running", **fields: Any) -> Job:
    return Job.read({"id": f"job-{number}", "status": status, **fields})


class Pixxel:
    """Has an empty list, takes its time for it, and notes how long it is waited for."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.max_wait: list[float] = []
        self.batch = JobBatch(self.one, self.many, from_list=4, most=24, known_wait=0.25)

    async def one(self, key: JobRef, max_wait: float) -> None:
        self.max_wait.append(max_wait)

    async def many(self, workflow: tuple[str, str], max_wait: float) -> CachedAnswer[dict[str, Job]]:
        loop: Any = asyncio.get_running_loop()
        before = loop.time
        loop.time = lambda: before() + self.seconds
        return CachedAnswer({}, NOW)

    def look(self, *numbers: int) -> tuple[dict[JobRef, Job], bool]:
        found, complete = asyncio.run(self.batch.look([key(number) for number in numbers], MAX_WAIT))
        return dict(found), complete


@pytest.mark.parametrize(("seconds", "least", "most"), [(0, 19, 20), (15, 4, 5), (21, 0, 0), (1_000, 0, 0)])
def test_a_look_takes_no_longer_in_two_steps_than_in_one(seconds: float, least: float, most: float) -> None:
    pixxel = Pixxel(seconds)

    assert pixxel.look(1, 2, 3, 4) == ({}, False)
    assert len(pixxel.max_wait) == 4
    assert all(least <= max_wait <= most for max_wait in pixxel.max_wait)


def test_jobs_that_are_all_known_are_shown_at_once() -> None:
    pixxel = Pixxel()
    for number in (1, 2):
        pixxel.batch.note(key(number), job(number), NOW)

    assert pixxel.look(1, 2)[1]
    assert pixxel.max_wait == [0.25, 0.25]
    # One that isn't known is worth a wait.
    assert not pixxel.look(1, 2, 3)[1]
    assert pixxel.max_wait[2:] == [MAX_WAIT] * 3


def test_what_is_newer_is_kept_whatever_comes_last() -> None:
    pixxel = Pixxel()
    for seconds, status in ((0, "running"), (9, "completed"), (5, "running")):
        pixxel.batch.note(key(0), job(status=status), NOW + timedelta(seconds=seconds))

    assert pixxel.look(0)[0][key(0)].status == "completed"


def test_only_so_many_jobs_are_remembered() -> None:
    pixxel = Pixxel()
    for number in range(2_100):
        pixxel.batch.note(key(number), job(number), NOW)
        pixxel.look(number)

    assert len(pixxel.batch._seen) == len(pixxel.batch._turns) == 2_000
    assert pixxel.look(2_099)[1]
    assert not pixxel.look(0)[1]
