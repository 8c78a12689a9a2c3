"""What is given up is gone at once, and again once what was under way has ended."""

from __future__ import annotations

import threading

import pytest

from pixxel_provider.download.cancellation import Cancellation
from pixxel_provider.download.errors import PixxelDownloadError
from tests.support import FakeClock

WORDS = "The download was given up, as its task was stopped"


@pytest.mark.parametrize("error", [OSError("its things are gone"), PixxelDownloadError("can't be written")])
def test_the_error_says_that_it_was_given_up_whatever_a_step_met(error: Exception) -> None:
    found, gone = Cancellation(), list[str]()

    def step() -> None:
        found.give_up()
        assert gone == ["x"]
        raise error

    with pytest.raises(PixxelDownloadError, match=WORDS), found.holding(lambda: gone.append("x")):
        step()
    assert gone == ["x", "x"]


def test_an_error_that_says_more_of_it_is_kept() -> None:
    found = Cancellation()

    def step() -> None:
        found.give_up()
        raise PixxelDownloadError(f"{WORDS}. Members that were replaced before, and stay so: 1.")

    with pytest.raises(PixxelDownloadError, match="were replaced before"), found.holding(lambda: None):
        step()


def test_an_error_of_something_that_wasnt_given_up_is_its_own() -> None:
    with pytest.raises(OSError, match="full"), Cancellation().holding(lambda: None):
        raise OSError("full")


def test_the_last_step_of_what_was_given_up_is_no_success() -> None:
    found = Cancellation()
    with pytest.raises(PixxelDownloadError, match=WORDS), found.holding(lambda: None):
        found.give_up()


def test_one_that_cant_be_discarded_doesnt_keep_the_others() -> None:
    found, gone = Cancellation(), list[str]()

    def stuck() -> None:
        if not gone:
            raise OSError("busy")

    with (
        pytest.raises(PixxelDownloadError, match=WORDS),
        found.holding(lambda: gone.append("outer")),
        found.holding(stuck),
    ):
        found.give_up()


def test_a_step_is_over_before_another_thread_gives_up_and_none_comes_after() -> None:
    found, order = Cancellation(), list[str]()

    def give_up() -> None:
        found.give_up()
        order.append("given up")

    thread = threading.Thread(target=give_up)
    with found.step():
        thread.start()
        thread.join(0.1)
        order.append("step")
    thread.join(10)
    assert order == ["step", "given up"]
    with pytest.raises(PixxelDownloadError, match=WORDS), found.step():
        raise AssertionError("nothing more is done")


def test_a_sleep_ends_soon_after_the_download_was_given_up(clock: FakeClock) -> None:
    found = Cancellation(clock)
    clock.on_sleep.append(lambda _: found.give_up())
    with pytest.raises(PixxelDownloadError, match=WORDS):
        found.clock.sleep(100)
    assert clock.slept == [1.0]


def test_a_signal_in_the_middle_of_a_step_doesnt_wait_for_it() -> None:
    found, gone = Cancellation(), list[str]()
    with (
        pytest.raises(PixxelDownloadError, match=WORDS),
        found.holding(lambda: gone.append("x")),
        found.step(),
    ):
        # In the same thread, as a handler is.
        found.give_up()
    assert gone == ["x", "x"]
