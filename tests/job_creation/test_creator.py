"""The table that decides about a job; what each action does is shown by the operator's tests."""

from __future__ import annotations

import pytest

from pixxel_provider.job_creation import checkpoint, creator
from pixxel_provider.job_creation.creator import TRANSITIONS, Action

STATES = {checkpoint.ASKING, checkpoint.CREATED, checkpoint.UNCONFIRMED, checkpoint.DONE}


def test_the_table_has_a_row_for_each_state() -> None:
    others = {creator.NOTHING, creator.UNRECORDED, creator.UNREADABLE, creator.OTHER_WORKFLOW}
    assert set(TRANSITIONS) == STATES | others


@pytest.mark.parametrize("state", sorted(set(TRANSITIONS) - {creator.NOTHING}))
def test_only_a_person_lets_a_second_job_be_created_unseen(state: str) -> None:
    same_try, retry, _ = TRANSITIONS[state]
    assert Action.CREATE not in (same_try, retry)


def test_a_request_in_doubt_is_searched_for_even_after_a_clearing() -> None:
    # The person may have cleared it because the worker died, and knows of no job.
    assert set(TRANSITIONS[checkpoint.ASKING]) == {Action.SEARCH}
