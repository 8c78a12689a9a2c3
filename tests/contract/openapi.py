"""Pixxel's published OpenAPI document as a strict judge of requests and answers.

The document isn't part of this repository: it is looked for in the folder ``shared`` beside the repository.
Where it says ``properties``, this judge wants all of them and no other; the document itself wants none.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

DOCUMENT = Path(__file__).resolve().parents[2].parent / "shared" / "pixxel-openapi.json"
ENVELOPE = {"$ref": "#/components/schemas/common.ErrorResponse"}


def require() -> None:
    """Skip the test where the document is absent; in CI, fail it."""
    if not DOCUMENT.is_file():
        reason = "Pixxel's OpenAPI document isn't in the folder 'shared' beside this repository"
        if in_ci():
            pytest.fail(f"{reason}; in CI it has to be")
        pytest.skip(reason)


def in_ci() -> bool:
    return os.environ.get("CI", "").strip().lower() not in ("", "0", "false", "no")


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    result = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    assert isinstance(result, dict)
    return result


def operation(method: str, path: str) -> tuple[str, dict[str, Any]]:
    """The template and the operation of a path, which may be a template itself or hold quoted ids."""
    segments = path.split("/")
    best: tuple[int, str] | None = None
    for template in document()["paths"]:
        parts = template.split("/")
        if len(parts) == len(segments) and all(map(_fits, parts, segments)):
            literals = sum(not part.startswith("{") for part in parts)
            best = max(best, (literals, template)) if best else (literals, template)
    assert best is not None, f"{path} is no path of the contract"
    methods = document()["paths"][best[1]]
    assert method.lower() in methods, f"{best[1]} has no method {method}"
    return best[1], methods[method.lower()]


def needs_key(method: str, path: str) -> bool:
    """True if the contract wants a key for this operation."""
    return bool(operation(method, path)[1].get("security"))


def assert_request_in_contract(
    method: str, path: str, params: Mapping[str, Any] | None = None, body: object = None
) -> None:
    """The path, the method and each query parameter are documented, and none that is required is missing."""
    template, described = operation(method, path)
    query = {each["name"]: each for each in described.get("parameters", ()) if each["in"] == "query"}
    given = dict(params or {})
    unknown = sorted(given.keys() - query.keys())
    assert not unknown, f"{method} {template} has no query parameter {', '.join(unknown)}"
    required = {name for name, each in query.items() if each.get("required")}
    lacking = sorted(required - given.keys())
    assert not lacking, f"{method} {template} needs the query parameter {', '.join(lacking)}"
    for name, value in given.items():
        kind = query[name]["schema"]["type"]
        text = str(value)
        assert text != "" or name not in required, f"{name} is empty"
        assert kind != "integer" or re.fullmatch(r"-?\d+", text), f"{name}={text!r} is not an integer"
    assert body is None or "requestBody" in described, f"{method} {template} takes no body"


def assert_answer_in_contract(method: str, path: str, status: int, body: object) -> None:
    """The decoded body is what the contract says for this status, to the letter.

    Statuses that aren't documented for an operation, and errors that are documented as just any object, have
    to be in the error envelope.
    """
    template, described = operation(method, path)
    responses = described["responses"]
    schema: dict[str, Any] = ENVELOPE
    if str(status) in responses:
        schema = responses[str(status)]["content"]["application/json"]["schema"]
        if status >= 400 and schema.get("type") == "object" and not schema.get("properties"):
            schema = ENVELOPE
    else:
        assert status >= 400, f"{method} {template} doesn't answer {status}"
    wrong = list(_errors(schema, body))
    assert not wrong, f"{method} {template} {status}: " + "; ".join(wrong)


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as JSON Schema, references resolved: every property required, no other allowed."""
    if "$ref" in schema:
        return strict(_resolve(schema["$ref"]))
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            result["properties"] = {name: strict(each) for name, each in value.items()}
            result["required"] = sorted(value)
            result["additionalProperties"] = False
        elif key == "items":
            result["items"] = strict(value)
        elif key in ("allOf", "anyOf", "oneOf"):
            result[key] = [strict(each) for each in value]
        elif key in ("type", "enum", "format", "minimum", "maximum", "pattern", "additionalProperties"):
            result.setdefault(key, value)
    if schema.get("nullable") and "type" in result:
        result["type"] = [result["type"], "null"]
    return result


def _errors(schema: Mapping[str, Any], body: object) -> Iterator[str]:
    for error in Draft7Validator(strict(schema)).iter_errors(body):
        yield f"{error.json_path}: {error.message[:200]}"


def _resolve(reference: str) -> dict[str, Any]:
    found: Any = document()
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    assert isinstance(found, dict)
    return found


def _fits(part: str, segment: str) -> bool:
    return part == segment or (part.startswith("{") and segment != "")
