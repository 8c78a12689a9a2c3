"""Install the wheel as a user does, start a whole Airflow with its defaults, and look at what it logs.

Right is: no line with an error that is about this package, and its examples in the list of DAGs.
``check_installation.py`` makes a wheel and a fresh environment, and runs ``check_installation.py --inside``
with that.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from environments import DISTRIBUTION, NEWEST, ROOT, Environment, SetupError
from local_airflow import EXAMPLES, AirflowTrouble, Standalone

DEADLINE = 600.0
# Without the package's name, by which lines of the log are found.
PREFIX = "installation-"
# Settings of a plain installation that our own Airflows don't have.
DEFAULTS = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "True",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
}


class Installation(Environment):
    """A virtual environment with the wheel, and with nothing of the checkout."""

    def install(self, wheel: Path) -> None:
        """Install a wheel with the packages that were tested."""
        what = ["--constraint", str(self.constraints), str(wheel)]
        if not (self._uv(*what) or self._pip(*what)):
            raise SetupError(f"{wheel.name} could not be installed; the reason is above.")


def outside() -> int:
    """Build, install, and look at it from the inside."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        folder = Path(name)
        command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), "-t", "wheel"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        installation = Installation(folder / "venv", NEWEST.constraints)
        installation.make(sys.executable)
        installation.install(next(folder.glob("*.whl")))
        return subprocess.run([installation.python, __file__, "--inside"], cwd=folder, check=False).returncode


def inside() -> int:
    """Start Airflow and wait for the examples; 0 where all is as it should be."""
    import airflow_provider_pixxel
    import pixxel_provider

    found = [*airflow_provider_pixxel.__path__, *pixxel_provider.__path__]
    if any(Path(sys.prefix) not in Path(path).parents for path in found):
        raise AirflowTrouble(f"This isn't what was installed into {sys.prefix}: {found}")
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        home = Path(name)
        (home / "dags").mkdir()
        airflow = Standalone(home, home / "dags", more=DEFAULTS)
        began = time.monotonic()
        airflow.start()
        try:
            missing = await_examples(airflow, began + DEADLINE)
            broken = airflow.get("/api/v2/importErrors?limit=1000")["import_errors"]
        finally:
            airflow.stop()
        logs = [airflow.log, *(home / "logs").rglob("*.log")]
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
    faults = [f"not in the list of DAGs: {dag_id}" for dag_id in sorted(missing)]
    faults += [f"can't be imported: {each['filename']}" for each in broken if "pixxel" in str(each)]
    faults += [line for line in lines if "pixxel" in line.lower() and "error" in line.lower()]
    for fault in faults:
        print(f"WRONG {fault}")
    if not faults:
        print(
            f"ok    a fresh installation lists the examples after {time.monotonic() - began:.0f} s, no error"
        )
    return 1 if faults else 0


def await_examples(airflow: Standalone, deadline: float) -> set[str]:
    """Return the examples that Airflow doesn't list by then."""
    for _ in airflow.waiting(deadline):
        pass
    wanted = {file.stem for file in EXAMPLES.glob("*.py")}
    while True:
        listed = airflow.get("/api/v2/dags?limit=1000&tags=pixxel")["dags"]
        missing = wanted - {dag["dag_id"] for dag in listed}
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(1)


def main() -> int:
    """Look, and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--inside", action="store_true", help=f"look at the {DISTRIBUTION} that is installed here"
    )
    try:
        return inside() if parser.parse_args().inside else outside()
    except (AirflowTrouble, SetupError, subprocess.CalledProcessError) as error:
        print(f"WRONG {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
