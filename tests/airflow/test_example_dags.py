"""Each example runs on the installed Airflow, its triggers too, against a Pixxel whose jobs really run."""

from __future__ import annotations

from typing import Any

import pytest

SOON = {"poke_interval": 0.5}
LINK = "_link_PixxelJobLink"


def test_airflow_finds_every_example_and_no_mistake_in_it(airflow_knows: Any) -> None:
    assert airflow_knows["import_errors"] == {}
    assert {"pixxel_gate", "pixxel_mapped_gate", "pixxel_failing_job"} <= set(airflow_knows["dags"])


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """A run that several tests look at."""
    return {}


@pytest.fixture
def dear(seen: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    if "dear" not in seen:
        pixxel = request.getfixturevalue("pixxel")
        pixxel.create_job("wf-succeeds", "job-running", seconds=3)
        seen["dear"] = request.getfixturevalue("run")("pixxel_gate", {"job_id": "job-running"}, wait=SOON)
    return seen["dear"]


def test_the_gate_defers_until_the_job_has_ended_and_then_everything_runs(dear: Any) -> None:
    assert dear.state == "success"
    assert dear.states == dict.fromkeys(
        ["wait", "details", "was_it_dear", "tell_somebody", "use_results"], "success"
    )
    assert dear.tries["wait"] == 1
    assert "running trigger in line" in dear.log


def test_the_gates_return_value_is_the_job(dear: Any) -> None:
    job = dear.xcom("wait")
    assert (job["id"], job["workflow_id"], job["status"], job["cost"]) == (
        "job-running",
        "wf-succeeds",
        "completed",
        120,
    )
    assert [task["status"] for task in job["tasks"]] == ["completed"] * 5
    assert "result" not in job["tasks"][0]


@pytest.mark.parametrize("task", ["wait", "details"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("job_id", "job-running"),
        ("workflow_id", "wf-succeeds"),
        ("status", "completed"),
        ("cost", 120),
        (LINK, "https://aurora.pixxel.space/"),
    ],
)
def test_single_facts_are_xcoms_of_their_own_type(dear: Any, task: str, key: str, value: object) -> None:
    assert dear.xcom(task, key) == value
    assert type(dear.xcom(task, key)) is type(value)


def test_what_the_tasks_found_reaches_the_pipeline_behind_the_gate(dear: Any) -> None:
    assert dear.xcom("use_results")["Crop stress index"] == {"mean": 0.62, "stressed_hectares": 184}


def test_a_dear_job_is_reported_and_its_results_are_used(dear: Any) -> None:
    assert dear.xcom("was_it_dear") == "tell_somebody"
    assert dear.xcom("tell_somebody") == "Job job-running cost 120 credits."


def test_the_log_tells_of_changes_and_of_the_end_and_never_of_the_key(dear: Any) -> None:
    assert "Pixxel job job-running of workflow wf-succeeds: running" in dear.words
    assert (
        "Pixxel job job-running of workflow wf-succeeds has ended: completed, for 120 credits" in dear.words
    )
    # Airflow 3.0 itself writes down what it is told to mask.
    assert not [line for line in dear.log.splitlines() if "canary" in line and "MaskSecret" not in line]


def test_a_cheap_job_is_used_without_a_report_and_an_ended_one_without_deferring(
    pixxel: Any, run: Any
) -> None:
    cheap = run("pixxel_gate", {"dear_from": 1000})
    assert cheap.state == "success"
    assert cheap.states["tell_somebody"] == "skipped"
    assert cheap.states["use_results"] == "success"
    assert "running trigger in line" not in cheap.log
    assert pixxel.requests("get_job", "job-finished") == 2


def test_a_mapped_gate_waits_for_each_job_and_adds_up_what_they_cost(pixxel: Any, run: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-running", seconds=1.5)
    mapped = run("pixxel_mapped_gate", {"job_ids": ["job-finished", "job-running"]}, wait=SOON)
    assert mapped.state == "success"
    assert {task: state for task, state in mapped.states.items() if task.startswith("wait")} == {
        "wait[0]": "success",
        "wait[1]": "success",
    }
    assert [mapped.xcom(f"wait[{index}]", "job_id") for index in (0, 1)] == ["job-finished", "job-running"]
    assert mapped.xcom("add_up") == 240


def test_a_failed_job_fails_the_gate_once_with_pixxels_words(pixxel: Any, run: Any) -> None:
    failing = run("pixxel_failing_job")
    assert failing.state == "failed"
    assert failing.states == {
        "wait": "failed",
        "use_results": "upstream_failed",
        "autopsy": "success",
        "report": "success",
    }
    # It has a retry, which would be no use.
    assert failing.tries["wait"] == 1
    assert "task 'Crop stress index' failed in block spectral-index 3.0.1" in failing.words
    assert "band 112 (870 nm) holds no valid pixel inside the area of interest" in failing.words
    assert failing.xcom("wait", "status") == "failed"
    with pytest.raises(KeyError):
        failing.xcom("wait", "return_value")


def test_a_failed_job_can_still_be_read_by_the_task_that_runs_then(pixxel: Any, run: Any) -> None:
    failing = run("pixxel_failing_job")
    assert failing.xcom("report") == ["spectral-index"]
    broken = next(task for task in failing.xcom("autopsy")["tasks"] if task["err_msg"])
    assert broken["info_logs"]


def test_a_job_that_fails_while_its_gate_is_deferred_fails_it_just_so(pixxel: Any, run: Any) -> None:
    pixxel.create_job("wf-fails", "job-breaks", seconds=1.5)
    failing = run("pixxel_failing_job", {"job_id": "job-breaks"}, wait=SOON)
    assert failing.states["wait"] == "failed"
    assert failing.tries["wait"] == 1
    assert "running trigger in line" in failing.log
    assert "Pixxel job job-breaks of workflow wf-fails failed: status 'failed'" in failing.words


def test_poke_and_reschedule_wait_as_long_and_return_the_same(pixxel: Any, run: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-running", seconds=3)
    modes = run("pixxel_modes", {"job_id": "job-running"})
    assert modes.states == {"poke": "success", "reschedule": "success"}
    assert modes.xcom("poke") == modes.xcom("reschedule")
    assert modes.xcom("reschedule", LINK) == modes.xcom("poke", LINK)
