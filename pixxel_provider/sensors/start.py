"""Whether a sensor can start in the triggerer, and what the scheduler then needs to know."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XComArg
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseSensorOperator
    from airflow.triggers.base import StartTriggerArgs

_TRIGGER = "pixxel_provider.triggers.pixxel.PixxelJobTrigger"
# Airflow keeps these limits when it hands a task to a worker, and only then.
_LIMITS = ("max_active_tis_per_dag", "max_active_tis_per_dagrun")
# What Airflow does on a worker only, by the state the task ends in. An error may be the last one, too.
_DUE = {
    "success": ("on_success_callback", "outlets"),
    "skipped": ("on_skipped_callback",),
    "failed": ("on_failure_callback", "retries"),
    "retry": ("on_failure_callback", "on_retry_callback"),
}
_ALWAYS_DUE = ("on_execute_callback", "_pre_execute_hook", "_post_execute_hook")


def needs_worker(sensor: BaseSensorOperator, templated: Mapping[str, Any]) -> str:
    """Return why a worker has to start this sensor; an empty string where the scheduler can.

    :param templated: the sensor's arguments that may be templates or XComArgs.
    """
    if not AIRFLOW_V_3_3_PLUS:
        return "Airflow can do without only from 3.3 on"
    if sensor.pool != "default_pool" or sensor.pool_slots != 1:
        return "pools count only tasks that a worker starts"
    for limit in _LIMITS:
        if getattr(sensor, limit, None) is not None:
            return f"{limit} counts only tasks that a worker starts"
    for name, value in templated.items():
        if not isinstance(as_template(value), str):
            return f"{name} is a {type(value).__name__}, which the triggerer can't resolve"
    return ""


def as_template(value: Any) -> Any:
    """Return an XComArg as the template it stands for, if it does for one; anything else as it is."""
    text = str(value) if isinstance(value, XComArg) else ""
    return text if text.startswith("{{") else value


def start_arguments(
    arguments: Mapping[str, Any], patience: datetime.timedelta, method: str
) -> StartTriggerArgs | None:
    """Return what the scheduler starts the trigger with; None where a worker will refuse an argument.

    :param patience: when Airflow ends the deferral by itself; it also rescues one whose triggerer is gone.
    """
    try:
        json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError):
        return None
    from airflow.triggers.base import StartTriggerArgs

    return StartTriggerArgs(
        trigger_cls=_TRIGGER,
        trigger_kwargs={**arguments, "deferred_for": patience.total_seconds()},
        next_method=method,
        timeout=patience,
    )


def end_arguments(sensor: BaseSensorOperator) -> dict[str, Any]:
    """Return what the trigger needs to know to end the task by itself."""
    due = {state for state, names in _DUE.items() if any(getattr(sensor, name, None) for name in names)}
    if sensor.email and sensor.email_on_failure:
        due |= {"failed", "retry"}
    if sensor.email and sensor.email_on_retry:
        due |= {"retry"}
    if any(getattr(sensor, name, None) for name in _ALWAYS_DUE):
        due |= set(_DUE)
    return {
        "soft_fail": bool(sensor.soft_fail),
        "never_fail": bool(sensor.never_fail),
        "do_xcom_push": bool(sensor.do_xcom_push),
        "worker_for": sorted(due),
    }
