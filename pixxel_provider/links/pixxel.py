"""The button that opens a task's job in Pixxel's console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.compat.tasks import is_first_process
from pixxel_provider.xcom import LINK, pull_link, push_link

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

# The attribute of a task that has the link it published.
_PUBLISHED = "_published_link"


class PixxelJobLink(BaseOperatorLink):
    """The job's page in Pixxel's console, from the connection's ``console_url``."""

    name = "Pixxel job"

    @property
    def xcom_key(self) -> str:
        """Return where the task publishes its link."""
        return LINK

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return what the task published; an empty string if it hasn't.

        Airflow 3 calls this on the worker when the task ends, and logs an error for a missing XCom: it is
        read only if an earlier process of this try has published it.
        """
        link = getattr(operator, _PUBLISHED, None)
        if link is None and is_first_process(ti_key):
            # XComs of earlier processes are gone, unless this one continues after a deferral.
            link = ""
        elif link is None and getattr(operator, "start_from_trigger", False):
            link = _of_connection(operator)
        return link if link is not None else pull_link(ti_key)


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
    push_link(context, url)
    if (task := getattr(ti, "task", None)) is not None:
        setattr(task, _PUBLISHED, url)
