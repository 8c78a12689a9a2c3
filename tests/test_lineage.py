"""What OpenLineage hears of a task: events that its spec allows, the same in every mode, without secrets."""

from __future__ import annotations

import hashlib
import json
import sys
import uuid
import zlib
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("airflow.providers.openlineage", reason="the extra openlineage isn't installed")

import attr
from airflow.providers.common.compat.sdk import BaseHook, BaseSensorOperator
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.utils.state import TaskInstanceState
from jsonschema import Draft202012Validator
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.serde import Serde

from pixxel_provider import lineage
from pixxel_provider.api.errors import PixxelAuthError, PixxelError
from pixxel_provider.assets import create_asset
from pixxel_provider.download.object_store import StoreTarget
from pixxel_provider.operators.pixxel import PixxelDownloadJobOperator, PixxelRunJobOperator
from pixxel_provider.sensors.pixxel import PixxelJobSensor
from tests.download.archives import made
from tests.lineage_events import CORE, FACETS, check_event
from tests.operators.fetching import MODES, DownloadRunner
from tests.support import CANARY, run_python

MEMBERS = {"a.tif": b"crop stress", "deep/b.json": b"{}"}
OURS = (
    lineage.PixxelJobRunFacet,
    lineage.PixxelWorkflowJobFacet,
    lineage.PixxelChecksumDatasetFacet,
)


class Task(DownloadRunner):
    """A task of any of the operators, run as Airflow does: a new operator in each of its processes."""

    def __init__(self, mode: str, pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(mode, pixxel, monkeypatch)
        fake_time = SimpleNamespace(sleep=self.clock.sleep, monotonic=self.clock, time=self.clock)
        monkeypatch.setattr(sys.modules[BaseSensorOperator.__module__], "time", fake_time)
        self.before_resuming: list[Callable[[], Any]] = []

    def operator(self, **arguments: Any) -> Any:
        usual = {"task_id": "task", "workflow_id": "wf-succeeds", "deferrable": self.mode == "deferred"}
        self.last = arguments.pop("kind")(**{**usual, **arguments})
        if self.deferrals:
            for change in self.before_resuming:
                change()
        self.started.append(self.event("START", TaskInstanceState.RUNNING))
        return self.last

    def run(self, kind: Any, **arguments: Any) -> Any:
        self.started: list[dict[str, Any]] = []
        return super().run(kind=kind, **arguments)

    def event(self, event_type: str, state: TaskInstanceState) -> dict[str, Any]:
        """Return the event about the last process, made as by Airflow's listener; it is valid."""
        with pytest.MonkeyPatch.context() as patch:
            # Airflow asks in a forked process, in which a question to Airflow may hang.
            patch.setattr(BaseHook, "get_connection", lambda *_: pytest.fail("a connection is looked up"))
            patch.setattr(self.ti, "xcom_pull", lambda **_: pytest.fail("an XCom is looked up"))
            found = ExtractorManager().extract_metadata(
                dagrun=SimpleNamespace(run_id="run"),
                task=self.last,
                task_instance_state=state,
                task_instance=self.ti,
            )
        event = Serde.to_dict(
            RunEvent(
                eventType=RunState(event_type),
                eventTime=datetime.now(timezone.utc).isoformat(),
                run=Run(str(uuid.uuid4()), found.run_facets),
                job=Job("airflow", "dag.task", found.job_facets),
                inputs=found.inputs,
                outputs=found.outputs,
                producer="https://example.com/airflow",
            )
        )
        check_event(event)
        words = json.dumps(event)
        assert CANARY not in words
        assert "signature" not in words
        return event

    @property
    def completed(self) -> dict[str, Any]:
        return self.event("COMPLETE", TaskInstanceState.SUCCESS)

    @property
    def failed(self) -> dict[str, Any]:
        return self.event("FAIL", TaskInstanceState.FAILED)


@pytest.fixture(autouse=True)
def _is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have OpenLineage's listener loaded, here alone: other tests count what a task does without it."""
    name = "airflow.providers.openlineage.plugins.listener"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))


