"""The button that leads from a task to its job in Pixxel's console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

# Where Airflow 3 reads a link of this class from. Pushed early, it makes the button work during the wait.
_XCOM_KEY = "_link_PixxelJobLink"


class PixxelJobLink(BaseOperatorLink):
    """The job's page in Pixxel's console, as the connection's ``console_url`` gives it."""

    name = "Pixxel job"

    @property
    def xcom_key(self) -> str:
        """Return where the task publishes its link."""
        return _XCOM_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return what the task published; an empty string before it has started."""
        return XCom.get_value(ti_key=ti_key, key=_XCOM_KEY) or ""


def publish_link(context: Context, url: str) -> None:
    """Make the link known, at the start of a try: XComs of an earlier one are gone."""
    context["ti"].xcom_push(key=_XCOM_KEY, value=url)
