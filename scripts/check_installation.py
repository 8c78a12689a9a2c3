"""Start an Airflow with its defaults: it lists the examples, and logs no error about this package.

``make installation`` runs this in an environment with the wheel alone.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path

from local_airflow import EXAMPLES, AirflowTrouble, Standalone, eventually

DEADLINE = 600.0
# Without the package's name, by which lines of the log are found.
PREFIX = "installation-"
# Settings of a plain installation that our own Airflows don't have.
DEFAULTS = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "True",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
}


def look() -> int:
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
        missing = {file.stem for file in EXAMPLES.glob("*.py")}

        def listed() -> bool:
            dags = airflow.get("/api/v2/dags?limit=1000&tags=pixxel")["dags"]
            missing.difference_update(dag["dag_id"] for dag in dags)
            return not missing

        airflow.start()
        try:
            for _ in airflow.waiting(began + DEADLINE):
                pass
            with contextlib.suppress(AirflowTrouble):
                eventually(listed, "the examples", DEADLINE)
            broken = airflow.get("/api/v2/importErrors?limit=1000")["import_errors"]
        finally:
            airflow.stop()
        logs = [*home.glob("*.log"), *(home / "logs").rglob("*.log")]
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


if __name__ == "__main__":
    try:
        sys.exit(look())
    except AirflowTrouble as error:
        sys.exit(f"WRONG {error}")
