"""Airflow processes of our own, on this machine alone: started, watched, and ended for certain.

``DagRunner`` runs single DAGs, for the demo and the tests. ``Standalone`` is a whole Airflow with its UI.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from environments import ROOT, without_airflow_settings

EXAMPLES = ROOT / "example_dags"
STOP_SECONDS = 15.0


class AirflowTrouble(Exception):
    """Airflow did not do what was asked of it; the text says what, and its log says why."""


def settings(home: Path, dags_folder: Path) -> dict[str, str]:
    """The environment for an Airflow that has nothing to do with any other one on this machine."""
    environ = {
        # The way to 127.0.0.1 never leads through a proxy.
        name: value
        for name, value in without_airflow_settings().items()
        if not name.lower().endswith("_proxy")
    }
    return {
        **environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # 3.0 doesn't run without it.
        "AIRFLOW__API_AUTH__JWT_ISSUER": "pixxel",
        # Standalone starts "airflow", which has to be the one beside this Python.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", "")]),
        "PYTHONUNBUFFERED": "1",
    }


class Tail:
    """The lines that have been added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open(encoding="utf-8", errors="replace")
        self._half = ""

    def lines(self) -> list[str]:
        """Return the new lines that are complete."""
        *whole, self._half = (self._half + self._file.read()).split("\n")
        return whole

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


# ------------------------------------------------------------------------------------------ ending processes


def end_group(process: subprocess.Popen[Any], retry_for: float = STOP_SECONDS) -> None:
    """End a process that was started in a session of its own, and all that it started in there."""
    _signal_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(retry_for)
    # What is left of the group has had its chance.
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


# ----------------------------------------------------------------------------------------------- single DAGs


class DagRunner:
    """A process that runs DAGs; see ``dag_runner.py``.

    :param home: an empty folder of its own: AIRFLOW_HOME, the log ``airflow.log`` and the answers.
    :param connection: what ``pixxel_default`` is in Airflow's database.
    """

    def __init__(self, home: Path, connection: Mapping[str, Any], dags_folder: Path = EXAMPLES) -> None:
        self.log = home / "airflow.log"
        answers = home / "answers.jsonl"
        self._answers, self._said = Tail(answers), Tail(self.log)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, str(Path(__file__).with_name("dag_runner.py"))),
                    *(str(answers), str(dags_folder), json.dumps(dict(connection))),
                ],
                cwd=home,
                env=settings(home, dags_folder),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ask(self, dag_id: str, conf: Mapping[str, Any] | None = None, **changes: Mapping[str, Any]) -> None:
        """Ask for a run of a DAG.

        :param changes: arguments of tasks that replace those in the file, by task.
        """
        request = {"dag_id": dag_id, "conf": dict(conf or {}), "changes": changes}
        assert self._process.stdin is not None  # noqa: S101 - for type checkers
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()

    def follow(self, deadline: float, *, pulse: bool = False) -> Iterator[str | dict[str, Any]]:
        """Yield log lines as they come, and the answer at last.

        :param deadline: of ``time.monotonic()``.
        :param pulse: yield an empty line now and then where there is nothing.
        :raises AirflowTrouble: there is no answer in time, or never will be.
        """
        while True:
            over = self._process.poll() is not None
            answers = self._answers.lines()
            # After the answers were read: what was said before an answer is yielded before it.
            yield from self._said.lines()
            for line in answers:
                answer = json.loads(line)
                if answer["kind"] == "broke":
                    raise AirflowTrouble(f"Airflow could not run the DAG: {answer['error']}")
                yield answer
                return
            if over:
                raise AirflowTrouble(f"Airflow ended by itself, with exit code {self._process.returncode}.")
            if time.monotonic() > deadline:
                raise AirflowTrouble("Airflow took too long.")
            if pulse:
                yield ""
            time.sleep(0.05)

    def answer(self, deadline: float) -> tuple[dict[str, Any], list[str]]:
        """Wait for the answer; return it with the log lines that came before it."""
        lines: list[str] = []
        for thing in self.follow(deadline):
            if isinstance(thing, dict):
                return thing, lines
            lines.append(thing)
        raise AssertionError("follow() ends with an answer")

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        end_group(self._process, retry_for=3)
        self._answers.close()
        self._said.close()


# -------------------------------------------------------------------------------------------- a whole Airflow

# The servers for logs listen on every network the machine is in. Here logs are read from disk, so they are
# left out, wherever "airflow standalone" starts its parts from.
_PART = """\
#!/bin/sh
case "$1" in scheduler|triggerer) set -- "$@" --skip-serve-logs ;; esac
exec {python} -m airflow "$@"
"""


