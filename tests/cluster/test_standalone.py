"""``make standalone`` and ``make cluster`` end when they are told to, while they start: nothing is left."""

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
@pytest.mark.parametrize(("words", "processes"), [([], 4), (["--cluster"], 3), (["--cluster"], 14)])
def test_nothing_is_left_of_processes_and_files(
    open_path: Path, number: signal.Signals, words: list[str], processes: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "standalone.py"), "--port", "0", *words],
        env={**os.environ, "TMPDIR": str(open_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # As a shell without job control does it with "&": there Airflow's own standalone ignores SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        # It has begun to start its parts: with less, there is not much to end.
        tree = eventually(
            lambda: len(found := psutil.Process(process.pid).children(recursive=True)) >= processes and found,
            f"{processes} processes",
        )
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, said) == (0, "Ended.\n")
    assert psutil.wait_procs(tree, timeout=10)[1] == []
    assert list(open_path.iterdir()) == []
