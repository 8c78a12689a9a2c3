from __future__ import annotations

import json
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelAuthError, PixxelError, PixxelInputError, PixxelServerError
from pixxel_provider.clock import CLOCK
from pixxel_provider.operators.pixxel import PixxelEstimateCostOperator, PixxelGetJobOperator


def get(context: Any, **arguments: Any) -> dict[str, Any]:
    arguments = {"workflow_id": "wf-succeeds", "job_id": "job-finished", **arguments}
    return PixxelGetJobOperator(task_id="get", **arguments).execute(context)


def test_it_returns_the_metadata_and_pushes_the_single_keys(pixxel: Any, context: Any) -> None:
    job = get(context)
    assert (job["id"], job["status"], job["progress"]) == ("job-finished", "completed", 100)
    assert isinstance(job["cost"], int)
    assert context["ti"].xcoms == {
        "_link_PixxelJobLink": "https://aurora.pixxel.space/",
        "job_id": "job-finished",
        "workflow_id": "wf-succeeds",
        "pixxel_conn_id": "pixxel_default",
        "status": "completed",
        "cost": job["cost"],
    }
    assert pixxel.requests("get_job") == 1


def test_a_job_that_failed_or_runs_is_read_like_any_other(pixxel: Any, context: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1")
    assert get(context, job_id="job-1")["finished_at"] is None
    assert get(context, workflow_id="wf-fails", job_id="job-failed")["status"] == "failed"


@pytest.mark.parametrize("encoding", ["integers", "base64", "json"])
def test_raw_fields_come_decoded_and_only_when_named(context: Any, encoding: str, monkeypatch: Any) -> None:
    from pixxel_provider.simulator import serve

    with serve(bytes_as=encoding) as pixxel:
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", pixxel.connection_json())
        plain = get(context)
        assert "spec" not in plain
        assert not {"inputs", "result", "info_logs"} & plain["tasks"][0].keys()
        full = get(context, include=["spec", "inputs", "result", "info_logs"])
        assert isinstance(full["spec"], dict)
        assert isinstance(full["tasks"][0]["inputs"], dict)
        assert isinstance(full["tasks"][0]["result"], dict)
        assert isinstance(full["tasks"][0]["info_logs"], (str, list, dict))
        assert "truncated" not in full


def test_a_huge_job_is_cut_and_says_so(pixxel: Any, context: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", age=1000, seconds=1, fields={"spec": [120] * 200_000})
    job = get(context, job_id="job-1", include=["spec"])
    assert job["truncated"] == ["spec"]
    assert len(json.dumps(job)) <= 64 * 1024


@pytest.mark.parametrize(
    "arguments",
    [
        *({"include": each} for each in ("spec", ["everything"], 7)),
        *({"job_id": each} for each in ("", " ", None, 7, "..")),
        # Without an id, the newest job is chosen by these.
        *({**each, "job_id": ...} for each in ({"created_by": ""}, {"statuses": "failed"}, {"include": "x"})),
    ],
    ids=str,
)
def test_an_argument_that_can_not_be_used_is_refused_before_anything_is_asked(
    pixxel: Any, context: Any, arguments: dict[str, Any]
) -> None:
    with pytest.raises(PixxelInputError) as caught:
        get(context, **arguments)
    assert caught.value.field == next(iter(arguments))
    assert pixxel.counters.total == 0


def newest(context: Any, **arguments: Any) -> dict[str, Any]:
    return get(context, job_id=..., **arguments)


def test_without_an_id_the_job_that_ended_last_is_read_in_full(pixxel: Any, context: Any) -> None:
    pixxel.create_job("wf-succeeds", "runs")
    pixxel.create_job("wf-succeeds", "long", age=1000, seconds=990)
    pixxel.create_job("wf-succeeds", "short", age=500, seconds=1)
    job = newest(context, include=["spec"])
    assert (job["id"], len(job["tasks"]), isinstance(job["spec"], dict)) == ("long", 5, True)
    assert context["ti"].xcoms == {
        "_link_PixxelJobLink": "https://aurora.pixxel.space/",
        "job_id": "long",
        "workflow_id": "wf-succeeds",
        "pixxel_conn_id": "pixxel_default",
        "status": "completed",
        "cost": job["cost"],
    }
    assert (pixxel.requests("list_jobs"), pixxel.requests("get_job"), pixxel.counters.total) == (1, 1, 2)


@pytest.mark.parametrize(
    ("filters", "job_id"),
    [
        ({}, "bad"),
        ({"created_by": "me"}, "mine"),
        ({"statuses": ["Completed"]}, "mine"),
        ({"statuses": ["failed", "completed"]}, "bad"),
    ],
    ids=str,
)
def test_the_newest_job_is_chosen_by_user_and_status(
    pixxel: Any, context: Any, filters: dict[str, Any], job_id: str
) -> None:
    pixxel.create_job("wf-succeeds", "mine", age=1000, seconds=1, created_by="me")
    pixxel.create_job("wf-succeeds", "bad", age=900, seconds=1, course="wf-fails")
    assert newest(context, **filters)["id"] == job_id


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({}, ""),
        ({"created_by": "nobody", "statuses": ["failed"]}, " (created_by 'nobody'; statuses failed)"),
    ],
)
def test_a_workflow_without_a_job_that_ended_is_an_error_in_plain_words(
    pixxel: Any, context: Any, filters: dict[str, Any], words: str
) -> None:
    pixxel.create_job("wf-endless", "runs")
    operator = PixxelGetJobOperator(task_id="get", workflow_id="wf-endless", **filters)
    with pytest.raises(PixxelError) as caught:
        operator.execute(context)
    assert str(caught.value) == f"Pixxel lists no job of workflow wf-endless that has ended{words}"
    assert "job_id" not in context["ti"].xcoms
    assert pixxel.requests("get_job") == 0


