"""A download ends with the whole package where it belongs, or with an error and nothing changed."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import random
from datetime import datetime, timedelta, timezone
from importlib import metadata
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowSensorTimeout, Asset, BaseOperator, XComArg

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.download import local_disk
from pixxel_provider.download.errors import PixxelDownloadError
from pixxel_provider.operators.pixxel import PixxelDownloadJobOperator
from pixxel_provider.simulator.packages import CHECKSUMS
from tests.download.archives import everything, made, stored
from tests.download.hosting import locals_of
from tests.operators.fetching import MODES, DownloadRunner
from tests.support import CANARY, FakeTaskInstance, RecordingLog

PACKAGE = random.Random(7).randbytes(300_000)
OLD = b"what lay there before"


@pytest.fixture(params=MODES)
def runner(
    request: pytest.FixtureRequest, pixxel: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> DownloadRunner:
    """A download's surroundings in each mode in turn; its file goes into an empty folder."""
    return DownloadRunner(request.param, pixxel, monkeypatch, tmp_path / "package.zip")


@pytest.fixture
def deferred(pixxel: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DownloadRunner:
    """The same in the triggerer alone."""
    return DownloadRunner("deferred", pixxel, monkeypatch, tmp_path / "package.zip")


@pytest.fixture
def here(pixxel: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DownloadRunner:
    """The same on a worker alone, with a package that is ready at once."""
    pixxel.set_package(content=PACKAGE, seconds=0)
    return DownloadRunner("worker", pixxel, monkeypatch, tmp_path / "package.zip")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that is there already, in a folder with a neighbour."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "neighbour.txt").write_bytes(b"neighbour")
    (tmp_path / "data" / "package.zip").write_bytes(OLD)
    return tmp_path / "data" / "package.zip"


# ---- the wait


def test_a_package_that_is_ready_is_fetched_without_deferring(runner: DownloadRunner) -> None:
    runner.pixxel.set_package(content=PACKAGE, seconds=0)
    ended = runner.run()
    assert ended.kind == "success"
    assert runner.path.read_bytes() == PACKAGE
    assert runner.deferrals == []
    assert runner.clock.slept == []
    assert (runner.pixxel.requests("download_job"), runner.pixxel.requests("download_file")) == (1, 1)


def test_a_package_that_is_prepared_is_waited_for(runner: DownloadRunner) -> None:
    runner.pixxel.set_package(content=PACKAGE, seconds=100)
    ended = runner.run(poke_interval=10)
    assert ended.kind == "success"
    assert runner.path.read_bytes() == PACKAGE
    assert 100 <= sum(runner.clock.slept) <= 120
    assert len(runner.deferrals) == (1 if runner.mode == "deferred" else 0)
    assert runner.pixxel.requests("download_job") >= 10
    assert runner.lines("is pending")


def test_the_trigger_brings_no_url_and_the_worker_asks_for_its_own(deferred: DownloadRunner) -> None:
    deferred.pixxel.set_package(content=PACKAGE, seconds=100)
    deferred.run()
    (event,) = deferred.events
    assert event["kind"] == "succeeded"
    assert "http" not in json.dumps(event)
    assert "url" not in json.dumps(event).lower()
    assert "http" not in str(deferred.deferrals[0].trigger.serialize())


def test_a_package_that_isnt_ready_in_time_is_a_timeout(runner: DownloadRunner) -> None:
    runner.pixxel.set_package(seconds=10_000)
    ended = runner.run(timeout=timedelta(seconds=60))
    assert ended.kind == "AirflowSensorTimeout"
    assert "timeout of 60 s" in ended.message
    assert "pending" in ended.message
    assert 60 <= sum(runner.clock.slept) < 120
    assert everything(runner.path.parent) == {}


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "PixxelBadRequestError"), (401, "PixxelAuthError"), (403, "PixxelAuthError")]
)
@pytest.mark.parametrize("after", [0, 2])
def test_a_refusal_ends_the_wait_at_once_with_the_servers_words(
    runner: DownloadRunner, status: int, kind: str, after: int
) -> None:
    runner.pixxel.set_package(seconds=1000)
    runner.pixxel.fail_next("download_job", status=status, message="these words", after=after, times=0)
    ended = runner.run()
    assert ended.kind == kind
    assert "these words" in ended.message
    assert runner.pixxel.requests("download_job") == after + 1
    assert everything(runner.path.parent) == {}


