"""``python -m pixxel_provider.simulator``: the simulator on the command line."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

LEVELS = ("critical", "error", "warning", "info", "debug")
DEFAULT_PORT = 8765
MISSING = "The simulator needs FastAPI and uvicorn: pip install 'airflow-provider-pixxel[simulator]'"

_FAULTS = """\
faults:
  --fault is a list of field=value joined by commas, for instance
    --fault route=get_job,status=503,retry_after=2,times=3
    --fault route=get_job,drop=reset,after=2
    --fault route=list_jobs,hide=0.5,times=0
  route       the operation that goes wrong: get_job, list_jobs, create_job, get_workflow, list_workflows,
              estimate_cost, download_job, download_task, download_file, ping, list_projects, or * (default)
  job_id      only requests for this job
  times       how often (default 1; 0: always)            after     how many requests go well first
  latency     seconds to wait before anything else, or, with carried_out, before the answer
  carried_out true: the API does what it is asked, then its answer is lost (with drop, status and the like)
  status      200 to 599                                  body      envelope, html, xml, plain, none, null,
  retry_after seconds, a date, or date+5, unix+5: the               list, nested, deep, huge, echo
              date or Unix time five seconds from now     megabytes the size of body=huge (default 50)
  message     words for the error                         code      the error's code
  location    where to redirect to (status 302)           drop      reset or close the connection, unanswered
  truncate    how many bytes of the answer are sent       stall     how many are sent before nothing more is
  announce    another Content-Length: bytes, +5, -5,      pause     seconds between two parts of the answer,
              or none                                     chunk     which are so long (default 65536 bytes)
  hide        jobs a list leaves out: id|id, or a share
"""


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    result = argparse.ArgumentParser(
        prog="python -m pixxel_provider.simulator",
        description="A local Pixxel API to test DAGs against: no account, no bill, every failure on demand.",
        epilog=_FAULTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help="port to listen on; 0 takes a free one (default %(default)s)",
    )
    add(
        "--key",
        action="append",
        metavar="KEY",
        help="an API key that is let in; repeatable (default simulator-key)",
    )
    add(
        "--no-access-key", action="append", default=[], metavar="KEY", help="a key that is known but gets 403"
    )
    add("--speed", type=float, default=1.0, help="how many times as fast as in reality jobs run (default 1)")
    add(
        "--bytes",
        choices=("integers", "base64", "json"),
        default="integers",
        help="how spec, inputs, result and info_logs are written (default %(default)s, as documented)",
    )
    add("--fault", action="append", default=[], metavar="SPEC", help="something that goes wrong; see below")
    add("--seed", type=int, help="makes the ids of created jobs the same in every run")
    add(
        "--list-delay",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long a list doesn't show a job that was created through the API (default 0)",
    )
    add(
        "--control",
        choices=("loopback", "anyone", "off"),
        default="loopback",
        help="who may use the routes under /_control (default %(default)s: this machine)",
    )
    add(
        "--log-level", choices=LEVELS, default="warning", help="info logs every request (default %(default)s)"
    )
    add(
        "--ready-file",
        type=Path,
        metavar="PATH",
        help="a file that gets the base URL once the simulator listens",
    )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulator until SIGINT or SIGTERM. Returns the exit code."""
    options = parser()
    wanted = options.parse_args(arguments)
    try:
        from pixxel_provider.simulator import handle, server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pixxel_provider"):
            raise
        print(MISSING, file=sys.stderr)
        return 2

    keys: list[str] = wanted.key or [handle.DEFAULT_KEY]
    try:
        simulator = handle.Simulator(
            key=keys[0],
            keys=keys[1:],
            no_access_keys=wanted.no_access_key,
            speed=wanted.speed,
            bytes_as=wanted.bytes,
            faults=wanted.fault,
            seed=wanted.seed,
            control=wanted.control,
            list_delay=wanted.list_delay,
        )
    except ValueError as error:
        options.error(str(error))
    if wanted.ready_file is not None:
        if not wanted.ready_file.parent.is_dir():
            options.error(f"--ready-file: there is no folder {wanted.ready_file.parent}")
        wanted.ready_file.unlink(missing_ok=True)
    try:
        sock = server.listen(wanted.host, wanted.port)
    except OSError as error:
        print(f"The simulator can't listen on {wanted.host}:{wanted.port}: {error.strerror}", file=sys.stderr)
        return 1
    simulator.url = server.base_url(sock)

    def ready() -> None:
        print(f"Pixxel simulator at {simulator.url}")
        print(f"API key: {', '.join(keys)}")
        print(f"export AIRFLOW_CONN_PIXXEL_DEFAULT={shlex.quote(simulator.connection_json())}", flush=True)
        if wanted.ready_file is not None:
            _write(wanted.ready_file, simulator.url + "\n")

    logging.basicConfig(level=wanted.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    server.server_for(simulator, ready).run([sock])
    return 0


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not a port (0 to 65535)")
    return number


def _write(path: Path, text: str) -> None:
    """All at once, so that whoever waits for the file never reads half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
