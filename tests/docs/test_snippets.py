"""What README and docs show works: Python runs, connections and JSON can be read, links lead somewhere."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pixxel_provider.connection import read_connection
from pixxel_provider.simulator.faults import Fault

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.rst"))]

pytestmark = pytest.mark.skipif(len(PAGES) < 2, reason="the source archive comes without docs/")


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        found = re.finditer(r"^( *)```(\w+)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    else:
        found = re.finditer(r"^( *)\.\. code-block:: (\w+)\n((?: *\n|\1 {3,}.*\n?)+)", text, re.MULTILINE)
    for match in found:
        _, language, body = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, language, textwrap.dedent(body).strip("\n") + "\n")


BLOCKS = [block for page in PAGES if page.exists() for block in blocks(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
DAGS = [block for block in PYTHON if re.search(r"@dag\b|\bDAG\(", block.text)]
SHELL = "\n".join(block.text for block in BLOCKS if block.language == "bash").replace("\\\n", " ")
COMMANDS = [shlex.split(line, comments=True) for line in SHELL.splitlines() if line.strip()]


def after(option: str) -> list[str]:
    """What follows an option in the commands of all pages."""
    return [words[i + 1] for words in COMMANDS for i, word in enumerate(words[:-1]) if word == option]


def test_there_are_blocks_to_check() -> None:
    assert {block.page.name for block in PYTHON} >= {"README.md", "sensor.rst", "hooks.rst", "testing.rst"}
    assert {block.page.name for block in DAGS} == {"README.md", "quickstart.rst"}
    assert {block.language for block in BLOCKS} <= {"python", "bash", "text"}


@pytest.mark.parametrize("block", [block for block in PYTHON if block not in DAGS], ids=str)
def test_python_runs(block: Block, pixxel: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names: dict[str, Any] = {"__name__": "snippet", "__file__": str(tmp_path / "snippet.py")}
    fixtures = {"pixxel": pixxel, "monkeypatch": monkeypatch}
    with mock.patch.dict(os.environ):
        exec(compile(block.text, str(block), "exec"), names)  # noqa: S102
        for name, function in names.items():
            if name.startswith("test_") and fixtures.keys() >= inspect.signature(function).parameters.keys():
                function(**{key: fixtures[key] for key in inspect.signature(function).parameters})


@pytest.mark.parametrize("block", DAGS, ids=str)
def test_dags_are_found_by_airflow(block: Block, pixxel: Any, tmp_path: Path) -> None:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models import DagBag

    (tmp_path / "after_pixxel.py").write_text(block.text, encoding="utf-8")
    bag = DagBag(str(tmp_path))
    assert not bag.import_errors
    (dag,) = bag.dags.values()
    assert dag.dag_id == "after_pixxel"
    assert dag.get_task("wait").downstream_task_ids == {"use"}


def test_the_dag_of_the_readme_has_about_fifteen_lines() -> None:
    (block,) = (block for block in DAGS if block.page.name == "README.md")
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 15


def test_bodies_for_the_control_routes_are_json() -> None:
    page = (ROOT / "docs" / "testing.rst").read_text(encoding="utf-8")
    bodies = re.findall(r"``(\{.*?\})``", page)
    assert len(bodies) > 5
    assert all(isinstance(json.loads(body), dict) for body in bodies)


def test_connections_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.common.compat.sdk import BaseHook

    shown = {word for words in COMMANDS for word in words if word.startswith("AIRFLOW_CONN_")}
    assert len(shown) >= 4
    for assignment in shown:
        name, _, value = assignment.partition("=")
        monkeypatch.setenv(name, value)
        found = BaseHook.get_connection(name.removeprefix("AIRFLOW_CONN_").lower())
        assert found.conn_type == "pixxel"
        assert read_connection(found).authorization.startswith("Bearer ")


def test_what_commands_are_given_can_be_read() -> None:
    for option in ("--conf", "--conn-extra", "-d"):
        assert all(isinstance(json.loads(text), dict) for text in after(option)), option
    assert after("--conf")
    assert [Fault.read(text) for text in after("--fault")]


def test_the_readme_leads_to_files_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", readme) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_pages_lead_to_pixxel_and_airflow_and_nowhere_else() -> None:
    hosts = {
        host
        for page in PAGES
        for host in re.findall(r"https?://:?(?:[\w-]+@)?([\w.-]+)", page.read_text(encoding="utf-8"))
    }
    allowed = r"(.+\.)?(pixxel\.space|airflow\.apache\.org)|127\.0\.0\.1|localhost"
    assert {host for host in hosts if not re.fullmatch(allowed, host)} == set()
