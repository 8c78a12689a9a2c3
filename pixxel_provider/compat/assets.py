"""Assets (datasets in Airflow 2) and their watchers (Airflow 3.0 on)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset

from pixxel_provider.compat.versions import HAS_ASSET_WATCHERS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import BaseEventTrigger


def watched_asset(uri: str, watcher_name: str, trigger: BaseEventTrigger, **more: Any) -> Asset:
    """Return an asset with a watcher.

    :param more: further arguments of the asset.
    """
    from airflow.sdk import AssetWatcher

    return Asset(uri=uri, watchers=[AssetWatcher(name=watcher_name, trigger=trigger)], **more)


def outlet_extras(context: Context, outlets: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield the extra of the event of each outlet that is an asset or refers to one.

    An alias has no event of its own.
    """
    events: Any = context.get("outlet_events")
    if not outlets or events is None:
        return
    kinds: tuple[type, ...] = (Asset,)
    if HAS_ASSET_WATCHERS:
        from airflow.sdk.definitions.asset import AssetRef

        kinds = (Asset, AssetRef)
    for outlet in outlets:
        if isinstance(outlet, kinds):
            yield events[outlet].extra
