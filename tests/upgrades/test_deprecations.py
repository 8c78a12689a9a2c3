"""What is deprecated is announced as docs/upgrades.rst promises: what replaces it, and how long it works."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.version import Version

import pixxel_provider

KIND = "AirflowProviderDeprecationWarning"
ANNOUNCED = re.compile(r"deprecated.*instead.*removed in (?P<version>\d+\.\d+\.\d+)", re.DOTALL)


def fault(kind: str, text: str, version: str = pixxel_provider.__version__) -> str:
    """Return what is wrong with a warning of the package in this version, an empty text for nothing."""
    if kind != KIND:
        return f"{kind} isn't {KIND}"
    found = ANNOUNCED.search(text)
    if found is None:
        return "it doesn't name what to use instead, and which version removes it"
    return "it was to be removed by now" if Version(found["version"]) <= Version(version) else ""


def warned_in(source: str) -> Iterator[tuple[str, str]]:
    """Yield the category and the text of each deprecation that a module warns about."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("warn"):
            words = [*node.args, *(each.value for each in node.keywords if each.arg == "category")]
            kinds = [ast.unparse(each).rpartition(".")[2] for each in words[1:]]
            for kind in kinds:
                if kind.endswith("Warning") and ("Deprecat" in kind or "Removed" in kind or "Future" in kind):
                    yield kind, ast.unparse(words[0])


def test_each_deprecation_of_the_package_is_announced() -> None:
    (folder,) = pixxel_provider.__path__
    files = sorted(Path(folder).rglob("*.py"))
    assert len(files) > 100
    found = {file.name: [*warned_in(file.read_text(encoding="utf-8"))] for file in files}
    faults = {name: [fault(*each) for each in warned] for name, warned in found.items()}
    assert {name: wrong for name, wrong in faults.items() if any(wrong)} == {}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (f'warn("job is deprecated: use job_id instead; removed in 0.4.0", {KIND}, stacklevel=2)', False),
        (f'warnings.warn("job is deprecated: use job_id instead; removed in 0.4.0", category={KIND})', False),
        (f'warnings.warn("job is deprecated", {KIND})', True),
        (f'warnings.warn("job is deprecated: use job_id instead; removed in 0.2.0", {KIND})', True),
        (
            'warnings.warn("job is deprecated: use job_id instead; removed in 0.4.0", DeprecationWarning)',
            True,
        ),
    ],
)
def test_the_rule_tells_announced_ones_from_others(line: str, wrong: bool) -> None:
    ((kind, text),) = warned_in(line)
    assert bool(fault(kind, text, "0.2.0")) is wrong


def test_other_warnings_are_left_alone() -> None:
    assert (
        list(warned_in('log.warning("x"); warnings.warn("slow", UserWarning); warnings.warn("slow")')) == []
    )