def test_a_bad_request_says_that_the_job_has_to_have_ended(runner: DownloadRunner) -> None:
    runner.pixxel.fail_next("download_job", status=400, message="job has not ended")
    ended = runner.run()
    assert "job has not ended. Only what a job has made can be downloaded" in ended.message
    assert "PixxelJobSensor" in ended.message


def test_a_job_that_isnt_there_ends_the_wait_after_the_grace(runner: DownloadRunner) -> None:
    ended = runner.run(job_id="no-such-job", not_found_grace=30)
    assert ended.kind == "PixxelNotFoundError"
    assert 30 < sum(runner.clock.slept) < 90


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "times": 5},
        {"status": 429, "times": 5},
        {"drop": "reset", "times": 5},
        {"body": "html", "status": 502, "times": 5},
        # For less than not_found_grace.
        {"status": 404, "after": 4},
        {"status": 404, "after": 4, "times": 3},
        {"status": 404, "after": 4, "body": "html"},
        {"status": 404, "after": 4, "times": 3, "body": "html"},
    ],
    ids=str,
)
def test_no_transient_error_of_the_api_ends_the_wait(runner: DownloadRunner, fault: dict[str, Any]) -> None:
    runner.pixxel.set_package(content=PACKAGE, seconds=1000)
    runner.pixxel.fail_next("download_job", **fault)
    assert runner.run().kind == "success"
    assert runner.path.read_bytes() == PACKAGE
    assert [each["served"] for each in runner.pixxel.faults.to_json()] == [fault.get("times", 1)]


def test_a_job_that_vanishes_ends_the_wait_once_it_was_missing_for_the_grace(runner: DownloadRunner) -> None:
    runner.pixxel.set_package(content=PACKAGE, seconds=1000)
    runner.pixxel.fail_next("download_job", status=404, after=4, times=0)
    ended = runner.run(not_found_grace=200, poke_interval=30)
    assert ended.kind == "PixxelNotFoundError"
    assert 24 * 3 + 200 < sum(runner.clock.slept) < 30 * 4 + 201


def test_the_grace_of_a_workers_404_goes_on_in_the_triggerer(deferred: DownloadRunner) -> None:
    ended = deferred.run(job_id="no-such-job", poke_interval=600)
    assert ended.kind == "PixxelNotFoundError"
    assert 60 < sum(deferred.clock.slept) <= 61


def test_a_package_that_failed_is_an_error_that_says_so(runner: DownloadRunner) -> None:
    runner.pixxel.set_package(status="failed", seconds=20)
    ended = runner.run()
    assert ended.kind == "PixxelError"
    assert "could not be made" in ended.message
    assert "'failed'" in ended.message


def test_the_first_pause_keeps_to_the_servers_wish(runner: DownloadRunner) -> None:
    runner.pixxel.set_package(content=PACKAGE, seconds=0)
    runner.pixxel.fail_next("download_job", status=429, retry_after=77)
    assert runner.run(poke_interval=5).kind == "success"
    assert 77 <= sum(runner.clock.slept) < 90


def test_what_a_task_of_the_job_made_is_asked_for_by_its_id(runner: DownloadRunner) -> None:
    task_id = "job-finished-task-1"
    runner.pixxel.set_package("job-finished", task_id, content=b"of one task", seconds=10)
    ended = runner.run(pixxel_task_id=task_id)
    assert ended.kind == "success"
    assert runner.path.read_bytes() == b"of one task"
    assert runner.pixxel.requests("download_job") == 0


