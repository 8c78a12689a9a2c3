"""The simulator in a process of its own, so that what it costs is not counted as ours."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[str]:
    """Start a simulator on a free port, set the connection to it, and stop it afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "url"
        command = [sys.executable, "-m", "pixxel_provider.simulator", "--port", "0", "--log-level", "error"]
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready), *arguments], stdout=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + 60
            while not ready.exists() or not ready.read_text().strip():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the simulator did not start")
                time.sleep(0.05)
            url = ready.read_text().strip()
            os.environ["AIRFLOW_CONN_PIXXEL_DEFAULT"] = (
                f'{{"conn_type": "pixxel", "host": "{url}", "password": "simulator-key"}}'
            )
            yield url
        finally:
            process.terminate()
            process.wait(30)
