"""Make ``.venv`` and install the package with dependency groups: ``setup.py [--into FOLDER] [GROUP ...]``."""

from __future__ import annotations

import sys
import time

from environments import NEWEST, ROOT, Environment, SetupError


def main(groups: list[str]) -> int:
    """Install what is missing; silent when nothing is."""
    started = time.monotonic()
    folder = ".venv"
    if groups[:1] == ["--into"]:
        _, folder, *groups = groups
    environment = Environment(ROOT / folder, NEWEST.constraints)
    announce = f"Setting up {folder} with Airflow {NEWEST.airflow} (this once) ..."
    try:
        if environment.ensure(sys.executable, tuple(groups), announce):
            print(f"Set up in {time.monotonic() - started:.0f} s.", flush=True)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
