"""What befalls the cluster in a storm: when, for how long, and how it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from local_cluster import Cluster
from local_pixxel import Pixxel
from surroundings import Relay, VaultServer, add_mix

KEYS = ("canary-of-the-storm-5e1f", "canary-after-rotation-c83a")
USER = "user-simulator-1"
Step = tuple[float, str, Callable[[], None]]


class Storm:
    """A cluster and what surrounds it, and all that can be done to them."""

    def __init__(self, cluster: Cluster, pixxel: Pixxel, vault: VaultServer) -> None:
        self.cluster, self.pixxel, self.vault = cluster, pixxel, vault
        self.relay = Relay(pixxel.port)
        self.key = KEYS[0]

    @property
    def connection(self) -> dict[str, Any]:
        return {"conn_type": "pixxel", "host": self.relay.url, "password": self.key}

    def store_connection(self) -> None:
        """Put the connection where Airflow finds it, in place: nobody sees it missing."""
        self.vault.connections["pixxel_vault"] = self.connection
        path = f"{self.cluster.api}/connections"
        body = {"connection_id": "pixxel_default", **self.connection}
        known = self.cluster.get(path)["connections"]
        if any(each["connection_id"] == "pixxel_default" for each in known):
            self.cluster.ask("PATCH", f"{path}/pixxel_default", body)
        else:
            self.cluster.ask("POST", path, body)

    def rotate_key(self) -> None:
        """Issue a new key and store it; the old one is still good."""
        new = KEYS[1]
        self.pixxel.control("POST", "/settings", {"users": {self.key: USER, new: USER}})
        self.key = new
        self.store_connection()

    def revoke_old_key(self) -> None:
        """Refuse the old key."""
        self.pixxel.control("POST", "/settings", {"users": {self.key: USER}})

    def move_host(self) -> None:
        """Let Pixxel be somewhere else, and store that; then its old place refuses connections."""
        old, self.relay = self.relay, Relay(self.pixxel.port)
        self.store_connection()
        old.close()

    def unavailable(self) -> None:
        """Let Pixxel answer everything with 503."""
        self.pixxel.control("POST", "/faults", {"route": "*", "status": 503, "times": 0, "after": 0})

    def available(self) -> None:
        """Let Pixxel answer as before."""
        faults = self.pixxel.control("GET", "/faults")["faults"]
        self.pixxel.control("DELETE", "/faults")
        add_mix(self.pixxel)
        # What is planned for a run's request stays planned.
        planned = [each for each in faults if each["times"] == 1 and not each.pop("served")]
        self.pixxel.control("POST", "/faults", planned)

    def restart(self, service: str) -> None:
        """Stop PostgreSQL or Redis and start it again after three seconds."""
        self.cluster.services.stop_one(service)
        time.sleep(3)
        self.cluster.services.start_one(service)

    def set_away(self, away: bool) -> None:
        """Let the secrets backend be away, or back."""
        self.vault.away = away

    def steps(self, seconds: float, outage: float) -> Iterator[Step]:
        """Yield what happens, each with its time and its words, in a storm of so many seconds."""

        def killed(name: str, at: float, after: float) -> Iterator[Step]:
            yield at * seconds, f"kill -9: {name}", lambda: self.cluster.kill_part(name)
            yield at * seconds + after, f"started again: {name}", lambda: self.cluster.start_part(name)

        yield from killed("triggerer-1", 0.10, 5)
        yield from killed("worker-1", 0.17, 8)
        yield 0.24 * seconds, "the key is rotated", self.rotate_key
        yield 0.24 * seconds + 15, "the old key is revoked", self.revoke_old_key
        yield from killed("scheduler", 0.31, 5)
        outage_at = 0.38 * seconds
        yield outage_at, "Pixxel can't be reached", lambda: self.relay.close()
        yield outage_at + outage / 2, "Pixxel answers 503", lambda: (self.relay.open(), self.unavailable())[0]
        yield outage_at + outage, "Pixxel is back", self.available
        yield from killed("api-server", 0.48, 5)
        yield 0.54 * seconds, "Redis is restarted", lambda: self.restart("redis")
        yield 0.60 * seconds, "PostgreSQL is restarted", lambda: self.restart("postgres")
        yield 0.66 * seconds, "the secrets backend is away", lambda: self.set_away(True)
        yield 0.66 * seconds + outage, "the secrets backend is back", lambda: self.set_away(False)
        yield 0.74 * seconds, "the host is moved", self.move_host
        yield from killed("triggerer-2", 0.80, 5)
        yield from killed("worker-2", 0.86, 8)
