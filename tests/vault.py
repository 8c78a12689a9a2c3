"""A secrets backend for tests that can be away, and counts who asks."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.secrets.base_secrets import BaseSecretsBackend


class Vault(BaseSecretsBackend):
    """Holds connections by id; Airflow makes instances of it, so all there is to know stands on the class."""

    values: ClassVar[dict[str, Any]] = {}
    away: ClassVar[bool] = False
    asked: ClassVar[list[str]] = []

    # Airflow 3.2 hands the team over to each of them.
    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> Any:
        if conn_id not in self.values:
            return None
        self.asked.append(conn_id)
        if self.away:
            # Libraries of real ones do put into their messages what they were sent.
            raise ConnectionError(f"the vault is out of reach: {self.values[conn_id]}")
        return self.values[conn_id]


class Records(Vault):
    """The same, for those that have connections and no values: they override another method."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> Any:
        raise NotImplementedError

    def get_connection(self, conn_id: str, team_name: str | None = None) -> Any:
        value = super().get_conn_value(conn_id)
        return value and self.deserialize_connection(conn_id, value)
