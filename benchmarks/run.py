"""Run every benchmark and print, last, one line ``RATIOS {json}``."""

from __future__ import annotations

import json

# First, because it decides how much Airflow logs.
import loop_lag  # isort: skip
import imports
import one_get

if __name__ == "__main__":
    figures: dict[str, float] = {}
    for benchmark in (imports, one_get, loop_lag):
        figures.update(benchmark.main())
        print(flush=True)
    print("RATIOS", json.dumps(figures))
