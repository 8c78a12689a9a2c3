"""Servers on this machine that stand for S3, Google Cloud Storage and Azure."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUCKET = "results"
#: Where ``make stores`` puts what npm installs.
NODE_MODULES = Path(sys.prefix) / "azurite" / "node_modules"
_PATIENCE = 60.0
#: The account that every Azurite has; its key is public.
ACCOUNT = "devstoreaccount1"
_AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass
class Emulator:
    """One such server, and how Airflow reaches it."""

    scheme: str
    command: list[str]
    connection: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)

    def url(self, key: str, bucket: str = BUCKET) -> str:
        """Return the address of an object."""
        return f"{self.scheme}://{bucket}/{key}"


def s3(port: int) -> Emulator:
    """Amazon S3, by moto."""
    connection = {
        "conn_type": "aws",
        "login": "some-access-key",
        "password": "some-secret-key",
        "extra": {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"},
    }
    server = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    return Emulator("s3", server, connection)


def google(port: int) -> Emulator:
    """Google Cloud Storage, by gcp-storage-emulator."""
    connection = {
        "conn_type": "google_cloud_platform",
        "extra": {"is_anonymous": True, "project": "project"},
    }
    environment = {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
        # Else gcsfs asks Google over gRPC, and in vain for a minute, what kind of bucket it is.
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }
    server = [sys.executable, str(Path(__file__).with_name("google_server.py")), str(port)]
    return Emulator("gs", server, connection, environment)


def azure(port: int) -> Emulator:
    """Azure's blob storage, by Azurite."""
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    text = (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={_AZURE_KEY};"
        f"BlobEndpoint={endpoint};"
    )
    server = ["node", str(NODE_MODULES / "azurite" / "dist" / "src" / "blob" / "main.js"), "--silent"]
    server += ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    server += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    return Emulator("abfs", server, {"conn_type": "wasb", "extra": {"connection_string": text}})


EMULATORS = {"s3": s3, "google": google, "azure": azure}


@contextlib.contextmanager
def running(name: str, folder: Path) -> Iterator[Emulator]:
    """Start a server on a free port, and end it afterwards, with all that it has started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    emulator = EMULATORS[name](port)
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            emulator.command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await(port, process, log)
        yield emulator
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError(f"{process.args} doesn't run:\n{log.read_text(errors='replace')[-2000:]}")


def connection_json(emulator: Emulator) -> str:
    """Return the Airflow connection for an environment variable."""
    return json.dumps(emulator.connection)
