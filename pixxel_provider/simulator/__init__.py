"""A local Pixxel API to test DAGs against: no account, no bill, every failure on demand.

In a test::

    from pixxel_provider.simulator import serve

    with serve(speed=60) as pixxel:
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", pixxel.connection_json())
        pixxel.create_job("wf-succeeds", "job-1", seconds=2)
        pixxel.fail_next("get_job", status=503, retry_after=1)
        ...
        assert pixxel.requests("get_job") > 1

In a shell: ``python -m pixxel_provider.simulator --help``.
What ``serve`` yields is a ``pixxel_provider.simulator.server.Simulator``. Faults are described at
``pixxel_provider.simulator.faults.Fault``, packages at ``pixxel_provider.simulator.packages.PackagePlan``.

Other programs do the same through the control routes: ``GET /_control`` lists them.
It needs ``pip install 'airflow-provider-pixxel[simulator]'``; importing this module alone doesn't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixxel_provider.simulator.server import Simulator

__all__ = ["serve"]


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    key: str = "simulator-key",
    keys: Iterable[str] = (),
    no_access_keys: Iterable[str] = (),
    speed: float = 1.0,
    bytes_as: str = "integers",
    faults: Iterable[Mapping[str, Any] | str] = (),
    seed: int | None = None,
    clock: Callable[[], float] | None = None,
    control: str = "loopback",
    list_delay: float = 0.0,
    recurring: Iterable[Mapping[str, Any] | str] = (),
) -> AbstractContextManager[Simulator]:
    """Run a simulator in a thread of its own, which has ended when the ``with`` block is left.

    :param host: address to listen on; port 0 takes a free port.
    :param key: the API key that is let in; ``keys`` are more of them, ``no_access_keys`` are met with 403.
    :param speed: how many times as fast as in reality jobs run.
    :param bytes_as: ``integers``, ``base64`` or ``json``: how byte fields are written.
    :param faults: what goes wrong from the start, as mappings or as text (``route=get_job,status=503``).
    :param seed: makes the ids of created jobs the same in every run.
    :param clock: a function that gives Unix seconds, instead of ``time.time``; see ``clock.frozen``.
    :param control: who may use the control routes: ``loopback``, ``anyone`` or ``off``.
    :param list_delay: seconds of simulated time until a list shows a job that was created through the API.
    :param recurring: jobs that start by themselves, as mappings or as text (``every=30,outcome=failed``).

    Raises ValueError for a bad argument, OSError if the port is taken, RuntimeError if the server doesn't
    start or stop within ten seconds, ModuleNotFoundError without FastAPI and uvicorn.
    """
    options = locals()
    from pixxel_provider.simulator import server

    return server.serve(**options)