@pytest.mark.parametrize(
    ("why", "seconds", "kind"),
    [
        ("Trigger timeout", 100, "success"),
        ("Trigger failure", 100, "success"),
        ("Trigger timeout", 10_000, "AirflowSensorTimeout"),
    ],
)
def test_a_trigger_that_broke_isnt_believed_before_one_more_request(
    deferred: DownloadRunner, why: str, seconds: float, kind: str
) -> None:
    deferred.lose_trigger, deferred.lost_with = True, why
    deferred.pixxel.set_package(content=PACKAGE, seconds=seconds)
    assert deferred.run(timeout=200).kind == kind
    assert deferred.path.exists() == (kind == "success")


@pytest.fixture
def never_quite(deferred: DownloadRunner, monkeypatch: pytest.MonkeyPatch) -> DownloadRunner:
    """A package that is ready whenever the trigger asks, and can't be asked for when the worker does."""
    deferred.pixxel.set_package(content=PACKAGE, seconds=0)
    deferred.pixxel.fail_next("download_job", status=503)
    triggerer = deferred._triggerer

    def ready(*given: Any) -> Any:
        assert len(deferred.deferrals) < 50, "the wait never ends"
        found = triggerer(*given)
        deferred.pixxel.fail_next("download_job", status=503)
        return found

    monkeypatch.setattr(deferred, "_triggerer", ready)
    return deferred


def test_the_deadline_counts_from_the_start_however_often_the_task_is_deferred(
    never_quite: DownloadRunner,
) -> None:
    begun = never_quite.clock.now
    ended = never_quite.run(timeout=100, poke_interval=30)
    # Once the time is over, the worker tries for longer than once: it was ready in time.
    assert ended.kind == "success", ended
    assert 100 < never_quite.clock.now - begun < 200
    assert len(never_quite.deferrals) > 1
    starts = {each.trigger.started_at for each in never_quite.deferrals}  # type: ignore[attr-defined]
    assert starts == {begun}
    limits = [each.timeout.total_seconds() for each in never_quite.deferrals if each.timeout]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > limits[-1] > 0


def test_a_package_that_is_never_there_for_the_worker_ends_in_a_timeout(here: DownloadRunner) -> None:
    here.pixxel.set_package(seconds=10_000)
    ready = {"version": 1, "kind": "succeeded", "message": "", "started_at": here.clock.now - 5000}
    with pytest.raises(AirflowSensorTimeout, match="timeout of 100 s"):
        here.operator(timeout=100).execute_complete({"ti": here.ti}, ready)  # type: ignore[typeddict-item]
    assert here.clock.slept == []


def test_the_tasks_own_start_counts_where_the_event_says_none(here: DownloadRunner) -> None:
    here.pixxel.set_package(seconds=10_000)
    ti: Any = FakeTaskInstance()
    ti.start_date = datetime.fromtimestamp(here.clock.now - 60, timezone.utc)
    operator = here.operator(timeout=100)
    with pytest.raises(AirflowSensorTimeout, match="timeout of 100 s"):
        operator.execute_complete({"ti": ti}, {"version": 1, "kind": "succeeded"})
    assert 40 <= sum(here.clock.slept) <= 42


@pytest.mark.parametrize("event", [None, {}, {"version": 99, "kind": "succeeded"}, "text"])
def test_an_event_nobody_understands_brings_the_worker_into_the_wait(
    here: DownloadRunner, event: Any
) -> None:
    here.operator().execute_complete({"ti": here.ti}, event)  # type: ignore[arg-type, typeddict-item]
    assert here.path.read_bytes() == PACKAGE


# ---- where, and what is told


def test_a_disk_may_be_named_by_an_object_storage_path(here: DownloadRunner, tmp_path: Path) -> None:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    if metadata.version("apache-airflow").startswith("3.0."):
        pytest.skip("Airflow 3.0 can't make one with the release of universal_pathlib that it installs")
    path = tmp_path / "new folder" / "package.zip"
    ended = here.run(destination=ObjectStoragePath(f"file://{path}"))
    assert ended.kind == "success", ended.message
    assert path.read_bytes() == PACKAGE
    assert ended.returned["path"] == str(path)


