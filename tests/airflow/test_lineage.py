"""The events that the installed Airflow sends to OpenLineage, after deferrals and of a failure."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow.providers.openlineage", reason="the extra openlineage isn't installed")

from dag_runner import DagRunner

from tests.airflow.conftest import KEY, RETRY_FOR
from tests.lineage_events import check_event


@pytest.fixture
def reporting(
    start_runner: Any, pixxel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[DagRunner, Path]]:
    """An Airflow that reports lineage, and the file into which it does."""
    file = tmp_path / "events.jsonl"
    for name, value in {"TYPE": "file", "LOG_FILE_PATH": str(file), "APPEND": "true"}.items():
        monkeypatch.setenv(f"OPENLINEAGE__TRANSPORT__{name}", value)
    with start_runner() as (runner, _):
        yield runner, file


@pytest.fixture
def run_ends_once_seen(pixxel: Any) -> Iterator[None]:
    """The job that is created ends soon after the first poll."""
    over = threading.Event()

    def end() -> None:
        while not over.wait(0.2):
            for job in pixxel.world.jobs_of("wf-succeeds"):
                if not job.id.startswith("job-") and pixxel.requests("get_job", job.id):
                    pixxel.finish_job(job.id)
                    return

    threading.Thread(target=end, daemon=True).start()
    yield
    over.set()


def test_a_run_its_download_and_a_failure_are_reported_after_their_deferrals(
    reporting: tuple[DagRunner, Path],
    ends_once_seen: Callable[..., None],
    run_ends_once_seen: None,
    tmp_path: Path,
) -> None:
    runner, file = reporting
    ends_once_seen("wf-fails", "job-later")
    folder = tmp_path / "results"
    runner.ask("pixxel_lineage", {"folder": str(folder)})
    _, lines = runner.answer(time.monotonic() + RETRY_FOR)
    log, text = "\n".join(lines), file.read_text(encoding="utf-8")
    assert log.count("running trigger in line") == 3
    for secret in (KEY, "signature="):
        assert secret not in text
    events = {}
    for event in map(json.loads, text.splitlines()):
        check_event(event)
        # By task and kind, the last of each.
        events[event["job"]["name"].rpartition(".")[2], event["eventType"]] = event

    run, download = events["run", "COMPLETE"], events["download", "COMPLETE"]
    job = run["run"]["facets"]["pixxel_job"]
    assert (job["status"], job["cost"]) == ("completed", 120)
    assert download["run"]["facets"]["pixxel_job"]["job_id"] == job["job_id"]
    for event in (run, download):
        (source,) = event["inputs"]
        assert source["namespace"].startswith("pixxel://127.0.0.1:")
        assert source["name"] == "workflows/wf-succeeds"
    whole, *files = download["outputs"]
    assert (whole["namespace"], whole["name"]) == ("file", str(folder))
    assert len(files) == whole["outputFacets"]["outputStatistics"]["fileCount"]
    assert all(Path(each["name"]).is_file() for each in files)

    assert "pixxel_job" in events["run", "START"]["run"]["facets"]
    failed = events["failed_later", "FAIL"]["run"]["facets"]
    assert failed["pixxel_job"]["status"] == "failed"
    assert "runtime_exception" in failed["errorMessage"]["message"]