class Standalone:
    """``airflow standalone``: every part of Airflow, on 127.0.0.1, everybody an admin.

    :param home: AIRFLOW_HOME, empty or of an earlier run; gets the log ``standalone.log``.
    :param port: where the UI is; a free one unless given.
    :param more: further settings, as environment variables.
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path = EXAMPLES,
        *,
        port: int | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        port = port or free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.home = home
        self.log = home / "standalone.log"
        self._token = ""
        self._parts = home / "bin"
        self.environ = {
            **settings(home, dags_folder),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            **self._secrets(),
            **(more or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted: list[subprocess.Popen[bytes]] = []

    def _secrets(self) -> dict[str, str]:
        # Kept with the database, which is encrypted with one of them.
        file = self.home / "secrets.json"
        if not file.exists():
            names = ("CORE__FERNET_KEY", "API__SECRET_KEY", "API_AUTH__JWT_SECRET")
            found = {name: urlsafe_b64encode(secrets.token_bytes(32)).decode() for name in names}
            file.touch(mode=0o600)
            file.write_text(json.dumps(found))
        return {f"AIRFLOW__{name}": value for name, value in json.loads(file.read_text()).items()}

    def start(self) -> None:
        """Start all of it; see :meth:`waiting` for when it can be used."""
        self._parts.mkdir(exist_ok=True)
        part = self._parts / "airflow"
        part.write_text(_PART.format(python=shlex.quote(sys.executable)))
        part.chmod(0o755)
        self._process = self.spawn("standalone", self.log)

    def spawn(
        self, command: str, log: Path, more: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one of Airflow's commands beside the others, in a session of its own: for `end_tree`.

        :param more: further settings for it alone, as environment variables.
        """
        path = os.pathsep.join([str(self._parts), self.environ["PATH"]])
        with log.open("ab") as output:
            return subprocess.Popen(
                [str(self._parts / "airflow"), command],
                cwd=self.home,
                env={**self.environ, **(more or {}), "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def waiting(self, deadline: float) -> Iterator[None]:
        """Yield, again and again, until every part has reported and the DAGs are there.

        :raises AirflowTrouble: not in time, or it has ended.
        """
        missing = "the server"
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise AirflowTrouble("Airflow ended by itself.")
            with contextlib.suppress(OSError, ValueError, KeyError, AirflowTrouble):
                health = self.get("/api/v2/monitor/health")
                parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
                unwell = [name for name in parts if health[name]["status"] != "healthy"]
                missing = ", ".join(unwell) or "the DAGs"
                if not unwell and self.get("/api/v2/dags")["total_entries"]:
                    return
            yield
            time.sleep(0.5)
        raise AirflowTrouble(f"Airflow was not ready in time; what is missing: {missing}.")

    def until_it_ends(self) -> None:
        """Return when Airflow has ended."""
        if self._process is not None:
            self._process.wait()

    def get(self, path: str) -> Any:
        """Return what the API answers to a GET; see :meth:`ask`."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Airflow's API and return the decoded answer, None where that is empty.

        :raises AirflowTrouble: it refused.
        :raises OSError: it can't be reached.
        """
        if not self._token and not path.startswith(("/auth/", "/api/v2/monitor/")):
            self._token = self.get("/auth/token")["access_token"]
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        # No proxy is asked for the way to this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as response:
                answer = response.read()
        except urllib.error.HTTPError as error:
            words = error.read().decode(errors="replace")
            raise AirflowTrouble(f"{method} {path}: {error.code} {words}") from None
        return json.loads(answer) if answer else None

    def store_connection(self, connection: Mapping[str, Any], conn_id: str = "pixxel_default") -> None:
        """Put a connection into Airflow's database, in the place of what has its name."""
        with contextlib.suppress(AirflowTrouble):
            self.ask("DELETE", f"/api/v2/connections/{conn_id}")
        self.ask("POST", "/api/v2/connections", {"connection_id": conn_id, **connection})

    def processes(self, words: str = "") -> list[Any]:
        """Return the processes of this Airflow (psutil's), or those with these words in their command."""
        roots = [each for each in (self._process, *self._adopted) if each is not None]
        found = {process.pid: process for root in roots for process in tree(root.pid)}
        return [each for each in found.values() if words in _command(each)]

    def adopt(self, process: subprocess.Popen[bytes]) -> None:
        """Let something that :meth:`spawn` has started end with all the rest."""
        self._adopted.append(process)

    def stop(self) -> None:
        """End it, all of it."""
        while self._adopted:
            end_tree(self._adopted.pop())
        if self._process is not None:
            end_tree(self._process)
            self._process = None


def free_port(rather: int = 0) -> int:
    """Return a port that nobody listens on, that one if it can be."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", rather))
        except OSError:
            sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def tree(pid: int) -> list[Any]:
    """Return a process and what it has started (psutil's), also what outlived whoever started it."""
    import psutil

    found = {}
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(each.pid) == pid:
                found[each.pid] = each
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        found.update({each.pid: each for each in (root, *root.children(recursive=True))})
    return [each for each in found.values() if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started in a session of its own, and all that came of it.

    ``airflow standalone`` neither ends its parts on SIGTERM nor, started in the background, on SIGINT. So its
    parts are told, and whatever remains of them is killed.
    """
    import psutil

    members = tree(process.pid)
    for each in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.ppid() == process.pid or each.pid == process.pid:
                each.terminate()
    _, left = psutil.wait_procs(members, timeout=STOP_SECONDS)
    for each in {*left, *tree(process.pid)}:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def _command(process: Any) -> str:
    import psutil

    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
