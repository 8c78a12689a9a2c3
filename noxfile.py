"""What people do with this repository, one session each: ``make NAME`` or ``scripts/nox.sh -s NAME``.

Environments are made with uv, and with pip where uv can't be had. Most sessions share ``.venv``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nox


def _terminated(*_: object) -> None:
    # As Ctrl-C does it: pytest then ends what its fixtures have started.
    subprocess.run(["pkill", "-INT", "-P", str(os.getpid())], check=False)
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, _terminated)
# A shell without job control lets what it starts with "&" ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Supported:
    """One Airflow version the package is tested with."""

    airflow: str
    python: str
    """The Python the matrix prefers for it, so that every supported Python gets its turn."""
    newest_python: str
    oldest_python: str = "3.10"
    pins: tuple[str, ...] = ()
    """What that Airflow needs besides its own metadata."""
    groups: tuple[str, ...] = ("test", "cluster")
    """The dependency groups that its file in ``constraints/`` pins."""
    suffix: str = ""
    """Of that file, where what is beside Airflow holds some libraries back."""
    versions: str = ""
    """The versions that ``make constraints`` chooses the newest of, where that isn't one version."""

    @property
    def constraints(self) -> Path:
        """The file that pins what was tested with this version."""
        return ROOT / "constraints" / f"airflow-{self.airflow}{self.suffix}.txt"


SUPPORTED = (
    Supported("2.11.2", python="3.10", newest_python="3.12", pins=("celery<5.7",)),
    Supported(
        "3.0.6",
        python="3.11",
        newest_python="3.12",
        pins=("fastapi<0.118", "apache-airflow-providers-celery<3.13"),
    ),
    Supported("3.1.8", python="3.12", newest_python="3.13"),
    Supported("3.2.2", python="3.12", newest_python="3.13", pins=("fastapi<0.137", "svcs<26")),
    Supported("3.3.2", "3.13", "3.14", groups=("test", "cluster", "docs", "lint", "bench", "browser")),
)
NEWEST = SUPPORTED[-1]
#: The next Airflow, of which `make constraints` takes the newest pre-release: tried, but not supported.
PREVIEW = Supported("3.4", "3.14", "3.14", groups=("test",), oldest_python="3.11", versions=">=3.4.0a0,<3.5")
FAB = replace(NEWEST, groups=("test", "fab"), suffix="-fab")
STORES = replace(NEWEST, groups=("test", "stores"), suffix="-stores")
OWN_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
UV = str(Path(sys.executable).with_name("uv"))
#: What ``make test`` leaves to other sessions.
OTHER_TESTS = tuple(f"--ignore=tests/{name}" for name in ("cluster", "browser", "fab", "stores"))
#: What concerns Airflow little: `make test` runs it, and the matrix with the oldest Airflow and Python.
LITTLE = tuple(
    f"--ignore-glob=tests/{name}"
    for name in (
        *("api", "contract", "fuzz", "scripts", "simulator"),
        *(f"hooks/test_{each}.py" for each in ("fuzz_http", "handshakes", "large_*", "parity*", "proxy")),
        *(f"download/test_{each}.py" for each in ("archive", "existing", "stopped", "transfer", "unpack*")),
    )
)
DEPRECATIONS = ("-p", "scripts.deprecations")
XDIST = ("-n", "auto", "--maxprocesses", "4", "--dist", "worksteal")
if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") == "1":
    # One process can do without another one that hands it the tests.
    XDIST = ("-n", "0")

nox.options.default_venv_backend = "none"
nox.options.allow_parallel = True
nox.options.sessions = ["test", "check"]
#: What has to pass before a change is taken, the longest first; `test` is the newest Airflow's, and more.
CI = ["test", *(f"matrix({each.airflow})" for each in SUPPORTED[:-1])]
CI += ["preview", "browser", "stores", "installation", "fab", "demo", "docs", "check"]
# An Airflow of the person's own is left alone.
for _name in [each for each in os.environ if each.startswith(("AIRFLOW_", "PYTHONPATH", "PYTHONHOME"))]:
    del os.environ[_name]
# A shim of pyenv answers "command not found" unless its version is active: uv looks behind it.
_PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, _PYENV.glob("versions/3.1*/bin"))])
os.environ.update(UV_PYTHON_DOWNLOADS="never", UV_NO_PROGRESS="1")