@pytest.mark.parametrize("kind", [str, Path, PurePosixPath])
def test_a_path_is_rendered_like_text(here: DownloadRunner, tmp_path: Path, kind: Any) -> None:
    operator = here.operator(destination=kind(f"{tmp_path}/{{{{ run }}}}/{{{{ 'package' }}}}.zip"))
    operator.render_template_fields({"run": "run 1"})  # type: ignore[typeddict-unknown-key]
    operator.execute({"ti": here.ti})  # type: ignore[typeddict-item]
    assert everything(tmp_path) == {"run 1": None, "run 1/package.zip": PACKAGE}


def test_a_path_is_rendered_where_tasks_are_mapped() -> None:
    path = Path("/data/{{ run }}/package.zip")
    usual = {"task_id": "download", "workflow_id": "wf", "job_id": "job-1"}
    with DAG("mapped", schedule=None):
        each = PixxelDownloadJobOperator.partial(**usual, destination=path)
    for operator in (
        PixxelDownloadJobOperator(**usual, destination=path),
        each.expand(pixxel_task_id=["t"]).unmap({"pixxel_task_id": "t"}),
    ):
        operator.render_template_fields({"run": "run-1"})
        assert operator.destination == "/data/run-1/package.zip"


def test_what_another_task_gives_is_left_for_airflow_to_resolve() -> None:
    usual = {"task_id": "download", "workflow_id": "wf", "job_id": "job-1"}
    with DAG("dag", schedule=None):
        given = XComArg(BaseOperator(task_id="before"), "path")
        assert PixxelDownloadJobOperator(**usual, destination=given).destination is given


@pytest.mark.parametrize("unpack", [False, True])
@pytest.mark.parametrize("kind", ["a pipe", "a device", "a file in the way", "a link to nowhere", "a circle"])
def test_what_cant_be_written_to_is_refused_before_anything_is_fetched(
    here: DownloadRunner, tmp_path: Path, kind: str, unpack: bool
) -> None:
    path = tmp_path / "out"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a file in the way":
        path.write_bytes(OLD)
        path = path / "below"
    else:
        missing = tmp_path / "missing" / "out"
        path.symlink_to({"a device": os.devnull, "a circle": path}.get(kind, missing))

    def entries() -> set[tuple[Any, ...]]:
        # Not the time of the last access.
        stats = [(each.name, each.lstat()) for each in tmp_path.iterdir()]
        return {(name, found.st_ino, found.st_mode, found.st_mtime_ns) for name, found in stats}

    before = entries()
    ended = here.run(destination=str(path), unpack=unpack)
    assert ended.kind in ("PixxelDownloadError", "PixxelArchiveError")
    assert str(tmp_path / "out") in ended.message
    assert [seen.route for seen in here.pixxel.counters.seen if seen.route == "download_file"] == []
    assert entries() == before


def test_the_result_and_the_single_keys_say_what_is_where(here: DownloadRunner) -> None:
    here.pixxel.set_package(content=PACKAGE, seconds=0, checksum="x-goog-hash")
    path, sha256 = str(here.path), hashlib.sha256(PACKAGE).hexdigest()
    ended = here.run(destination=path)
    assert ended.returned == {
        "path": path,
        "bytes": 300_000,
        "sha256": sha256,
        "checked": ["md5"],
        "transferred": 300_000,
    }
    assert ended.xcoms == {
        "_link_PixxelJobLink": "https://aurora.pixxel.space/",
        "job_id": "job-finished",
        "workflow_id": "wf-succeeds",
        "pixxel_conn_id": "pixxel_default",
        "path": path,
        "bytes": 300_000,
        "sha256": sha256,
    }


