from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.api.status import (
    FAILURE_WORDS,
    SUCCESS_WORDS,
    WAITING_WORDS,
    StatusRules,
    Verdict,
    normalise,
)

DEFAULTS = StatusRules()


def test_no_word_has_two_meanings_and_each_is_written_as_it_is_compared() -> None:
    words = [*SUCCESS_WORDS, *FAILURE_WORDS, *WAITING_WORDS]

    assert len(words) == len(set(words))
    assert [normalise(word) for word in words] == words


@pytest.mark.parametrize(
    ("spelled", "word"),
    [
        ("COMPLETED", "completed"),
        (" Timed Out\n", "timedout"),
        ("timed-out", "timedout"),
        ("TIMED_OUT", "timedout"),
        ("in\u00a0progress", "inprogress"),
        ("In_-\tProgress", "inprogress"),
        ("-_ ", ""),
        ("GROẞ", "gross"),
    ],
)
def test_case_spaces_hyphens_and_underscores_do_not_count(spelled: str, word: str) -> None:
    assert normalise(spelled) == word


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_normalising_twice_is_normalising_once(status: str) -> None:
    assert normalise(normalise(status)) == normalise(status)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (SUCCESS_WORDS, Verdict.SUCCEEDED),
        (FAILURE_WORDS, Verdict.FAILED),
        (WAITING_WORDS, Verdict.WAITING),
    ],
    ids=["success", "failure", "waiting"],
)
def test_a_known_word_means_the_same_with_and_without_an_end(
    words: frozenset[str], verdict: Verdict, ended: bool
) -> None:
    assert {DEFAULTS.verdict(word, ended=ended) for word in words} == {verdict}
    assert {DEFAULTS.verdict(f" {word.title()}-", ended=ended) for word in words} == {verdict}
    assert all(DEFAULTS.knows(word.upper()) for word in words)


@pytest.mark.parametrize(
    "status", ["archived", "awaiting_tasking", "complete", "succeed", "not completed", ""]
)
def test_a_word_nobody_knows_waits_until_there_is_an_end(status: str) -> None:
    assert DEFAULTS.verdict(status, ended=False) is Verdict.WAITING
    assert DEFAULTS.verdict(status, ended=True) is Verdict.UNCLEAR
    assert not DEFAULTS.knows(status)


@given(st.text(alphabet=st.characters(exclude_categories=())), st.booleans())
def test_only_listed_words_succeed_or_fail(status: str, ended: bool) -> None:
    verdict = DEFAULTS.verdict(status, ended=ended)

    assert (verdict is Verdict.SUCCEEDED) == (normalise(status) in SUCCESS_WORDS)
    assert (verdict is Verdict.FAILED) == (normalise(status) in FAILURE_WORDS)


def test_an_argument_replaces_its_own_defaults_whole() -> None:
    rules = StatusRules.of(success_statuses=["Archived"])

    assert rules.verdict("archived", ended=False) is Verdict.SUCCEEDED
    assert rules.verdict("completed", ended=False) is Verdict.WAITING
    assert rules.verdict("completed", ended=True) is Verdict.UNCLEAR
    assert rules.verdict("failed", ended=False) is Verdict.FAILED
    assert rules.knows("archived")
    assert not rules.knows("completed")


def test_an_argument_takes_its_words_from_the_other_defaults_and_from_the_waiting_ones() -> None:
    assert StatusRules.of(success_statuses=["Failed"]).verdict("failed", ended=True) is Verdict.SUCCEEDED
    assert StatusRules.of(failure_statuses=["done"]).verdict("done", ended=True) is Verdict.FAILED
    assert StatusRules.of(failure_statuses=["done"]).verdict("completed", ended=True) is Verdict.SUCCEEDED
    assert StatusRules.of(success_statuses=["paused"]).verdict("paused", ended=False) is Verdict.SUCCEEDED
    assert StatusRules.of(failure_statuses=["paused"]).verdict("paused", ended=False) is Verdict.FAILED
    assert StatusRules.of(success_statuses=[]).verdict("completed", ended=False) is Verdict.WAITING


@pytest.mark.parametrize("given_words", [["a", "B"], ("a", "B"), {"a", "B"}, iter(["a", "B"])])
def test_any_collection_of_words_will_do(given_words: Any) -> None:
    assert StatusRules.of(success_statuses=given_words).success == {"a", "b"}


@pytest.mark.parametrize("argument", ["success_statuses", "failure_statuses"])
@pytest.mark.parametrize(
    "words", ["completed", b"completed", 7, object(), [7], [None], [""], [" -_ "], [["a"]]]
)
def test_what_is_not_a_list_of_words_is_refused_by_name_and_type(argument: str, words: Any) -> None:
    with pytest.raises(PixxelInputError) as caught:
        StatusRules.of(**{argument: words})

    assert caught.value.field == argument
    kind = type(words).__name__
    assert isinstance(words, list) or caught.value.problem == f"must be a list of statuses, not {kind}"


def test_a_status_cannot_be_success_and_failure() -> None:
    with pytest.raises(PixxelInputError, match=r"success_statuses and failure_statuses both name doneish$"):
        StatusRules.of(["Done-ish", "a"], ["done_ish", "b"])
