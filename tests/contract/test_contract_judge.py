"""The judge itself: it refuses what isn't documented, and it isn't skipped in CI."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ESTIMATE = "/v0/workflows/{workflow_id}/estimate"


def test_an_undocumented_path_is_refused(contract: ModuleType) -> None:
    with pytest.raises(AssertionError, match="no path"):
        contract.assert_request_in_contract("GET", "/v1/workflows")


def test_an_id_that_takes_two_segments_is_refused(contract: ModuleType) -> None:
    with pytest.raises(AssertionError, match="no path"):
        contract.assert_request_in_contract("GET", "/v0/workflows/a/b/estimate")


def test_an_undocumented_method_is_refused(contract: ModuleType) -> None:
    with pytest.raises(AssertionError, match="no method DELETE"):
        contract.assert_request_in_contract("DELETE", "/v0/workflows/w/jobs/j")


def test_an_undocumented_parameter_is_refused(contract: ModuleType) -> None:
    with pytest.raises(AssertionError, match="page"):
        contract.assert_request_in_contract("GET", "/v0/workflows", {"page": 1})


@pytest.mark.parametrize("params", [{}, {"project_id": ""}])
def test_a_required_parameter_has_to_be_there(contract: ModuleType, params: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="project_id"):
        contract.assert_request_in_contract("POST", "/v0/workflows/w/jobs", params)


def test_a_parameter_has_to_be_of_its_type(contract: ModuleType) -> None:
    with pytest.raises(AssertionError, match="limit"):
        contract.assert_request_in_contract("GET", "/v0/workflows", {"limit": "ten"})


def test_a_body_is_refused_where_none_is_documented(contract: ModuleType) -> None:
    with pytest.raises(AssertionError, match="body"):
        contract.assert_request_in_contract("POST", "/v0/workflows/w/jobs", {"project_id": "p"}, body={})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"estimated_cost": "4"},
        {"estimated_cost": 4, "currency": "credits"},
        {"estimated_cost": True},
        None,
    ],
)
def test_an_answer_with_a_property_missing_wrong_or_too_many_is_refused(
    contract: ModuleType, body: object
) -> None:
    contract.assert_answer_in_contract("GET", ESTIMATE, 200, {"estimated_cost": 4})

    with pytest.raises(AssertionError):
        contract.assert_answer_in_contract("GET", ESTIMATE, 200, body)


@pytest.mark.parametrize("status", [400, 404, 503])
def test_an_error_outside_the_envelope_is_refused(contract: ModuleType, status: int) -> None:
    contract.assert_answer_in_contract(
        "GET", "/v0/projects", status, {"error": {"code": "c", "message": "m", "details": None}}
    )

    with pytest.raises(AssertionError):
        contract.assert_answer_in_contract("GET", "/v0/projects", status, {"detail": "Not Found"})


def test_an_undocumented_success_is_refused(contract: ModuleType) -> None:
    with pytest.raises(AssertionError, match="doesn't answer 201"):
        contract.assert_answer_in_contract("POST", "/v0/workflows/w/jobs", 201, {})


def test_without_the_document_a_test_is_skipped_and_in_ci_it_fails(
    openapi_module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(openapi_module, "DOCUMENT", tmp_path / "absent.json")

    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="shared"):
        openapi_module.require()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="in CI"):
        openapi_module.require()


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("1", True), ("false", False), ("", False), (None, False)]
)
def test_ci_is_read_from_the_environment(
    openapi_module: ModuleType, monkeypatch: pytest.MonkeyPatch, value: str | None, expected: bool
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if value is not None:
        monkeypatch.setenv("CI", value)

    assert openapi_module.in_ci() is expected