def test_the_job_is_named_before_anything_is_asked(here: DownloadRunner) -> None:
    here.pixxel.fail_next("download_job", status=403, times=0)
    ended = here.run()
    assert ended.kind == "PixxelAuthError"
    assert (ended.xcoms["job_id"], ended.xcoms["workflow_id"]) == ("job-finished", "wf-succeeds")
    assert ended.xcoms["pixxel_conn_id"] == "pixxel_default"
    assert "path" not in ended.xcoms


def test_a_zip_is_unpacked_into_a_folder(runner: DownloadRunner, tmp_path: Path) -> None:
    content = made({"a.txt": b"a", "deeper/b.txt": b"bb"})
    runner.pixxel.set_package(content=content, seconds=10)
    ended = runner.run(destination=f"{tmp_path}/out/", unpack=True)
    assert ended.kind == "success", ended.message
    assert everything(tmp_path / "out") == {"a.txt": b"a", "deeper": None, "deeper/b.txt": b"bb"}
    assert ended.returned == {
        "path": str(tmp_path / "out"),
        "paths": [str(tmp_path / "out" / "a.txt"), str(tmp_path / "out" / "deeper" / "b.txt")],
        "files": 2,
        "written": 2,
        "unpacked_bytes": 3,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "checked": [],
        "transferred": len(content),
    }
    assert everything(tmp_path).keys() == {"out", "out/a.txt", "out/deeper", "out/deeper/b.txt"}


def test_the_events_of_outlets_hold_the_job_and_its_package_and_no_url(runner: DownloadRunner) -> None:
    runner.pixxel.set_package(content=PACKAGE, seconds=100)
    outlet = Asset("s3://bucket/results")
    returned = runner.run(outlets=[outlet]).returned
    assert runner.outlet_events[outlet].extra == {
        "workflow_id": "wf-succeeds",
        "job_id": "job-finished",
        "path": str(runner.path),
        "bytes": len(PACKAGE),
        "sha256": hashlib.sha256(PACKAGE).hexdigest(),
    }
    assert returned["path"] == str(runner.path)


# ---- again


@pytest.mark.parametrize("checksum", [None, *CHECKSUMS])
@pytest.mark.parametrize("kind", ["disk", "store"])
def test_what_is_there_already_isnt_transferred_again(
    here: DownloadRunner, memory: Any, kind: str, checksum: str | None
) -> None:
    here.pixxel.set_package(content=PACKAGE, seconds=0, checksum=checksum)
    destination = str(here.path) if kind == "disk" else "memory://bucket/package.zip"
    first = here.run(destination=destination)
    here.pixxel.counters.clear()
    again = here.run(destination=destination)
    assert again.kind == "success", again.message
    assert again.returned["transferred"] == 0
    assert {**again.returned, "transferred": 0, "checked": 0} == {
        **first.returned,
        "transferred": 0,
        "checked": 0,
    }
    assert here.lines("is already there")
    assert sum(seen.bytes_sent for seen in here.pixxel.counters.seen) < 100_000


@pytest.mark.parametrize("checksum", [None, "Digest", "Content-MD5"])
@pytest.mark.parametrize(
    "there",
    [PACKAGE[:-1], PACKAGE[-1000:], PACKAGE[:-1] + bytes([PACKAGE[-1] ^ 1]), b""],
    ids=["a byte less", "its end", "another last byte", "empty"],
)
def test_what_is_there_and_differs_is_replaced(
    here: DownloadRunner, target: Path, there: bytes, checksum: str | None
) -> None:
    here.pixxel.set_package(content=PACKAGE, seconds=0, checksum=checksum)
    target.write_bytes(there)
    ended = here.run(destination=str(target))
    assert ended.returned["transferred"] == len(PACKAGE)
    assert target.read_bytes() == PACKAGE


# ---- on its way


def test_a_job_that_is_missing_for_a_moment_while_its_url_is_renewed_costs_no_transfer(
    runner: DownloadRunner,
) -> None:
    runner.pixxel.set_package(content=PACKAGE, seconds=0)
    runner.pixxel.fail_next("download_file", status=403, body="xml", message="Request has expired")
    runner.pixxel.fail_next("download_job", status=404, body="html", after=1, times=2)
    assert runner.run().kind == "success"
    assert runner.path.read_bytes() == PACKAGE


