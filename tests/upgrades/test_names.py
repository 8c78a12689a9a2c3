"""The DAG files that a release is recorded with use every public name, and every argument of it."""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DAGS = Path(__file__).resolve().parent / "dags"
#: Modules of which everything is public that they define or export (docs/upgrades.rst).
WHOLE = (
    *("sensors.pixxel", "operators.pixxel", "hooks.pixxel", "links.pixxel", "assets"),
    *("api.errors", "download.errors", "outcome", "job_creation.creator", "job_creation.cost_limit"),
)
#: In those, what isn't: Airflow calls it, or it has to do with how the package works.
NOT_PUBLIC = {
    *("convert_asset_to_openlineage", "sanitize_uri", "publish_link", "api_error_class", "rebuild"),
    *("event_of", "result_of", "conclude", "started_at", "why_no_result", "without_causes"),
    *("Action", "CreatedJob", "JobCreator", "check_estimate", "read_max_cost"),
}
PUBLIC_TRIGGERS = {"PixxelJobTrigger", "PixxelJobEventTrigger"}
#: For tests, and of a base class that others derive from.
NOT_ARGUMENTS = {"self", "clock", "poll", "target"}


def module(name: str) -> ModuleType:
    return import_module(f"pixxel_provider.{name}")


def public_names() -> set[str]:
    """Return the names that people import."""
    found = set(PUBLIC_TRIGGERS)
    for name in WHOLE:
        here = module(name)
        own = {
            key
            for key, value in vars(here).items()
            if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == here.__name__
        }
        found |= {each for each in (getattr(here, "__all__", None) or own) if not each.startswith("_")}
    return found - NOT_PUBLIC


def calls_of_api() -> dict[str, Any]:
    """Return the functions that return a call."""
    functions = inspect.getmembers(module("api.calls"), inspect.isfunction)
    return {
        name: each
        for name, each in functions
        if not name.startswith("_") and str(inspect.signature(each).return_annotation).startswith("Call[")
    }


def arguments_of(kind: Any) -> set[str]:
    """Return the arguments of a class or function that this package names, in its signature or docstring."""
    kinds = [each for each in getattr(kind, "__mro__", ()) if each.__module__.startswith("pixxel_provider")]
    called = [vars(each)["__init__"] for each in kinds if "__init__" in vars(each)] or [kind]
    parameters = [each for one in called for each in inspect.signature(one).parameters.values()]
    # Such as **kwargs, which a docstring may describe as well.
    others = {each.name for each in parameters if each.kind is each.VAR_KEYWORD}
    described = {name for each in kinds for name in re.findall(r":param (\w+):", each.__doc__ or "")}
    return ({each.name for each in parameters} | described) - others - NOT_ARGUMENTS


def used() -> tuple[set[str], dict[str, set[str]]]:
    """Return the names that the DAG files import, and the keywords they give to what they call, by name."""
    names: set[str] = set()
    keywords: dict[str, set[str]] = defaultdict(set)
    for file in DAGS.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        dicts = {
            target.id: set(ast.literal_eval(ast.List(node.value.keys)))
            for node in ast.walk(tree)
            if isinstance(node, (ast.AnnAssign, ast.Assign)) and isinstance(node.value, ast.Dict)
            for target in ([node.target] if isinstance(node, ast.AnnAssign) else node.targets)
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pixxel_provider"):
                names |= {each.name for each in node.names}
            elif isinstance(node, ast.Call):
                keywords[_name(node.func)] |= set(_keywords(node, dicts))
    return names, keywords


def _name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def _keywords(call: ast.Call, dicts: dict[str, set[str]]) -> Iterator[str]:
    for each in call.keywords:
        if each.arg is not None:
            yield each.arg
        elif isinstance(each.value, ast.Name):
            yield from dicts.get(each.value.id, ())


def test_every_public_name_is_imported() -> None:
    names, keywords = used()
    assert public_names() - names == set()
    assert calls_of_api().keys() - keywords.keys() == set()


def test_every_argument_is_given() -> None:
    _, keywords = used()
    kinds = {name: getattr(module("operators.pixxel"), name) for name in module("operators.pixxel").__all__}
    kinds |= {
        "PixxelJobSensor": module("sensors.pixxel").PixxelJobSensor,
        "PixxelJobTrigger": module("triggers.pixxel").PixxelJobTrigger,
        "PixxelJobEventTrigger": module("triggers.events").PixxelJobEventTrigger,
        "watched_workflow": module("assets").watched_workflow,
        "create_asset": module("assets").create_asset,
        "asset_uri": module("assets").asset_uri,
        "PixxelHook": module("hooks.pixxel").PixxelHook,
    }
    missing = {name: arguments_of(kind) - keywords[name] for name, kind in kinds.items()}
    assert {name: each for name, each in missing.items() if each} == {}


@pytest.mark.parametrize("hook", ["PixxelHook", "PixxelAsyncHook"])
def test_every_method_of_a_hook_is_called(hook: str) -> None:
    kind = getattr(module("hooks.pixxel"), hook)
    methods = {
        name for name, each in vars(kind).items() if not name.startswith("_") and inspect.isfunction(each)
    }
    # How it works: the clients' own parts.
    methods -= {"exchange", "adopt"}
    assert methods - used()[1].keys() == set()
