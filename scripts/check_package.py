"""Check what is built: wheel and sdist hold what they should, and a wheel from the sdist is the same wheel.

``make check`` and ``make installation`` run it. The latter names a folder for what is built; then a release's
wheel has to be the one that ``make record`` has kept for the tests of upgrades, too.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("pixxel_provider/", "airflow_provider_pixxel/")
#: What the sdist holds beside the package: all that its tests, their commands and its metadata need.
WITH_SDIST = (
    *("pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("Makefile", "noxfile.py", "constraints/nox.txt", "scripts/nox.sh", "scripts/deprecations.py"),
    *("tests/conftest.py", "tests/upgrades/test_manifest.py"),
)
#: Bytes. Recordings of releases grow with each one, and belong to neither but for their text.
LARGEST = {"wheel": 500_000, "sdist": 1_500_000}


def build(source: Path, folder: Path, *targets: str) -> None:
    """Build these of a source tree into a folder."""
    words = [word for target in targets for word in ("-t", target)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *words]
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)


def wheel_in(folder: Path) -> Path:
    """Return the one wheel of a folder."""
    (wheel,) = folder.glob("*.whl")
    return wheel


def hashes(wheel: Path) -> dict[str, str]:
    """Return the hash of each file of a wheel, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def source_files() -> set[str]:
    """Return what of this repository people get, by the names that it has in the wheel."""
    files = [path for path in (ROOT / "pixxel_provider").rglob("*") if path.is_file()]
    names = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    # Airflow looks for examples in the module of the distribution's name.
    names |= {f"airflow_provider_pixxel/example_dags/{path.name}" for path in ROOT.glob("example_dags/*.py")}
    return names | {"airflow_provider_pixxel/__init__.py"}


def faults_of_wheel(wheel: Path) -> dict[str, object]:
    """Return what is wrong with the wheel, by what it is; empty values mean that it isn't."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        told = Parser().parsestr(archive.read(metadata).decode())
    dist_info = metadata.partition("/")[0] + "/"
    shipped = {name for name in names if name.startswith(FOLDERS)}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return {
        "the wheel holds too much": [n for n in names if not n.startswith((*FOLDERS, dist_info))],
        "package and wheel differ": sorted(shipped ^ source_files()),
        "the wheel lacks": {f"{dist_info}licenses/LICENSE", "pixxel_provider/py.typed"} - set(names),
        "the wheel names another licence": told["License-Expression"] != "Apache-2.0",
        "the wheel's description isn't README.md": str(told.get_payload()).strip() != readme.strip()
        or told["Description-Content-Type"] != "text/markdown",
        "CHANGELOG.md doesn't begin with this version": wrong_heading(str(told["Version"])),
    }


def wrong_heading(version: str) -> str:
    """Return the first heading of the changelog unless it is the version's, with a date if it is released."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = next(line for line in changelog.splitlines() if line.startswith("## "))
    release, _, later = version.partition(".dev")
    when = "unreleased" if later else r"\d{4}-\d\d-\d\d"
    return "" if re.fullmatch(rf"## \[{re.escape(release)}\] - {when}", heading) else heading


def wrong_recording(wheel: Path) -> str:
    """Return how a release's wheel differs from the one that the tests of upgrades have of it."""
    version = wheel.name.split("-")[1]
    if ".dev" in version:
        return ""
    folder = ROOT / "tests" / "upgrades" / "releases" / version
    if not (folder / "release.json").exists():
        return f"none of {version} was, see make record"
    recorded = folder / json.loads((folder / "release.json").read_text(encoding="utf-8"))["wheel"]
    before, now = hashes(recorded), hashes(wheel)
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return f"make record does it again: {changed}" if changed else ""


def faults_of_sdist(sdist: Path, wheel: Path) -> dict[str, object]:
    """Return what is wrong with the sdist, which has to give the same wheel."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(folder, filter="data")
        (source,) = Path(folder).iterdir()
        build(source, Path(folder), "wheel")
        ours, theirs = hashes(wheel), hashes(wheel_in(Path(folder)))
    strange = r"__pycache__|\.pyc$|\.whl$|^\.(venv|nox|ci)\b"
    return {
        "the sdist lacks": {*WITH_SDIST, *source_files()} - names,
        "the sdist holds": sorted(name for name in names if re.search(strange, name)),
        "a wheel from the sdist differs": sorted(
            name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
        ),
    }


def main(folder: Path, *, recorded: bool) -> int:
    """Build both into the folder; 0 if nothing is wrong with them."""
    build(ROOT, folder, "wheel", "sdist")
    wheel, (sdist,) = wheel_in(folder), folder.glob("*.tar.gz")
    found = {**faults_of_wheel(wheel), **faults_of_sdist(sdist, wheel)}
    found["another wheel was recorded"] = recorded and wrong_recording(wheel)
    for file, kind in ((wheel, "wheel"), (sdist, "sdist")):
        print(f"{file.name}: {file.stat().st_size:,} bytes")
        found[f"the {kind} is too large"] = file.stat().st_size > LARGEST[kind]
    wrong = {what: which for what, which in found.items() if which}
    for what, which in wrong.items():
        print(f"WRONG {what}: {which}")
    command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", str(wheel), str(sdist)]
    refused = subprocess.run(command, check=False).returncode
    return 1 if wrong or refused else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1]), recorded=True))
    with tempfile.TemporaryDirectory() as name:
        sys.exit(main(Path(name), recorded=False))
