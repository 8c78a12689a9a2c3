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
        return fetch(method, self.url + path, body, self._token)

    def store_connection(self, connection: Mapping[str, Any], conn_id: str = "pixxel_default") -> None:
        """Put a connection into Airflow's database, in the place of what has its name."""
        with contextlib.suppress(AirflowTrouble):
            self.ask("DELETE", f"/api/v2/connections/{conn_id}")
        self.ask("POST", "/api/v2/connections", {"connection_id": conn_id, **connection})

    def processes(self, words: str = "") -> list[Any]:
        """Return the processes of this Airflow (psutil's), or those with these words in their command."""
        import psutil

        roots = [each for each in (self._process, *self._adopted) if each is not None]
        found = []
        for each in {process.pid: process for root in roots for process in tree(root.pid)}.values():
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
        if self._process is not None:
            end_tree(self._process)
            self._process = None


def fetch(method: str, url: str, body: Any = None, token: str = "") -> Any:
    """Ask an API of this machine and return the decoded answer, None where that is empty.

    :raises AirflowTrouble: it refused.
    :raises OSError: it can't be reached.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
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
