"""What is remembered of many jobs, and how long a look at them takes."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pixxel_provider.api.job import Job
from pixxel_provider.plugins.answers import Found
from pixxel_provider.plugins.asking import JobKey
from pixxel_provider.plugins.crowd import Crowd

NOW = datetime(2026, 11, 24, 4, tzinfo=timezone.utc)
PATIENCE = 20.0


def key(number: int) -> JobKey:
    return JobKey("pixxel_default", "wf", f"job-{number}")


def job(number: int = 0, status: str = "running", **fields: Any) -> Job:
    return Job.read({"id": f"job-{number}", "status": status, **fields})


class Pixxel:
    """Has an empty list, takes its time for it, and notes how long it is waited for."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.patience: list[float] = []
        self.crowd = Crowd(self.one, self.many, crowd=4, most=24, glance=0.25)

    async def one(self, key: JobKey, patience: float) -> None:
        self.patience.append(patience)

    async def many(self, workflow: tuple[str, str], patience: float) -> Found[dict[str, Job]]:
        loop: Any = asyncio.get_running_loop()
        before = loop.time
        loop.time = lambda: before() + self.seconds
        return Found({}, NOW)

    def look(self, *numbers: int) -> tuple[dict[JobKey, Job], bool]:
        found, complete = asyncio.run(self.crowd.look([key(number) for number in numbers], PATIENCE))
        return dict(found), complete


@pytest.mark.parametrize(("seconds", "least", "most"), [(0, 19, 20), (15, 4, 5), (21, 0, 0), (1_000, 0, 0)])
def test_a_look_takes_no_longer_in_two_steps_than_in_one(seconds: float, least: float, most: float) -> None:
    pixxel = Pixxel(seconds)

    assert pixxel.look(1, 2, 3, 4) == ({}, False)
    assert len(pixxel.patience) == 4
    assert all(least <= patience <= most for patience in pixxel.patience)


def test_jobs_that_are_all_known_are_shown_at_once() -> None:
    pixxel = Pixxel()
    for number in (1, 2):
        pixxel.crowd.note(key(number), job(number), NOW)

    assert pixxel.look(1, 2)[1]
    assert pixxel.patience == [0.25, 0.25]
    # One that isn't known is worth a wait.
    assert not pixxel.look(1, 2, 3)[1]
    assert pixxel.patience[2:] == [PATIENCE] * 3


def test_what_is_newer_is_kept_whatever_comes_last() -> None:
    pixxel = Pixxel()
    for seconds, status in ((0, "running"), (9, "completed"), (5, "running")):
        pixxel.crowd.note(key(0), job(status=status), NOW + timedelta(seconds=seconds))

    assert pixxel.look(0)[0][key(0)].status == "completed"


def test_only_so_many_jobs_are_remembered() -> None:
    pixxel = Pixxel()
    for number in range(2_100):
        pixxel.crowd.note(key(number), job(number), NOW)
        pixxel.look(number)

    assert len(pixxel.crowd._seen) == len(pixxel.crowd._turns) == 2_000
    assert pixxel.look(2_099)[1]
    assert not pixxel.look(0)[1]
