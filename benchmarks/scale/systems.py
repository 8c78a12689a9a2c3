"""The triggers that are compared, each as its own operator would make it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from scale.case import Case, job_id, workflow_id


@dataclass(frozen=True)
class System:
    """One kind of trigger."""

    label: str
    connection: Callable[[str, str], dict[str, dict[str, Any]]]
    """Airflow connections by id, for the server's ``host:port`` and a CA file (empty without TLS)."""
    prepare: Callable[[Case, str], Callable[[int], Any]]
    """Import what is needed; return what makes the trigger for job ``n``."""
    succeeded: Callable[[Any], bool]
    """Whether an event's payload says that the job has succeeded."""


# ------------------------------------------------------------------------------------------------------ ours


def _pixxel_connection(address: str, ca: str) -> dict[str, dict[str, Any]]:
    scheme, extra = ("https", {"verify": ca}) if ca else ("http", {})
    host = f"{scheme}://{address}"
    return {"pixxel_default": {"conn_type": "pixxel", "host": host, "password": "key", "extra": extra}}


def _pixxel(case: Case, address: str) -> Callable[[int], Any]:
    from pixxel_provider.triggers.pixxel import PixxelJobTrigger

    def make(number: int) -> PixxelJobTrigger:
        workflow = workflow_id(number % case.workflows)
        return PixxelJobTrigger(workflow, job_id(number), poke_interval=case.interval)

    return make


# ------------------------------------------------------------------------------------------------- the peers


def _dbt_connection(address: str, ca: str) -> dict[str, dict[str, Any]]:
    return {"dbt_cloud_default": {"conn_type": "dbt_cloud", "login": "7", "password": "key", "host": address}}


def _dbt(case: Case, address: str) -> Callable[[int], Any]:
    from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    if not case.tls:
        # The hook knows https alone, which would cost it a handshake for every request.
        https = DbtCloudHook.get_request_url_params

        def http(*arguments: Any, **named: Any) -> tuple[str, dict[str, Any]]:
            url, params = https(*arguments, **named)
            return url.replace("https://", "http://", 1), params

        DbtCloudHook.get_request_url_params = staticmethod(http)

    def make(number: int) -> DbtCloudRunJobTrigger:
        return DbtCloudRunJobTrigger(
            conn_id="dbt_cloud_default",
            run_id=number,
            end_time=time.time() + 7 * 24 * 3600,
            poll_interval=case.interval,
            account_id=7,
        )

    return make


def _fivetran_connection(address: str, ca: str) -> dict[str, dict[str, Any]]:
    return {"fivetran_default": {"conn_type": "fivetran", "login": "key", "password": "secret"}}


def _fivetran(case: Case, address: str) -> Callable[[int], Any]:
    import pendulum
    from fivetran_provider_async.hooks import FivetranHook
    from fivetran_provider_async.triggers import FivetranTrigger

    FivetranHook.api_host = address
    FivetranHook.api_protocol = "https" if case.tls else "http"
    # Its operator hands this over; without it every trigger would ask once more.
    before = pendulum.datetime(2026, 9, 30, 9, 30)

    def make(number: int) -> FivetranTrigger:
        return FivetranTrigger(
            task_id="wait",
            connector_id=job_id(number),
            fivetran_conn_id="fivetran_default",
            previous_completed_at=before,
            poke_interval=case.interval,
        )

    return make


def _http_connection(address: str, ca: str) -> dict[str, dict[str, Any]]:
    scheme = "https" if ca else "http"
    return {"http_default": {"conn_type": "http", "host": f"{scheme}://{address}"}}


def _http(case: Case, address: str) -> Callable[[int], Any]:
    from airflow.providers.http.triggers.http import HttpEventTrigger

    def make(number: int) -> HttpEventTrigger:
        return HttpEventTrigger(
            response_check_path="scale.check.has_ended",
            endpoint=f"plain/{job_id(number)}",
            poll_interval=case.interval,
        )

    return make


# ------------------------------------------------------------------------------------------------- the floor


class Sleeper:
    """Sleeps from look to look without looking, until its job has ended."""

    def __init__(self, interval: float, end: float) -> None:
        self._interval, self._end = interval, time.monotonic() + end

    async def run(self) -> AsyncIterator[bool]:
        """Yield once."""
        while time.monotonic() < self._end:  # noqa: ASYNC110
            await asyncio.sleep(self._interval)
        yield True


def _sleeper(case: Case, address: str) -> Callable[[int], Any]:
    ends = case.ends()
    return lambda number: Sleeper(case.interval, ends[number])


# ---------------------------------------------------------------------------------------------- the bare get


class Getter:
    """Sleeps like :class:`Sleeper`, then gets its job once, with nothing but aiohttp and json."""

    def __init__(self, sleeper: Sleeper, session: Callable[[], Any], url: str) -> None:
        self._sleeper, self._session, self._url = sleeper, session, url

    async def run(self) -> AsyncIterator[Any]:
        """Yield the job."""
        async for _ in self._sleeper.run():
            async with self._session().get(self._url, headers={"Authorization": "Bearer key"}) as response:
                yield json.loads(await response.read())


def _getter(case: Case, address: str) -> Callable[[int], Any]:
    import aiohttp

    ends = case.ends()
    sessions: list[aiohttp.ClientSession] = []

    def session() -> aiohttp.ClientSession:
        if not sessions:
            # As many requests at once as this package allows.
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)))
        return sessions[0]

    def make(number: int) -> Getter:
        url = f"http://{address}/v0/workflows/{workflow_id(number % case.workflows)}/jobs/{job_id(number)}"
        return Getter(Sleeper(case.interval, ends[number]), session, url)

    return make


def _status(payload: Any) -> bool:
    return isinstance(payload, dict) and payload.get("status") == "success"


SYSTEMS = {
    "pixxel": System("this package", _pixxel_connection, _pixxel, lambda p: p.get("kind") == "succeeded"),
    "dbt": System("dbt Cloud", _dbt_connection, _dbt, _status),
    "fivetran": System("Fivetran", _fivetran_connection, _fivetran, _status),
    "http": System("http", _http_connection, _http, _status),
    "floor": System("sleeping tasks", lambda address, ca: {}, _sleeper, bool),
    "get": System("one bare get", lambda address, ca: {}, _getter, lambda job: bool(job["finished_at"])),
}


def environment(system: str, address: str, ca: str) -> dict[str, str]:
    """Return the environment variables that hold a system's Airflow connection."""
    found = SYSTEMS[system].connection(address, ca)
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in found.items()}
