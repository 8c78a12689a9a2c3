"""Assets: a workflow's URI, the asset that watches its jobs, and what the events of outlets hold.

Airflow imports this in each process that uses assets, so it imports little.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from airflow.providers.common.compat.sdk import Asset

from pixxel_provider.api import urls
from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.compat.assets import outlet_extras, watched_asset
from pixxel_provider.compat.versions import HAS_ASSET_WATCHERS
from pixxel_provider.provider_info import ASSET_SCHEME, DEFAULT_CONNECTION_ID, DEFAULT_HOST

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import BaseOperator, Context

__all__ = [
    "HAS_ASSET_WATCHERS",
    "asset_uri",
    "convert_asset_to_openlineage",
    "create_asset",
    "sanitize_uri",
    "watched_workflow",
]

#: The host in an asset's URI, unless another one is named.
DEFAULT_ASSET_HOST = urlsplit(DEFAULT_HOST).netloc


# ------------------------------------------------------------------------------------------------ the URI


def asset_uri(workflow_id: str, host: str = DEFAULT_ASSET_HOST) -> str:
    """Return the URI of a workflow: ``pixxel://{host}/workflows/{workflow_id}``.

    :param host: that of the connection, with its port unless it is 443.
    :raises PixxelInputError: no workflow can have that id, or no API that host.
    """
    path = _path(workflow_id)
    try:
        return f"{ASSET_SCHEME}://{_authority(host)}{path}"
    except ValueError as error:
        raise PixxelInputError("host", str(error)) from None


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the one form of a workflow's URI; Airflow calls this for each URI of the scheme.

    :raises ValueError: it isn't one; the message has the reason, and quotes no user info and no query.
    """
    form = f"a Pixxel asset is {ASSET_SCHEME}://host/workflows/workflow_id"
    if uri.query or uri.fragment:
        raise ValueError(f"{form}, and this URI holds a query or a fragment")
    try:
        host = _authority(uri.netloc)
    except ValueError as error:
        raise ValueError(f"{form}, and this URI {error}") from None
    first, _, segment = uri.path.strip("/").partition("/")
    if first != "workflows" or "/" in segment or uri.path.startswith("//"):
        raise ValueError(f"{form}, and this URI has the path {uri.path!r}")
    try:
        path = _path(unquote(segment, errors="strict"))
    except UnicodeDecodeError:
        raise ValueError(f"{form}, and the escapes of this workflow_id aren't UTF-8: {segment!r}") from None
    except PixxelInputError as error:
        raise ValueError(f"{form}: {error}") from None
    return SplitResult(ASSET_SCHEME, host, path, "", "")


def _authority(text: str) -> str:
    """Return host and port in their one form: a trailing dot and the port of https are left out."""
    userinfo, host, port = urls.read_authority(text)
    if userinfo is not None:
        raise ValueError("holds a user or password; the key belongs into the connection")
    return urls.Url("https", host.removesuffix("."), port or 443, "", None).authority


def _path(workflow_id: str) -> str:
    from pixxel_provider.api import calls

    return f"/workflows/{calls.path_segment('workflow_id', workflow_id)}"


def dataset_name(uri: str) -> tuple[str, str]:
    """Return the namespace and the name that a workflow, given by its URI, has in OpenLineage."""
    workflow = sanitize_uri(urlsplit(uri))
    return f"{workflow.scheme}://{workflow.netloc}", unquote(workflow.path.removeprefix("/"))


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Any:
    """Return a workflow's asset as a dataset of OpenLineage; None where its client isn't installed."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, name = dataset_name(asset.uri)
    return Dataset(namespace=namespace, name=name)


# ------------------------------------------------------------------------------------------------ assets


def create_asset(
    *, workflow_id: str, host: str = DEFAULT_ASSET_HOST, extra: dict[str, Any] | None = None
) -> Asset:
    """Return the asset of a workflow, without a watcher, such as for an outlet.

    :raises PixxelInputError: no workflow can have that id, or no API that host.
    """
    return Asset(uri=asset_uri(workflow_id, host), extra=extra)


def watched_workflow(
    workflow_id: str,
    *,
    host: str = DEFAULT_ASSET_HOST,
    outcomes: Collection[str] | None = None,
    created_by: str | None = None,
    pixxel_conn_id: str = DEFAULT_CONNECTION_ID,
    poke_interval: float = 30.0,
    since: str | datetime | None = None,
    **asset: Any,
) -> Asset:
    """Return a workflow's asset with a watcher: each of its jobs that ends is an event of the asset.

    Airflow keeps one set of watchers for an asset: all DAGs that name it need the same arguments.

    :param host: that of the connection, with its port unless it is 443.
    :param asset: further arguments of Airflow's ``Asset``: ``name``, ``group``, ``extra``.

    The other arguments are those of :class:`~pixxel_provider.triggers.events.PixxelJobEventTrigger`.

    :raises PixxelInputError: an argument can't be used.
    :raises RuntimeError: this Airflow has no asset watchers; they came with 3.0.
    """
    if not HAS_ASSET_WATCHERS:
        raise RuntimeError("watched_workflow() needs asset watchers, which Airflow has from 3.0 on")
    from pixxel_provider.triggers.events import PixxelJobEventTrigger

    trigger = PixxelJobEventTrigger(
        workflow_id=workflow_id,
        outcomes=outcomes,
        created_by=created_by,
        pixxel_conn_id=pixxel_conn_id,
        poke_interval=poke_interval,
        since=since,
    )
    return watched_asset(asset_uri(workflow_id, host), f"jobs of {workflow_id}", trigger, **asset)


# ------------------------------------------------------------------------------------------------ outlets


def describe_outlets(task: BaseOperator, context: Context, values: Mapping[str, Any]) -> None:
    """Add values to the extra of each outlet's event, which Airflow stores if the task succeeds.

    An error is logged: the job is done and paid for.
    """
    try:
        for extra in outlet_extras(context, task.outlets):
            extra.update(values)
    except Exception as error:
        task.log.warning(f"The events of the outlets lack the job: {type(error).__name__}: {error}")
