"""The answers of the API other than jobs: workflows, projects, downloads, and a page of a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from pixxel_provider.api import parsing
from pixxel_provider.api.errors import PixxelResponseError
from pixxel_provider.api.job import Late, ValidationError, reading_kind

T = TypeVar("T")


@dataclass(frozen=True)
class Workflow:
    """Data blocks and processing blocks, connected; a job is one run of it."""

    id: str
    name: str
    description: str
    project_id: str
    created_by: str
    estimated_cost: int | float | None
    """Credits (tokens); None in a list, which doesn't have it."""
    created_at: datetime | None
    updated_at: datetime | None
    val_errors: tuple[ValidationError, ...] = ()
    raw: Mapping[str, Any] = field(repr=False, compare=False, default_factory=dict)

    spec = Late("spec", parsing.raw_bytes, "The workflow's specification, decoded from its bytes.")

    @classmethod
    def read(cls, answer: Any) -> Workflow:
        """Read a workflow; raises :class:`PixxelResponseError` if the answer has no ``id``."""
        raw = _with_id(answer, "a workflow")
        errors = raw.get("val_errors")
        names = ("id", "name", "description", "project_id", "created_by")
        texts: Any = {name: parsing.text(raw.get(name)) for name in names}
        return cls(
            **texts,
            estimated_cost=parsing.number(raw.get("estimated_cost")),
            created_at=parsing.timestamp(raw.get("created_at")),
            updated_at=parsing.timestamp(raw.get("updated_at")),
            val_errors=tuple(map(ValidationError.read, errors if isinstance(errors, list) else ())),
            raw=raw,
        )


@dataclass(frozen=True)
class Project:
    """The owner of workflows. ``name`` is a slug, ``title`` what people see."""

    id: str
    name: str
    title: str

    @classmethod
    def read(cls, answer: Any) -> Project:
        """Read a project; raises :class:`PixxelResponseError` if the answer has no ``id``."""
        raw = _with_id(answer, "a project")
        return cls(*(parsing.text(raw.get(key)) for key in ("id", "name", "title")))


@dataclass(frozen=True)
class Download:
    """A package of a job's or a task's files. ``signed_url`` is a secret that expires: it is in no repr."""

    id: str
    status: str
    signed_url: str = field(repr=False)

    @classmethod
    def read(cls, answer: Any) -> Download:
        """Read the answer to a request for a download.

        :raises PixxelResponseError: it has no ``status``.
        """
        if not isinstance(answer, Mapping) or not parsing.text(answer.get("status")).strip():
            raise PixxelResponseError(
                f"expected a download, got {reading_kind(answer)} without a usable 'status'"
            )
        return cls(*(parsing.text(answer.get(key)) for key in ("id", "status", "signed_url")))


@dataclass(frozen=True)
class Page(Generic[T]):
    """Part of a list, and its total length (None if the API didn't send it)."""

    items: tuple[T, ...]
    total: int | None = None


def read_list(answer: Any, key: str, read: Callable[[Any], T]) -> list[T]:
    """Read ``{key: [...]}``; an unreadable entry is an error, as a list must not shrink unnoticed.

    Null means an empty list, as in Go's JSON.

    :raises PixxelResponseError: the answer isn't such an object, or an entry isn't what it should be.
    """
    if not isinstance(answer, Mapping) or key not in answer:
        raise PixxelResponseError(f"expected an object with {key!r}, got {reading_kind(answer)}")
    entries = answer[key]
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise PixxelResponseError(f"expected a list under {key!r}, got {reading_kind(entries)}")
    return [read(entry) for entry in entries]


def _with_id(answer: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping):
        raise PixxelResponseError(f"expected {what}, got {reading_kind(answer)}")
    if not parsing.text(answer.get("id")).strip():
        raise PixxelResponseError(f"expected {what}, got an object without a usable 'id'")
    return answer
