from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.api import calls
from pixxel_provider.api.calls import Call, check_id
from pixxel_provider.api.errors import PixxelInputError, PixxelResponseError

# name: the call, method, path, parameters
TABLE: dict[str, tuple[Call[Any], str, str, dict[str, str]]] = {
    "get_job": (calls.get_job("w", "j"), "GET", "/v0/workflows/w/jobs/j", {}),
    "list_jobs": (calls.list_jobs("w"), "GET", "/v0/workflows/w/jobs", {}),
    "create_job": (calls.create_job("w", "p"), "POST", "/v0/workflows/w/jobs", {"project_id": "p"}),
    "get_workflow": (calls.get_workflow("w", "p"), "GET", "/v0/workflows/w", {"project_id": "p"}),
    "list_workflows": (calls.list_workflows(), "GET", "/v0/workflows", {"offset": "0", "limit": "50"}),
    "estimate_cost": (calls.estimate_cost("w"), "GET", "/v0/workflows/w/estimate", {}),
    "download_job": (calls.download_job("w", "j"), "PUT", "/v0/workflows/w/jobs/j/download", {}),
    "download_task": (
        calls.download_task("w", "j", "t"),
        "PUT",
        "/v0/workflows/w/jobs/j/tasks/t/download",
        {},
    ),
    "ping": (calls.ping(), "GET", "/ping", {}),
    "list_projects": (calls.list_projects(), "GET", "/v0/projects", {"page_num": "1", "page_size": "50"}),
}
# Every place where an id becomes a segment of a path, and the name an error should use.
PLACES: list[tuple[str, Callable[[Any], Call[Any]]]] = [
    ("workflow_id", lambda value: calls.get_job(value, "j")),
    ("job_id", lambda value: calls.get_job("w", value)),
    ("workflow_id", calls.list_jobs),
    ("workflow_id", lambda value: calls.create_job(value, "p")),
    ("workflow_id", lambda value: calls.get_workflow(value, "p")),
    ("workflow_id", calls.estimate_cost),
    ("workflow_id", lambda value: calls.download_job(value, "j")),
    ("job_id", lambda value: calls.download_job("w", value)),
    ("workflow_id", lambda value: calls.download_task(value, "j", "t")),
    ("job_id", lambda value: calls.download_task("w", value, "t")),
    ("task_id", lambda value: calls.download_task("w", "j", value)),
]
# Every place where a value becomes a parameter.
PARAMETERS: list[tuple[str, Callable[[Any], Call[Any]]]] = [
    ("project_id", lambda value: calls.create_job("w", value)),
    ("project_id", lambda value: calls.get_workflow("w", value)),
    ("id", lambda value: calls.list_jobs("w", job_id=value)),
    ("status", lambda value: calls.list_jobs("w", status=value)),
    ("created_by", lambda value: calls.list_jobs("w", created_by=value)),
    ("created_on", lambda value: calls.list_jobs("w", created_on=value)),
    ("project_id", lambda value: calls.list_workflows(project_id=value)),
    ("id", lambda value: calls.list_workflows(workflow_id=value)),
    ("name", lambda value: calls.list_workflows(name=value)),
    ("created_by", lambda value: calls.list_workflows(created_by=value)),
    ("created_on", lambda value: calls.list_workflows(created_on=value)),
    ("updated_at", lambda value: calls.list_workflows(updated_at=value)),
]
UNUSABLE = [None, 7, 1.5, True, b"j", ["j"], {}, "", " ", "\t\n", "\ud800", "a\udfffb", "a\x00", "x" * 513]


@pytest.mark.parametrize("name", TABLE)
def test_each_call_is_what_the_api_documents(name: str) -> None:
    call, method, path, params = TABLE[name]

    assert (call.name, call.method, call.path, call.params) == (name, method, path, params)
    assert str(call) == f"{method} {path}"


def test_only_the_billed_call_may_not_be_sent_twice_and_only_ping_carries_no_key() -> None:
    every = [call for call, *_ in TABLE.values()]

    assert [call.name for call in every if not call.safe] == ["create_job"]
    assert [call.name for call in every if not call.keyed] == ["ping"]


def test_a_call_is_a_value() -> None:
    assert calls.get_job("w", "j") == calls.get_job("w", "j")
    assert calls.list_jobs("w", status="done") == calls.list_jobs("w", status="done")
    assert calls.get_job("w", "j") != calls.get_job("w", "k")
    assert "function" not in repr(calls.list_projects())
    with pytest.raises(dataclasses.FrozenInstanceError):
        calls.ping().path = "/"  # type: ignore[misc]


