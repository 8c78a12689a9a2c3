from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pytest

from pixxel_provider.job_creation.checkpoint import Record

STORED: dict[str, Any] = {
    "version": 1,
    "state": "created",
    "began_at": 1.79e9,
    "known": ["a"],
    "over_by": 1.8e9,
    "workflow_id": "w",
    "job_id": "j",
    "estimated_cost": 3,
    "clearing": 1,
    "attempt": 2,
}


def test_a_record_is_read_as_it_was_stored() -> None:
    record = Record.read(STORED)
    assert record is not None
    assert {"version": 1, **asdict(record)} == STORED
    assert Record.read({"version": 1, "state": "asking", "began_at": 1}) == Record("asking", 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "later"},
        {"state": ["created"]},
        {"began_at": None},
        {"began_at": math.nan},
        {"began_at": True},
        {"known": "abc"},
        {"known": [1]},
        {"over_by": "soon"},
        {"over_by": math.inf},
        {"workflow_id": 7},
        {"job_id": None},
        {"job_id": {"id": "j"}},
        {"estimated_cost": "3"},
        {"clearing": None},
        {"attempt": "2"},
        {"attempt": 2.5},
        {"version": 2},
    ],
    ids=repr,
)
def test_a_record_with_a_field_of_another_type_is_none(wrong: dict[str, Any]) -> None:
    assert Record.read({**STORED, **wrong}) is None
