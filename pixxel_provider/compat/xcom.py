"""XComs that Airflow 3 stores and reads past a custom XCom backend, as it does with links."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import XCom as ConfiguredXCom

from pixxel_provider.compat.versions import HAS_TASK_SDK

if HAS_TASK_SDK:
    from airflow.sdk.bases.xcom import BaseXCom as XCom
else:
    XCom = ConfiguredXCom  # type: ignore[misc]


def push_plain(ti: Any, key: str, value: Any) -> None:
    """Push a value where Airflow reads it without asking a backend."""
    if HAS_TASK_SDK and ConfiguredXCom is not XCom:
        where = {name: getattr(ti, name) for name in ("dag_id", "task_id", "run_id", "map_index")}
        XCom.set(key=key, value=value, **where)
    else:
        ti.xcom_push(key=key, value=value)


def pull_plain(ti_key: Any, key: str) -> Any:
    """Return what was pushed so, None for nothing."""
    return XCom.get_value(ti_key=ti_key, key=key)
