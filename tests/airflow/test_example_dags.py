"""Each example runs on the installed Airflow, its triggers too, against a Pixxel whose jobs really run."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from pixxel_provider.assets import HAS_ASSET_WATCHERS

SOON = {"poke_interval": 0.5}
LINK = "_link_PixxelJobLink"
EXAMPLES = {
    "pixxel_gate",
    "pixxel_mapped_gate",
    "pixxel_failing_job",
    "pixxel_run_and_download",
    "pixxel_run_mapped",
}
if AIRFLOW_V_3_1_PLUS:
    EXAMPLES |= {"pixxel_ask_before_run"}
if HAS_ASSET_WATCHERS:
    EXAMPLES |= {"pixxel_on_job_end", "pixxel_on_job_end_or_daily"}


def test_airflow_finds_every_example_and_no_mistake_in_it(airflow_knows: Any) -> None:
    assert airflow_knows["import_errors"] == {}
    assert set(airflow_knows["dags"]) >= EXAMPLES


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """A run that several tests look at."""
    return {}


@pytest.fixture
def dear(seen: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    if "dear" not in seen:
        request.getfixturevalue("ends_once_seen")("wf-succeeds", "job-running")
        seen["dear"] = request.getfixturevalue("run")("pixxel_gate", {"job_id": "job-running"}, wait=SOON)
    return seen["dear"]


def test_the_gate_defers_until_the_job_has_ended_and_then_everything_runs(dear: Any) -> None:
    assert dear.state == "success"
    assert dear.states == dict.fromkeys(["wait", "details", "check_cost", "notify", "use_results"], "success")
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
        ("pixxel_conn_id", "pixxel_default"),
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
    assert dear.xcom("check_cost") == "notify"
    assert dear.xcom("notify") == "Job job-running cost 120 credits."


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
    cheap = run("pixxel_gate", {"expensive_from": 1000})
    assert cheap.state == "success"
    assert cheap.states["notify"] == "skipped"
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


def test_a_job_that_fails_while_its_gate_is_deferred_fails_it_just_so(ends_once_seen: Any, run: Any) -> None:
    ends_once_seen("wf-fails", "job-breaks")
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


# ------------------------------------------------------------------------------------------ running workflows


@pytest.fixture
def hurried(pixxel: Any) -> Any:
    """A Pixxel whose jobs, created by anybody, take four seconds."""
    before, pixxel.world.speed = pixxel.world.speed, 30.0
    yield pixxel
    pixxel.world.speed = before


@pytest.fixture
def ran(seen: dict[str, Any], request: pytest.FixtureRequest, tmp_path_factory: Any) -> Any:
    """A run in which the answer to the request that is billed was lost, and its bill."""
    if "ran" not in seen:
        pixxel = request.getfixturevalue("hurried")
        pixxel.fail_next("create_job", drop="reset", carried_out=True)
        folder = tmp_path_factory.mktemp("files")
        run = request.getfixturevalue("run")
        done = run("pixxel_run_and_download", {"folder": str(folder)}, run=SOON, download=SOON)
        seen["ran"] = done, pixxel.bill(), dict(pixxel.counters.routes), folder
    return seen["ran"]


def test_a_run_whose_answer_is_lost_pays_for_one_job_and_goes_on_with_it(ran: Any) -> None:
    done, bill, requests, _ = ran
    assert done.states == dict.fromkeys(["estimate", "worth_it", "run", "download", "use"], "success")
    assert done.tries["run"] == 1
    assert (requests["create_job"], bill.credits) == (1, 120)
    assert bill.jobs == (done.xcom("run", "job_id"),)
    assert f"Adopting {bill.jobs[0]}" in done.words


def test_a_run_waits_in_the_triggerer_and_returns_the_job(ran: Any) -> None:
    done = ran[0]
    job = done.xcom("run")
    assert "running trigger in line" in done.log
    assert (job["id"], job["status"], job["cost"]) == (done.xcom("run", "job_id"), "completed", 120)
    assert done.xcom("run", LINK) == "https://aurora.pixxel.space/"


@pytest.mark.parametrize(("task", "key"), [("estimate", "return_value"), ("run", "estimated_cost")])
def test_the_estimate_is_a_number_of_its_own(ran: Any, task: str, key: str) -> None:
    assert ran[0].xcom(task, key) == 120
    assert type(ran[0].xcom(task, key)) is int


def test_what_was_downloaded_lies_in_the_jobs_own_folder_and_is_used(ran: Any) -> None:
    done, _, _, folder = ran
    found = done.xcom("download")
    assert found["path"] == str(folder / done.xcom("run", "job_id"))
    assert sorted(found["paths"]) == sorted(str(file) for file in (folder / found["path"]).iterdir())
    assert done.xcom("use")["4-crop-stress-index.json"] == {"mean": 0.62, "stressed_hectares": 184}


def test_no_log_of_a_run_shows_the_key_or_a_signed_url(ran: Any) -> None:
    lines = ran[0].log.splitlines()
    assert not [line for line in lines if "canary" in line and "MaskSecret" not in line]
    assert not [line for line in lines if "signature=" in line]


def test_a_workflow_that_is_too_dear_is_left_alone(hurried: Any, run: Any) -> None:
    done = run("pixxel_run_and_download", {"max_credits": 119})
    assert done.state == "success"
    assert [done.states[task] for task in ("run", "download", "use")] == ["skipped"] * 3
    assert hurried.requests("create_job") == 0


def test_workflows_are_run_at_once_as_far_as_the_budget_goes(hurried: Any, run: Any, tmp_path: Any) -> None:
    hurried.world.add_workflow("wf-cheap", like="wf-succeeds", cost=50)
    hurried.world.add_workflow("wf-dear", like="wf-succeeds", cost=400)
    hurried.fail_next("create_job", drop="reset", carried_out=True)
    chosen = ["wf-dear", "wf-succeeds", "wf-cheap", "wf-cheap"]
    done = run(
        "pixxel_run_mapped",
        {"workflow_ids": chosen, "budget": 300, "folder": str(tmp_path)},
        run=SOON,
        download=SOON,
    )
    assert done.state == "success"
    assert done.xcom("within_budget") == [
        {"workflow_id": "wf-cheap", "max_cost": 50},
        {"workflow_id": "wf-succeeds", "max_cost": 120},
    ]
    jobs = [done.xcom(f"run[{index}]", "job_id") for index in (0, 1)]
    assert sorted(hurried.bill().jobs) == sorted(jobs)
    assert (hurried.bill().credits, hurried.requests("create_job")) == (170, 2)
    assert done.xcom("collect_paths") == [str(tmp_path / f"{job}.zip") for job in jobs]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(f"{job}.zip" for job in jobs)
