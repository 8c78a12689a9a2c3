"""A task instance, and its deferral, as the triggerer has them."""

from __future__ import annotations

from datetime import timezone
from typing import Any

from airflow.providers.common.compat.sdk import XCom


def deferral_end(trigger: Any) -> float | None:
    """Return when Airflow ends the deferral, in Unix seconds, None where the triggerer doesn't say."""
    end = getattr(trigger, "timeout_after", None)
    return None if end is None else end.replace(tzinfo=end.tzinfo or timezone.utc).timestamp()


async def state_of(ti: Any) -> str | None:
    """Return the state that Airflow has of a task instance, None where it has none."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from asgiref.sync import sync_to_async

    states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state: str | None = states.get(ti.run_id, {}).get(name)
    return state


class TriggererTaskInstance:
    """The triggerer's task instance, with the XComs that a worker's has."""

    def __init__(self, ti: Any) -> None:
        self._ti = ti
        self.key = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index")}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ti, name)

    def xcom_pull(self, *args: Any, **kwargs: Any) -> Any:
        """Pull one value: a request for all values of a task is never answered."""
        return self._ti.xcom_pull(*args, **{"map_indexes": None, **kwargs})

    def xcom_push(self, key: str, value: Any) -> None:
        """Push a value; the original reads an attribute that its task has on workers only."""
        XCom.set(key=key, value=value, **self.key)

    def xcom_delete(self, key: str) -> None:
        """Delete an XCom, if there is one."""
        if XCom.get_one(key=key, **self.key) is not None:
            XCom.delete(key=key, **self.key)
