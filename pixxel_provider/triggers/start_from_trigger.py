"""What a trigger does in a worker's place, where the scheduler started it: render, publish, end the task.

Whatever can't be done here just as a worker would do it raises :class:`NeedsWorker`, and a worker does it.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.api.messages import Log
from pixxel_provider.compat.triggerer import TriggererTaskInstance, state_of
from pixxel_provider.links.pixxel import publish_link
from pixxel_provider.outcome import conclude
from pixxel_provider.xcom import END_KEYS, RETURN_VALUE, push_end, push_job

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import TriggerEvent

    from pixxel_provider.api.polling import PollResult

_TEMPLATES = ("workflow_id", "job_id", "pixxel_conn_id")
#: Seconds for one rendering: what Airflow's triggerer refuses to look up it never answers.
RENDERING = 30.0

#: Seconds for asking Airflow what has become of the task.
STATE_TIMEOUT = 5.0
# A task in one of these goes on: another triggerer has its trigger, or a worker has what came of that.
_GOES_ON = frozenset({"deferred", "scheduled", "queued", "running", "up_for_reschedule"})

# What a finished try leaves behind. A worker would clear it; nobody does for a trigger.
_LEFT_BEHIND = (RETURN_VALUE, *END_KEYS)


class NeedsWorker(Exception):
    """The triggerer can't do this as a worker would; the reason is for the log."""


def with_xcoms(context: Context) -> Context:
    """Return the context with a task instance whose XComs work as on a worker."""
    ti: Any = TriggererTaskInstance(context["ti"])
    return {**context, "ti": ti, "task_instance": ti}


async def render(trigger: Any, context: Context, *, within: float = RENDERING) -> None:
    """Replace the templates in a trigger's attributes by what a worker would make of them.

    :param within: seconds it may take.
    :raises NeedsWorker: a template isn't one that is certain to come out the same here.
    """
    templates = {name: value for name in _TEMPLATES if "{" in str(value := getattr(trigger, name))}
    if not templates:
        return
    if getattr(context.get("dag"), "render_template_as_native_obj", False):
        raise NeedsWorker("the DAG renders templates as native objects")

    async def rendered() -> dict[str, str]:
        import greenback

        # Look-ups of templates are synchronous; the portal lets them wait without holding up the loop.
        await greenback.ensure_portal()
        return {name: _render(trigger, template, context) for name, template in templates.items()}

    try:
        texts = await asyncio.wait_for(rendered(), within)
    except asyncio.TimeoutError:
        raise NeedsWorker(f"the templates were not rendered within {within:.0f} s") from None
    except Exception as error:
        raise NeedsWorker(f"a template could not be rendered: {type(error).__name__}: {error}") from None
    for name, text in texts.items():
        setattr(trigger, name, text)


def _render(trigger: Any, template: str, context: Context) -> str:
    from jinja2 import StrictUndefined

    # The triggerer knows no macros of the DAG's own; rendered to nothing they would name another job.
    environment = trigger.get_template_env().overlay(undefined=StrictUndefined, finalize=_refuse_nothing)
    return str(environment.from_string(template).render(context))


def _refuse_nothing(value: Any) -> Any:
    if value is None:
        raise ValueError("it gives None here")
    return value


def publish(context: Context, workflow_id: str, job_id: str, pixxel_conn_id: str, link: str | None) -> None:
    """Push what a worker would push at the start of a try, after what an earlier try left is gone.

    :param link: the job's page; None where the connection can't be read at the moment.
    :raises NeedsWorker: the XComs can't be written from here.
    """
    ti: Any = context["ti"]
    with _writing():
        if ti.try_number > 1:
            for key in _LEFT_BEHIND:
                ti.xcom_delete(key)
        push_job(context, workflow_id, job_id, pixxel_conn_id)
        if link is not None:
            publish_link(context, link)


def last_event(
    result: PollResult,
    context: Context,
    *,
    soft_fail: bool,
    never_fail: bool,
    do_xcom_push: bool,
    worker_for: Sequence[str],
    log: Log,
) -> TriggerEvent:
    """Return the event that ends the task without a worker, once its XComs are written.

    :param worker_for: the states for whose sake a worker is needed, of ``success``, ``skipped``, ``failed``
        (for good) and ``retry``.
    :param log: where it is logged, as no worker does.
    :raises NeedsWorker: this result takes a worker.
    """
    from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent

    returned: dict[str, Any] | None = None
    try:
        returned = conclude(result, soft_fail=soft_fail, never_fail=never_fail)
        state, level, words = "success", "info", result.message
    except AirflowSkipException as skip:
        state, level, words = "skipped", "info", str(skip)
    except (AirflowFailException, AirflowSensorTimeout) as failure:
        state, level, words = "failed", "error", str(failure)
    except PixxelError as error:
        state, level, words = "retry", "error", str(error)
    ti: Any = context["ti"]
    if state in worker_for:
        raise NeedsWorker(f"what is due when the task ends in {state!r} happens on a worker only")
    if state == "success" and next(iter(ti.task.iter_mapped_dependants()), None) is not None:
        raise NeedsWorker("a task is mapped over what this one returns")
    with _writing():
        if result.metadata is not None:
            push_end(context, result.metadata)
        if returned is not None and do_xcom_push:
            ti.xcom_push(key=RETURN_VALUE, value=returned)
    getattr(log, level)(words)
    # Without XComs of its own: those would be encoded twice, and be strings for whoever pulls them.
    if state == "success":
        return TaskSuccessEvent()
    return TaskSkippedEvent() if state == "skipped" else TaskFailedEvent()


async def task_goes_on(ti: Any) -> bool:
    """Return whether a task whose trigger was cancelled goes on all the same, so that nobody has ended it.

    Airflow cancels a trigger also where another triggerer has taken it over, and in the same way.
    """
    if ti is None:
        return False
    try:
        return await asyncio.wait_for(state_of(ti), STATE_TIMEOUT) in _GOES_ON
    except Exception:
        return False


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise NeedsWorker(f"XComs can't be written here: {type(error).__name__}: {error}") from None
