"""An Airflow of real parts on this machine: PostgreSQL, Redis, Celery's workers, two triggerers.

Everything lives in one folder, listens on 127.0.0.1 alone, and is stopped with all that it started.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from local_airflow import EXAMPLES, AirflowTrouble, LocalAirflow, eventually, free_port, tree

#: What the Debian packages ``postgresql`` and ``redis-server`` bring.
PACKAGES = {"postgres": "postgresql", "redis-server": "redis-server"}
AIRFLOW_2 = metadata.version("apache-airflow").startswith("2.")
FAB = "airflow.providers.fab.auth_manager"
WORKER = (
    "celery worker --skip-serve-logs --without-mingle --without-gossip --celery-hostname {name} --pid {pid}"
)
#: The processes of Airflow, each with the command that starts it.
PARTS = {
    "api-server": "webserver" if AIRFLOW_2 else "api-server",
    "scheduler": "scheduler",
    "dag-processor": "dag-processor",
    "triggerer-1": "triggerer",
    "triggerer-2": "triggerer",
    "worker-1": WORKER,
    "worker-2": WORKER,
}
# A part that was killed is missed after seconds, where Airflow's defaults say minutes.
SETTINGS = {
    "CELERY__WORKER_CONCURRENCY": "4",
    "CORE__EXECUTOR": "CeleryExecutor",
    "CORE__PARALLELISM": "16",
    "DATABASE__SQL_ALCHEMY_POOL_PRE_PING": "True",
    "LOGGING__COLORED_CONSOLE_LOG": "False",
    "SCHEDULER__STANDALONE_DAG_PROCESSOR": "True",  # Airflow 2; later ones know no other
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "30",  # its name in Airflow 2
    "SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "15",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
}


class Cluster(LocalAirflow):
    """All parts of Airflow as processes of their own, with PostgreSQL and Redis.

    :param home: an empty folder; gets ``NAME.log`` for each part.
    :param parts: other commands or fewer parts than :data:`PARTS`.
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path = EXAMPLES,
        *,
        port: int | None = None,
        more: Mapping[str, str] | None = None,
        parts: Mapping[str, str] = PARTS,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.services = Services(home)
        port = port or free_port()
        settings = {f"AIRFLOW__{name}": value for name, value in SETTINGS.items()}
        if AIRFLOW_2:
            self._password = secrets.token_hex(16)
            settings |= {
                "AIRFLOW__API__AUTH_BACKENDS": f"{FAB}.api.auth.backend.basic_auth",
                "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
                "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
                "AIRFLOW__WEBSERVER__WORKERS": "1",
            }
        super().__init__(
            home, dags_folder, port=port, more={**settings, **self.services.settings, **(more or {})}
        )
        self.parts = parts
        #: The settings of some parts alone, as environment variables, by the part's name.
        self.own_settings: dict[str, dict[str, str]] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        #: The parts that ended by themselves and were started again: when, as Unix time, and which.
        self.ended: list[tuple[float, str]] = []
        self._starts = 0
        self._sessions: set[int] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start all of it; see :meth:`waiting` for when it can be used."""
        self.services.start()
        self.command("db migrate")
        if AIRFLOW_2:
            self.command(f"users create -r Admin -u admin -p {self._password} -e admin@localhost -f a -l a")
        for name in self.parts:
            self.start_part(name)
        threading.Thread(target=self._supervise, daemon=True, name="supervisor").start()

    def _supervise(self) -> None:
        # As systemd and Kubernetes do: some parts end when their database is restarted.
        while not self._stopping.wait(2):
            for name, process in list(self.running.items()):
                if process.poll() is not None:
                    self.ended.append((time.time(), name))
                    self.start_part(name)

    if AIRFLOW_2:
        api, health = "/api/v1", "/api/v1/health"

        def authorization(self, path: str) -> str:
            """Return the header that lets a request in."""
            return "Basic " + base64.b64encode(f"admin:{self._password}".encode()).decode()

    def command(self, words: str) -> None:
        """Run one of Airflow's commands until it ends; raise AirflowTrouble if it fails."""
        log = self.home / "commands.log"
        if self.spawn(words, log).wait():
            raise AirflowTrouble(f"airflow {words} failed:\n{log.read_text(errors='replace')[-3000:]}")

    def start_part(self, name: str) -> None:
        """Start a part, also one that has ended."""
        with self._lock:
            if self._stopping.is_set():
                return
            self._starts += 1
            pid = self.home / f"{name}-{self._starts}.pid"
            command = self.parts[name].format(name=f"{name}-{self._starts}", pid=pid)
            process = self.spawn(command, self.log(name), self.own_settings.get(name))
            self._sessions.add(process.pid)
            self.running[name] = process

    def kill_part(self, name: str) -> None:
        """Kill a part with all that it has started, as a machine that loses its power does.

        It stays away until :meth:`start_part`.
        """
        kill_session(self.running.pop(name))

    def log(self, name: str) -> Path:
        """Return where a part logs."""
        return self.home / f"{name}.log"

    def check(self) -> None:
        """Raise AirflowTrouble if a part has ended again and again."""
        for name in {name for _, name in self.ended}:
            if sum(name == each for _, each in self.ended) > 2:
                end = self.log(name).read_text(errors="replace")[-3000:]
                raise AirflowTrouble(f"{name} ended by itself:\n{end}")

    def processes(self, words: str = "") -> list[Any]:
        """Return the processes of this Airflow (psutil's), or those with these words in their command."""
        import psutil

        found = []
        for each in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                # Some rename themselves, and with their name their environment goes; some have a session of
                # their own. Nobody does both.
                mine = os.getsid(each.pid) in self._sessions
                mine = mine or each.environ().get("AIRFLOW_HOME") == str(self.home)
                mine = mine and each.status() != psutil.STATUS_ZOMBIE
                found += [each] * (mine and words in " ".join(each.cmdline()))
        return found

    def stop(self) -> None:
        """End it, all of it: nothing in it is kept, so nobody is asked to finish."""
        import psutil

        self._stopping.set()
        for _ in range(3):  # a process that was just being started may have been missed
            with self._lock:
                left = self.processes()
            for each in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            psutil.wait_procs(left, timeout=5)
        self.services.stop()


