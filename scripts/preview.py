"""Report how the tests went on an Airflow that isn't released: ``preview.py REPORT PYTHON UV VERSIONS``."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as tree
from collections import Counter
from pathlib import Path

#: The most tests that are named.
MOST_NAMED = 100


def lines(report: str, name: str, newest: str | None, version: str) -> list[str]:
    """Return what to print of pytest's report in JUnit's format.

    :param name: what the tests ran on.
    :param newest: the newest version that could be installed, None where that couldn't be found out.
    :param version: the one that was.
    :raises ValueError: no test ran.
    """
    outcomes = Counter[str]()
    named: list[str] = []
    suites = tree.fromstring(report)  # noqa: S314 - pytest wrote it
    for case in suites.iter("testcase"):
        outcome = next((each.tag for each in case if each.tag in ("failure", "error", "skipped")), "passed")
        outcomes[outcome] += 1
        if outcome in ("failure", "error"):
            named.append(f"  {outcome}: {case.get('classname')}::{case.get('name')}")
    if not outcomes["passed"] + len(named):
        raise ValueError("no test ran")
    counts = (("passed", "passed"), ("failed", "failure"), ("errors", "error"), ("skipped", "skipped"))
    seconds = sum(float(suite.get("time", 0)) for suite in suites.iter("testsuite"))
    summary = ", ".join(f"{outcomes[tag]:,} {word}" for word, tag in counts)
    found = [f"preview: {name}: {summary} in {seconds:,.0f} s"]
    found += named[:MOST_NAMED]
    if len(named) > MOST_NAMED:
        found.append(f"  and {len(named) - MOST_NAMED:,} more")
    if newest not in (None, version):
        found.append(f"preview: Airflow {newest} is newer; `make constraints` takes it")
    return found


def newest_version(uv: str, versions: str) -> str | None:
    """Return the newest Airflow of these versions in the package index, None where it doesn't answer."""
    options = "--quiet --no-deps --no-header --no-annotate --python-version=3.13 -".split()
    asked = {"input": f"apache-airflow{versions}", "capture_output": True, "text": True, "timeout": 60}
    answer = subprocess.run([uv, "pip", "compile", *options], check=False, **asked)
    return dict(line.split("==") for line in answer.stdout.splitlines() if "==" in line).get("apache-airflow")


def main() -> int:
    """Print the report; 1 if no test ran."""
    report, python, uv, versions = sys.argv[1:]
    ask = "import sys, importlib.metadata as m; print(m.version('apache-airflow'), sys.version.split()[0])"
    words = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    try:
        newest = newest_version(uv, versions)
    except (OSError, subprocess.TimeoutExpired):
        newest = None
    try:
        text = Path(report).read_text(encoding="utf-8")
        print("\n".join(lines(text, f"Airflow {words[0]}, Python {words[1]}", newest, words[0])), flush=True)
    except (OSError, tree.ParseError, ValueError) as error:
        print(f"preview: no report: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
