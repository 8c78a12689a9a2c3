"""Check what the package tells pip and Airflow.

``check_package.py`` does all of it; ``check_package.py --provider-info`` only what depends on the installed
Airflow, for the matrix.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
from environments import DISTRIBUTION, ROOT

GROUP = "apache_airflow_provider"
# Airflow itself, whose import costs a second, and what the package asks for at run time.
EXPENSIVE = ("airflow", "aiohttp", "requests", "tenacity", "fastapi")


class Wrong(Exception):
    """What isn't as it should be."""


def expect(condition: object, message: str) -> None:
    """Raise `Wrong` unless the condition holds."""
    if not condition:
        raise Wrong(message)


def _end(output: str) -> str:
    return output.strip().rpartition("\n")[2]


# ------------------------------------------------------------------------------------------------- for pip


def check_pyproject() -> str:
    """pyproject.toml follows the standards it is read by."""
    os.environ.setdefault("VALIDATE_PYPROJECT_NO_NETWORK", "1")
    from validate_pyproject import api, errors

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    try:
        api.Validator()(document)
    except errors.ValidationError as error:
        raise Wrong(error.summary) from None
    expect(document["project"]["name"] == DISTRIBUTION, f"project.name is not {DISTRIBUTION}")
    return "pyproject.toml is valid"


def check_distributions() -> str:
    """The wheel holds the package, its examples and nothing else; the source archive can build it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "-d", folder, "-t", "wheel", "-t", "sdist"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        expect(done.returncode == 0, f"hatchling can't build it:\n{_end(done.stderr)}")
        (wheel,) = Path(folder).glob("*.whl")
        (sdist,) = Path(folder).glob("*.tar.gz")
        with zipfile.ZipFile(wheel) as archive:
            in_wheel = archive.namelist()
            (about,) = (name for name in in_wheel if name.endswith(".dist-info/METADATA"))
            described = archive.read(about).decode()
        with tarfile.open(sdist) as archive:
            in_sdist = [name.partition("/")[2] for name in archive.getnames()]
        size = wheel.stat().st_size
    dist_info = about.partition("/")[0]

    folders = ("pixxel_provider/", "airflow_provider_pixxel/")
    strange = [n for n in in_wheel if not n.startswith((*folders, f"{dist_info}/"))]
    expect(not strange, f"the wheel holds more than the package: {strange}")
    expect(f"{dist_info}/licenses/LICENSE" in in_wheel, "the wheel lacks the licence")
    expect("License-Expression: Apache-2.0" in described, "the wheel doesn't name its licence")
    tracked = {p.relative_to(ROOT).as_posix() for p in (ROOT / "pixxel_provider").rglob("*") if p.is_file()}
    tracked = {name for name in tracked if "__pycache__" not in name}
    # Where Airflow looks for them: in the module of the distribution's name.
    tracked |= {
        f"airflow_provider_pixxel/example_dags/{p.name}" for p in (ROOT / "example_dags").glob("*.py")
    }
    tracked.add("airflow_provider_pixxel/__init__.py")
    shipped = {name for name in in_wheel if name.startswith(folders)}
    expect(shipped == tracked, f"package and wheel differ: {sorted(shipped ^ tracked)}")
    expect("pixxel_provider/py.typed" in shipped, "the wheel lacks py.typed")
    for name in (
        "pyproject.toml",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "pixxel_provider/__init__.py",
        *tracked,
    ):
        expect(name in in_sdist, f"the source archive lacks {name}")
    strange = [n for n in in_sdist if re.search(r"__pycache__|\.pyc$|^\.(venv|matrix|ci)\b", n)]
    expect(not strange, f"the source archive holds {strange}")
    return f"wheel: {len(in_wheel)} files, {size / 1024:.0f} KiB; source archive: {len(in_sdist)} entries"


# --------------------------------------------------------------------------------------------- for Airflow


def airflow_schema(name: str) -> dict[str, Any] | None:
    """A schema that the installed Airflow carries, if it does."""
    spec = importlib.util.find_spec("airflow")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / name).exists():
            return json.loads(path.read_text(encoding="utf-8"))
    return None


def provider_info() -> dict[str, Any]:
    """What Airflow is told, found as Airflow finds it: by the entry point of the installed package."""
    points = [p for p in metadata.entry_points(group=GROUP) if p.dist and p.dist.name == DISTRIBUTION]
    expect(len(points) == 1, f"{len(points)} entry points of {DISTRIBUTION} in {GROUP}, not one")
    info = points[0].load()()
    expect(isinstance(info, dict), f"provider info is {type(info).__name__}, not a dict")
    return info


def check_names() -> str:
    """Airflow looks a provider up by its distribution's canonical name."""
    name = provider_info().get("package-name", "")
    canonical = re.sub(r"[-_.]+", "-", metadata.metadata(DISTRIBUTION)["Name"]).lower()
    expect(name == canonical, f"package-name is {name!r}, the distribution is {canonical!r}")
    return f"package-name is {name}"


