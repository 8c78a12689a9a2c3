"""A transfer says how far it is: now and then, and never more often."""

from __future__ import annotations

import pytest

from pixxel_provider.download.progress import Progress, size
from tests.support import FakeClock, RecordingLog

MIB = 1024 * 1024


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def progress(clock: FakeClock, said: list[str]) -> Progress:
    return Progress(RecordingLog(said, levels=False), clock)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (MIB, "1.0 MiB"),
        (5.25 * 1024 * MIB, "5.2 GiB"),
        (3 * MIB * MIB, "3.0 TiB"),
        (5000 * MIB * MIB, "5000.0 TiB"),
        (99.9, "99 bytes"),
    ],
)
def test_a_size_is_written_as_people_read_it(count: float, words: str) -> None:
    assert size(count) == words


def test_the_beginning_names_what_is_to_come(progress: Progress, said: list[str]) -> None:
    progress.begin(3 * MIB)
    progress.begin(None)
    assert said == [
        "Receiving a package of 3.0 MiB",
        "Receiving a package of a length that isn't known yet",
    ]


@pytest.mark.parametrize(
    ("begins", "steps", "line"),
    [
        # After ten seconds and a tenth of the package, ...
        (1, [(9.9, 50), (0.1, 9), (0, 10)], "10.0 MiB of 100.0 MiB (10%) so far, at 1.0 MiB/s"),
        # ... or after a minute, however little came.
        (1, [(59.9, 1), (0.1, 1)], "1.0 MiB of 100.0 MiB (1%) so far, at 17.1 KiB/s"),
        # Both count from the last beginning.
        (2, [(9, 5), (1, 10)], "10.0 MiB of 100.0 MiB (10%) so far, at 1.0 MiB/s"),
    ],
)
def test_a_line_comes_with_the_last_of_these_steps_and_not_before(
    progress: Progress,
    said: list[str],
    clock: FakeClock,
    begins: int,
    steps: list[tuple[float, int]],
    line: str,
) -> None:
    for _ in range(begins):
        clock.now += 10
        progress.at(90 * MIB)
        progress.begin(100 * MIB)
    said.clear()
    for seconds, mib in steps:
        assert said == []
        clock.now += seconds
        progress.at(mib * MIB)
    assert said == [f"Received {line}"]


def test_the_rate_is_that_since_the_last_line(progress: Progress, said: list[str], clock: FakeClock) -> None:
    progress.begin(100 * MIB)
    for seconds, count in ((10, 20 * MIB), (10, 40 * MIB)):
        clock.now += seconds
        progress.at(count)
    assert [line.rpartition("at ")[2] for line in said[1:]] == ["2.0 MiB/s", "2.0 MiB/s"]


def test_without_a_length_there_is_a_line_a_minute(
    progress: Progress, said: list[str], clock: FakeClock
) -> None:
    progress.begin(None)
    said.clear()
    for second in range(1, 181):
        clock.now += 1
        progress.at(second * MIB)
    assert [line.partition(" so far")[0] for line in said] == [
        f"Received {mib}.0 MiB" for mib in (60, 120, 180)
    ]


def test_a_long_transfer_says_ten_lines_and_a_slow_one_a_line_a_minute(
    progress: Progress, said: list[str], clock: FakeClock
) -> None:
    progress.begin(1000 * MIB)
    for second in range(1, 201):
        clock.now += 1
        progress.at(second * 5 * MIB)
    assert len(said) == 1 + 10
    said.clear()
    progress.begin(36_000 * MIB)
    for second in range(1, 3601):
        clock.now += 1
        progress.at(second * MIB)
    assert len(said) == 1 + 60


def test_the_end_names_length_time_and_rate_of_the_whole_transfer(
    progress: Progress, said: list[str], clock: FakeClock
) -> None:
    progress.begin(4 * MIB)
    clock.now += 2
    progress.begin(4 * MIB)
    clock.now += 2
    progress.done(4 * MIB)
    assert said[-1] == "Received 4.0 MiB in 4.0 s, at 1.0 MiB/s"


def test_a_transfer_that_took_no_time_at_all_has_an_end_too(progress: Progress, said: list[str]) -> None:
    progress.begin(1)
    progress.done(1)
    assert said[-1].startswith("Received 1 bytes in 0.0 s")
