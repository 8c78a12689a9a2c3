"""What OpenLineage allows: its core spec and its own classes of facets, and the schemas of this package's."""

from __future__ import annotations

import json
import re
import typing
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from openlineage.client import facet_v2
from openlineage.client.event_v2 import Dataset, InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.serde import Serde
from referencing import Registry, Resource

from pixxel_provider import lineage

FACETS = Path(lineage.__file__).parent / "facets" / lineage.SCHEMA_VERSION

# What OpenLineage's core spec 2-0-2 demands of an event about a run. No Python package has the spec itself.
CORE = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
_BASE_FACET = {
    "type": "object",
    "properties": {each: {"type": "string", "format": "uri"} for each in ("_producer", "_schemaURL")},
    "required": ["_producer", "_schemaURL"],
}
_DELETABLE = {**_BASE_FACET, "properties": {**_BASE_FACET["properties"], "_deleted": {"type": "boolean"}}}


def _named(facets: dict[str, str]) -> dict[str, Any]:
    """Something with a namespace and a name, and with facets under some keys."""
    maps = {
        key: {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{facet}"}}
        for key, facet in facets.items()
    }
    texts = {"namespace": {"type": "string"}, "name": {"type": "string"}}
    return {"type": "object", "properties": {**texts, **maps}, "required": list(texts)}


SPEC: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": CORE,
    "$defs": {
        "RunEvent": {
            "type": "object",
            "properties": {
                "eventTime": {"type": "string", "format": "date-time"},
                "producer": {"type": "string", "format": "uri"},
                "schemaURL": {"type": "string", "format": "uri"},
                "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
                "run": {
                    "type": "object",
                    "properties": {
                        "runId": {"type": "string", "format": "uuid"},
                        "facets": {"additionalProperties": {"$ref": "#/$defs/RunFacet"}},
                    },
                    "required": ["runId"],
                },
                "job": _named({"facets": "JobFacet"}),
                "inputs": {
                    "type": "array",
                    "items": _named({"facets": "DatasetFacet", "inputFacets": "RunFacet"}),
                },
                "outputs": {
                    "type": "array",
                    "items": _named({"facets": "DatasetFacet", "outputFacets": "RunFacet"}),
                },
            },
            "required": ["eventTime", "producer", "schemaURL", "run", "job"],
        },
        "RunFacet": _BASE_FACET,
        "JobFacet": _DELETABLE,
        "DatasetFacet": _DELETABLE,
    },
    "$ref": "#/$defs/RunEvent",
}
FORMATS = FormatChecker()


@FORMATS.checks("uri")
def _is_uri(value: object) -> bool:
    return bool(urlsplit(str(value)).scheme) and not re.search(r"\s", str(value))


@FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return datetime.fromisoformat(str(value)).tzinfo is not None


def schemas() -> dict[str, Any]:
    """The JSON schemas of this package's facets, by the key that each has in an event."""
    found = {}
    for file in FACETS.glob("*.json"):
        schema = json.loads(file.read_text(encoding="utf-8"))
        (key,) = schema["properties"]
        found[key] = schema
    return found


def check(schema: dict[str, Any], value: Any) -> None:
    registry: Any = Registry().with_resource(CORE, Resource.from_contents(SPEC))
    Draft202012Validator(schema, registry=registry, format_checker=FORMATS).validate(value)


def _kinds() -> dict[str, Any]:
    """The classes of the standard facets and of this package's, by name. Airflow's have no schemas' names."""
    return {
        each.__name__: each for base in facet_v2.BaseFacet.__subclasses__() for each in base.__subclasses__()
    }


def _made(facets: dict[str, Any]) -> dict[str, Any]:
    """The same facets, made anew by their classes, so that these demand their fields and validate them."""
    found = dict(facets)
    for key, facet in facets.items():
        kind = _kinds().get(facet["_schemaURL"].rpartition("/")[2])
        if kind is not None:
            fields = {name: value for name, value in facet.items() if name != "_schemaURL"}
            found[key] = kind(**{name.removeprefix("_"): value for name, value in fields.items()})
            hints = typing.get_type_hints(kind)
            for name, value in fields.items():
                types = typing.get_args(hints[name]) or (hints[name],)
                # The classes check no types; ours have schemas for that.
                if kind.__module__.startswith("openlineage.") and {*types} <= {str, int, bool, type(None)}:
                    assert isinstance(value, types), f"{name} is not {hints[name]}"
    return found


def check_event(event: dict[str, Any]) -> None:
    """The core spec allows the event, OpenLineage's classes make the same one, and so do all its facets'."""
    check(SPEC, event)
    datasets = [*event["inputs"], *event["outputs"]]
    for facets in [event["run"]["facets"], *(each["facets"] for each in datasets), event["job"]["facets"]]:
        for key in facets.keys() & schemas().keys():
            check(schemas()[key], {key: facets[key]})
    run, job = event["run"], event["job"]
    made = RunEvent(
        eventTime=event["eventTime"],
        eventType=RunState(event["eventType"]),
        producer=event["producer"],
        run=Run(run["runId"], _made(run["facets"])),
        job=Job(job["namespace"], job["name"], _made(job["facets"])),
        inputs=[_dataset(each, InputDataset) for each in event["inputs"]],
        outputs=[_dataset(each, OutputDataset) for each in event["outputs"]],
    )
    assert Serde.to_dict(made) == event


def _dataset(found: dict[str, Any], kind: Any) -> Dataset:
    facets = {key: _made(value) for key, value in found.items() if isinstance(value, dict)}
    # What Airflow makes of an asset has no facets of inputs or outputs.
    return (kind if len(facets) > 1 else Dataset)(found["namespace"], found["name"], **facets)
