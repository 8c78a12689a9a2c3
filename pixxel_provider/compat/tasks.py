"""A task instance on a worker, as far as Airflow's versions differ in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pixxel_provider.compat.versions import HAS_TASK_SDK

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: What Airflow resumes a task with whose trigger crashed, or never answered.
TRIGGER_FAILED = "__fail__"
#: Attributes of an operator that hold a function to call around ``execute``, set by arguments without ``_``.
EXECUTE_HOOKS = ("_pre_execute_hook", "_post_execute_hook")


def task_state_store(context: Context) -> Any:
    """Return what stores values for the task's next try; None before Airflow 3.3."""
    return context.get("task_state_store")


def without_expiry() -> dict[str, Any]:
    """Return the argument with which that store keeps a value for longer than its 30 days."""
    try:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE
    except ImportError:
        return {}
    return {"retention": NEVER_EXPIRE}


def was_rescheduled(sensor: Any, context: Context) -> bool:
    """Return whether an earlier process of this try has rescheduled the task."""
    ti: Any = context["ti"]
    if HAS_TASK_SDK:
        return ti.get_first_reschedule_date(context) is not None
    from airflow.providers.common.compat.sdk import BaseSensorOperator

    # Airflow 2 asks its database, and only so.
    base = sys.modules[BaseSensorOperator.__module__]
    first_try = ti.max_tries - (sensor.retries or 0) + 1
    key = {name: getattr(ti, name) for name in ("dag_id", "task_id", "run_id", "map_index")}
    return base._orig_start_date(**key, try_number=first_try) is not None


class PokeLoop:
    """Airflow's loop around a sensor's ``poke``, where it asks how long to wait for the next one."""

    def delay_after_poke(self, elapsed: Callable[[], float]) -> float:
        """Return the seconds to the next poke.

        :param elapsed: returns the seconds since the first poke, which in reschedule mode only Airflow knows.
        """
        raise NotImplementedError

    def _get_next_poke_interval(
        self, started_at: Any, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        return self.delay_after_poke(run_duration)


def is_first_process(ti: Any) -> bool:
    """Return whether this process began the try: one that resumes it knows how to go on."""
    context = getattr(ti, "_ti_context_from_server", None)
    return context is not None and not context.next_method


def has_task_instance_policy() -> bool:
    """Return whether the administrator has a ``task_instance_mutation_hook``."""
    from airflow.settings import get_policy_plugin_manager

    return bool(get_policy_plugin_manager().hook.task_instance_mutation_hook.get_hookimpls())
