"""A secrets backend that asks a server of this machine, and fails while that is away."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

from airflow.secrets import BaseSecretsBackend


class Vault(BaseSecretsBackend):
    """Connections as JSON, read by their id from the server that the environment names."""

    def get_conn_value(self, conn_id: str, *_: object, **__: object) -> str | None:
        """Return the connection, None where the server has none of that id."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{os.environ['PIXXEL_STORM_VAULT']}/{conn_id}", timeout=5) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
