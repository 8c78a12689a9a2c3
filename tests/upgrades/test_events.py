"""Events of a release's triggers that no worker has taken yet end their tasks as they did then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.upgrades.recorded import Stored, Upgraded, decoded, end_state, make_jobs, stored


def shape(value: Any) -> Any:
    """Return the types of a value: what a DAG that reads it relies on. A dict may get more keys."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value[:1]] if isinstance(value, list) else type(value).__name__


def lacks(then: Any, now: Any, where: str = "") -> list[str]:
    """Return what a shape of then has and one of now hasn't."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [
            word
            for key, each in then.items()
            for word in lacks(each, now.get(key, "nothing"), f"{where}.{key}")
        ]
    if isinstance(then, list) and isinstance(now, list):
        return lacks(then[0], now[0], f"{where}[0]") if then and now else []
    # A number is a number, and what wasn't known then may be now.
    same = {then, now} <= {"int", "float"} if isinstance(then, str) and isinstance(now, str) else False
    return [] if then == now or same or then == "NoneType" else [f"{where}: {then}, now {now}"]


@pytest.mark.parametrize("row", stored("resumed"), ids=str)
def test_a_stored_event_ends_its_task_as_it_did_then(
    row: Stored, pixxel: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    player = Upgraded(row, pixxel, monkeypatch, began=row.release.moment, xcoms="xcoms_fired")
    make_jobs(row.release, pixxel)
    player.clock.sleep(400)
    resume = (row.row["next_method"], decoded(row.row["next_kwargs"]))
    ended = player.run(resume=resume, folder=str(tmp_path))
    assert end_state(ended) == row.task["state"], ended
    then = row.xcoms()
    returned = then.pop("return_value", None)
    assert lacks(shape(then), shape(ended.xcoms)) == []
    assert lacks(shape(returned), shape(ended.returned)) == []
    for key in {"job_id", "workflow_id", "pixxel_conn_id", "status", "cost"} & then.keys():
        assert ended.xcoms[key] == then[key]
    assert pixxel.requests("create_job") == 0
