"""Check what is built: the wheel is the package, its examples and nothing else; the sdist can build it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("pixxel_provider/", "airflow_provider_pixxel/")


def build(folder: str) -> tuple[dict[str, str], list[str]]:
    """Return the wheel's files, with the text of its metadata, and the names in the source archive."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", folder, "-t", "wheel", "-t", "sdist"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,), (sdist,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive, tarfile.open(sdist) as source:
        texts = dict.fromkeys(archive.namelist(), "")
        texts |= {name: archive.read(name).decode() for name in texts if name.endswith("/METADATA")}
        return texts, [name.partition("/")[2] for name in source.getnames()]


def source_files() -> set[str]:
    """Return what of this repository people get, by the names that it has in the wheel."""
    files = [path for path in (ROOT / "pixxel_provider").rglob("*") if path.is_file()]
    names = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    # Airflow looks for examples in the module of the distribution's name.
    names |= {f"airflow_provider_pixxel/example_dags/{path.name}" for path in ROOT.glob("example_dags/*.py")}
    return names | {"airflow_provider_pixxel/__init__.py"}


def faults(in_wheel: dict[str, str], in_sdist: list[str]) -> dict[str, object]:
    """Return what is wrong, by what it is; empty values mean that it isn't."""
    (metadata,) = (name for name in in_wheel if name.endswith(".dist-info/METADATA"))
    dist_info = metadata.partition("/")[0] + "/"
    wanted = source_files()
    shipped = {name for name in in_wheel if name.startswith(FOLDERS)}
    strange = r"__pycache__|\.pyc$|^\.(venv|nox|ci)\b"
    whole = {"pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", *wanted}
    return {
        "the wheel holds too much": [n for n in in_wheel if not n.startswith((*FOLDERS, dist_info))],
        "package and wheel differ": sorted(shipped ^ wanted),
        "the wheel lacks": {f"{dist_info}licenses/LICENSE", "pixxel_provider/py.typed"} - set(in_wheel),
        "the wheel names another licence": "License-Expression: Apache-2.0" not in in_wheel[metadata],
        "the source archive lacks": whole - set(in_sdist),
        "the source archive holds": [n for n in in_sdist if re.search(strange, n)],
    }


def main() -> int:
    """Build both; 0 if nothing is wrong with them."""
    with tempfile.TemporaryDirectory() as folder:
        in_wheel, in_sdist = build(folder)
    wrong = {what: which for what, which in faults(in_wheel, in_sdist).items() if which}
    for what, which in wrong.items():
        print(f"WRONG {what}: {which}")
    print(f"wheel: {len(in_wheel)} files; source archive: {len(in_sdist)} entries")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
