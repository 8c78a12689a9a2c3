"""Which Airflows and Pythons are supported: noxfile.py names them, and all else says the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOXFILE = ROOT / "noxfile.py"
if not NOXFILE.exists():
    pytest.skip("the source archive has no noxfile.py", allow_module_level=True)

from scripts import preview  # noqa: E402


def rows(name: str) -> list[dict[str, str]]:
    """Return the arguments of each ``Supported(...)`` in what noxfile.py assigns to a name."""
    (value,) = (
        node.value
        for node in ast.parse(NOXFILE.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    calls = value.elts if isinstance(value, ast.Tuple) else [value]
    found = []
    for call in calls:
        assert isinstance(call, ast.Call)
        given = dict(zip(("airflow", "python", "newest_python"), call.args, strict=False))
        given |= {word.arg: word.value for word in call.keywords if word.arg}
        found.append({key: arg.value for key, arg in given.items() if isinstance(arg, ast.Constant)})
    return found


SUPPORTED, (PREVIEW,) = rows("SUPPORTED"), rows("PREVIEW")
MINORS = [int(row[name].removeprefix("3.")) for row in SUPPORTED for name in ("python", "newest_python")]
PYTHONS = [f"3.{minor}" for minor in range(min(MINORS), max(MINORS) + 1)]


def test_the_declared_pythons_are_those_of_the_supported_airflows() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text) == PYTHONS
    # Without an upper bound, so that a newer Python can be tried.
    assert re.findall(r"^requires-python = (.+)$", text, re.MULTILINE) == [f'">={PYTHONS[0]}"']


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/index.rst", "docs/quickstart.rst"]
)
def test_texts_name_the_declared_pythons(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")

    assert set(re.findall(r"Python (3\.\d+) to (3\.\d+)", text)) == {(PYTHONS[0], PYTHONS[-1])}


def test_the_table_of_versions_has_each_airflow_with_its_pythons() -> None:
    text = (ROOT / "docs" / "versions.rst").read_text(encoding="utf-8")
    table = re.findall(r"\* - ([\d.]+)\n +- (\S+)\n +- (\S+) to (\S+)\n +- (.+)", text)
    tested = {row["airflow"].rpartition(".")[0]: row["airflow"] for row in SUPPORTED}
    pinned = (ROOT / "constraints" / f"airflow-{PREVIEW['airflow']}.txt").read_text(encoding="utf-8")
    tested[PREVIEW["airflow"]] = re.findall(r"^apache-airflow==(\S+)", pinned, re.MULTILINE)[0]

    assert [(minor, version, oldest, newest) for minor, version, oldest, newest, _ in table] == [
        (minor, version, row.get("oldest_python", PYTHONS[0]), row["newest_python"])
        for (minor, version), row in zip(tested.items(), [*SUPPORTED, PREVIEW], strict=True)
    ]
    assert [status for *_, status in table] == ["supported"] * len(SUPPORTED) + ["tried, not yet supported"]


# ------------------------------------------------------------------- the report of `make preview`

REPORT = """<testsuites><testsuite time="61.7">
<testcase classname="tests.a" name="one"/>
<testcase classname="tests.a" name="two"><skipped/></testcase>
<testcase classname="tests.b" name="three[x]"><failure message="no">text</failure></testcase>
<testcase classname="" name="tests.c"><error message="no"/></testcase>
<testcase classname="tests.a" name="four"><properties/><system-out/></testcase>
</testsuite></testsuites>"""


def test_the_report_counts_and_names_what_failed() -> None:
    assert preview.lines(REPORT, "Airflow 9.0b1", "9.0b1", "9.0b1") == [
        "preview: Airflow 9.0b1: 2 passed, 1 failed, 1 errors, 1 skipped in 62 s",
        "  failure: tests.b::three[x]",
        "  error: ::tests.c",
    ]


def test_the_report_names_a_limited_number_of_tests() -> None:
    failed = '<testcase classname="tests" name="x"><failure/></testcase>' * (preview.MOST_NAMED + 20)

    found = preview.lines(f"<testsuites>{failed}</testsuites>", "Airflow", None, "9.0b1")

    assert len(found) == preview.MOST_NAMED + 2
    assert found[-1] == "  and 20 more"


@pytest.mark.parametrize(("newest", "says"), [("9.0b2", True), ("9.0b1", False), (None, False)])
def test_the_report_says_that_there_is_a_newer_version(newest: str | None, says: bool) -> None:
    last = preview.lines(REPORT, "Airflow 9.0b1", newest, "9.0b1")[-1]

    assert ("Airflow 9.0b2 is newer" in last) is says


@pytest.mark.parametrize("cases", ["", '<testcase classname="a" name="b"><skipped/></testcase>'])
def test_a_report_without_a_test_is_a_fault(cases: str) -> None:
    with pytest.raises(ValueError, match="no test ran"):
        preview.lines(f"<testsuites><testsuite>{cases}</testsuite></testsuites>", "Airflow", None, "9.0b1")
