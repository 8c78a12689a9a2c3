"""What Airflow's UI is told: a tab on every task instance and a page of all waits, from Airflow 3.1 on.

Every Airflow process imports this, so it imports nothing but the class that it has to derive from.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

#: Where the pages live, below Airflow's own address.
MOUNT = "/pixxel"
#: The tab's, and the list's, part of an address in Airflow's UI.
TAB, LIST = "pixxel-job", "pixxel-jobs"


class LazyApp:
    """The ASGI app behind the pages, made when somebody first asks for one."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand the request on."""
        if self._app is None:
            from pixxel_provider.plugins.app import make_app

            self._app = make_app()
        await self._app(scope, receive, send)


class PixxelPlugin(AirflowPlugin):
    """The pages; on an Airflow that has no place for them, a plugin that does nothing."""

    name = "pixxel"
    # Airflow 3.0 would serve the app and show no way to it.
    if hasattr(AirflowPlugin, "external_views"):
        fastapi_apps = [{"app": LazyApp(), "url_prefix": MOUNT, "name": "Pixxel"}]
        # Relative, so that they stay below the path that [api] base_url may have; ids in the path, as a query
        # would turn the + of a run's id into a space on Airflow 3.1.
        external_views = [
            {
                "name": "Pixxel job",
                "href": "pixxel/job/{DAG_ID}/{RUN_ID}/{TASK_ID}/{MAP_INDEX}",
                "destination": "task_instance",
                "url_route": TAB,
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
