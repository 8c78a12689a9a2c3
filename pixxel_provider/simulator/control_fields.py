"""What the bodies of control requests may hold, and what is said about one that is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import Request

from pixxel_provider.simulator.problems import Problem

_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a whole number"}


async def read_json(request: Request) -> Any:
    """The request's body. Raises Problem 400."""
    try:
        return await request.json()
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from error


def read_fields(body: Any, allowed: dict[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
    """The body's fields, each of its type. Raises Problem 400 that names the field."""
    if not isinstance(body, dict):
        raise Problem(400, f"the body must be an object with some of: {', '.join(allowed)}")
    for name, value in body.items():
        if name not in allowed:
            raise Problem(400, f"{name}: there is no such field; the fields are {', '.join(allowed)}")
        wrong_bool = isinstance(value, bool) and allowed[name] is not bool
        if wrong_bool or not isinstance(value, allowed[name]):
            raise Problem(400, f"{name}: must be {_NAMES.get(allowed[name], 'a number')}")
        if isinstance(value, list) and not all(isinstance(each, str) for each in value):
            raise Problem(400, f"{name}: must be a list of texts")
    for name in required:
        if name not in body:
            raise Problem(400, f"{name}: is required")
    return dict(body)
