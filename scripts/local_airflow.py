"""A whole Airflow with its UI, on this machine alone: started, watched, and ended for certain."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "example_dags"
STOP_SECONDS = 15.0


class AirflowTrouble(Exception):
    """Airflow did not do what was asked of it; the text says what, and its log says why."""


def settings(home: Path, dags_folder: Path) -> dict[str, str]:
    """The environment for an Airflow that has nothing to do with any other one on this machine."""
    environ = {
        # The way to 127.0.0.1 never leads through a proxy.
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW_", "PYTHONPATH", "PYTHONHOME"))
        and not name.lower().endswith("_proxy")
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


# The servers for logs listen on every network the machine is in. Here logs are read from disk, so they are
# left out, wherever "airflow standalone" starts its parts from.
_PART = """\
#!/bin/sh
case "$1" in scheduler|triggerer) set -- "$@" --skip-serve-logs ;; esac
# A script that stands for "-m airflow", where one is named.
exec {python} ${{AIRFLOW_MAIN:--m airflow}} "$@"
"""


class LocalAirflow:
    """An Airflow on 127.0.0.1, everybody an admin: its settings, its API, and its processes.

    :param home: AIRFLOW_HOME, empty or of an earlier run.
    :param port: where the UI is; a free one unless given.
    :param more: further settings, as environment variables.
    """

    #: Where its API is.
    api = "/api/v2"

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

    def spawn(
        self, command: str, log: Path, more: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one of Airflow's commands beside the others, in a session of its own: for `end_tree`.

        :param command: as it is written behind ``airflow``.
        :param more: further settings for it alone, as environment variables.
        """
        self._parts.mkdir(exist_ok=True)
        part = self._parts / "airflow"
        if not part.exists():
            part.write_text(_PART.format(python=shlex.quote(sys.executable)))
            part.chmod(0o755)
        path = os.pathsep.join([str(self._parts), self.environ["PATH"]])
        with log.open("ab") as output:
            return subprocess.Popen(
                [str(part), *command.split()],
                cwd=self.home,
                env={**self.environ, **(more or {}), "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise AirflowTrouble if a part that has to run has ended."""

    def said(self) -> str:
        """Return the end of its logs, for whoever asks why it failed."""
        ends = [file.read_text(errors="replace").splitlines()[-20:] for file in self.home.glob("*.log")]
        return "\n".join(line for end in ends for line in end)

    def until_it_ends(self) -> None:
        """Return never: raise AirflowTrouble when a part that has to run has ended."""
        while True:
            self.check()
            time.sleep(0.5)

    def waiting(self, deadline: float) -> Iterator[None]:
        """Yield, again and again, until every part has reported and the DAGs are there.

        :raises AirflowTrouble: not in time, or it has ended.
        """
        missing = "the server"
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError, ValueError, KeyError, AirflowTrouble):
                health = self.get(self.health)
                parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
                unwell = [name for name in parts if health[name]["status"] != "healthy"]
                missing = ", ".join(unwell) or "the DAGs"
                if not unwell and self.get(f"{self.api}/dags")["total_entries"]:
                    return
            yield
            time.sleep(0.5)
        raise AirflowTrouble(f"Airflow was not ready in time; what is missing: {missing}.")

    def get(self, path: str) -> Any:
        """Return what the API answers to a GET; see :meth:`ask`."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Airflow's API and return the decoded answer, None where that is empty.

        :raises AirflowTrouble: it refused.
        :raises OSError: it can't be reached.
        """
        return fetch(method, self.url + path, body, self.authorization(path))

    def authorization(self, path: str) -> str:
        """Return the header that lets a request in."""
        if path.startswith("/auth/") or path == self.health:
            return ""
        if not self._token:
            self._token = self.get("/auth/token")["access_token"]
        return f"Bearer {self._token}"

    @property
    def health(self) -> str:
        """Where its API tells how its parts are."""
        return f"{self.api}/monitor/health"

    def store_connection(self, connection: Mapping[str, Any], conn_id: str = "pixxel_default") -> None:
        """Put a connection into Airflow's database, in the place of what has its name."""
        with contextlib.suppress(AirflowTrouble):
            self.ask("DELETE", f"/api/v2/connections/{conn_id}")
        self.ask("POST", "/api/v2/connections", {"connection_id": conn_id, **connection})

    def processes(self, words: str = "") -> list[Any]:
        """Return the processes of this Airflow (psutil's), or those with these words in their command."""
        import psutil

        found = []
        for each in {process.pid: process for root in self._adopted for process in tree(root.pid)}.values():
            with contextlib.suppress(psutil.Error):
                found += [each] * (words in " ".join(each.cmdline()))
        return found

    def adopt(self, process: subprocess.Popen[bytes]) -> None:
        """Let something that :meth:`spawn` has started end with all the rest."""
        self._adopted.append(process)

    def stop(self) -> None:
        """End it, all of it."""
        while self._adopted:
            end_tree(self._adopted.pop())


class Standalone(LocalAirflow):
    """``airflow standalone``: every part of Airflow as a child of one process, with SQLite.

    Its log is ``standalone.log`` in :attr:`home`.
    """

    def start(self) -> None:
        """Start all of it; see :meth:`waiting` for when it can be used."""
        self._process = self.spawn("standalone", self.home / "standalone.log")
        self.adopt(self._process)

    def check(self) -> None:
        if self._process.poll() is not None:
            raise AirflowTrouble("Airflow ended by itself.")


def fetch(method: str, url: str, body: Any = None, authorization: str = "") -> Any:
    """Ask an API of this machine and return the decoded answer, None where that is empty.

    :raises AirflowTrouble: it refused.
    :raises OSError: it can't be reached.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if authorization:
        headers["Authorization"] = authorization
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    # No proxy is asked for the way to this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as response:
            answer = response.read()
    except urllib.error.HTTPError as error:
        words = error.read().decode(errors="replace")
        raise AirflowTrouble(f"{method} {url}: {error.code} {words}") from None
    return json.loads(answer) if answer else None


def eventually(done: Callable[[], Any], what: str, seconds: float) -> None:
    """Return as soon as the condition holds; a server that can't be reached may only be slow.

    :raises AirflowTrouble: not in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if done():
                return
        time.sleep(0.25)
    raise AirflowTrouble(f"Not within {seconds:.0f} s: {what}.")


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


def end_tree(process: subprocess.Popen[bytes], seconds: float = STOP_SECONDS) -> None:
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
    _, left = psutil.wait_procs(members, timeout=seconds)
    for each in {*left, *tree(process.pid)}:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
