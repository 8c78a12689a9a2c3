"""Whether a sensor can start in the triggerer, and the arguments for the scheduler."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XComArg, conf

from pixxel_provider.compat.tasks import EXECUTE_HOOKS, has_task_instance_policy
from pixxel_provider.compat.versions import STARTS_IN_TRIGGERER
from pixxel_provider.waiting.base import LONGEST_DEFERRAL, deferral_timeout

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseSensorOperator
    from airflow.triggers.base import StartTriggerArgs


# The fields that the trigger renders.
_TEMPLATES = ("workflow_id", "job_id", "pixxel_conn_id")
_TRIGGER = "pixxel_provider.triggers.pixxel.PixxelJobTrigger"
# Methods that a cluster policy may replace on the instance.
_HOOKS = frozenset({"execute", "pre_execute", "post_execute", "render_template_fields"})
# Airflow applies these limits only to tasks that it sends to a worker.
_LIMITS = ("max_active_tis_per_dag", "max_active_tis_per_dagrun")
# What Airflow does only on a worker, by the state in which the task ends. An error may be the last one, too.
_DUE = {
    "success": ("on_success_callback", "outlets", "returns_dag_result"),
    "skipped": ("on_skipped_callback",),
    "failed": ("on_failure_callback", "retries", "retry_policy"),
    "retry": ("on_failure_callback", "on_retry_callback", "retry_policy"),
}
_ALWAYS_DUE = ("on_execute_callback", *EXECUTE_HOOKS)


class AsItStands:
    """An attribute of a sensor that is computed on each access.

    A cluster policy, or the DAG's file, may change the sensor until Airflow stores the DAG. On the class it
    has the value of Airflow's own operators: mapped tasks use the class, with the class's arguments.
    """

    def __init__(self, on_class: Any, work_out: Callable[[Any], Any]) -> None:
        self._on_class = on_class
        self._work_out = work_out

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, sensor: Any, owner: type) -> Any:
        return self._on_class if sensor is None else self._work_out(sensor)

    def __set__(self, sensor: Any, value: Any) -> None:
        # What was requested, which may be changed later as well; the effect depends on the other attributes.
        vars(sensor)[self._name] = value


def needs_worker(sensor: BaseSensorOperator) -> str:
    """Return why a worker has to start this sensor; an empty string where the scheduler can."""
    if not STARTS_IN_TRIGGERER:
        return "Airflow can do without only from 3.3 on"
    if not getattr(sensor, "deferrable", False):
        return "deferrable is off"
    if has_task_instance_policy():
        return "task_instance_mutation_hook may change what only a worker heeds"
    if conf.getboolean("triggerer", "queues_enabled", fallback=False):
        return "only a worker can choose a triggerer's queue"
    if _HOOKS & vars(sensor).keys():
        return "its methods were replaced, and only a worker calls them"
    if sensor.pool != "default_pool" or sensor.pool_slots != 1:
        return "pools count only tasks that a worker starts"
    for limit in _LIMITS:
        if getattr(sensor, limit, None) is not None:
            return f"{limit} counts only tasks that a worker starts"
    if getattr(sensor, "ended_after", None) is not None:
        return "the job of ended_after becomes known during the wait, and a worker pushes its id to XCom"
    for name in _TEMPLATES:
        value = getattr(sensor, name)
        if not isinstance(as_template(value), str):
            return f"{name} is a {type(value).__name__}, which the triggerer can't resolve"
    return ""


def as_template(value: Any) -> Any:
    """Return an XComArg as the template it stands for, if there is one; anything else unchanged."""
    text = str(value) if isinstance(value, XComArg) else ""
    return text if text.startswith("{{") else value


def start_trigger_args(sensor: Any) -> StartTriggerArgs | None:
    """Return what the scheduler starts the trigger with; None where a worker starts it, or will refuse it."""
    wishes = vars(sensor)
    # Airflow reads this in __init__ already, before all attributes are set.
    if not wishes.get("start_from_trigger") or wishes.get("start_trigger_args", ...) is None:
        return None
    if needs_worker(sensor):
        return None
    from airflow.triggers.base import StartTriggerArgs

    try:
        plan = sensor.make_plan()
        # When Airflow ends the deferral by itself; it also rescues one whose triggerer is gone.
        limit = min(deferral_timeout(plan.timeout), sensor.execution_timeout or LONGEST_DEFERRAL)
        arguments = {
            **sensor.make_poll().fields(),
            **vars(plan),
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
    """Return the trigger's arguments for ending the task by itself."""
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