def test_a_key_that_is_withdrawn_on_the_way_is_an_error_and_nothing_is_left(
    here: DownloadRunner, target: Path
) -> None:
    before = everything(target.parent)
    here.pixxel.fail_next("download_file", truncate=100_000)
    here.pixxel.fail_next("download_file", status=403)
    here.pixxel.fail_next("download_job", status=401, after=1)
    assert here.run(destination=str(target.with_name("new.zip"))).kind == "PixxelAuthError"
    assert everything(target.parent) == before


# ---- what fails changes nothing


FAILURES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = {
    # a package, a fault, arguments: words of the error
    "empty": ({"content": b""}, {}, {}, "is empty: it has 0 bytes"),
    "wrong checksum": ({"checksum": "Digest", "wrong_checksum": True}, {}, {}, "its sha256 differs"),
    "too large": ({}, {}, {"max_bytes": 299_999}, "max_bytes is 293.0 KiB"),
    "never whole": ({}, {"status": 503, "times": 0}, {"stall_timeout": 20}, "no new byte for 20 s"),
    "no length": (
        {},
        {"announce": "none", "times": 0},
        {"max_bytes": 100_000, "stall_timeout": 5},
        "package",
    ),
    "a page": (
        {},
        {"status": 200, "body": "html", "times": 0},
        {"stall_timeout": 20},
        "answered with a page",
    ),
    "a page to unpack": (
        {},
        {"status": 200, "body": "html", "times": 0},
        {"stall_timeout": 20, "unpack": True},
        "answered with a page",
    ),
    "a document": (
        {"content": b'{"status": "accepted"}', "content_type": "application/json"},
        {},
        {"stall_timeout": 20},
        "answered with a JSON document",
    ),
    "no answer of a file": ({}, {"status": 204, "times": 0}, {}, "HTTP 204"),
    "not a zip": ({}, {}, {"unpack": True}, "isn't a readable zip"),
    "redirected to a private address": ({}, {"location": "https://10.0.0.1/x"}, {}, "10.0.0.1"),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("place", ["a new file", "a file that is there", "an object"])
def test_a_failure_leaves_everything_as_it_was(
    here: DownloadRunner, target: Path, memory: Any, name: str, place: str
) -> None:
    plan, fault, arguments, words = FAILURES[name]
    here.pixxel.set_package(**{"content": PACKAGE, "seconds": 0, **plan})
    if fault:
        here.pixxel.fail_next("download_file", **fault)
    memory.pipe("/bucket/package.zip", OLD)
    before = everything(target.parent)
    destination = {
        "a new file": target.parent if arguments.get("unpack") else target.with_name("new.zip"),
        "a file that is there": target.parent if arguments.get("unpack") else target,
        "an object": f"memory://bucket/{'' if arguments.get('unpack') else 'package.zip'}",
    }[place]
    ended = here.run(destination=str(destination), **arguments)
    assert ended.kind in ("PixxelDownloadError", "PixxelArchiveError", "PixxelAddressError"), ended.message
    assert words in ended.message
    assert everything(target.parent) == before
    assert stored(memory) == {"/bucket/package.zip": OLD}
    assert "path" not in ended.xcoms


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("https://10.1.2.3/package.zip", "10.1.2.3"),
        ("https://[fd00:ec2::254]/package.zip", "fd00:ec2::254"),
        ("file:///etc/hostname", "isn't an address that can be requested"),
        ("file://127.0.0.1/etc/hostname", "file://"),
        ("ftp://127.0.0.1/package.zip", "ftp://"),
        ("http://files.example.com/package.zip", "plain http"),
        ("https://user:secret@127.0.0.1/package.zip", "user or password"),
    ],
)
def test_a_url_that_leads_elsewhere_isnt_followed(
    here: DownloadRunner, target: Path, url: str, words: str
) -> None:
    before = everything(target.parent)
    answer = {"id": "job-finished", "status": "ready", "signed_url": f"{url}?signature=5ecret"}
    here.pixxel.fail_next("download_job", json=answer, times=0)
    ended = here.run(destination=str(target))
    assert ended.kind == "PixxelAddressError"
    assert words in ended.message
    assert "5ecret" not in ended.message
    assert everything(target.parent) == before


