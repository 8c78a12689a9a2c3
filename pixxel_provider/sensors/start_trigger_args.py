"""Whether a sensor can start in the triggerer, and what the scheduler then needs to know."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XComArg, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from pixxel_provider.waiting import LONGEST_DEFERRAL

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseSensorOperator
    from airflow.triggers.base import StartTriggerArgs


# What the trigger renders.
_TEMPLATES = ("workflow_id", "job_id", "pixxel_conn_id")
_TRIGGER = "pixxel_provider.triggers.pixxel.PixxelJobTrigger"
# Methods that a cluster policy may replace on the instance.
_HOOKS = frozenset({"execute", "pre_execute", "post_execute", "render_template_fields"})
# Airflow keeps these limits when it hands a task to a worker, and only then.
_LIMITS = ("max_active_tis_per_dag", "max_active_tis_per_dagrun")
# What Airflow does on a worker only, by the state the task ends in. An error may be the last one, too.
_DUE = {
    "success": ("on_success_callback", "outlets", "returns_dag_result"),
    "skipped": ("on_skipped_callback",),
    "failed": ("on_failure_callback", "retries", "retry_policy"),
    "retry": ("on_failure_callback", "on_retry_callback", "retry_policy"),
}
_ALWAYS_DUE = ("on_execute_callback", "_pre_execute_hook", "_post_execute_hook")


class AsItStands:
    """An attribute of a sensor that is worked out whenever it is read.

    A cluster policy, or the DAG's file, may change the sensor until Airflow stores the DAG. On the class it
    is what Airflow's own operators have: what a class says reaches mapped tasks, with the class's arguments.
    """

    def __init__(self, on_class: Any, work_out: Callable[[Any], Any]) -> None:
        self._on_class = on_class
        self._work_out = work_out

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, sensor: Any, owner: type) -> Any:
        return self._on_class if sensor is None else self._work_out(sensor)

    def __set__(self, sensor: Any, value: Any) -> None:
        # The wish, which may be withdrawn as well; what comes of it depends on everything else.
        vars(sensor)[self._name] = value


def needs_worker(sensor: BaseSensorOperator) -> str:
    """Return why a worker has to start this sensor; an empty string where the scheduler can."""
    if not AIRFLOW_V_3_3_PLUS:
        return "Airflow can do without only from 3.3 on"
    if not getattr(sensor, "deferrable", False):
        return "deferrable is off"
    if why := _administrator_needs_worker():
        return why
    if _HOOKS & vars(sensor).keys():
        return "its methods were replaced, which only a worker calls"
    if sensor.pool != "default_pool" or sensor.pool_slots != 1:
        return "pools count only tasks that a worker starts"
    for limit in _LIMITS:
        if getattr(sensor, limit, None) is not None:
            return f"{limit} counts only tasks that a worker starts"
    for name in _TEMPLATES:
        value = getattr(sensor, name)
        if not isinstance(as_template(value), str):
            return f"{name} is a {type(value).__name__}, which the triggerer can't resolve"
    return ""


def _administrator_needs_worker() -> str:
    from airflow.settings import get_policy_plugin_manager

    if get_policy_plugin_manager().hook.task_instance_mutation_hook.get_hookimpls():
        return "task_instance_mutation_hook may change what only a worker heeds"
    if conf.getboolean("triggerer", "queues_enabled", fallback=False):
        return "only a worker tells for which queue of triggerers a wait is"
    return ""


def as_template(value: Any) -> Any:
    """Return an XComArg as the template it stands for, if it does for one; anything else as it is."""
    text = str(value) if isinstance(value, XComArg) else ""
    return text if text.startswith("{{") else value


def start_trigger_args(sensor: Any) -> StartTriggerArgs | None:
    """Return what the scheduler starts the trigger with; None where a worker starts it, or will refuse it."""
    wishes = vars(sensor)
    # Airflow reads this in __init__ already, before everything is there.
    if not wishes.get("start_from_trigger") or wishes.get("start_trigger_args", ...) is None:
        return None
    if needs_worker(sensor):
        return None
    from airflow.triggers.base import StartTriggerArgs

    try:
        plan = sensor._as_plan()
        # When Airflow ends the deferral by itself; it also rescues one whose triggerer is gone.
        limit = min(sensor._deferral_timeout(), sensor.execution_timeout or LONGEST_DEFERRAL)
        arguments = plan.fields() | {
            **{name: as_template(getattr(sensor, name)) for name in _TEMPLATES},
            "task_end": end_arguments(sensor) if sensor.end_from_trigger else None,
            "deferred_for": limit.total_seconds(),
        }
        json.dumps(arguments, allow_nan=False)
    except (AttributeError, OverflowError, TypeError, ValueError):
        return None
    return StartTriggerArgs(
        trigger_cls=_TRIGGER, trigger_kwargs=arguments, next_method="execute_complete", timeout=limit
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
