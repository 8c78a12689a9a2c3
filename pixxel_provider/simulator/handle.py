"""A simulator in the hands of a test: what it holds, and what can be done with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from pixxel_provider.simulator.app import Access, SimulatorApp
from pixxel_provider.simulator.bill import Bill
from pixxel_provider.simulator.clock import SimulatedClock
from pixxel_provider.simulator.counters import Counters
from pixxel_provider.simulator.faults import WAYS, Fault, FaultBook
from pixxel_provider.simulator.jobs import SimulatedJob
from pixxel_provider.simulator.package_plans import PackagePlan
from pixxel_provider.simulator.world import World

DEFAULT_KEY = "simulator-key"


class Simulator:
    """A running simulator: where it is, what it holds, and what tests do with it."""

    def __init__(
        self,
        *,
        key: str = DEFAULT_KEY,
        keys: Iterable[str] = (),
        no_access_keys: Iterable[str] = (),
        speed: float = 1.0,
        bytes_as: str = "integers",
        faults: Iterable[Mapping[str, Any] | str] = (),
        seed: int | None = None,
        clock: Callable[[], float] | None = None,
        control: str = "loopback",
        list_delay: float = 0.0,
    ) -> None:
        self.key = key
        self.no_access_keys = tuple(no_access_keys)
        self.world = World(
            clock=SimulatedClock(clock), speed=speed, encoding=bytes_as, seed=seed, list_delay=list_delay
        )
        self.faults = FaultBook(faults)
        self.counters = Counters()
        self.app = SimulatorApp(
            self.world, self.faults, self.counters, Access((key, *keys), self.no_access_keys, control)
        )
        self.url = ""

    def create_job(
        self, workflow_id: str = "wf-succeeds", job_id: str | None = None, **options: Any
    ) -> SimulatedJob:
        """Create a job behind the API's back; ``options`` are those of World.create_job."""
        return self.world.create_job(workflow_id, job_id=job_id, **options)

    def change_job(self, job_id: str, /, *, omit: Iterable[str] = (), **fields: Any) -> SimulatedJob:
        """Put raw ``fields`` over a job's JSON, whatever they are, and leave out those of ``omit``."""
        return self.world.change_job(job_id, fields, omit=omit)

    def set_package(self, job_id: str | None = None, task_id: str | None = None, **options: Any) -> None:
        """Say how a task's package, all those of a job, or all turn out; ``options`` are PackagePlan's."""
        self.world.set_package(PackagePlan(**options), job_id, task_id)

    def finish_job(self, job_id: str) -> SimulatedJob:
        """Let a job end now, the way its workflow ends."""
        return self.world.finish_job(job_id)

    def fail_next(self, route: str = "*", **fault: Any) -> Fault:
        """Let the next request of a route go wrong: 503 if nothing else is said. Raises FaultError."""
        return self.faults.add(route=route, **(fault if WAYS & fault.keys() else {"status": 503, **fault}))

    def advance(self, seconds: float) -> float:
        """Let ``seconds`` of simulated time pass at once; returns the simulated Unix time."""
        return self.world.clock.advance(seconds)

    def bill(self, user: str | None = None) -> Bill:
        """The jobs created through the API and their credits: of all users, or of one.

        The owner of the first key is ``user-simulator-1``, of the second ``user-simulator-2``, and so on.
        """
        return self.world.ledger.bill(user)

    def requests(self, route: str | None = None, job_id: str | None = None) -> int:
        """How many requests have come since the start or since ``counters.clear()``."""
        return self.counters.requests(route, job_id)

    def reset(self) -> None:
        """Back to the state at the start: jobs, clock, bill, faults, counters."""
        self.world.reset()
        self.faults.reset()
        self.counters.clear()

    @property
    def airflow_connection(self) -> dict[str, str]:
        """The Airflow connection to this simulator, in the form of an ``AIRFLOW_CONN_...`` variable."""
        return {"conn_type": "pixxel", "host": self.url, "password": self.key}

    def connection_json(self) -> str:
        """The same as text, for an ``AIRFLOW_CONN_...`` variable."""
        return json.dumps(self.airflow_connection)

    def connection_uri(self) -> str:
        """The same as a URI, for an ``AIRFLOW_CONN_...`` variable."""
        scheme, _, place = self.url.partition("://")
        return f"pixxel://{scheme}://:{quote(self.key, safe='')}@{place}"
