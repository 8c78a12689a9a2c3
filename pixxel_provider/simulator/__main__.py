"""``python -m pixxel_provider.simulator``: the simulator on the command line."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixxel_provider.simulator.validation import Model

MISSING = "The simulator needs FastAPI and uvicorn: pip install 'airflow-provider-pixxel[simulator]'"

# Options that go to the simulator as they are.
_PASSED = "no_access_keys speed bytes_as faults seed control list_delay recurring".split()
_FAULTS = """\
faults:
  --fault is a list of field=value joined by commas, for instance
    --fault route=get_job,status=503,retry_after=2,times=3
    --fault route=get_job,drop=reset,after=2
    --fault route=list_jobs,hide=0.5,times=0
"""
_JOBS = """\
jobs that start by themselves, as those of other people and systems do:
  --jobs is a list of field=value joined by commas, for instance
    --jobs every=30,outcome=mixed,seconds=10
"""


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    result = argparse.ArgumentParser(
        prog="python -m pixxel_provider.simulator",
        description="A local Pixxel API to test DAGs against: no account, no bill, every failure on demand.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    port = "port to listen on; 0 takes a free one (default %(default)s)"
    add("--port", type=_port, default=8765, help=port)
    key = "an API key that is let in; repeatable (default simulator-key)"
    add("--key", action="append", metavar="KEY", help=key)
    no_access = "a key that is known but gets 403"
    add("--no-access-key", action="append", default=[], dest="no_access_keys", metavar="KEY", help=no_access)
    add("--speed", type=float, default=1.0, help="how many times as fast as in reality jobs run (default 1)")
    encoding = "how spec, inputs, result and info_logs are written (default %(default)s, as documented)"
    add("--bytes", dest="bytes_as", choices=("integers", "base64", "json"), default="integers", help=encoding)
    add(
        "--fault",
        action="append",
        default=[],
        dest="faults",
        metavar="SPEC",
        help="something that goes wrong; see below",
    )
    add("--seed", type=int, help="makes the ids of created jobs the same in every run")
    delay = "how long a list doesn't show a job that was created through the API (default 0)"
    add("--list-delay", type=float, default=0.0, metavar="SECONDS", help=delay)
    add(
        "--jobs",
        action="append",
        default=[],
        dest="recurring",
        metavar="SPEC",
        help="jobs that start by themselves, every=SECONDS and more; see below",
    )
    control = "who may use the routes under /_control (default %(default)s: this machine)"
    add("--control", choices=("loopback", "anyone", "off"), default="loopback", help=control)
    levels = ("critical", "error", "warning", "info", "debug")
    add(
        "--log-level", choices=levels, default="warning", help="info logs every request (default %(default)s)"
    )
    ready = "a file that gets the base URL once the simulator listens"
    add("--ready-file", type=Path, metavar="PATH", help=ready)
    return result


def fault_help() -> str:
    """What ``--fault`` takes, from the descriptions of Fault's fields."""
    from pixxel_provider.simulator.faults import Fault
    from pixxel_provider.simulator.recurring import RecurringJobs

    fill = textwrap.TextWrapper(108, subsequent_indent=" " * 15, break_on_hyphens=False).fill

    def described(model: type[Model]) -> str:
        rows = model.descriptions().items()
        return "\n".join(fill(f"  {name:<13}{text.replace('``', '')}") for name, text in rows)

    return f"{_FAULTS}{described(Fault)}\n\n{_JOBS}{described(RecurringJobs)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulator until SIGINT or SIGTERM. Returns the exit code."""
    options = parser()
    try:
        options.epilog = fault_help()
        wanted = options.parse_args(arguments)
        import pixxel_provider.simulator.server  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pixxel_provider"):
            raise
        print(MISSING, file=sys.stderr)
        return 2
    return _run(options, wanted)


def _run(options: argparse.ArgumentParser, wanted: argparse.Namespace) -> int:
    from pixxel_provider.simulator import server

    keys: list[str] = wanted.key or [server.DEFAULT_KEY]
    try:
        simulator = server.Simulator(
            key=keys[0], keys=keys[1:], **{name: getattr(wanted, name) for name in _PASSED}
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
