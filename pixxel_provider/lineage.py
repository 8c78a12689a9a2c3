"""What is reported to OpenLineage about a task: its job, what it read, what it wrote, and why it failed.

This module imports OpenLineage, which is an extra. So it is imported only where OpenLineage asks an operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attr
from airflow.providers.common.compat.openlineage.facet import (
    DatasetFacet,
    ErrorMessageRunFacet,
    ExternalQueryRunFacet,
    InputDataset,
    OutputDataset,
    OutputStatisticsOutputDatasetFacet,
    RunFacet,
)
from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.facet_v2 import JobFacet

from pixxel_provider.api import redaction, urls
from pixxel_provider.assets import asset_uri, dataset_name
from pixxel_provider.download.object_store import StoreTarget, account_name

if TYPE_CHECKING:
    from pixxel_provider.connection import Settings
    from pixxel_provider.download.archive import Member
    from pixxel_provider.download.destination import Place

#: Of the facets' JSON schemas, which are in the folder ``facets`` beside this file.
SCHEMA_VERSION = "1-0-0"

# Other names of stores, and those that OpenLineage's naming has for them.
_STORES = {
    **dict.fromkeys(("s3a", "s3n"), "s3"),
    "gcs": "gs",
    **dict.fromkeys(("abfs", "adl", "az"), "abfss"),
    "wasb": "wasbs",
}
_AZURE = frozenset({"abfss", "wasbs"})


def schema_url(name: str) -> str:
    """Return the identifier of a facet's JSON schema; it is the same for as long as the schema is."""
    return f"urn:airflow-provider-pixxel:openlineage:{SCHEMA_VERSION}:{name}#/$defs/{name}"


@attr.define
class PixxelJobRunFacet(RunFacet):
    """The run facet ``pixxel_job``: the job, as far as it is known when the event is sent."""

    workflow_id: str
    job_id: str | None = None
    status: str | None = None
    """As Pixxel wrote it."""
    cost: float | None = None
    """Credits."""
    console_url: str | None = None
    """The job's page in Pixxel's console, without a query and a fragment."""

    @staticmethod
    def _get_schema() -> str:
        return schema_url("PixxelJobRunFacet")


@attr.define
class PixxelWorkflowJobFacet(JobFacet):
    """The job facet ``pixxel_workflow``: what the task is about in every run."""

    workflow_id: str
    project_id: str | None = None

    @staticmethod
    def _get_schema() -> str:
        return schema_url("PixxelWorkflowJobFacet")


@attr.define
class PixxelChecksumDatasetFacet(DatasetFacet):
    """The dataset facet ``pixxel_checksum`` of what was downloaded."""

    covers: str
    """``file``: the dataset itself; ``package``: the zip that was unpacked into the folder."""
    algorithm: str
    """``sha256``, or ``crc32`` for a member of a package."""
    value: str
    """Hexadecimal digits."""
    size: int
    """Bytes of what it covers."""

    @staticmethod
    def _get_schema() -> str:
        return schema_url("PixxelChecksumDatasetFacet")


def report(
    *,
    workflow_id: Any,
    job_id: Any,
    project_id: Any = None,
    settings: Settings | None = None,
    metadata: Mapping[str, Any] | None = None,
    error: BaseException | None = None,
    outputs: Sequence[OutputDataset] = (),
) -> OperatorLineage[Any, Any]:
    """Return the report about a task.

    :param settings: the connection's; without them, which Pixxel it was isn't known, and no input is named.
    :param metadata: the job's, if it has ended.
    :param error: what ended the task.
    """

    def clean(text: str) -> str:
        return redaction.without_secrets(text if settings is None else settings.redact(text))

    workflow_id, ended = str(workflow_id), metadata or {}
    job_id = str(ended.get("id") or job_id or "") or None
    job = PixxelJobRunFacet(workflow_id, job_id, ended.get("status"), ended.get("cost"))
    run_facets: dict[str, Any] = {"pixxel_job": job}
    inputs = []
    if settings is not None:
        namespace, name = dataset_name(asset_uri(workflow_id, urls.parse(settings.base_url).authority))
        inputs.append(InputDataset(namespace=namespace, name=name))
        if job_id:
            link = clean(settings.console_link(workflow_id, job_id))
            job.console_url = re.split("[?#]", link, maxsplit=1)[0]
            run_facets["externalQuery"] = ExternalQueryRunFacet(externalQueryId=job_id, source=namespace)
    if error is not None:
        run_facets["errorMessage"] = ErrorMessageRunFacet(
            message=clean(str(error)), programmingLanguage="python"
        )
    workflow = PixxelWorkflowJobFacet(workflow_id, str(project_id) if project_id else None)
    return OperatorLineage(
        inputs=inputs,
        outputs=list(outputs),
        run_facets=run_facets,
        job_facets={"pixxel_workflow": workflow},
    )


def stored_datasets(
    place: Place, result: Mapping[str, Any], members: Iterable[Member]
) -> list[OutputDataset]:
    """Return what a download stored: a file, or a folder and its files.

    :param result: what the operator returns.
    :param members: the members of the package that was unpacked, or the first of them.
    """
    namespace, name = _place_name(place)
    unpacked = "files" in result
    package = PixxelChecksumDatasetFacet(
        "package" if unpacked else "file", "sha256", result["sha256"], result["bytes"]
    )
    if not unpacked:
        return [_dataset(namespace, name, package, result["bytes"])]
    folder = name.rstrip("/")
    found = [_dataset(namespace, folder or "/", package, result["unpacked_bytes"], result["files"])]
    for member in members:
        path = f"{folder}/{member.name}" if folder or namespace == "file" else member.name
        checksum = PixxelChecksumDatasetFacet("file", "crc32", f"{member.crc:08x}", member.size)
        found.append(_dataset(namespace, path, checksum, member.size))
    return found


def _dataset(
    namespace: str, name: str, checksum: PixxelChecksumDatasetFacet, size: int, files: int = 1
) -> OutputDataset:
    return OutputDataset(
        namespace=namespace,
        name=name,
        facets={"pixxel_checksum": checksum},
        outputFacets={"outputStatistics": OutputStatisticsOutputDatasetFacet(size=size, fileCount=files)},
    )


def _place_name(place: Place) -> tuple[str, str]:
    """Return namespace and name as OpenLineage's naming has them."""
    if not isinstance(place, StoreTarget):
        return "file", str(place)
    scheme, _, rest = str(place).partition("://")
    authority, _, name = rest.partition("/")
    store = _STORES.get(scheme, scheme)
    if store in _AZURE:
        account = account_name(place.fs)
        if "@" not in authority and account:
            authority = f"{authority}@{account}.dfs.core.windows.net"
        # Both endpoints of an account lead to the same data.
        authority = authority.replace(".blob.", ".dfs.")
    return f"{store}://{authority}", name
