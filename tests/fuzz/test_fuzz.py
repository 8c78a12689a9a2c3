"""What must hold for every case of the fuzzer, tried with some; ``make fuzz`` tries many more."""

from __future__ import annotations

import pytest

from tests.fuzz import run
from tests.fuzz.surface import CPU, attempt, bounded
from tests.support import CANARY, HISTORIES

#: With the whole answers of tests/hooks/test_fuzz_http.py some more.
CASES = 4 * HISTORIES


@pytest.mark.parametrize("name", run.surfaces())
def test_whatever_comes_is_read_or_refused(name: str) -> None:
    for each, number, cases in run.plan(CASES, first=0):
        if each == name:
            outcome = run.try_number(each, number, cases)
            assert not outcome.failure, f"--replay {each}:{number}\n{outcome.failure}"
            assert outcome.tried >= cases


def test_the_shares_of_a_run_are_the_whole_of_it() -> None:
    parts = list(run.plan(200_000, first=1))
    assert sum(cases for *_, cases in parts) == 200_000 * (100 - run.HTTP_SHARE) / 100
    assert {name for name, *_ in parts} == set(run.surfaces())
    assert len({(name, number) for name, number, _ in parts}) == len(parts)


def test_a_number_makes_the_same_cases_again() -> None:
    def fails(number: int) -> str:
        return run.try_number("texts", number, 20).failure

    with pytest.MonkeyPatch.context() as patch:
        heard: list[str] = []
        patch.setattr(run, "_try", lambda *words: heard.append(repr(words[3:5])) or _stop())
        assert fails(7) == fails(7) != ""
        fails(8)
    assert heard[0] == heard[1] != heard[2]


def _stop() -> None:
    raise ValueError("stopped")


def test_what_is_checked_of_each_case_can_fail() -> None:
    with pytest.raises(AssertionError, match="s of CPU"), bounded(-1.0):
        pass
    with pytest.raises(KeyError):
        attempt(lambda: {}["x"])
    with pytest.raises(AssertionError, match=CANARY):
        attempt(lambda: _raise(f"key {CANARY}"), RuntimeError)
    assert str(attempt(lambda: _raise("no"), RuntimeError)) == "no"
    assert CPU <= 2


def _raise(words: str) -> None:
    raise RuntimeError(words)
