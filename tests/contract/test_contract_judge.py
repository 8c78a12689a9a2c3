"""The judge itself: it refuses what isn't documented, and it isn't skipped in CI."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.contract import openapi

ESTIMATE = "/v0/workflows/{workflow_id}/estimate"


JOBS = "/v0/workflows/w/jobs"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (("GET", "/v1/workflows"), "no path"),
        # An id that takes two segments.
        (("GET", "/v0/workflows/a/b/estimate"), "no path"),
        (("DELETE", f"{JOBS}/j"), "no method DELETE"),
        (("GET", "/v0/workflows", {"page": 1}), "page"),
        (("POST", JOBS, {}), "project_id"),
        (("POST", JOBS, {"project_id": ""}), "project_id"),
        (("GET", "/v0/workflows", {"limit": "ten"}), "limit"),
        (("POST", JOBS, {"project_id": "p"}, {}), "body"),
    ],
)
def test_a_request_that_is_not_documented_is_refused(
    contract: ModuleType, request_: tuple[Any, ...], words: str
) -> None:
    with pytest.raises(AssertionError, match=words):
        contract.assert_request_in_contract(*request_)


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
        contract.assert_answer_in_contract("POST", JOBS, 201, {})


def test_without_the_document_a_test_is_skipped_and_in_ci_it_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(openapi, "DOCUMENT", tmp_path / "absent.json")

    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="shared"):
        openapi.require()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="in CI"):
        openapi.require()


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("1", True), ("false", False), ("", False), (None, False)]
)
def test_ci_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: bool
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if value is not None:
        monkeypatch.setenv("CI", value)

    assert openapi.in_ci() is expected
