"""Which Airflow versions are supported, and how an environment for one of them is made.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTION = "airflow-provider-pixxel"


@dataclass(frozen=True)
class Supported:
    """One Airflow version the package is tested with."""

    airflow: str
    python: str
    """The Python the matrix prefers for it, so that every supported Python gets its turn."""
    newest_python: str
    pins: tuple[str, ...] = ()
    """What that Airflow needs besides its own metadata."""
    environment: tuple[tuple[str, str], ...] = ()
    """Settings without which that Airflow does not run."""

    @property
    def constraints(self) -> Path:
        """The file that pins what was tested with this version."""
        return ROOT / "constraints" / f"airflow-{self.airflow}.txt"


SUPPORTED = (
    Supported("2.11.2", python="3.10", newest_python="3.12"),
    Supported(
        "3.0.6",
        python="3.11",
        newest_python="3.12",
        pins=("fastapi<0.118",),
        environment=(("AIRFLOW__API_AUTH__JWT_ISSUER", "pixxel-matrix"),),
    ),
    Supported("3.1.8", python="3.12", newest_python="3.13"),
    Supported("3.2.2", python="3.12", newest_python="3.13", pins=("fastapi<0.137", "svcs<26")),
    Supported("3.3.2", python="3.13", newest_python="3.13"),
)
NEWEST = SUPPORTED[-1]
#: The newest beside the providers of object stores, which hold some libraries back.
STORES = NEWEST.constraints.with_name(f"airflow-{NEWEST.airflow}-stores.txt")
#: The newest beside the FAB auth manager, which does so too.
FAB = NEWEST.constraints.with_name(f"airflow-{NEWEST.airflow}-fab.txt")
OLDEST_PYTHON = (3, 10)


class SetupError(Exception):
    """Something a person has to put right; its text says what."""


# ------------------------------------------------------------------------------------------ finding a Python


def python_version(executable: str | Path) -> str | None:
    """``3.12`` for a Python that runs and has what a virtual environment needs, otherwise None."""
    probe = "import ctypes, sqlite3, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [str(executable), "-c", probe], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _candidates(version: str) -> Iterator[str]:
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == version:
        yield sys.executable
    if found := shutil.which(f"python{version}"):
        yield found
    # A shim of pyenv answers "command not found" unless its version is active: look behind it.
    for root in filter(None, (os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv"))):
        for folder in sorted(Path(root).glob(f"versions/{version}*"), reverse=True):
            yield str(folder / "bin" / f"python{version}")


def find_python(version: str) -> str | None:
    """A working Python of exactly that minor version, or None."""
    for candidate in _candidates(version):
        if python_version(candidate) == version:
            return candidate
    return None


# ------------------------------------------------------------------------------------- making an environment


@dataclass(frozen=True)
class Environment:
    """A virtual environment that knows what it was made from, and is made anew when that changes."""

    path: Path
    constraints: Path

    @property
    def python(self) -> Path:
        """The environment's own interpreter."""
        return self.path / "bin" / "python"

    @property
    def _stamps(self) -> Path:
        return self.path / ".installed"

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        # Two commands at once (make -j) wait for each other; the lock goes when its process does.
        lock = self.path.with_name(self.path.name + ".lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _fingerprint(self, version: str) -> str:
        digest = hashlib.sha256(f"{version}\0{sys.platform}\0{self.path}\0".encode())
        for file in (ROOT / "pyproject.toml", self.constraints):
            digest.update(file.read_bytes())
        return digest.hexdigest()

    def ensure(self, base: str, groups: tuple[str, ...] = (), announce: str = "") -> bool:
        """Have the package, its simulator and these dependency groups installed; True if there was work.

        A stamp is written only after an install ended well, so one that was interrupted is done again.
        """
        with self._alone():
            version = python_version(base)
            if version is None:
                raise SetupError(f"{base} does not run, or lacks the modules ssl, sqlite3 or venv.")
            fingerprint = self._fingerprint(version)
            wanted = [name for name in ("package", *groups) if not self._has(name, fingerprint)]
            if not wanted and self.python.exists():
                return False
            if announce:
                print(announce, flush=True)
            if python_version(self.python) != version or not self._works("import pip"):
                self.make(base)
                wanted = ["package", *groups]
            self._stamps.mkdir(exist_ok=True)
            self._install([name for name in wanted if name != "package"])
            for name in wanted:
                (self._stamps / name).write_text(fingerprint, encoding="utf-8")
            return True

    def _has(self, name: str, fingerprint: str) -> bool:
        try:
            return (self._stamps / name).read_text(encoding="utf-8") == fingerprint
        except OSError:
            return False

    def make(self, base: str) -> None:
        """An empty environment with that Python, in place of whatever was there."""
        shutil.rmtree(self.path, ignore_errors=True)
        done = subprocess.run(
            [base, "-m", "venv", str(self.path)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            shutil.rmtree(self.path, ignore_errors=True)
            raise SetupError(
                f"{base} could not make a virtual environment:\n{(done.stdout + done.stderr).strip()}\n"
                "On Debian and Ubuntu the package python3-venv is often what is missing."
            )

    def _works(self, code: str) -> bool:
        done = subprocess.run([str(self.python), "-c", code], capture_output=True, check=False)
        return done.returncode == 0

    def _pip(self, *arguments: str) -> bool:
        command = [str(self.python), "-m", "pip", "-qq", "--disable-pip-version-check", "install"]
        return subprocess.run([*command, *arguments], cwd=ROOT, check=False).returncode == 0

    def _install(self, groups: list[str]) -> None:
        what = ["--constraint", str(self.constraints), "--editable", ".[simulator]"]
        for group in groups:
            what += ["--group", group]
        if self._uv(*what):
            return
        print("uv could not install; trying pip, which takes longer.", file=sys.stderr, flush=True)
        # Dependency groups came to pip with 25.1.
        if self._pip("--upgrade", "pip>=25.1") and self._pip(*what):
            return
        raise SetupError(f"The packages could not be installed into {self.path.name}; the reason is above.")

    def _uv(self, *arguments: str) -> bool:
        if not (executable := self.find_uv()):
            return False
        command = [executable, "pip", "install", "--quiet", "--python", str(self.python)]
        return (
            subprocess.run([*command, *arguments], cwd=ROOT, env=uv_settings(), check=False).returncode == 0
        )

    def find_uv(self) -> str | None:
        """An uv of the project's own: this environment's or ``.venv``'s, or else installed here by pip."""
        for home in (self.path, ROOT / ".venv"):
            if self._runs(found := str(home / "bin" / "uv")):
                return found
        return str(self.path / "bin" / "uv") if self._pip("uv") else None

    @staticmethod
    def _runs(executable: str) -> bool:
        try:
            return subprocess.run([executable, "--version"], capture_output=True, check=False).returncode == 0
        except OSError:
            return False


def uv_settings() -> dict[str, str]:
    """What uv is told by environment variables: fetch no Python, and draw no progress bars."""
    return {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def without_airflow_settings() -> dict[str, str]:
    """This process's environment less what it says about an Airflow of the person's own."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AIRFLOW_") and name not in ("PYTHONPATH", "PYTHONHOME")
    }
