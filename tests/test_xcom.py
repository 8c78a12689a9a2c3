"""What is pushed, under which keys."""

from __future__ import annotations

from typing import Any

from pixxel_provider.xcom import push_end, push_job


def test_the_single_keys_are_pushed_with_their_types(context: Any) -> None:
    push_job(context, "w", "j", "pixxel_eu")
    start = {"workflow_id": "w", "job_id": "j", "pixxel_conn_id": "pixxel_eu"}
    assert context["ti"].xcoms == start
    push_end(context, {"status": "completed", "cost": 12, "id": "j", "tasks": []})
    assert context["ti"].xcoms == {**start, "status": "completed", "cost": 12}