@pytest.mark.parametrize("filters", [{"created_by": "me"}, {"statuses": ["failed"]}], ids=str)
def test_a_filter_beside_an_id_is_refused(filters: dict[str, Any]) -> None:
    with pytest.raises(PixxelInputError, match="leave out job_id"):
        PixxelGetJobOperator(task_id="get", workflow_id="w", job_id="j", **filters)


def test_a_wrong_key_fails_at_once(pixxel: Any, context: Any) -> None:
    pixxel.fail_next("get_job", status=401, times=0)
    with pytest.raises(PixxelAuthError):
        get(context)
    assert pixxel.requests("get_job") == 1


def test_trouble_that_lasts_a_minute_fails_with_the_servers_words(
    pixxel: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(CLOCK, "sleep", pauses.append)
    pixxel.fail_next("get_job", status=503, times=0)
    with pytest.raises(PixxelServerError, match="503"):
        get(context)
    assert sum(pauses) <= 60
    # What the task knows of its job is there all the same.
    assert context["ti"].xcoms["job_id"] == "job-finished"
    assert context["ti"].xcoms["pixxel_conn_id"] == "pixxel_default"
    assert context["ti"].xcoms["_link_PixxelJobLink"]


@pytest.mark.parametrize(
    ("operator", "arguments", "templated"),
    [
        (
            PixxelGetJobOperator,
            {"workflow_id": "{{ params.w }}", "job_id": "", "include": "spec"},
            ("workflow_id", "job_id", "pixxel_conn_id", "created_by"),
        ),
        (
            PixxelEstimateCostOperator,
            {"workflow_id": "", "max_cost": "{{ params.credits }}"},
            ("workflow_id", "pixxel_conn_id", "max_cost"),
        ),
    ],
)
def test_init_sends_and_checks_nothing_and_templates_are_a_tuple_of_attributes(
    pixxel: Any, operator: Any, arguments: dict[str, Any], templated: tuple[str, ...]
) -> None:
    task = operator(task_id="task", **arguments)
    assert pixxel.counters.total == 0
    assert task.template_fields == templated
    assert all(hasattr(task, name) for name in templated)
