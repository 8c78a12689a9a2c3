"""Make ``.venv`` and install the package with dependency groups.

``setup.py [--into FOLDER] [--constraints FILE] [GROUP ...]``
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from environments import NEWEST, ROOT, Environment, SetupError


def main(words: list[str]) -> int:
    """Install what is missing; silent when nothing is."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", default=".venv")
    parser.add_argument("--constraints", type=Path, default=NEWEST.constraints)
    parser.add_argument("groups", nargs="*", metavar="GROUP")
    given = parser.parse_args(words)
    environment = Environment(ROOT / given.into, ROOT / given.constraints)
    announce = f"Setting up {given.into} with Airflow {NEWEST.airflow} (this once) ..."
    try:
        if environment.ensure(sys.executable, tuple(given.groups), announce):
            print(f"Set up in {time.monotonic() - started:.0f} s.", flush=True)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
