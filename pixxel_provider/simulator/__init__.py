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

What ``serve`` yields:

``url``, ``key``
    where it listens, and the key it lets in.
``airflow_connection``
    the Airflow connection as a dict; ``connection_json()`` and ``connection_uri()`` give the texts for an
    ``AIRFLOW_CONN_...`` variable.
``create_job(workflow_id, job_id, ...)``
    a job with a chosen id; ``seconds=`` how long it lasts, ``speed=``, ``age=`` (seconds since its
    creation), ``course=`` (a workflow it takes after), ``fields=`` (raw JSON put over its own), ``omit=``
    (fields to leave out), ``created_by=`` (somebody else's), ``list_delay=`` (seconds until a list shows it).
``change_job(job_id, **fields)``
    puts raw JSON over a job's fields: ``change_job("job-1", status="paused")``; ``omit=`` as above.
``finish_job(job_id)``
    lets a job end now, the way its workflow ends.
``fail_next(route, **fault)``
    the next request of a route goes wrong: ``status=``, ``retry_after=``, ``body=``, ``json=``,
    ``location=``, ``latency=``, ``drop=``, ``truncate=``, ``stall=``, ``announce=``, ``pause=``, ``hide=``;
    and ``times=``, ``after=``, ``job_id=``. With ``carried_out=True`` the API does what it is asked before
    its answer is lost. See ``pixxel_provider.simulator.faults.Fault``.
``set_package(job_id, task_id, ...)``
    how a download package turns out, all of them without ids: ``size=`` or ``content=``, ``status=``,
    ``seconds=``, ``lifetime=``, ``ranges=``, ``checksum=`` and more. See
    ``pixxel_provider.simulator.package_plans.PackagePlan``.
``bill(user)``
    ``jobs`` and ``credits``: what was created through the API, whether or not its answer arrived.
``advance(seconds)``
    lets simulated time pass at once.
``requests(route, job_id)``
    how many requests came; ``counters.seen`` holds the last ones one by one.
``reset()``
    jobs, packages, bill, clock, faults and counters as at the start.
``world``, ``faults``, ``counters``
    the parts behind all this.

Workflows: ``wf-succeeds`` (two minutes), ``wf-fails`` (a block fails after a minute), ``wf-invalid`` (fails
validation at once), ``wf-endless``, ``wf-odd-status`` (stays in a status nobody documents) and
``wf-odd-ended`` (ends in one). The first three are in the project ``project-agriculture``, the others in
``project-coast``. The jobs ``job-finished``, ``job-finished-earlier`` (of ``wf-succeeds``) and
``job-failed`` (of ``wf-fails``) are there from the start. Routes have the names of the operations: get_job,
list_jobs, create_job, get_workflow, list_workflows, estimate_cost, download_job, download_task,
download_file, ping, list_projects.

Other programs do the same through the control routes: ``GET /_control`` lists them.

It needs ``pip install 'airflow-provider-pixxel[simulator]'``; importing this module alone doesn't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixxel_provider.simulator.handle import Simulator

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

    Raises ValueError for a bad argument, OSError if the port is taken, RuntimeError if the server doesn't
    start or stop within ten seconds, ModuleNotFoundError without FastAPI and uvicorn.
    """
    from pixxel_provider.simulator import server

    return server.serve(
        host=host,
        port=port,
        key=key,
        keys=keys,
        no_access_keys=no_access_keys,
        speed=speed,
        bytes_as=bytes_as,
        faults=faults,
        seed=seed,
        clock=clock,
        control=control,
        list_delay=list_delay,
    )
