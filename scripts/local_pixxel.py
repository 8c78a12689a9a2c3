"""The simulated Pixxel in a process of its own, so that whoever asks it doesn't share its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from local_airflow import end_tree, eventually, fetch

KEY = "simulator-key"


class Pixxel:
    """``python -m pixxel_provider.simulator``, and its control routes.

    :param folder: gets its log, ``pixxel.log``.
    :param more: further words of its command line.
    """

    def __init__(self, folder: Path, *more: str, key: str = KEY, port: int = 0, speed: float = 1.0) -> None:
        ready, self.key = folder / "pixxel-ready", key
        command = [sys.executable, "-m", "pixxel_provider.simulator", "--port", str(port), "--key", key]
        command += ["--speed", str(speed), "--ready-file", str(ready), *more]
        with (folder / "pixxel.log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "AIRFLOW_HOME": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            eventually(ready.exists, "the simulator listens", 30)
        except BaseException:
            self.stop()
            raise
        self.url = ready.read_text().strip()
        self.port = int(self.url.rpartition(":")[2])

    @property
    def airflow_connection(self) -> dict[str, Any]:
        """The connection to it."""
        return {"conn_type": "pixxel", "host": self.url, "password": self.key}

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Use one of the control routes.

        :raises AirflowTrouble: it refused.
        """
        return fetch(method, f"{self.url}/_control{path}", body)

    def stop(self) -> None:
        """End it."""
        end_tree(self._process, 5)
