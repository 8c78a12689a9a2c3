"""``make standalone`` ends when it is told to, in the middle of starting too, and nothing remains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.cluster.conftest import ROOT, eventually


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_standalone_leaves_neither_processes_nor_files(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "standalone.py"), "--port", "0"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # As a shell without job control does it with "&": there Airflow's own standalone ignores SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        # Airflow has begun to start its parts: with less, there is not much to end.
        tree = eventually(
            lambda: len(found := psutil.Process(process.pid).children(recursive=True)) >= 4 and found,
            "Airflow's processes",
        )
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, said) == (0, "Ended.\n")
    assert psutil.wait_procs(tree, timeout=10)[1] == []
    assert list(tmp_path.iterdir()) == []
