"""Compare what this package is tested with, and its lowest versions, with the known vulnerabilities.

- One of a direct dependency, in the version that is tested with the newest Airflow, is an error: that is the
  version that people get today.
- One of any other package in that file is shown: Airflow decides which version that is.
- One of a direct dependency's lowest version is shown: older Airflows pin old versions, and with a bound
  above those this package couldn't be installed beside them.

Where the database can't be reached, this says so and is no error: nothing is known then, good or bad.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)")
_LOWEST = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?>=([0-9][^,;\s]*)")
#: Seconds for one question, which is several requests for many packages.
PATIENCE = 600


def pins(constraints: str) -> dict[str, str]:
    """Return the versions in a file of constraints, by name; of several for several Pythons the last."""
    return {found[1].lower(): found[2] for line in constraints.splitlines() if (found := _PIN.match(line))}


def lowest(project: dict[str, Any]) -> dict[str, str]:
    """Return the lowest versions of the package's own dependencies and of its extras', by name."""
    extras = project.get("optional-dependencies", {}).values()
    given = [*project["dependencies"], *(each for extra in extras for each in extra)]
    return {found[1].lower(): found[2] for each in given if (found := _LOWEST.match(each))}


def ask(versions: dict[str, str]) -> tuple[dict[str, list[str]], int]:
    """Return the known vulnerabilities by ``name version``, and how many packages could be checked."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
        words = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
        command = [sys.executable, "-m", "pip_audit", "-r", str(wanted), *words]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
            asked = json.loads(answer.stdout)["dependencies"]
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return {}, 0
    # One that isn't in the database is skipped, and so is each where there is no database.
    checked = [each for each in asked if "skip_reason" not in each]
    return {
        f"{each['name']} {each['version']}": [
            f"{known['id']} (fixed in {', '.join(known['fix_versions']) or 'no version yet'})"
            for known in each["vulns"]
        ]
        for each in checked
        if each["vulns"]
    }, len(checked)


def show(title: str, found: dict[str, list[str]]) -> None:
    """Print vulnerabilities, if there are any."""
    for name, known in sorted(found.items()):
        print(f"{title}: {name}: {'; '.join(known)}")


def main() -> int:
    """Run from the command line, with the file of constraints."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned, bounds = pins(Path(sys.argv[1]).read_text(encoding="utf-8")), lowest(project)
    direct = {name: pinned[name] for name in bounds if name in pinned}
    errors, checked = ask(direct)
    if not checked:
        # Known after these few: the others aren't asked for.
        print(
            "Known vulnerabilities: NOT CHECKED. PyPI's database of them can't be reached from here "
            f"(asked for {len(direct)} packages)."
        )
        return 0
    show("ERROR, tested version of a dependency", errors)
    oldest, _ = ask(bounds)
    show("lowest version of a dependency", oldest)
    others, more = ask({name: version for name, version in pinned.items() if name not in direct})
    show("package beside Airflow", others)
    total = checked + more
    print(f"Known vulnerabilities: {total} of {len(pinned)} pinned packages checked, {len(errors)} errors.")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
