"""Which of many jobs are known, and how long a refresh of them takes."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pixxel_provider.api.job import Job
from pixxel_provider.plugins.cache import CachedAnswer
from pixxel_provider.plugins.job_batch import JobBatch, JobKey

NOW = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
MAX_WAIT = 20.0


def key(number: int) -> JobKey:
    return JobKey("pixxel_default", "wf", f"job-{number}")


def job(number: int = 0, status: str = "running", **fields: Any) -> Job:
    return Job.read({"id": f"job-{number}", "status": status, **fields})


class Refresh:
    """Refreshes a batch whose list is empty and slow; notes how long each job is waited for."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.max_wait: list[float] = []
        self.batch = JobBatch(self.get_job, self.get_list)

    async def get_job(self, key: JobKey, max_wait: float) -> None:
        self.max_wait.append(max_wait)

    async def get_list(self, workflow: tuple[str, str], max_wait: float) -> CachedAnswer[dict[str, Job]]:
        loop: Any = asyncio.get_running_loop()
        before = loop.time
        loop.time = lambda: before() + self.seconds
        return CachedAnswer({}, NOW)

    def __call__(self, *numbers: int) -> tuple[dict[JobKey, Job], bool]:
        known = asyncio.run(self.batch.get([key(number) for number in numbers], MAX_WAIT))
        return {key: job for key, (_, job) in known.items()}, len(known) == len(numbers)


@pytest.mark.parametrize(("seconds", "least", "most"), [(0, 19, 20), (15, 4, 5), (21, 0, 0), (1_000, 0, 0)])
def test_a_refresh_takes_no_longer_in_two_steps_than_in_one(
    seconds: float, least: float, most: float
) -> None:
    refresh = Refresh(seconds)

    assert refresh(1, 2, 3, 4) == ({}, False)
    assert len(refresh.max_wait) == 4
    assert all(least <= max_wait <= most for max_wait in refresh.max_wait)


def test_what_is_known_is_shown_at_once() -> None:
    refresh = Refresh()
    # It waits while nothing is known.
    assert refresh(1) == ({}, False)
    assert refresh.max_wait == [MAX_WAIT]
    refresh.batch.update(key(1), job(1), NOW)

    assert refresh(1)[1]
    assert refresh(1, 2) == ({key(1): job(1)}, False)
    assert refresh.max_wait[1:] == [0.25] * 3


def test_the_newest_state_is_kept_whatever_comes_last() -> None:
    refresh = Refresh()
    for seconds, status in ((0, "running"), (9, "completed"), (5, "running")):
        refresh.batch.update(key(0), job(status=status), NOW + timedelta(seconds=seconds))

    assert refresh(0)[0][key(0)].status == "completed"


def test_only_so_many_jobs_are_kept() -> None:
    refresh = Refresh()
    for number in range(2_100):
        refresh.batch.update(key(number), job(number), NOW)
        refresh(number)

    assert len(refresh.batch._known) == len(refresh.batch._requested) == 2_000
    assert refresh(2_099)[1]
    assert not refresh(0)[1]
