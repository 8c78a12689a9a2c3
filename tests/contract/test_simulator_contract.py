"""The simulator is what Pixxel's published document says: each operation and answer, all of a job's life."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import requests

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.clock import frozen
from pixxel_provider.simulator.plans import WORKFLOWS
from pixxel_provider.simulator.routing import OPERATIONS
from pixxel_provider.simulator.server import Simulator

JOB = "/v0/workflows/wf-succeeds/jobs/job-finished"
JOBS = "/v0/workflows/wf-succeeds/jobs"
TASK = f"{JOB}/tasks/job-finished-task-1"
PROJECT = {"project_id": "project-agriculture"}
DAY = "2025-12-31"

ROWS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", JOB, {}),
    ("GET", JOBS, {}),
    (
        "GET",
        JOBS,
        {"id": "job-finished", "status": "completed", "created_by": "user-simulator-1", "created_on": DAY},
    ),
    ("POST", JOBS, PROJECT),
    ("GET", "/v0/workflows/wf-succeeds", PROJECT),
    ("GET", "/v0/workflows", {}),
    ("GET", "/v0/workflows", {**PROJECT, "id": "wf-fails", "name": "Crop stress over a cloudy valley"}),
    (
        "GET",
        "/v0/workflows",
        {"created_by": "user-simulator-1", "created_on": "2025-06-01", "updated_at": "2025-06-01"},
    ),
    ("GET", "/v0/workflows", {"offset": 1, "limit": 2}),
    ("GET", "/v0/workflows/wf-succeeds/estimate", {}),
    ("PUT", f"{JOB}/download", {}),
    ("PUT", f"{TASK}/download", {}),
    ("GET", "/ping", {}),
    ("GET", "/v0/projects", {}),
    ("GET", "/v0/projects", {"page_num": 2, "page_size": 1}),
]


def ask(
    pixxel: Simulator, method: str, path: str, params: dict[str, Any], key: str | None = ""
) -> requests.Response:
    headers = {} if key is None else {"Authorization": key or pixxel.key}
    return requests.request(method, pixxel.url + path, params=params, headers=headers, timeout=10)


def test_the_rows_are_all_operations_of_the_simulator() -> None:
    from pixxel_provider.simulator.routing import match

    named = {match(method, path)[0] for method, path, _ in ROWS}

    assert named == {operation.name for operation in OPERATIONS} - {"download_file"}


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.name != "download_file"], ids=lambda o: o.name
)
def test_each_operation_has_the_documented_path_and_method(contract: ModuleType, operation: Any) -> None:
    template, _ = contract.operation(operation.method, operation.template)

    assert template == operation.template


@pytest.mark.parametrize(("method", "path", "params"), ROWS)
def test_requests_and_good_answers_are_in_the_contract(
    contract: ModuleType, pixxel: Simulator, method: str, path: str, params: dict[str, Any]
) -> None:
    answer = ask(pixxel, method, path, params)

    contract.assert_request_in_contract(method, path, params)
    assert answer.status_code == 200, answer.text
    contract.assert_answer_in_contract(method, path, 200, answer.json())
    if isinstance(answer.json(), dict):
        assert any(answer.json().values())


@pytest.mark.parametrize(("method", "path", "params"), ROWS)
@pytest.mark.parametrize(("key", "status"), [(None, 401), ("wrong", 401), ("no-access", 403)])
def test_a_key_is_wanted_exactly_where_the_contract_says_so(
    contract: ModuleType,
    pixxel: Simulator,
    method: str,
    path: str,
    params: dict[str, Any],
    key: str | None,
    status: int,
) -> None:
    answer = ask(pixxel, method, path, params, key)

    expected = status if contract.needs_key(method, path) else 200
    assert answer.status_code == expected
    contract.assert_answer_in_contract(method, path, expected, answer.json())


@pytest.mark.parametrize("plan", WORKFLOWS, ids=lambda plan: plan.id)
def test_jobs_are_in_the_contract_all_their_life(contract: ModuleType, pixxel: Simulator, plan: Any) -> None:
    jobs = f"/v0/workflows/{plan.id}/jobs"
    created = ask(pixxel, "POST", jobs, {"project_id": plan.project_id}).json()
    contract.assert_answer_in_contract("POST", jobs, 200, created)
    for _ in range(15):
        full = ask(pixxel, "GET", f"{jobs}/{created['id']}", {}).json()
        contract.assert_answer_in_contract("GET", f"{jobs}/{created['id']}", 200, full)
        contract.assert_answer_in_contract("GET", jobs, 200, ask(pixxel, "GET", jobs, {}).json())
        pixxel.advance(10)


def test_a_package_is_in_the_contract_while_it_is_prepared_and_when_it_is_ready(
    contract: ModuleType, pixxel: Simulator
) -> None:
    for path in (f"{JOB}/download", f"{TASK}/download"):
        for status in ("pending", "ready"):
            body = ask(pixxel, "PUT", path, {}).json()
            assert body["status"] == status
            contract.assert_answer_in_contract("PUT", path, 200, body)
            pixxel.advance(5)


@pytest.mark.parametrize(
    ("method", "path", "params", "status"),
    [
        ("GET", f"{JOBS}/nope", {}, 404),
        ("GET", f"{JOBS}/a%2Fb", {}, 404),
        ("GET", "/v0/workflows/nope/jobs", {}, 404),
        ("GET", JOBS, {"created_on": "yesterday"}, 400),
        ("POST", JOBS, {}, 400),
        ("POST", JOBS, {"project_id": "nope"}, 404),
        ("GET", "/v0/workflows/wf-succeeds", {}, 400),
        ("GET", "/v0/workflows/nope", PROJECT, 404),
        ("GET", "/v0/workflows", {"limit": "many"}, 400),
        ("GET", "/v0/workflows/nope/estimate", {}, 404),
        ("PUT", f"{JOBS}/nope/download", {}, 404),
        ("PUT", f"{JOB}/tasks/nope/download", {}, 404),
        ("GET", "/v0/projects", {"page_num": 0}, 400),
    ],
)
def test_errors_are_in_the_contract(
    contract: ModuleType, pixxel: Simulator, method: str, path: str, params: dict[str, Any], status: int
) -> None:
    answer = ask(pixxel, method, path, params)

    assert answer.status_code == status
    contract.assert_answer_in_contract(method, path, status, answer.json())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 503])
def test_faults_in_the_envelope_are_in_the_contract(
    contract: ModuleType, pixxel: Simulator, status: int
) -> None:
    pixxel.fail_next("get_job", status=status)

    answer = ask(pixxel, "GET", JOB, {})

    assert answer.status_code == status
    contract.assert_answer_in_contract("GET", JOB, status, answer.json())


@pytest.mark.parametrize("encoding", ["base64", "json"])
def test_byte_fields_in_another_encoding_are_outside_the_contract(
    contract: ModuleType, encoding: str
) -> None:
    with serve(clock=frozen(), bytes_as=encoding) as pixxel:
        body = ask(pixxel, "GET", JOB, {}).json()

    with pytest.raises(AssertionError, match=r"spec"):
        contract.assert_answer_in_contract("GET", JOB, 200, body)
