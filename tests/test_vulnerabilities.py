"""What `make check` makes of known vulnerabilities."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts import check_vulnerabilities

ROOT = Path(__file__).resolve().parent.parent
NEWEST = sorted((ROOT / "constraints").glob("airflow-?.?.?.txt"))[-1]
PINNED = check_vulnerabilities.pins("# no pin\nrequests==2.34.2\nflask==3.0 ; python_version > '3.9'\n-r x\n")


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run the check with a database that knows these packages, and vulnerabilities of these."""
    file = tmp_path / "constraints.txt"
    file.write_text("".join(f"{name}=={version}\n" for name, version in PINNED.items()))
    monkeypatch.setattr("sys.argv", ["check", str(file)])

    def run(vulnerable: set[str], reached: bool = True) -> int:
        def answer(command: list[str], **_: Any) -> Any:
            lines = Path(command[command.index("-r") + 1]).read_text().splitlines()
            found = []
            for line in lines:
                name, _, version = line.partition("==")
                vulns = [{"id": "PYSEC-1", "fix_versions": ["9"]}] if line in vulnerable else []
                known = {"version": version, "vulns": vulns} if reached else {"skip_reason": "not found"}
                found.append({"name": name, **known})
            return SimpleNamespace(stdout=json.dumps({"dependencies": found}))

        monkeypatch.setattr(subprocess, "run", answer)
        return check_vulnerabilities.main()

    return run


def test_the_tested_version_of_a_dependency_must_have_none(check: Any, capsys: Any) -> None:
    assert PINNED == {"requests": "2.34.2", "flask": "3.0"}
    assert check(set()) == 0
    assert check({"requests==2.34.2"}) == 1
    assert (
        "ERROR, tested version of a dependency: requests 2.34.2: PYSEC-1 (fixed in 9)"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("vulnerable", "words"),
    [
        ("flask==3.0", "package beside Airflow: flask 3.0: PYSEC-1"),
        ("requests==2.32", "lowest version of a dependency: requests 2.32: PYSEC-1"),
    ],
)
def test_others_are_shown(check: Any, capsys: Any, vulnerable: str, words: str) -> None:
    assert check({vulnerable}) == 0
    assert words in capsys.readouterr().out


def test_a_database_that_can_not_be_reached_is_said_and_no_error(check: Any, capsys: Any) -> None:
    assert check({"requests==2.34.2"}, reached=False) == 0
    assert "Known vulnerabilities: NOT CHECKED" in capsys.readouterr().out


def test_every_dependency_has_a_lowest_and_a_tested_version() -> None:
    project = check_vulnerabilities.tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest = check_vulnerabilities.lowest(project)
    assert {"requests", "urllib3", "aiohttp", "tenacity", "apache-airflow", "fastapi"} <= lowest.keys()
    assert len(lowest) >= len({each.split(">")[0] for each in project["dependencies"]})
    assert lowest.keys() <= check_vulnerabilities.pins(NEWEST.read_text()).keys() | {
        "apache-airflow-providers-openlineage"
    }
