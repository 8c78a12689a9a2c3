from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import Retrying

from pixxel_provider.api import calls, retry
from pixxel_provider.api.errors import (
    PixxelConnectionError,
    PixxelError,
    PixxelNotFoundError,
    PixxelRateLimitError,
    PixxelServerError,
)
from pixxel_provider.api.retry import LONGEST_RETRY_AFTER, policy, read_retry_after, worth_retrying
from tests.api.failures import BUSY, LASTING, LIMITED, PASSING, UNSENT, limited

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
SAFE = calls.get_job("w", "j")
BILLED = calls.create_job("w", "p")

STAYING: list[BaseException] = [
    *LASTING,
    PixxelNotFoundError("no", status_code=404),
    ValueError("a bug"),
    KeyboardInterrupt(),
]


class Server:
    """Fails with each error in turn, then answers."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.asked = 0
        self.slept: list[float] = []

    def __call__(self) -> str:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    def ask(self, call: calls.Call[Any], retry_for: float = retry.RETRY_FOR) -> str:
        return str(Retrying(sleep=self.slept.append, **policy(call, retry_for))(self))


def always(error: PixxelError) -> Server:
    return Server(*[error] * 1_000)


# ---------------------------------------------------------------------------------------- what is retried


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_a_safe_call_is_retried_after_a_transient_error_and_a_billed_one_only_if_not_accepted(
    error: PixxelError,
) -> None:
    safe = [SAFE, calls.list_jobs("w"), calls.download_job("w", "j"), calls.download_task("w", "j", "t")]
    assert all(worth_retrying(call, error) for call in safe)
    assert worth_retrying(BILLED, error) == (error in (LIMITED, UNSENT))


@pytest.mark.parametrize("error", STAYING, ids=repr)
@pytest.mark.parametrize("call", [SAFE, BILLED], ids=str)
def test_no_call_is_retried_after_a_permanent_error(call: calls.Call[Any], error: BaseException) -> None:
    assert not worth_retrying(call, error)


# ------------------------------------------- tenacity's part; test_pixxel has it through both hooks as well


def test_a_billed_call_is_retried_only_while_it_was_rejected_or_never_sent() -> None:
    lost = PixxelConnectionError("time-out", reason="timeout", sent=True)
    server = Server(UNSENT, limited(1), UNSENT, LIMITED)
    assert server.ask(BILLED) == "answer"
    assert server.asked == 5

    for errors in ([lost], [UNSENT, BUSY]):
        server = Server(*errors)
        with pytest.raises(type(errors[-1])) as caught:
            server.ask(BILLED)
        assert caught.value is errors[-1]
        assert (server.asked, len(server.slept)) == (len(errors), len(errors) - 1)


@pytest.mark.parametrize(
    ("retry_after", "retry_for", "asked"),
    # 25 + 25 fit into 60 seconds, a third delay doesn't.
    [(25, 60, 3), (86_400, 60, 1), (25, 0, 1), (25, 24.5, 1), (25, 25.5, 2), (25, 49.5, 2), (25, 110, 5)],
)
def test_retries_end_before_a_delay_that_would_exceed_their_time(
    retry_after: float, retry_for: float, asked: int
) -> None:
    server = always(limited(retry_after))

    with pytest.raises(PixxelRateLimitError):
        server.ask(SAFE, retry_for)
    assert (server.asked, server.slept) == (asked, [retry_after] * (asked - 1))


def test_delays_double_up_to_the_longest_and_have_full_jitter() -> None:
    random.seed(20260102)
    runs = []
    for _ in range(200):
        server = always(BUSY)
        with pytest.raises(PixxelServerError):
            server.ask(SAFE)
        assert sum(server.slept) <= retry.RETRY_FOR
        assert len(server.slept) == server.asked - 1
        runs.append(server.slept)

    for number in range(6):
        longest = min(2.0**number, retry.LONGEST_PAUSE)
        pauses = [slept[number] for slept in runs if len(slept) > number]
        assert all(0 <= pause <= longest for pause in pauses)
        assert min(pauses) < longest * 0.2
        assert max(pauses) > longest * 0.8
    assert max(map(len, runs)) < 50


def test_the_delay_is_the_retry_after_of_the_server() -> None:
    server = Server(limited(25), limited(30))

    assert server.ask(SAFE) == "answer"
    assert server.slept == [25, 30]


def test_a_short_retry_after_does_not_shorten_the_delay() -> None:
    random.seed(20260102)
    server = always(limited(0.5))

    with pytest.raises(PixxelRateLimitError):
        server.ask(SAFE)
    assert min(server.slept) >= 0.5
    assert max(server.slept) > 5


def test_time_that_passes_while_asking_counts_too() -> None:
    stop = policy(SAFE, retry_for=60.0)["stop"]

    assert stop(SimpleNamespace(idle_for=0.0, seconds_since_start=59.0, upcoming_sleep=2.0))
    assert stop(SimpleNamespace(idle_for=59.0, seconds_since_start=None, upcoming_sleep=2.0))
    assert not stop(SimpleNamespace(idle_for=59.0, seconds_since_start=58.0, upcoming_sleep=1.0))


# -------------------------------------------------------------------------------------------- Retry-After


A_MINUTE_LATER = [
    "Fri, 02 Jan 2026 03:05:05 GMT",
    "Fri, 02 Jan 2026 04:05:05 +0100",
    "Friday, 02-Jan-26 03:05:05 GMT",
    "Fri Jan  2 03:05:05 2026",
    "2026-01-02T03:05:05Z",
]
NEW_YEAR = "Fri, 01 Jan 2027 00:00:00 GMT"


@pytest.mark.parametrize(
    ("seconds", "headers"),
    [
        (0, ["0", "-5", "-inf", "Fri, 02 Jan 2026 03:00:00 GMT"]),
        (1.5, ["1.5"]),
        (7, [" 7 "]),
        (60, A_MINUTE_LATER),
        (120, ["120"]),
        (900, ["900", "901", "86400", "999999999", "inf", "1e400", "9" * 5_000, NEW_YEAR]),
    ],
)
def test_retry_after_is_read_from_seconds_and_from_a_date(seconds: float, headers: list[str]) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5.5)))
    for header in headers:
        assert read_retry_after(header, NOW) == read_retry_after(header, elsewhere) == seconds


@pytest.mark.parametrize("header", [None, "", "  ", "soon", "nan", "10 minutes", "\ud800", "12,5"])
def test_a_retry_after_that_says_nothing_is_none(header: str | None) -> None:
    assert read_retry_after(header, NOW) is None


@given(st.integers(0, 900))
def test_a_date_asks_for_the_time_until_then(seconds: int) -> None:
    later = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)

    assert read_retry_after(later, NOW) == seconds


UNIX = NOW.timestamp()


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9], ids=["s", "ms", "us", "ns"])
@pytest.mark.parametrize(
    ("ahead", "seconds"), [(30, 30), (0, 0), (-30, 0), (-(10**8), 0), (899, 899), (86_400, 900), (10**9, 900)]
)
def test_a_moment_in_unix_time_is_a_moment(unit: int, ahead: int, seconds: float) -> None:
    assert read_retry_after(str((int(UNIX) + ahead) * unit), NOW) == seconds


@pytest.mark.parametrize("text", [f"{UNIX + 30.5:.3f}", f"{(UNIX + 30.5) * 1000:.1f}", f"{UNIX + 30.5:.11e}"])
def test_a_moment_may_have_a_fraction(text: str) -> None:
    assert read_retry_after(text, NOW) == pytest.approx(30.5, abs=0.1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30, 60", 60),
        ("60, 30", 60),
        ("soon, 30", 30),
        ("30, soon", 30),
        ("Fri, 02 Jan 2026 03:05:05 GMT, Fri, 02 Jan 2026 03:06:05 GMT", 120),
        ("10, Fri, 02 Jan 2026 03:05:05 GMT", 60),
        (f"5, {int(UNIX) + 40}", 40),
        ("soon, later", None),
        (",", None),
        (", ", None),
        ("-5, -6", 0),
    ],
)
def test_of_several_values_the_longest_counts(header: str, seconds: float | None) -> None:
    assert read_retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    "header", ["Fri, 02 Jan 2026 03:05:05 GMT", str(int(UNIX) + 60), str(int(UNIX) * 1000 + 60_000)]
)
@pytest.mark.parametrize("ours", [-86_400, -600, 0, 600, 86_400])
def test_moments_are_read_by_the_clock_of_the_answer(header: str, ours: float) -> None:
    date = format_datetime(NOW, usegmt=True)

    assert read_retry_after(header, NOW + timedelta(seconds=ours), date) == 60
    assert read_retry_after("60", NOW + timedelta(seconds=ours), date) == 60


@pytest.mark.parametrize(
    "date", [None, "", "yesterday", "0", "nan", "\ud800", "Thu, 01 Jan 1970 00:00:00 GMT"]
)
def test_without_a_date_of_the_answer_our_clock_counts(date: str | None) -> None:
    assert read_retry_after("Fri, 02 Jan 2026 03:05:05 GMT", NOW, date) == 60


@given(st.text(max_size=60) | st.floats().map(str) | st.integers().map(str), st.text(max_size=60) | st.none())
def test_any_header_and_any_date_give_a_delay_within_the_limit_or_none(header: str, date: str | None) -> None:
    found = read_retry_after(header, NOW, date)

    assert found is None or 0 <= found <= LONGEST_RETRY_AFTER