def check_info_schema() -> str:
    """The provider info fits the schema by which this Airflow reads it."""
    schema = airflow_schema("provider_info.schema.json")
    expect(schema, "this Airflow has no provider_info.schema.json")
    validate(provider_info(), schema or {}, "provider info")
    return f"provider info fits the schema of Airflow {metadata.version('apache-airflow')}"


def check_connection_form() -> str:
    """The form's fields fit the schema that Airflow has for its own providers, where it knows such fields."""
    info = provider_info()
    expect(info.get("connection-types"), "provider info names no connection type")
    schema = airflow_schema("provider.yaml.schema.json") or {}
    section = schema.get("properties", {}).get("connection-types", {})
    if "conn-fields" not in section.get("items", {}).get("properties", {}):
        return "this Airflow knows no conn-fields"
    for entry in info["connection-types"]:
        expect(entry.get("conn-fields"), f"connection type {entry.get('connection-type')} has no conn-fields")
    validate(info["connection-types"], {**section, "definitions": schema.get("definitions", {})}, "the form")
    fields = [name for entry in info["connection-types"] for name in entry["conn-fields"]]
    return f"the connection form is valid: {', '.join(fields)}"


def validate(value: object, schema: dict[str, Any], what: str) -> None:
    """Raise `Wrong` with every place where the value breaks the schema."""
    validator = jsonschema.validators.validator_for(schema)(schema)
    if faults := [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]:
        raise Wrong(f"{what} is invalid:\n  " + "\n  ".join(faults))


def named_things(info: dict[str, Any]) -> Iterator[str]:
    """Every dotted path in the provider info that Airflow would import."""
    for entry in info.get("connection-types", ()):
        yield entry["hook-class-name"]
    yield from info.get("extra-links", ())
    for kind in ("operators", "sensors", "hooks", "triggers", "bundles"):
        for entry in info.get(kind, ()):
            yield from entry.get("python-modules", ())


def resolve(name: str) -> object:
    """The module of that name, or the class of that name in its module."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        module, _, attribute = name.rpartition(".")
        if error.name not in (name, module):
            raise
    return getattr(importlib.import_module(module), attribute)


def check_named_things() -> str:
    """Whatever the provider info names can be imported."""
    names = list(named_things(provider_info()))
    for name in names:
        try:
            resolve(name)
        except Exception as error:
            raise Wrong(f"provider info names {name}, and importing it fails: {error!r}") from error
    expect(names, "provider info names no module at all")
    return f"all {len(names)} modules and classes named in provider info exist"


def check_cheap() -> str:
    """Every Airflow process reads the provider info, so doing so imports nothing that costs."""
    code = (
        "import sys; from pixxel_provider.provider_info import get_provider_info; get_provider_info();"
        f"print(*(name for name in {EXPENSIVE} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"reading the provider info fails: {_end(done.stderr)}")
    expect(not done.stdout.strip(), f"reading the provider info imports {done.stdout.strip()}")
    return "reading provider info imports nothing expensive"


FOR_PIP: tuple[Callable[[], str], ...] = (check_pyproject, check_distributions)
FOR_AIRFLOW: tuple[Callable[[], str], ...] = (
    check_cheap,
    check_names,
    check_info_schema,
    check_connection_form,
    check_named_things,
)


def main() -> int:
    """Run the checks, all of them, and say how each went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--provider-info", action="store_true", help="only what the installed Airflow decides"
    )
    only_airflow = parser.parse_args().provider_info
    failed = 0
    for check in FOR_AIRFLOW if only_airflow else FOR_PIP + FOR_AIRFLOW:
        try:
            print(f"ok    {check()}")
        except Wrong as wrong:
            failed += 1
            print(f"WRONG {wrong}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