def environment(
    session: nox.Session,
    *groups: str,
    folder: str = ".venv",
    constraints: Path = NEWEST.constraints,
    python: str = OWN_PYTHON,
    package: tuple[str, ...] = ("--editable", ".[simulator]"),
) -> str:
    """Have the package and these dependency groups installed in a folder; return the Python in there.

    Groups are noted once they are installed, so an install that was interrupted is done again, and one that
    ended well isn't repeated.
    """
    path, started = ROOT / folder, time.monotonic()
    mine, notes, identity = path / "bin" / "python", path / ".installed", f"{python} {path}"
    digest = hashlib.sha256(identity.encode())
    for file in (ROOT / "pyproject.toml", constraints):
        digest.update(file.read_bytes())
    path.parent.mkdir(exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        # Two commands at once (make -j) wait for each other; the lock goes when its process does.
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [name for name in ("package", *groups) if _read(notes / name) != digest.hexdigest()]
        if not missing and mine.exists():
            return str(mine)
        print(f"Setting up {folder} (this once) ...", flush=True)
        if _read(notes / "identity") != identity or not mine.exists():
            missing = ["package", *groups]
            base = str(find_python(python))
            session.run(sys.executable, "-m", "virtualenv", "--clear", "-q", "-p", base, str(path), log=False)
            notes.mkdir()
            (notes / "identity").write_text(identity, encoding="utf-8")
        # Not anew where it is there: other sessions may be using it.
        words = ["--constraint", str(constraints), *(package if "package" in missing else ())]
        words += [word for name in missing if name != "package" for word in ("--group", name)]
        try:
            session.run(UV, "pip", "install", "--quiet", "--python", str(mine), *words, log=False)
        except nox.command.CommandFailed:
            print("uv could not install; trying pip, which takes longer.", file=sys.stderr, flush=True)
            session.run(str(mine), "-m", "pip", "-qq", "install", *words, log=False)
        for name in missing:
            (notes / name).write_text(digest.hexdigest(), encoding="utf-8")
        print(f"Set up in {time.monotonic() - started:.0f} s.", flush=True)
    return str(mine)


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def find_python(version: str) -> str | None:
    """Return a working Python of that minor version."""
    if version == OWN_PYTHON or not Path(UV).exists():
        return sys.executable if version == OWN_PYTHON else None
    command = [UV, "python", "find", "--no-project", version]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None


def choose_python(session: nox.Session, supported: Supported) -> str:
    """Return the Python version meant for this Airflow, or else one that suits it, nox's own first."""
    newest, oldest = (int(each[2:]) for each in (supported.newest_python, supported.oldest_python))
    suitable = [f"3.{minor}" for minor in range(newest, oldest - 1, -1)]
    suitable.sort(key=lambda version: (version != supported.python, version != OWN_PYTHON))
    for version in suitable:
        if find_python(version):
            return version
    session.error(f"Airflow {supported.airflow} wants a Python from 3.{oldest} to 3.{newest}.")


def environment_with(session: nox.Session, airflow: str, *groups: str) -> str:
    """Have the tests' environment with that Airflow version and these groups; return the Python in there."""
    supported = next(each for each in (*SUPPORTED, PREVIEW) if each.airflow == airflow)
    version = choose_python(session, supported)
    print(f"Airflow {airflow}, Python {version}", flush=True)
    folder = f".nox/airflow-{airflow}"
    words = {"folder": folder, "constraints": supported.constraints, "python": version}
    return environment(session, "test", *groups, **words)


def run(session: nox.Session, *command: str, success_codes: tuple[int, ...] = (0,), **environ: str) -> None:
    """Run a command and what stands after ``--``, with an AIRFLOW_HOME that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pixxel-airflow-", ignore_cleanup_errors=True) as home:
        environ = {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **environ}
        timeouts = {"interrupt_timeout": 30, "terminate_timeout": 10}
        session.run(*command, *session.posargs, env=environ, success_codes=success_codes, **timeouts)


def hand_over(session: nox.Session, *command: str, groups: tuple[str, ...] = ()) -> None:
    """Let a script take this process's place, so that keys and signals reach it and nothing else."""
    python = environment(session, *groups)
    os.execv(python, [python, *command, *session.posargs])


@nox.session
def demo(session: nox.Session) -> None:
    """Show a DAG running a workflow of a simulated Pixxel and paying once, in a minute."""
    hand_over(session, "scripts/demo.py")


@nox.session
def standalone(session: nox.Session) -> None:
    """Start a whole Airflow with its UI beside a simulated Pixxel, on this machine."""
    hand_over(session, "scripts/standalone.py")


@nox.session
def test(session: nox.Session) -> None:
    """Run all tests but those of tests/cluster, tests/browser, tests/fab and tests/stores, with coverage."""
    python = environment(session, "test")
    words = (*XDIST, *OTHER_TESTS, *DEPRECATIONS, "--cov", "--cov-report=term", "--junitxml=build/tests.xml")
    run(session, python, "-m", "pytest", *words)


@nox.session
@nox.parametrize("airflow", [nox.param(each.airflow, id=each.airflow) for each in SUPPORTED])
def matrix(session: nox.Session, airflow: str) -> None:
    """Run the tests on a supported Airflow version, with a Python that suits it."""
    python = environment_with(session, airflow)
    # Here the question is only whether another Airflow or Python changes something.
    words = (*XDIST, *OTHER_TESTS, "--ignore=tests/fuzz", "-m", "not slow", "-q", "-p", "no:cacheprovider")
    words += DEPRECATIONS * (airflow == NEWEST.airflow)
    words += LITTLE * (airflow != SUPPORTED[0].airflow)
    more = {"PIXXEL_TEST_HISTORIES": "100"}
    if airflow.startswith("3.0."):  # which doesn't run without one
        more["AIRFLOW__API_AUTH__JWT_ISSUER"] = "pixxel-matrix"
    run(session, python, "-m", "pytest", *words, **more)


@nox.session
def preview(session: nox.Session) -> None:
    """Run the tests on the next Airflow's newest pre-release and report how they went."""
    python = environment_with(session, PREVIEW.airflow)
    report = ROOT / "build" / "preview.xml"
    report.unlink(missing_ok=True)
    words = (*XDIST, *OTHER_TESTS, "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors")
    words += (*LITTLE, "-m", "not slow", *DEPRECATIONS, f"--junitxml={report}")
    reporter = (sys.executable, "scripts/preview.py", str(report), python, UV, PREVIEW.versions)
    try:
        # 1: tests have failed, which is reported and fails nothing.
        run(session, python, "-m", "pytest", *words, success_codes=(0, 1), PIXXEL_TEST_HISTORIES="100")
        session.run(*reporter, log=False)
    except nox.command.CommandFailed:
        session.error("preview: a fault of the session, not of Airflow")


@nox.session
def check(session: nox.Session) -> None:
    """Lint, types, the house's layers, what the package tells pip, secrets and known vulnerabilities."""
    python = environment(session, "lint")
    words = "ruff check .; ruff format --check .; mypy; lint-imports; validate-pyproject pyproject.toml"
    for command in words.split("; "):
        name, *more = command.split()
        session.run(str(Path(python).with_name(name)), *more, env={"VALIDATE_PYPROJECT_NO_NETWORK": "1"})
    run(session, python, "scripts/check_package.py")
    run(session, python, "scripts/check_secrets.py")
    run(session, python, "scripts/check_vulnerabilities.py", str(NEWEST.constraints))


@nox.session(requires=CI)
def ci(session: nox.Session) -> None:
    """Run what has to pass before a change is taken; NOX_PARALLEL=3 runs three sessions at once."""


@nox.session(name="format")
def format_(session: nox.Session) -> None:
    """Let ruff put imports and layout in order."""
    ruff = str(Path(environment(session, "lint")).with_name("ruff"))
    session.run(ruff, "check", "--fix", "--select", "I", ".")
    session.run(ruff, "format", ".")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html; warnings are errors."""
    words = ("-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")
    run(session, environment(session, "docs"), "-m", "sphinx", *words)
    print("docs/_build/html/index.html")


@nox.session
def installation(session: nox.Session) -> None:
    """Build and check wheel and sdist, install the wheel afresh, and start an Airflow with its defaults."""
    python = environment(session, "test", "lint")
    with tempfile.TemporaryDirectory(prefix="installation-") as folder:
        run(session, python, "scripts/check_package.py", folder)
        (wheel,), (sdist,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
        shutil.unpack_archive(sdist, folder, filter="data")
        with session.chdir(sdist.with_suffix("").with_suffix("")):
            # Every test can be imported, and those of releases run.
            words = ("-q", "-n", "0", "--no-header", "-p", "no:cacheprovider")
            collected = (python, "-m", "pytest", *words, "--collect-only", *OTHER_TESTS)
            session.run(*collected, silent=True, env={"AIRFLOW_HOME": folder})
            run(session, python, "-m", "pytest", *words, "tests/upgrades")
        fresh = environment(session, folder=f"{folder}/venv", package=(str(wheel),))
        session.chdir(folder)
        run(session, fresh, str(ROOT / "scripts" / "check_installation.py"))


@nox.session
def record(session: nox.Session) -> None:
    """Record what this release stores in a running Airflow, for the tests of upgrades."""
    run(session, environment(session, "test", "lint"), "scripts/record_release.py")


def whole_airflows(session: nox.Session) -> Iterator[str]:
    """Have an environment for each version in the variable MATRIX, or for the newest; yield its Python."""
    for airflow in os.environ.get("MATRIX", "").split() or [NEWEST.airflow]:
        newest = airflow == NEWEST.airflow
        yield (
            environment(session, "test", "cluster")
            if newest
            else environment_with(session, airflow, "cluster")
        )


@nox.session
def cluster(session: nox.Session) -> None:
    """Start an Airflow of real parts: PostgreSQL, Redis, two workers, two triggerers; Ctrl-C ends it."""
    hand_over(session, "scripts/standalone.py", "--cluster", groups=("cluster",))


@nox.session(name="cluster-tests")
def cluster_tests(session: nox.Session) -> None:
    """Run the tests that start a whole Airflow; the variable MATRIX names other versions of it."""
    for python in whole_airflows(session):
        run(session, python, "-m", "pytest", "tests/cluster")


@nox.session
def storm(session: nox.Session) -> None:
    """Run 300 DAG runs on a cluster while all around them fails, for 20 minutes; MATRIX as above."""
    for python in whole_airflows(session):
        run(session, python, "scripts/storm/run.py")


@nox.session
def soak(session: nox.Session) -> None:
    """Keep 2,000 waits in two triggerers for 15 minutes; see whether anything grows or is left."""
    run(session, environment(session, "test", "cluster"), "scripts/storm/soak.py")


@nox.session
def browser(session: nox.Session) -> None:
    """Look at the pages inside Airflow with the system's Chromium; pictures in build/screenshots."""
    run(session, environment(session, "test", "browser"), "-m", "pytest", "tests/browser")


@nox.session
def fab(session: nox.Session) -> None:
    """Ask for the pages as the stock roles of the FAB auth manager."""
    python = environment(session, *FAB.groups, folder=".nox/fab", constraints=FAB.constraints)
    run(session, python, "-m", "pytest", "tests/fab")


@nox.session
def stores(session: nox.Session) -> None:
    """Put packages into S3, Google Cloud Storage and Azure, as emulators on this machine; needs npm."""
    python = environment(session, *STORES.groups, folder=".nox/stores", constraints=STORES.constraints)
    azurite = ROOT / ".nox" / "stores" / "azurite"
    azurite.mkdir(exist_ok=True)
    (azurite / "package.json").write_bytes((ROOT / "tests" / "stores" / "package.json").read_bytes())
    quiet = ("--silent", "--no-audit", "--no-fund", "--no-package-lock")
    session.run("npm", "install", "--prefix", str(azurite), *quiet, log=False)
    run(session, python, "-m", "pytest", "tests/stores")


@nox.session
def screenshots(session: nox.Session) -> None:
    """Take the documentation's pictures of the pages inside Airflow anew, with Chromium."""
    run(session, environment(session, "browser"), "scripts/screenshots.py")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try cases made by chance on all that is read from outside; they can be repeated by their numbers."""
    run(session, environment(session, "test"), "-m", "tests.fuzz")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the costs that the package promises to keep low, beside other providers."""
    run(session, environment(session, "bench", folder=".nox/bench"), "benchmarks/run.py")


@nox.session
def constraints(session: nox.Session) -> None:
    """Resolve the tested versions of everything anew: names and versions only, for all Pythons."""
    texts = {each.constraints: resolve(session, each) for each in (*SUPPORTED, PREVIEW, FAB, STORES)}
    texts[ROOT / "constraints" / "nox.txt"] = resolve(session, None)
    # Nothing is written when one can't be resolved.
    for path, text in texts.items():
        print(f"{path.relative_to(ROOT)}: {path.write_text(text, encoding='utf-8')} characters")


def resolve(session: nox.Session, supported: Supported | None) -> str:
    """Return the text of a constraint file: of an Airflow version, or of nox itself."""
    oldest = supported.oldest_python if supported else "3.10"
    command = [UV, "pip", "compile", "--quiet", "--universal", "--python-version", oldest, "--no-header"]
    command += ["--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    command += [f"--group={group}" for group in (supported.groups if supported else ("nox",))]
    what, newest = "runs the sessions of noxfile.py", NEWEST.newest_python
    with tempfile.TemporaryDirectory() as folder:
        if supported:
            what = f"airflow-provider-pixxel is tested with on Airflow {supported.airflow}"
            newest = supported.newest_python
            extra = Path(folder) / "airflow.in"
            versions = supported.versions or f"=={supported.airflow}"
            extra.write_text("\n".join([f"apache-airflow{versions}", *supported.pins, ""]))
            command += ["--extra", "simulator", "pyproject.toml", str(extra)]
        text = str(session.run(*command, silent=True, log=False, stderr=None))
    lines = [
        line
        for line in text.splitlines()
        if line and not line.startswith(("airflow-provider-pixxel", "#", "-"))
    ]
    header = f"# What {what}, for Python {oldest} to {newest}."
    return "\n".join([header, '# Written by "make constraints"; not to be edited by hand.', *lines, ""])
