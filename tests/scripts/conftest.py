"""The scripts' modules, which find each other by their folder."""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# At the end: those modules have names that others may have too.
sys.path += [str(SCRIPTS), str(SCRIPTS / "storm")]