@pytest.mark.parametrize("unpack", [False, True])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x?s=", "https://10.1.2.3/x?s=", "no address "])
def test_a_traceback_that_shows_locals_shows_no_signed_url(
    here: DownloadRunner, target: Path, url: str, unpack: bool
) -> None:
    answer = {"id": "job-finished", "status": "ready", "signed_url": f"{url}5ecret"}
    here.pixxel.fail_next("download_job", json=answer, times=0)
    here.run(destination=str(target.parent if unpack else target), unpack=unpack, stall_timeout=2)
    assert here.error is not None
    assert "5ecret" not in locals_of(here.error)


@pytest.mark.parametrize("unpack", [False, True])
def test_a_disk_without_room_says_so_and_keeps_what_was_there(
    here: DownloadRunner, target: Path, unpack: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(target.parent)

    class Full(io.FileIO):
        def write(self, part: Any, /) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(local_disk, "FileIO", Full)
    ended = here.run(destination=str(target.parent if unpack else target), unpack=unpack)
    assert ended.kind == "PixxelDownloadError"
    assert "No space left on device" in ended.message
    assert everything(target.parent) == before


def test_on_kill_removes_what_is_unfinished(here: DownloadRunner, target: Path) -> None:
    before = everything(target.parent)
    operator = here.operator(destination=str(target))
    during: list[set[str]] = []

    def killed(seconds: float) -> None:
        during.append(set(everything(target.parent)) - set(before))
        operator.on_kill()
        during.append(set(everything(target.parent)) - set(before))

    # The first request only compares what is there.
    here.pixxel.fail_next("download_file", truncate=100_000, after=1)
    here.clock.on_sleep.append(killed)
    with pytest.raises(PixxelDownloadError, match="was given up"):
        operator.execute({"ti": here.ti})  # type: ignore[typeddict-item]
    assert len(during[0]) == 1
    assert during[1] == set()
    assert everything(target.parent) == before


@pytest.mark.parametrize("mode", MODES)
def test_on_kill_before_the_package_is_ready_ends_the_wait_with_an_error(
    pixxel: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str
) -> None:
    pixxel.set_package(content=PACKAGE, seconds=100)
    runner = DownloadRunner(mode, pixxel, monkeypatch)
    operator = runner.operator(poke_interval=30)
    if mode == "worker":
        runner.clock.on_sleep.append(lambda seconds: operator.on_kill())
    else:
        # While the answer is on its way.
        log = RecordingLog()
        log.info = lambda *words: operator.on_kill()
        monkeypatch.setattr(type(operator), "log", log)
    with pytest.raises(PixxelDownloadError, match="was given up, as its task was stopped"):
        operator.execute({"ti": runner.ti})  # type: ignore[typeddict-item]
    assert sum(runner.clock.slept) <= 1
    assert pixxel.requests("download_job") == 1
    assert everything(tmp_path) == {}


def test_a_task_that_was_stopped_is_no_success_even_where_all_is_there(
    here: DownloadRunner, target: Path
) -> None:
    operator = here.operator(destination=str(target))

    class Stopping(FakeTaskInstance):
        def xcom_push(self, key: str, value: Any, **_: Any) -> None:
            super().xcom_push(key, value)
            if key == "sha256":
                operator.on_kill()

    with pytest.raises(PixxelDownloadError, match="was given up"):
        operator.execute({"ti": Stopping()})  # type: ignore[typeddict-item]
    assert target.read_bytes() == PACKAGE


def test_on_kill_before_anything_has_begun_prevents_it(here: DownloadRunner) -> None:
    operator = here.operator()
    operator.on_kill()
    with pytest.raises(PixxelDownloadError, match="was given up, as its task was stopped"):
        operator.execute({"ti": here.ti})  # type: ignore[typeddict-item]
    assert here.pixxel.requests("download_file") == 0
    assert everything(here.path.parent) == {}


# ---- arguments


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("destination", ["", "a\nb", "/data/folder/", None, 7, "nosuchscheme://bucket/p", "http://[1/p"]),
        # A template that nobody has rendered makes no folder of that name.
        ("destination", [SimpleNamespace(protocol="file", path="/{{ run }}/package.zip")]),
        ("poke_interval", ["soon", -1]),
        ("timeout", [True, float("nan"), -1]),
        ("not_found_grace", [-1]),
        ("stall_timeout", [0, None]),
        ("max_bytes", [0, "1 GB"]),
        ("max_unpacked_bytes", [0]),
        ("max_ratio", [-1]),
        ("workflow_id", [""]),
        ("job_id", [""]),
        ("pixxel_task_id", ["", ".."]),
    ],
)
def test_an_argument_that_cant_be_used_is_named_before_anything_is_asked(
    runner: DownloadRunner, field: str, values: list[Any]
) -> None:
    for value in values:
        ended = runner.run(**{field: value})
        assert ended.kind == "PixxelInputError", ended
        assert isinstance(runner.error, PixxelInputError)
        assert runner.error.field == field
    assert runner.pixxel.requests() == 0
    assert everything(runner.path.parent) == {}