@pytest.mark.parametrize(("field", "make"), PLACES)
@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("../x", "..%2Fx"),
        ("/", "%2F"),
        ("...", "..."),
        ("?", "%3F"),
        ("#", "%23"),
        ("a b ", "a%20b%20"),
        ("%2e%2e", "%252e%252e"),
        ("a\\b", "a%5Cb"),
        (";a=&b+", "%3Ba%3D%26b%2B"),
        ("é☃😀", "%C3%A9%E2%98%83%F0%9F%98%80"),
        ("{{ x }}", "%7B%7B%20x%20%7D%7D"),
        ("x" * 512, "x" * 512),
    ],
)
def test_an_id_reaches_the_server_quoted_and_in_one_segment(
    field: str, make: Callable[[Any], Call[Any]], value: str, segment: str
) -> None:
    plain, call = make("MARK"), make(value)

    assert call.path == plain.path.replace("MARK", segment)


@pytest.mark.parametrize(("field", "make"), PLACES)
@pytest.mark.parametrize("value", [*UNUSABLE, ".", ".."], ids=ascii)
def test_an_id_that_cannot_be_sent_is_refused_by_name(
    field: str, make: Callable[[Any], Call[Any]], value: object
) -> None:
    with pytest.raises(PixxelInputError) as caught:
        make(value)

    assert caught.value.field == field
    assert str(caught.value).encode()


@pytest.mark.parametrize(("field", "make"), PARAMETERS)
def test_a_parameter_goes_out_under_its_own_name_or_is_refused_by_it(
    field: str, make: Callable[[Any], Call[Any]]
) -> None:
    assert make("a/../ b?").params[field] == "a/../ b?"
    for value in UNUSABLE[1:]:
        with pytest.raises(PixxelInputError) as caught:
            make(value)
        assert caught.value.field == field


def test_the_project_is_no_filter_and_must_be_given() -> None:
    for make in (calls.create_job, calls.get_workflow):
        with pytest.raises(PixxelInputError, match=r"^project_id must be a string"):
            make("w", None)  # type: ignore[arg-type]


def test_filters_that_are_not_given_are_not_sent() -> None:
    assert calls.list_jobs("w", status="done").params == {"status": "done"}
    assert calls.list_workflows(name="n", offset=100, limit=7).params == {
        "name": "n",
        "offset": "100",
        "limit": "7",
    }


@given(st.text(alphabet=st.characters(exclude_categories=()), min_size=1, max_size=40))
def test_any_text_is_one_segment_or_an_input_error(value: str) -> None:
    unsendable = any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value)
    if unsendable or not value.strip() or value in (".", ".."):
        with pytest.raises(PixxelInputError, match=r"^job_id "):
            calls.get_job("w", value)
        return
    parts = urlsplit(f"https://host{calls.get_job('w', value).path}")
    segments = parts.path.split("/")

    assert (parts.query, parts.fragment, len(segments)) == ("", "", 6)
    assert segments[:5] == ["", "v0", "workflows", "w", "jobs"]
    assert segments[5] not in (".", "..")
    assert unquote(segments[5]) == value


def test_what_is_wrong_with_an_id_is_named() -> None:
    for value, words in (
        (None, r"^job_id must be a string, not NoneType; .*XCom"),
        (7, r"^job_id must be a string, not int$"),
        ("", "is empty"),
        ("x" * 600, "600 characters"),
        ("\ud800", "valid Unicode"),
        ("a\x00", "control character"),
        ("job-1\n", "line break"),
    ):
        with pytest.raises(PixxelInputError, match=words):
            check_id("job_id", value)
    assert check_id("job_id", " as it is ") == " as it is "


@pytest.mark.parametrize(
    ("field", "least", "make"),
    [
        ("offset", 0, lambda value: calls.list_workflows(offset=value)),
        ("limit", 1, lambda value: calls.list_workflows(limit=value)),
        ("page_num", 1, lambda value: calls.list_projects(page_num=value)),
        ("page_size", 1, lambda value: calls.list_projects(page_size=value)),
    ],
)
def test_windows_are_whole_numbers(field: str, least: int, make: Callable[[Any], Call[Any]]) -> None:
    assert make(least).params[field] == str(least)
    for value in (least - 1, True, False, 1.0, "1", None):
        with pytest.raises(PixxelInputError, match=rf"^{field} must be a whole number from {least} on"):
            make(value)


def test_an_estimate_is_a_number_of_credits_and_without_one_not_free() -> None:
    read = calls.estimate_cost("w").read
    assert [read({"estimated_cost": cost}) for cost in (12, "12", 12.0)] == [12] * 3
    for answer in (None, [], 12, {}, {"estimated_cost": None}, {"estimated_cost": float("nan")}):
        with pytest.raises(PixxelResponseError, match=r"^expected an estimated_cost, got "):
            read(answer)


def test_a_ping_is_a_string() -> None:
    assert calls.ping().read("pong") == "pong"
    for answer in (None, 1, ["pong"], {"ping": "pong"}):
        with pytest.raises(PixxelResponseError, match=r"^expected a string, got "):
            calls.ping().read(answer)


