"""What all tests share: an Airflow of their own, a running simulator, a clock that doesn't wait."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Airflow reads these when it is first imported, so they come before everything else.
ROOT = Path(__file__).resolve().parent.parent
_HOME = tempfile.mkdtemp(prefix="pixxel-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_"))]:
    if _name != "AIRFLOW__API_AUTH__JWT_ISSUER":
        del os.environ[_name]
# What a developer's machine sets for its own sake must not decide a test.
for _name in [name for name in os.environ if name.lower().endswith(("_proxy", "_ca_bundle"))]:
    del os.environ[_name]
os.environ.update(
    AIRFLOW_HOME=_HOME,
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "example_dags"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
)

import pytest  # noqa: E402

from pixxel_provider.simulator import serve  # noqa: E402
from tests.certificate import write_certificate  # noqa: E402
from tests.poller_support import Script  # noqa: E402
from tests.support import CANARY, FakeClock, FakeTaskInstance  # noqa: E402
from tests.vault import Vault  # noqa: E402


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def _simulator() -> Iterator[Any]:
    with serve(key=CANARY, no_access_keys=["no-access-key"], clock=FakeClock()) as running:
        yield running


@pytest.fixture
def pixxel(_simulator: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Pixxel API whose time stands still, and the connection ``pixxel_default`` that leads to it."""
    _simulator.reset()
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", _simulator.connection_json())
    return _simulator


@pytest.fixture
def vault(pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> type[Vault]:
    """A secrets backend, configured as an administrator would, with the connection ``in_vault``."""
    for name in ("AIRFLOW__SECRETS__BACKEND", "AIRFLOW__WORKERS__SECRETS_BACKEND"):
        monkeypatch.setenv(name, "tests.vault.Vault")
    with contextlib.suppress(ImportError):
        from airflow.sdk import configuration

        # Airflow 3.3 keeps backends for as long as a process lives.
        monkeypatch.setattr(configuration, "_secrets_backend_cache", {}, raising=False)
    monkeypatch.setattr(Vault, "values", {"in_vault": pixxel.connection_json()})
    monkeypatch.setattr(Vault, "asked", [])
    monkeypatch.setattr(Vault, "away", False)
    return Vault


@pytest.fixture
def context() -> dict[str, Any]:
    return {"ti": FakeTaskInstance()}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """A server for the shared poll that is only a script; all asynchronous hooks send to it."""
    found = Script()
    found.serve(monkeypatch)
    return found


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate for 127.0.0.1 and its key; who trusts the file trusts the server."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    write_certificate(file)
    return file


@pytest.fixture
def memory() -> Iterator[Any]:
    """The file system of fsspec in memory, with nothing in it."""
    import fsspec

    found: Any = fsspec.filesystem("memory")
    with contextlib.ExitStack() as after:
        for clear in (found.store.clear, lambda: found.pseudo_dirs.__setitem__(slice(None), [""])):
            clear()
            after.callback(clear)
        yield found
