"""Who may see what on the second server: Airflow's own logins, tokens and checks, with a policy of ours."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

HIDDEN = {"viewer": frozenset({"pixxel_hidden"})}
BLIND = "nobody"


class PerDagAuthManager(SimpleAuthManager):
    """The viewer sees all DAGs but one, nobody sees none and no page."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **more: Any) -> bool:
        if user.username == BLIND or (details is not None and details.id in HIDDEN.get(user.username, ())):
            return False
        return super().is_authorized_dag(user=user, details=details, **more)

    def is_authorized_view(self, *, user: Any, **more: Any) -> bool:
        return user.username != BLIND and super().is_authorized_view(user=user, **more)
