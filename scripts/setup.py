"""Make ``.venv`` and install the package with the named dependency groups: ``setup.py [GROUP ...]``."""

from __future__ import annotations

import sys
import time

from environments import NEWEST, ROOT, Environment, SetupError


def main(groups: list[str]) -> int:
    """Install what is missing; silent when nothing is."""
    started = time.monotonic()
    environment = Environment(ROOT / ".venv", NEWEST.constraints)
    announce = f"Setting up .venv with Airflow {NEWEST.airflow} (this once) ..."
    try:
        if environment.ensure(sys.executable, tuple(groups), announce):
            print(f"Set up in {time.monotonic() - started:.0f} s.", flush=True)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
