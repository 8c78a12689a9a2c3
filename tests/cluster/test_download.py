"""A download on a whole Airflow: it waits in the triggerer, and a worker fetches what is ready."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.conftest import KEY, Run

PACKAGE = random.Random(5).randbytes(3_000_000)
WAIT = 10


def test_a_package_that_isnt_ready_is_waited_for_in_the_triggerer_and_fetched_once(
    pixxel: Any, trigger: Callable[..., Run], tmp_path: Path
) -> None:
    pixxel.set_package(content=PACKAGE, seconds=WAIT, checksum="Digest")
    pixxel.fail_next("download_file", truncate=1_000_000)
    target = tmp_path / "results" / "package.zip"
    for transferred in (len(PACKAGE), 0):
        run = trigger("pixxel_download", destination=str(target))
        if transferred:
            run.until("deferred", task_id="download")
            assert not target.exists()
        run.until("success", task_id="download")
        assert target.read_bytes() == PACKAGE
        assert [path.name for path in target.parent.iterdir()] == ["package.zip"]
        found = run.xcoms("download")
        assert found["path"] == str(target)
        assert found["sha256"] == hashlib.sha256(PACKAGE).hexdigest()
        assert found["return_value"]["transferred"] == transferred
        shown = run.log("download") + repr(found)
        assert KEY not in shown
        assert "signature=" not in shown
    assert "is already there" in run.log("download")
