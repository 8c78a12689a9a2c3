"""The button that opens a task's job in Pixxel's console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink
from airflow.providers.common.compat.sdk import XCom as ConfiguredXCom
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from pixxel_provider.api.errors import PixxelError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

if AIRFLOW_V_3_0_PLUS:
    # Airflow 3 stores links without a custom XCom backend, and reads them the same way.
    from airflow.sdk.bases.xcom import BaseXCom as XCom
else:
    XCom = ConfiguredXCom  # type: ignore[misc]

# The XCom from which Airflow 3 reads this link. Pushed early, it makes the button work during the wait.
_XCOM_KEY = "_link_PixxelJobLink"
# The attribute in which a task keeps what it has published.
_PUBLISHED = "_published_link"


class PixxelJobLink(BaseOperatorLink):
    """The job's page in Pixxel's console, from the connection's ``console_url``."""

    name = "Pixxel job"

    @property
    def xcom_key(self) -> str:
        """Return the key under which the task publishes its link."""
        return _XCOM_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return what the task published; an empty string if it hasn't.

        Airflow 3 calls this on the worker when the task ends, and logs an error for a missing XCom: it is
        read only if an earlier process of this try has published it.
        """
        found = getattr(operator, _PUBLISHED, None)
        if found is None and _is_first_process(ti_key):
            found = ""
        elif found is None and getattr(operator, "start_from_trigger", False):
            found = _of_connection(operator)
        return found if found is not None else XCom.get_value(ti_key=ti_key, key=_XCOM_KEY) or ""


def _is_first_process(ti: Any) -> bool:
    # XComs of earlier processes are deleted, unless this one resumes after a deferral.
    context = getattr(ti, "_ti_context_from_server", None)
    return context is not None and not context.next_method


def _of_connection(operator: Any) -> str | None:
    # The trigger may have failed before it could publish anything.
    from pixxel_provider.hooks.pixxel import PixxelHook

    try:
        settings = PixxelHook(operator.pixxel_conn_id).settings
        return settings.console_link(operator.workflow_id, operator.job_id)
    except Exception as error:
        return None if isinstance(error, PixxelError) and error.transient else ""


def publish_link(context: Context, url: str) -> None:
    """Publish the link at the start of a try: XComs of an earlier one are deleted."""
    ti: Any = context["ti"]
    if AIRFLOW_V_3_0_PLUS and ConfiguredXCom is not XCom:
        where = {name: getattr(ti, name) for name in ("dag_id", "task_id", "run_id", "map_index")}
        XCom.set(key=_XCOM_KEY, value=url, **where)
    else:
        ti.xcom_push(key=_XCOM_KEY, value=url)
    if (task := getattr(ti, "task", None)) is not None:
        setattr(task, _PUBLISHED, url)