class Services:
    """PostgreSQL and Redis, each in its own folder, with passwords that nobody else knows."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.postgres_port, self.redis_port = free_port(), free_port()
        self._password = secrets.token_hex(16)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        # PostgreSQL refuses to run as root.
        self._user = (
            {"user": "postgres", "group": "postgres", "extra_groups": ()} if os.geteuid() == 0 else {}
        )

    @property
    def settings(self) -> dict[str, str]:
        """Where Airflow finds both, as environment variables."""
        place = f"airflow:{self._password}@127.0.0.1:{self.postgres_port}/postgres"
        return {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{place}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{place}",
            "AIRFLOW__CELERY__BROKER_URL": f"redis://:{self._password}@127.0.0.1:{self.redis_port}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{place}",
        }

    @property
    def database(self) -> dict[str, Any]:
        """How psycopg2 and PostgreSQL's own commands reach the database."""
        return {
            "host": "127.0.0.1",
            "port": self.postgres_port,
            "user": "airflow",
            "password": self._password,
            "dbname": "postgres",
        }

    def start(self) -> None:
        """Start both and return when they answer; raise AirflowTrouble where they can't be had."""
        missing = [package for name, package in PACKAGES.items() if not program(name)]
        if missing:
            raise AirflowTrouble(f"This needs PostgreSQL and Redis: sudo apt-get install {' '.join(missing)}")
        self.home.mkdir(parents=True, exist_ok=True)
        self._create_database()
        self._create_redis()
        for name in ("postgres", "redis"):
            self.start_one(name)

    def _create_database(self) -> None:
        data, words = self.home / "postgres", self.home / "postgres-password"
        data.mkdir(mode=0o700)
        words.write_text(self._password)
        if self._user:
            # PostgreSQL's own user has to get there; what is in the folder is as closed as before.
            self.home.chmod(0o711)
            closed = [each for each in self.home.resolve().parents if not each.stat().st_mode & 0o001]
            if closed:
                raise AirflowTrouble(
                    f"{closed[0]} is closed to PostgreSQL, which can't run as root: set TMPDIR to another one"
                )
            for path in (data, words):
                shutil.chown(path, "postgres", "postgres")
        words.chmod(0o400)
        command = [program("initdb"), "-D", data, "-U", "airflow", "-A", "scram-sha-256", "--no-sync"]
        command += ["--pwfile", words, "--locale", "C.UTF-8", "-E", "UTF8"]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, **self._user)
        if done.returncode:
            raise AirflowTrouble(f"initdb failed: {done.stderr}")
        words.unlink()
        settings = {
            "listen_addresses": "'127.0.0.1'",
            "port": self.postgres_port,
            "unix_socket_directories": "''",
            "fsync": "off",  # a process that is killed loses nothing by it, only a machine that crashes
            "max_connections": 300,
        }
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def _create_redis(self) -> None:
        folder = self.home / "redis"
        folder.mkdir(mode=0o700)
        lines = ["bind 127.0.0.1", f"port {self.redis_port}", f"dir {folder}", "appendonly yes", "save ''"]
        # In a file, as others can read the command line.
        file = folder / "redis.conf"
        file.touch(mode=0o600)
        file.write_text("\n".join([*lines, f"requirepass {self._password}", ""]))

    def start_one(self, name: str) -> None:
        """Start one of them and return when it listens."""
        if name == "postgres":
            command, user, port = (
                [program("postgres"), "-D", self.home / name],
                self._user,
                self.postgres_port,
            )
        else:
            command, user, port = (
                [program("redis-server"), self.home / name / "redis.conf"],
                {},
                self.redis_port,
            )
        with (self.home / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **user,
            )
        eventually(lambda: _listens(port), f"{name} listens", 20)

    def stop_one(self, name: str, number: signal.Signals = signal.SIGINT) -> None:
        """End one of them; SIGINT is PostgreSQL's fast shutdown: clients are cut off, nothing is lost."""
        process = self._running.pop(name, None)
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            kill_session(process)

    def stop(self) -> None:
        """End both."""
        for name in list(self._running):
            self.stop_one(name)


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that was started in a session of its own, and all that it has started."""
    import psutil

    for each in tree(process.pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def program(name: str) -> str | None:
    """Return where a program is, also one of PostgreSQL's server."""
    # Debian keeps PostgreSQL's server outside of PATH.
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Yield a temporary folder that other users can reach, as PostgreSQL has to, and can't list."""
    with tempfile.TemporaryDirectory(prefix="pixxel-airflow-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@contextlib.contextmanager
def running(cluster: Cluster, seconds: float = 120.0) -> Iterator[Cluster]:
    """Start a cluster, yield it when it is ready, and stop it whatever happens."""
    try:
        cluster.start()
        for _ in cluster.waiting(time.monotonic() + seconds):
            pass
        yield cluster
    finally:
        cluster.stop()