def test_a_connection_that_isnt_defined_is_named(here: DownloadRunner) -> None:
    ended = here.run(destination="/nowhere/p", pixxel_conn_id="no-such-connection")
    assert ended.kind != "success"
    assert "no-such-connection" in ended.message


def test_making_one_asks_and_checks_nothing() -> None:
    operator = PixxelDownloadJobOperator(
        task_id="d", workflow_id="", job_id="{{ x }}", destination=None, timeout="soon", max_ratio="x"
    )
    assert operator.job_id == "{{ x }}"


def test_what_says_which_and_where_is_templated() -> None:
    assert isinstance(PixxelDownloadJobOperator.template_fields, tuple)
    assert set(PixxelDownloadJobOperator.template_fields) == {
        "workflow_id",
        "job_id",
        "pixxel_task_id",
        "destination",
        "storage_conn_id",
        "pixxel_conn_id",
    }
    operator = PixxelDownloadJobOperator(
        task_id="d", workflow_id="{{ w }}", job_id="{{ j }}", destination="/data/{{ j }}/package.zip"
    )
    operator.render_template_fields({"w": "wf", "j": "job-7"})  # type: ignore[typeddict-unknown-key]
    assert (operator.workflow_id, operator.job_id) == ("wf", "job-7")
    assert operator.destination == "/data/job-7/package.zip"


# ---- secrets


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"truncate": 100_000},
        {"status": 403, "body": "echo"},
        {"status": 500, "body": "echo"},
        {"drop": "reset"},
        {"location": "https://10.0.0.1/?signature=elsewhere"},
        {"location": "http://[broken/?signature=elsewhere"},
    ],
    ids=str,
)
def test_no_log_shows_the_key_or_a_signature(
    pixxel: Any,
    tmp_path: Path,
    faults: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    log = PixxelDownloadJobOperator.log
    runner = DownloadRunner("worker", pixxel, monkeypatch)
    monkeypatch.setattr(PixxelDownloadJobOperator, "log", log)
    caplog.set_level(logging.DEBUG)
    pixxel.set_package(content=PACKAGE, seconds=0)
    if faults:
        pixxel.fail_next("download_file", times=2, **faults)
    runner.run()
    out, err = capfd.readouterr()
    for place in (caplog.text, out, err):
        assert CANARY not in place
        assert "signature" not in place.replace("signed", "")
    assert "/download" in caplog.text, "what urllib3 says of requests to the API was seen"
