"""The plugin for Airflow's UI: a tab on every task instance and a page of all waits, from Airflow 3.1 on.

Every Airflow process imports this, so it imports nothing but its base class.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

#: The path of the pages, below Airflow's own address.
MOUNT = "/pixxel"
#: The paths of the tab and of the list in Airflow's UI.
TAB, LIST = "pixxel-job", "pixxel-jobs"


class LazyApp:
    """The ASGI app of the pages, created at the first request."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on."""
        if self._app is None:
            from pixxel_provider.plugins.app import make_app

            self._app = make_app()
        await self._app(scope, receive, send)


class PixxelPlugin(AirflowPlugin):
    """The pages; on an Airflow without support for them, a plugin that does nothing."""

    name = "pixxel"
    # Airflow 3.0 would serve the app without a link to it.
    if hasattr(AirflowPlugin, "external_views"):
        fastapi_apps = [{"app": LazyApp(), "url_prefix": MOUNT, "name": "Pixxel"}]
        # Relative, so that they stay below the path of [api] base_url; ids in the path, because Airflow 3.1
        # turns the + of a run's id in a query into a space.
        external_views = [
            {
                "name": "Pixxel job",
                "href": "pixxel/job/{DAG_ID}/{RUN_ID}/{TASK_ID}/{MAP_INDEX}",
                "destination": "task_instance",
                "url_route": TAB,
                # From Airflow 3.4 on, only on tasks of this package's operators and of those derived from
                # them: all have this template field, and the tab needs it. Before 3.4 it is ignored.
                "applies_to": {"task.template_fields": ["pixxel_conn_id"]},
                "icon": "pixxel/static/icon.svg",
            },
            {
                "name": "Pixxel jobs",
                "href": "pixxel/jobs",
                "destination": "nav",
                "category": "browse",
                "url_route": LIST,
                "icon": "pixxel/static/icon.svg",
            },
        ]
