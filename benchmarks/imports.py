"""What naming our sensor costs each DAG file, beside dbt Cloud's: milliseconds on top of ``airflow.sdk``.

Each import runs in a fresh process, the two in turn, so that a machine that slows down slows both.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

ROUNDS = 9
MODULES = {"ours": "pixxel_provider.sensors.pixxel", "dbt Cloud's": "airflow.providers.dbt.cloud.sensors.dbt"}
CODE = "import time, airflow.sdk; t = time.perf_counter(); import {}; print((time.perf_counter() - t) * 1000)"


def milliseconds(module: str) -> float:
    """Import a module in a process of its own."""
    # Byte code must be warm, as it is on any worker: the first, uncounted import writes it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", CODE.format(module)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout.split()[-1])


def main() -> dict[str, float]:
    """Print the medians and their ratio."""
    for module in MODULES.values():
        milliseconds(module)
    found: dict[str, list[float]] = {name: [] for name in MODULES}
    for _ in range(ROUNDS):
        for name, module in MODULES.items():
            found[name].append(milliseconds(module))
    print(f"Import of a sensor module on top of airflow.sdk, {ROUNDS} fresh processes each, ms:")
    for name, values in found.items():
        print(f"  {name:12} median {statistics.median(values):6.1f}   {min(values):.1f} to {max(values):.1f}")
    ratio = statistics.median(a / b for a, b in zip(*found.values(), strict=True))
    print(f"  ours / dbt Cloud's: {ratio:.3f} (aim: at most {1 / 6:.3f})")
    return {"import_ratio": round(ratio, 4)}


if __name__ == "__main__":
    main()
