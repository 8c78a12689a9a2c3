from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelResponseError
from pixxel_provider.api.models import Download, Page, Project, Workflow, read_list

NO_OBJECTS = [(None, "null"), (True, "a boolean"), ("x", "a string"), (1, "a number"), (1.5, "a number")]
NO_OBJECTS.append(([], "a list"))


def test_a_workflow_is_read_in_full() -> None:
    found = Workflow.read(
        {
            "id": "w",
            "name": "ndvi",
            "description": "greenness",
            "project_id": "p",
            "created_by": "ada",
            "estimated_cost": "120",
            "created_at": "2026-01-02T03:04:05Z",
            "updated_at": "0001-01-01T00:00:00Z",
            "val_errors": [{"from": "a", "to": "b", "err": "no"}, "plain"],
            "spec": list(b'{"a": 1}'),
        }
    )

    assert (found.id, found.name, found.description) == ("w", "ndvi", "greenness")
    assert (found.project_id, found.created_by, found.estimated_cost) == ("p", "ada", 120)
    assert found.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert found.updated_at is None
    assert [(e.source, e.target, e.err) for e in found.val_errors] == [("a", "b", "no"), ("", "", "plain")]
    assert found.spec == {"a": 1}


def test_a_workflow_needs_no_more_than_an_id() -> None:
    found = Workflow.read({"id": 7, "val_errors": {"no": "list"}, "estimated_cost": "cheap"})

    assert (found.id, found.name, found.estimated_cost, found.val_errors) == ("7", "", None, ())


def test_a_project_is_read() -> None:
    assert Project.read({"id": "p", "name": "coast", "title": "Coast"}) == Project("p", "coast", "Coast")


@pytest.mark.parametrize(("reader", "what"), [(Workflow.read, "a workflow"), (Project.read, "a project")])
def test_what_has_no_id_is_not_taken(reader: Any, what: str) -> None:
    for answer, kind in NO_OBJECTS:
        with pytest.raises(PixxelResponseError, match=rf"^expected {what}, got {kind}$"):
            reader(answer)
    for answer in ({}, {"id": None}, {"id": " "}, {"id": ["x"]}, {"id": True}):
        with pytest.raises(
            PixxelResponseError, match=rf"^expected {what}, got an object without a usable 'id'$"
        ):
            reader(answer)


def test_a_download_is_read_and_its_url_is_in_no_repr() -> None:
    found = Download.read({"id": "d", "status": "ready", "signed_url": "https://files.example/?sig=s3cr3t"})

    assert (found.id, found.status) == ("d", "ready")
    assert found.signed_url == "https://files.example/?sig=s3cr3t"
    assert "s3cr3t" not in repr(found) + str(found)


def test_a_download_that_is_not_ready_has_no_url_yet() -> None:
    assert Download.read({"status": "pending", "signed_url": None}) == Download("", "pending", "")


@pytest.mark.parametrize(
    "answer", [*(answer for answer, _ in NO_OBJECTS), {}, {"status": " "}, {"status": []}]
)
def test_a_download_without_a_status_is_not_taken(answer: Any) -> None:
    with pytest.raises(PixxelResponseError, match=r"^expected a download, got .* without a usable 'status'$"):
        Download.read(answer)


def test_a_list_is_read_entry_by_entry() -> None:
    assert read_list({"things": [1, 2], "other": 3}, "things", str) == ["1", "2"]


def test_null_is_an_empty_list_and_a_missing_one_is_an_error() -> None:
    assert read_list({"things": None}, "things", str) == []
    for answer, _ in [*NO_OBJECTS, ({}, "")]:
        with pytest.raises(PixxelResponseError, match=r"^expected an object with 'things', got "):
            read_list(answer, "things", str)


@pytest.mark.parametrize("entries", [{}, "x", 1, False])
def test_what_is_no_list_is_not_taken_for_one(entries: Any) -> None:
    with pytest.raises(PixxelResponseError, match=r"^expected a list under 'things', got "):
        read_list({"things": entries}, "things", str)


def test_a_list_never_shrinks_unnoticed() -> None:
    with pytest.raises(PixxelResponseError, match=r"'id'"):
        read_list({"projects": [{"id": "p"}, {}]}, "projects", Project.read)


def test_a_page_that_does_not_say_has_no_total() -> None:
    assert Page((1, 2)).total is None
