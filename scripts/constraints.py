"""Write ``constraints/``: for every supported Airflow, the versions that are tested with it.

Names and versions only, with markers where Pythons differ, so that one file serves all of them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from environments import (
    DISTRIBUTION,
    FAB,
    NEWEST,
    OLDEST_PYTHON,
    ROOT,
    STORES,
    SUPPORTED,
    Environment,
    Supported,
    uv_settings,
)

OF_NEWEST = ("test", "docs", "lint", "bench", "browser")
HEADER = """\
# What airflow-provider-pixxel is tested with on Airflow {airflow}, for Python {oldest} to {newest}.
# Written by "make constraints"; not to be edited by hand.
"""


def compile_constraints(uv: str, supported: Supported, groups: tuple[str, ...]) -> str:
    """The resolved versions, as the text of a constraint file."""
    oldest = ".".join(map(str, OLDEST_PYTHON))
    with tempfile.TemporaryDirectory() as folder:
        extra = Path(folder) / "airflow.in"
        extra.write_text("\n".join([f"apache-airflow=={supported.airflow}", *supported.pins, ""]))
        command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", oldest]
        command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
        command += ["--extra", "simulator", *(word for group in groups for word in ("--group", group))]
        done = subprocess.run(
            [*command, "pyproject.toml", str(extra)],
            cwd=ROOT,
            env=uv_settings(),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"Airflow {supported.airflow} can't be resolved:\n{done.stderr}")
    lines = [
        line for line in done.stdout.splitlines() if line and not line.startswith((DISTRIBUTION, "#", "-"))
    ]
    header = HEADER.format(airflow=supported.airflow, oldest=oldest, newest=supported.newest_python)
    return header + "\n".join(lines) + "\n"


def main() -> int:
    """Write every file; nothing is written when one can't be resolved."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Environment(Path(folder) / "uv", NEWEST.constraints)
        environment.make(sys.executable)
        if not (uv := environment.find_uv()):
            print("error: uv is needed, and pip could not install it", file=sys.stderr)
            return 1
        texts = {
            supported.constraints: compile_constraints(
                uv, supported, OF_NEWEST if supported is NEWEST else ("test",)
            )
            for supported in SUPPORTED
        }
        texts[FAB] = compile_constraints(uv, NEWEST, ("test", "fab"))
        texts[STORES] = compile_constraints(uv, NEWEST, ("test", "stores"))
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(text.splitlines()) - len(HEADER.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
