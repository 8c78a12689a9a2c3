"""Run every benchmark, or those that are named, and print, last, one line ``RATIOS {json}``."""

from __future__ import annotations

import argparse
import json
from typing import Any

# First, because it decides how much Airflow logs.
import loop_lag  # isort: skip
import download
import imports
import one_get
import page
from scale import bench
from scale.scenarios import GROUPS

SINGLE = {"imports": imports, "one_get": one_get, "loop_lag": loop_lag, "download": download, "page": page}


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    groups = [f"scale:{name}" for name in GROUPS]
    parser.add_argument(
        "part", nargs="*", help=f"{', '.join([*SINGLE, 'scale', *groups])}; all if none is named"
    )
    parser.add_argument("--quick", action="store_true", help="one short round each, to see whether it works")
    parser.add_argument(
        "--rounds", type=int, help="of the scenarios that are run several times; 3 if not given"
    )
    parser.add_argument("--write-docs", action="store_true", help="put figures and plot into docs/")
    given = parser.parse_args()
    parts = given.part or [*SINGLE, "scale"]
    if unknown := [part for part in parts if part not in (*SINGLE, "scale", *groups)]:
        parser.error(f"no benchmark is named {unknown[0]}")
    if given.quick and given.write_docs:
        parser.error("figures of a quick run don't belong into the documentation")
    figures: dict[str, Any] = {}
    for name, benchmark in SINGLE.items():
        if name in parts:
            figures.update(benchmark.main())
            print(flush=True)
    wanted = [name for name in GROUPS if "scale" in parts or f"scale:{name}" in parts]
    if wanted:
        figures["scale"] = bench.main(wanted, given.rounds, given.quick, given.write_docs)
    print("RATIOS", json.dumps(figures))


if __name__ == "__main__":
    main()
