"""The storm's judgement: what it must not overlook, and that it has a DAG for all that it plans."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import evidence
import pytest
import report
from plan import KINDS, SHARED, PlannedRun, plan
from run import Run
from surroundings import Relay
from terminal import Screen


def planned(name: str) -> PlannedRun:
    (kind,) = [kind for kind in KINDS if kind.name == name]
    return PlannedRun(kind, number=1, at=0, queued=1, conn_id="pixxel_default")


def task(state: str | None, task_id: str = "run", try_number: int = 1) -> dict[str, Any]:
    return {"task_id": task_id, "state": state, "try_number": try_number}


def logged(run: PlannedRun, *errors: str, task_id: str = "run") -> dict[Any, list[str]]:
    lines = [json.dumps({"event": "Task failed", "error_detail": [{"exc_type": each}]}) for each in errors]
    return {(run.dag_id, run.run_id, task_id): ["\n".join(lines)]}


def judged(name: str, tasks: list[dict[str, Any]], *errors: str, bills: int = 0) -> report.Outcome:
    run = planned(name)
    (task_id,) = {each["task_id"] for each in tasks} or {"run"}
    paid = Counter({run.workflows[0]: bills})
    return report.judge(run, tasks, logged(run, *errors, task_id=task_id), paid, "/nowhere")


@pytest.mark.parametrize(
    ("name", "tasks", "errors", "bills"),
    [
        ("run_deferred", [task("success")], [], 1),
        ("run_deferred", [task("success", try_number=3)], ["PixxelServerError"], 1),
        ("run_fails", [task("failed")], ["PixxelJobFailedError"], 1),
        ("run_costly", [task("failed")], ["PixxelCostError"], 0),
        ("wait_timeout", [task("failed", "wait")], ["AirflowSensorTimeout"], 0),
        ("wait_soft", [task("skipped", "wait")], [], 0),
    ],
)
def test_what_was_expected_is_right(name: str, tasks: Any, errors: list[str], bills: int) -> None:
    outcome = judged(name, tasks, *errors, bills=bills)
    assert (outcome.problem, outcome.hanging, outcome.asked) == ("", False, False)


@pytest.mark.parametrize(
    ("name", "tasks", "errors", "bills", "problem"),
    [
        ("run_deferred", [task("success")], [], 2, "2 jobs billed, not 1"),
        ("run_deferred", [task("success")], [], 0, "0 jobs billed, not 1"),
        ("run_deferred", [task("failed")], ["PixxelServerError"], 1, "run is failed, not success"),
        ("run_fails", [task("failed")], ["PixxelServerError"], 1, "no PixxelJobFailedError"),
        ("run_costly", [task("failed")], ["PixxelCostError"], 1, "a job was billed"),
        ("run_download", [task("success"), task("success", "download")], [], 1, "there is no file"),
        ("wait_soft", [task("success", "wait")], [], 0, "wait is success, not skipped"),
        ("run_mapped", [task("success"), task("failed")], [], 2, "not success"),
    ],
)
def test_anything_else_is_a_problem(
    name: str, tasks: list[dict[str, Any]], errors: list[str], bills: int, problem: str
) -> None:
    run = planned(name)
    logs = logged(run, *errors, task_id=tasks[0]["task_id"])
    outcome = report.judge(run, tasks, logs, Counter({run.workflows[0]: bills}), "/nowhere")
    assert problem in outcome.problem


@pytest.mark.parametrize("state", [None, "running", "deferred", "up_for_retry", "queued"])
def test_a_task_that_has_not_ended_hangs(state: str | None) -> None:
    assert judged("run_deferred", [task(state)], bills=1).hanging
    assert judged("run_deferred", []).hanging


def test_a_run_that_asks_a_person_is_named_and_no_problem() -> None:
    outcome = judged("run_deferred", [task("failed")], "PixxelUnconfirmedJobError")
    assert (outcome.problem, outcome.asked) == ("", True)
    assert not judged("run_unconfirmed", [task("failed")], "PixxelUnconfirmedJobError").asked


@pytest.mark.parametrize(
    ("version", "tries", "errors", "bills", "right"),
    [
        ((3, 2), 2, ["PixxelUnconfirmedJobError"], 1, True),
        ((3, 2), 2, ["PixxelUnconfirmedJobError"], 2, False),
        ((3, 2), 1, ["PixxelUnconfirmedJobError"], 1, False),
        ((3, 2), 2, [], 1, False),
        ((3, 3), 2, ["PixxelUnconfirmedJobError"], 1, False),
    ],
)
def test_only_before_airflow_3_3_a_try_that_asked_a_person_may_be_forgotten(
    version: Any, tries: int, errors: list[str], bills: int, right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "VERSION", version)
    outcome = judged("run_unconfirmed", [task("success", try_number=tries)], *errors, bills=bills)
    assert (not outcome.problem) is right


def reported(*outcomes: report.Outcome, **changes: Any) -> report.Report:
    given: dict[str, Any] = {
        "title": "a storm",
        "outcomes": list(outcomes),
        "shared": (0, 0),
        "counters": {"total": 0, "routes": {}, "statuses": {}},
        "budget": 10,
        "worst": [0.01],
        "blocks": [],
        "tracebacks": [],
        "leaks": [],
        "searched": {},
        "steps": [],
        "ended": [],
        "watched": (0, 0, 0),
    }
    return report.Report(**{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shared": (3, 2)}, "3 jobs billed for 2 runs"),
        ({"counters": {"total": 11, "routes": {}, "statuses": {}}}, "the budget is 10"),
        ({"blocks": [{"blocked": 0.3, "ours": 0.9, "where": []}]}, "held up for 0.30 s"),
        ({"tracebacks": ["scheduler.log: ValueError"]}, "traceback in scheduler.log"),
        ({"leaks": ["database"]}, "key in database"),
        ({"watched": (3, 2, 0)}, "1 events of the watcher are missing"),
    ],
)
def test_each_figure_that_does_not_hold_fails_the_storm(changes: dict[str, Any], words: str) -> None:
    assert reported().failures() == []
    (failure,) = reported(**changes).failures()
    assert words in failure
    assert words in reported(**changes).text()


def test_a_block_by_others_is_counted_and_not_held_against_the_package() -> None:
    found = reported(blocks=[{"blocked": 0.3, "ours": 0.1, "where": []}])
    assert found.failures() == []
    assert "1 times above 0.2 s, 0 times by this package" in found.text()


def test_a_wait_that_a_transient_error_ended_fails_the_storm() -> None:
    run, tasks = planned("run_deferred"), [task("success")]
    ids, bills = (run.dag_id, run.run_id, "run"), Counter({run.workflows[0]: 1})
    begun = json.dumps({"event": "Pixxel job job-1 of workflow wf is created: created"})
    (error,) = logged(run, "PixxelServerError").values()
    early = report.judge(run, tasks, {ids: [*error, begun]}, bills, "/nowhere")
    assert reported(early).failures() == []
    late = report.judge(run, tasks, {ids: [f"{begun}\n{error[0]}"]}, bills, "/nowhere")
    assert "a wait ended for run: PixxelServerError" in str(reported(late).failures())


def test_every_kind_comes_once_before_any_comes_again() -> None:
    kinds = {run.kind.name for run in plan(len(KINDS), 60, seed=1)}
    assert kinds == {run.kind.name for run in plan(300, 60, seed=1)}
    assert len({run.run_id for run in plan(300, 60, seed=1)}) == 300


def test_runs_that_are_counted_by_their_workflow_share_it_with_nobody() -> None:
    found = [each for run in plan(300, 60, seed=1) for each in run.workflows if each != SHARED]
    own = [each for each in found if "watched" not in each]
    assert len(own) == len(set(own))


def test_it_is_over_when_no_run_is_left_and_each_event_of_the_watcher_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # At the second look the job that is watched hasn't ended: there is no run, and will be one.
    looks: list[tuple[int, list[Any]]] = [(2, []), (0, []), (1, []), (0, [('["the event"]',)])]
    taken: list[int] = []

    def query(_: Any, text: str) -> list[Any]:
        if "dag_run" in text:
            taken.append(len(taken))
            return [(looks[taken[-1]][0],)]
        return looks[taken[-1]][1]

    monkeypatch.setattr(evidence, "query", query)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    storm = Run.__new__(Run)
    storm.cluster, storm.screen = None, Screen()  # type: ignore[assignment]
    storm.watched = [planned("watched")]
    storm._until_all_ended(time.monotonic() + 60)
    assert len(taken) == len(looks)


def test_a_key_is_found_also_in_base64() -> None:
    texts = {"plain": "a key-1 b", "encoded": "Basic a2V5LTE=", "clean": "nothing"}
    assert evidence.places_of(["key-1"], texts) == ["encoded", "plain"]


def test_a_relay_leads_to_its_target_until_it_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        relay = Relay(target.getsockname()[1])
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as client:
                peer, _ = target.accept()
                with peer:
                    client.sendall(b"question")
                    assert peer.recv(100) == b"question"
                    peer.sendall(b"answer")
                    assert client.recv(100) == b"answer"
                    relay.close()
                    assert client.recv(100) == b""
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", relay.port), timeout=10)
            relay.open()
        relay.close()


def test_tracebacks_through_this_package_are_found_and_others_are_not(tmp_path: Path) -> None:
    class Airflow:
        home = tmp_path

    frame = 'Traceback (most recent call last):\n  File "/x/{}/a.py", line 1, in f\n    f()\nValueError: {}\n'
    text = frame.format("pixxel_provider", "ours") + frame.format("sqlalchemy", "theirs")
    (tmp_path / "scheduler.log").write_text(text)
    assert evidence.tracebacks(Airflow()) == ["scheduler.log: ValueError: ours"]  # type: ignore[arg-type]