@pytest.fixture(params=MODES)
def task(request: pytest.FixtureRequest, pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> Task:
    """A task's surroundings on a worker alone, and with a trigger in between."""
    return Task(request.param, pixxel, monkeypatch)


@pytest.fixture
def waits(pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> Task:
    """A task that is deferred until its job has ended."""
    return Task("deferred", pixxel, monkeypatch)


@pytest.fixture
def here(pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> Task:
    """A task that ends on the worker on which it began."""
    return Task("worker", pixxel, monkeypatch)


def namespace(pixxel: Any) -> str:
    return f"pixxel://{urlsplit(pixxel.url).netloc}"


def plain(facet: dict[str, Any]) -> dict[str, Any]:
    """Return a facet's own fields."""
    return {key: value for key, value in facet.items() if not key.startswith("_")}


# ---- the run and the sensor


def test_a_run_reports_its_job_and_its_workflow_in_every_mode(task: Task) -> None:
    ended = task.run(PixxelRunJobOperator, project_id="project-agriculture")
    assert (ended.kind, len(task.deferrals)) == ("success", 1 if task.mode == "deferred" else 0)
    event = task.completed
    facets = event["run"]["facets"]
    assert set(facets) == {"pixxel_job", "externalQuery"}
    assert plain(facets["pixxel_job"]) == {
        "workflow_id": "wf-succeeds",
        "job_id": ended.xcoms["job_id"],
        "status": ended.returned["status"],
        "cost": ended.returned["cost"],
        "console_url": "https://aurora.pixxel.space/",
    }
    assert plain(facets["externalQuery"]) == {
        "externalQueryId": ended.xcoms["job_id"],
        "source": namespace(task.pixxel),
    }
    assert plain(event["job"]["facets"]["pixxel_workflow"]) == {
        "workflow_id": "wf-succeeds",
        "project_id": "project-agriculture",
    }
    (source,) = event["inputs"]
    assert (source["namespace"], source["name"]) == (namespace(task.pixxel), "workflows/wf-succeeds")
    assert event["outputs"] == []


def test_a_run_that_doesnt_wait_reports_the_job_that_it_created(here: Task) -> None:
    ended = here.run(PixxelRunJobOperator, project_id="project-agriculture", wait=False)
    facet = plain(here.completed["run"]["facets"]["pixxel_job"])
    assert (facet["job_id"], "status" in facet) == (ended.returned, False)


def test_a_sensor_reports_the_job_that_it_waited_for(waits: Task) -> None:
    waits.pixxel.create_job("wf-succeeds", "job-1", seconds=200)
    ended = waits.run(PixxelJobSensor, job_id="job-1")
    assert (ended.kind, len(waits.deferrals)) == ("success", 1)
    facet = plain(waits.completed["run"]["facets"]["pixxel_job"])
    assert (facet["job_id"], facet["status"]) == ("job-1", ended.returned["status"])
    assert waits.completed["inputs"][0]["name"] == "workflows/wf-succeeds"


def test_a_wait_without_an_id_reports_the_job_that_it_found(task: Task) -> None:
    task.pixxel.create_job("wf-succeeds", "job-1", seconds=200)
    ended = task.run(PixxelJobSensor, ended_after="2026-09-21T14:13:20Z")
    assert (ended.kind, len(task.deferrals)) == ("success", 1 if task.mode == "deferred" else 0)
    assert "job_id" not in task.started[0]["run"]["facets"]["pixxel_job"]
    facet = plain(task.completed["run"]["facets"]["pixxel_job"])
    assert (facet["job_id"], facet["status"]) == ("job-1", ended.returned["status"])


def test_at_its_start_a_task_reports_its_ids(waits: Task) -> None:
    waits.last = PixxelJobSensor(task_id="task", workflow_id="wf-succeeds", job_id="job-1")
    event = waits.event("START", TaskInstanceState.RUNNING)
    facets = event["run"]["facets"]
    assert {key: plain(facet) for key, facet in facets.items()} == {
        "pixxel_job": {"workflow_id": "wf-succeeds", "job_id": "job-1"}
    }
    assert event["inputs"] == event["outputs"] == []


def test_the_workflow_is_one_dataset_as_an_outlet_and_as_what_was_read(waits: Task) -> None:
    outlet = create_asset(workflow_id="wf-succeeds", host=urlsplit(waits.pixxel.url).netloc)
    waits.run(PixxelRunJobOperator, project_id="project-agriculture", outlets=[outlet])
    (before,) = waits.started[0]["outputs"]
    event = waits.completed
    (after,) = event["inputs"]
    assert (before["namespace"], before["name"]) == (after["namespace"], after["name"])
    assert event["outputs"] == []


def test_each_process_of_a_deferred_task_reports_a_start(waits: Task) -> None:
    waits.run(PixxelRunJobOperator, project_id="project-agriculture")
    assert [each["eventType"] for each in waits.started] == ["START", "START"]


def test_a_connection_that_cant_be_read_any_more_costs_the_input_alone(
    waits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits.pixxel.create_job("wf-succeeds", "job-1", seconds=200)
    waits.before_resuming.append(lambda: monkeypatch.delenv("AIRFLOW_CONN_PIXXEL_DEFAULT"))
    assert waits.run(PixxelJobSensor, job_id="job-1").kind == "success"
    event = waits.completed
    assert event["inputs"] == []
    assert plain(event["run"]["facets"]["pixxel_job"])["job_id"] == "job-1"


# ---- errors


def test_a_job_that_failed_is_reported_with_its_status_and_error(task: Task) -> None:
    age = 1000 if task.mode == "worker" else 0
    task.pixxel.create_job("wf-succeeds", "job-1", course="wf-fails", seconds=200, age=age)
    ended = task.run(PixxelJobSensor, job_id="job-1")
    assert ended.kind == "PixxelJobFailedError"
    facets = task.failed["run"]["facets"]
    assert plain(facets["pixxel_job"])["status"] == ended.xcoms["status"]
    assert plain(facets["errorMessage"]) == {"message": ended.message, "programmingLanguage": "python"}
    assert "runtime_exception" in ended.message


def test_a_skip_reports_why(here: Task) -> None:
    here.pixxel.create_job("wf-succeeds", "job-1", course="wf-fails", seconds=1, age=1000)
    assert here.run(PixxelJobSensor, job_id="job-1", soft_fail=True).kind == "AirflowSkipException"
    facets = here.event("COMPLETE", TaskInstanceState.SKIPPED)["run"]["facets"]
    assert "runtime_exception" in facets["errorMessage"]["message"]


@pytest.mark.parametrize(
    ("kind", "arguments", "call"),
    [
        (PixxelJobSensor, {"job_id": "job-finished"}, "get_job"),
        (PixxelRunJobOperator, {"project_id": "project-agriculture"}, "create_job"),
        (PixxelDownloadJobOperator, {"job_id": "job-finished", "destination": "/nowhere/p"}, "download_job"),
    ],
)
def test_a_refusal_of_the_api_is_an_error_message(here: Task, kind: Any, arguments: Any, call: str) -> None:
    here.pixxel.fail_next(call, status=401, times=0)
    ended = here.run(kind, **arguments)
    assert ended.kind == PixxelAuthError.__name__
    event = here.failed
    assert plain(event["run"]["facets"]["errorMessage"])["message"] == ended.message
    assert event["outputs"] == []


def test_a_connection_that_cant_be_used_is_an_error_message(
    here: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps({"conn_type": "pixxel"}))
    here.run(PixxelJobSensor, job_id="job-1")
    event = here.failed
    assert "password" in event["run"]["facets"]["errorMessage"]["message"]
    assert event["inputs"] == []


def test_a_timeout_is_an_error_message(waits: Task) -> None:
    waits.pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
    assert waits.run(PixxelJobSensor, job_id="job-1", timeout=100).kind == "AirflowSensorTimeout"
    assert "timeout of 100 s" in waits.failed["run"]["facets"]["errorMessage"]["message"]


# ---- downloads


def test_a_downloaded_file_is_an_output_with_its_checksum(task: Task, tmp_path: Path) -> None:
    package = b"spectra" * 1000
    task.pixxel.set_package(content=package, seconds=0 if task.mode == "worker" else 100)
    path = tmp_path / "package.zip"
    task.run(PixxelDownloadJobOperator, job_id="job-finished", destination=str(path))
    event = task.completed
    assert [each["name"] for each in event["inputs"]] == ["workflows/wf-succeeds"]
    (output,) = event["outputs"]
    assert (output["namespace"], output["name"]) == ("file", str(path))
    assert plain(output["facets"]["pixxel_checksum"]) == {
        "covers": "file",
        "algorithm": "sha256",
        "value": hashlib.sha256(package).hexdigest(),
        "size": 7000,
    }
    assert plain(output["outputFacets"]["outputStatistics"]) == {"size": 7000, "fileCount": 1}


def test_a_file_that_was_there_already_is_an_output_too(here: Task, tmp_path: Path) -> None:
    here.pixxel.set_package(content=b"spectra", seconds=0)
    for _ in range(2):
        ended = here.run(PixxelDownloadJobOperator, job_id="job-finished", destination=str(tmp_path / "p"))
    assert ended.returned["transferred"] == 0
    assert here.completed["outputs"][0]["facets"]["pixxel_checksum"]["size"] == 7


@pytest.mark.parametrize("store", [False, True])
def test_an_unpacked_package_is_a_folder_and_its_files(
    here: Task, tmp_path: Path, memory: Any, store: bool
) -> None:
    package = made(MEMBERS)
    here.pixxel.set_package(content=package, seconds=0)
    destination = "memory://bucket/results/" if store else str(tmp_path / "results")
    here.run(PixxelDownloadJobOperator, job_id="job-finished", destination=destination, unpack=True)
    folder, *files = here.completed["outputs"]
    name = "results" if store else destination
    assert {each["namespace"] for each in [folder, *files]} == {"memory://bucket" if store else "file"}
    assert [each["name"] for each in files] == [f"{name}/a.tif", f"{name}/deep/b.json"]
    assert folder["name"] == name
    assert plain(folder["outputFacets"]["outputStatistics"]) == {"size": 13, "fileCount": 2}
    assert plain(folder["facets"]["pixxel_checksum"]) == {
        "covers": "package",
        "algorithm": "sha256",
        "value": hashlib.sha256(package).hexdigest(),
        "size": len(package),
    }
    assert plain(files[1]["facets"]["pixxel_checksum"]) == {
        "covers": "file",
        "algorithm": "crc32",
        "value": f"{zlib.crc32(MEMBERS['deep/b.json']):08x}",
        "size": 2,
    }


def test_of_many_files_the_first_are_named_and_all_are_counted(here: Task, tmp_path: Path) -> None:
    members = {f"{number:03}.txt": b"x" for number in range(250)}
    here.pixxel.set_package(content=made(members), seconds=0)
    here.run(
        PixxelDownloadJobOperator, job_id="job-finished", destination=str(tmp_path / "many"), unpack=True
    )
    folder, *files = here.completed["outputs"]
    assert len(files) == 200
    assert folder["outputFacets"]["outputStatistics"]["fileCount"] == 250


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://bucket/a/b.zip", ("s3://bucket", "a/b.zip")),
        ("s3a://bucket/a/b.zip", ("s3://bucket", "a/b.zip")),
        ("gcs://bucket/b.zip", ("gs://bucket", "b.zip")),
        ("abfs://box/b.zip", ("abfss://box@acc.dfs.core.windows.net", "b.zip")),
        ("az://box@acc.blob.core.windows.net/b.zip", ("abfss://box@acc.dfs.core.windows.net", "b.zip")),
        ("wasbs://box@acc.blob.core.windows.net/b.zip", ("wasbs://box@acc.dfs.core.windows.net", "b.zip")),
        ("sftp://host:22/data/b.zip", ("sftp://host:22", "data/b.zip")),
    ],
)
def test_an_object_is_named_as_openlineage_names_it(address: str, expected: tuple[str, str]) -> None:
    place = StoreTarget(SimpleNamespace(account_name="acc"), "path", address)
    (output,) = lineage.stored_datasets(place, {"bytes": 1, "sha256": "0" * 64}, ())
    assert (output.namespace, output.name) == expected


# ---- secrets and schemas


def test_no_secret_is_reported_whatever_the_console_address_and_the_error_hold(
    here: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(here.pixxel.connection_json())
    connection["extra"] = {
        **connection.get("extra", {}),
        "console_url": "https://console.example/{job_id}?token=5ec7e7#5ec7e7",
    }
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps(connection))
    here.pixxel.create_job("wf-succeeds", "job-1", seconds=1, age=1000)
    here.run(PixxelJobSensor, job_id="job-1")
    here.last.raised_error = PixxelError(f"{CANARY} at https://u:pw@store.example/x?X-Amz-Signature=5ec7e7")
    facets = here.failed["run"]["facets"]
    assert facets["pixxel_job"]["console_url"] == "https://console.example/job-1"
    assert facets["errorMessage"]["message"] == "*** at https://store.example/x?…"


@pytest.mark.parametrize("kind", OURS)
def test_a_facet_and_its_schema_have_the_same_fields(kind: Any) -> None:
    schema = json.loads((FACETS / f"{kind.__name__}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    core, own = schema["$defs"][kind.__name__]["allOf"]
    assert core["$ref"] == f"{CORE}#/$defs/{kind.__mro__[1].__name__}"
    fields = [each for each in attr.fields(kind) if not each.name.startswith("_")]
    assert list(own["properties"]) == [each.name for each in fields]
    assert own["required"] == [each.name for each in fields if each.default is attr.NOTHING]
    assert lineage.schema_url(kind.__name__) == f"{schema['$id']}#/$defs/{kind.__name__}"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: event["run"].update(runId="1"),
        lambda event: event.pop("producer"),
        lambda event: event["inputs"][0].pop("name"),
        lambda event: event["run"]["facets"]["pixxel_job"].pop("workflow_id"),
        lambda event: event["run"]["facets"]["pixxel_job"].pop("_schemaURL"),
        lambda event: event["run"]["facets"]["externalQuery"].pop("source"),
        lambda event: event["run"]["facets"]["externalQuery"].update(source=1),
    ],
)
def test_an_event_that_the_spec_forbids_is_seen(here: Task, spoil: Callable[[Any], Any]) -> None:
    here.pixxel.create_job("wf-succeeds", "job-1", seconds=1, age=1000)
    here.run(PixxelJobSensor, job_id="job-1")
    event = here.completed
    spoil(event)
    with pytest.raises(Exception, match=r"required|missing|is not|source"):
        check_event(event)


OPERATORS = "import sys, pixxel_provider.operators.pixxel, pixxel_provider.sensors.pixxel\n"


def test_operators_are_imported_without_openlineage() -> None:
    script = "print([n for n in sys.modules if n.startswith(('openlineage.', 'pixxel_provider.lineage'))])"
    assert run_python(OPERATORS + script).strip().endswith("[]")


def test_where_openlineage_isnt_installed_an_asset_is_no_dataset() -> None:
    script = (
        "sys.modules['openlineage'] = sys.modules['openlineage.client'] = None\n"
        "from pixxel_provider.assets import convert_asset_to_openlineage, create_asset\n"
        "print(convert_asset_to_openlineage(create_asset(workflow_id='wf-1'), None))"
    )
    assert run_python(OPERATORS + script).strip().endswith("None")


def test_a_resumed_task_reads_no_connection_where_no_lineage_is_reported(
    waits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "airflow.providers.openlineage.plugins.listener")
    waits.pixxel.create_job("wf-succeeds", "job-1", seconds=200)
    waits.run(PixxelJobSensor, job_id="job-1")
    assert waits.completed["inputs"] == []
