"""What the client asks is what Pixxel documents, and what Pixxel documents the client can read."""

from __future__ import annotations

import inspect
from typing import Any
from urllib.parse import unquote

import pytest

from pixxel_provider.api import calls
from pixxel_provider.api.calls import Call

CALLS: list[Call[Any]] = [
    calls.get_job("w", "a/b"),
    calls.list_jobs("w"),
    calls.list_jobs("w", job_id="j", status="s", created_by="u", created_on="2026-01-01"),
    calls.create_job("w", "p"),
    calls.get_workflow("w", "p"),
    calls.list_workflows(),
    calls.list_workflows(
        project_id="p",
        workflow_id="w",
        name="n",
        created_by="u",
        created_on="d",
        updated_at="d",
        offset=5,
        limit=7,
    ),
    calls.estimate_cost("w"),
    calls.download_job("w", "j"),
    calls.download_task("w", "j", "t"),
    calls.ping(),
    calls.list_projects(page_num=2, page_size=3),
]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_every_request_is_one_that_the_document_knows(contract: Any, call: Call[Any]) -> None:
    contract.assert_request_in_contract(call.method, call.path, call.params)
    assert call.keyed == contract.needs_key(call.method, call.path)


def test_no_call_is_left_out() -> None:
    made = {
        name
        for name, function in inspect.getmembers(calls, inspect.isfunction)
        if str(inspect.signature(function).return_annotation).startswith("Call[")
    }
    assert made == {call.name for call in CALLS}


def example(schema: dict[str, Any]) -> Any:
    """Return the plainest answer that satisfies a schema of the document."""
    for part in schema.get("allOf", ()):
        return example(part)
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {name: example(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema["items"])]
    return {"integer": 7, "number": 7.5, "string": "text", "boolean": True}.get(str(kind))


def about(call: Call[Any], answer: Any) -> Any:
    """Return the answer with the ids that were asked for, as any other is refused."""
    if not isinstance(answer, dict):
        return answer
    path = dict(zip(*[iter(unquote(part) for part in call.path.split("/")[2:])] * 2, strict=False))
    asked = {key: path.get("workflows") for key in ("workflow_id", "workflowId")}
    asked["job_id"] = path.get("jobs")
    if call.name in ("get_job", "get_workflow"):
        asked["id"] = path.get("jobs", path.get("workflows"))
    return {**answer, **{key: value for key, value in asked.items() if value is not None and key in answer}}


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_every_documented_answer_can_be_read(contract: Any, call: Call[Any]) -> None:
    _, operation = contract.operation(call.method, call.path)
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    answer = about(call, example(contract.strict(schema)))
    contract.assert_answer_in_contract(call.method, call.path, 200, answer)
    assert call.read(answer) is not None
