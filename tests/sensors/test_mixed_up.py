"""A cache or a gateway that mixes answers up ends no wait for another job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

OTHERS: dict[str, dict[str, Any]] = {
    "another job": {"id": "job-2", "workflow_id": "wf-succeeds", "status": "completed", "progress": 100},
    "one that failed": {"id": "job-2", "workflow_id": "wf-succeeds", "status": "failed"},
    "of another workflow": {"id": "job-1", "workflow_id": "wf-fails", "status": "completed"},
}


@pytest.mark.parametrize("answer", OTHERS.values(), ids=list(OTHERS))
def test_an_answer_about_another_job_ends_no_wait(
    in_every_mode: Callable[..., Any], answer: dict[str, Any]
) -> None:
    def arrange(pixxel: Any) -> None:
        pixxel.create_job("wf-succeeds", "job-1", seconds=300)
        pixxel.fail_next("get_job", json=answer)

    for mode, ended in in_every_mode(arrange, timeout=3600).items():
        assert ended.kind == "success", (mode, ended.message)
        assert (ended.returned["id"], ended.returned["workflow_id"]) == ("job-1", "wf-succeeds")
        assert ended.returned["finished_at"], mode