def test_jobs_of_a_list_are_slim_jobs() -> None:
    found = calls.list_jobs("w").read({"jobs": [{"id": "j", "status": "done"}, {"id": "k", "status": "x"}]})

    assert [(job.id, job.tasks) for job in found] == [("j", ()), ("k", ())]


def test_pages_know_their_total_where_the_api_says_it() -> None:
    workflows, projects = calls.list_workflows().read, calls.list_projects().read

    page = workflows({"workflows": [{"id": "a"}, {"id": "b"}], "pagination": {"total": 7}})
    assert ([workflow.id for workflow in page.items], page.total) == (["a", "b"], 7)
    page = projects({"projects": [{"id": "p"}], "count": "3"})
    assert ([project.id for project in page.items], page.total) == (["p"], 3)


@pytest.mark.parametrize("total", [None, -1, 2.5, "many", [], float("inf")])
def test_a_total_that_cannot_be_is_no_total(total: Any) -> None:
    assert calls.list_projects().read({"projects": None, "count": total}).total is None
    assert calls.list_workflows().read({"workflows": None, "pagination": {"total": total}}).total is None
    assert calls.list_workflows().read({"workflows": None, "pagination": total}).total is None


JOB = {"id": "Job-1", "workflow_id": "Workflow-1", "status": "completed"}
PACKAGE = {"status": "in_progress", "message": "later"}
#: What asks about one thing, and an answer without any id of it but the job's own.
ASKED: dict[str, tuple[Call[Any], dict[str, Any]]] = {
    "get_job": (calls.get_job("Workflow-1", "Job-1"), JOB),
    "create_job": (calls.create_job("Workflow-1", "p"), JOB),
    "get_workflow": (calls.get_workflow("Workflow-1", "p"), {"id": "Workflow-1", "name": "n"}),
    "download_job": (calls.download_job("Workflow-1", "Job-1"), PACKAGE),
    "download_task": (calls.download_task("Workflow-1", "Job-1", "t"), PACKAGE),
}


@pytest.mark.parametrize(
    ("name", "key", "what"),
    [
        ("get_job", "id", "job"),
        ("get_job", "workflow_id", "workflow"),
        ("create_job", "workflow_id", "workflow"),
        ("get_workflow", "id", "workflow"),
        ("download_job", "workflowId", "workflow"),
        ("download_job", "workflow_id", "workflow"),
        ("download_job", "job_id", "job"),
        ("download_task", "workflowId", "workflow"),
        ("download_task", "workflow_id", "workflow"),
        ("download_task", "job_id", "job"),
    ],
)
def test_an_answer_about_something_else_can_not_be_read(name: str, key: str, what: str) -> None:
    call, answer = ASKED[name]
    asked = f"{what.title()}-1"
    for same in (asked, asked.upper(), f" {asked.lower()}\n"):
        call.read({**answer, key: same})
    for other in (f"{asked}0", "other", 7, "x" * 100_000):
        with pytest.raises(PixxelResponseError) as caught:
            call.read({**answer, key: other})
        assert str(caught.value).startswith(f"expected {what} {asked!r}, got an answer about {what} ")
        assert len(str(caught.value)) < 1000
        assert caught.value.transient


@pytest.mark.parametrize("missing", [None, "", "  ", [], {}])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("get_job", "workflow_id"),
        ("create_job", "workflow_id"),
        ("download_job", "workflowId"),
        ("download_task", "job_id"),
    ],
)
def test_an_answer_that_leaves_an_id_out_is_taken(name: str, key: str, missing: Any) -> None:
    call, answer = ASKED[name]
    call.read({**answer, key: missing})
    call.read({kept: value for kept, value in answer.items() if kept != key})


@pytest.mark.parametrize("unsendable", [7, ["Job-1"], ".", "..", "a\nb", "x" * 513])
def test_a_new_job_has_an_id_that_can_be_sent(unsendable: Any) -> None:
    with pytest.raises(PixxelResponseError, match=r"^expected a (new )?job, got ") as caught:
        ASKED["create_job"][0].read({**JOB, "id": unsendable})
    assert len(str(caught.value)) < 200


def test_jobs_of_other_workflows_are_dropped_from_a_list() -> None:
    workflows = ["Workflow-1", "workflow-1 ", "", None, "Workflow-2", "other", 7]
    jobs = [{**JOB, "id": f"j{n}", "workflow_id": each} for n, each in enumerate(workflows)]
    jobs.append({"id": "j7", "status": "running"})
    found = calls.list_jobs("Workflow-1").read({"jobs": jobs})
    assert [job.id for job in found] == ["j0", "j1", "j2", "j3", "j7"]
