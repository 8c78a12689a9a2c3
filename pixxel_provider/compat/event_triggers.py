"""Triggers of asset watchers (Airflow 3.0 on), their shared streams and the store for cursors (3.3 on)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from airflow.triggers import base

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger as BaseEventTrigger
    from airflow.triggers.shared_stream import SharedStreamProducer as SharedStreamProducer
else:
    # Airflow 2 has no watchers, and never runs one.
    BaseEventTrigger = getattr(base, "BaseEventTrigger", base.BaseTrigger)
    try:
        SharedStreamProducer = importlib.import_module("airflow.triggers.shared_stream").SharedStreamProducer
    except ImportError:
        SharedStreamProducer = object


def asset_stores(trigger: Any) -> list[Any]:
    """Return the stores of the assets that a trigger is a watcher of; none before Airflow 3.3."""
    accessors = getattr(trigger, "asset_state_store", None)
    if accessors is None:
        return []
    # A watcher of several assets has no store of its own: its methods refuse to choose one.
    return [*accessors._by_name.values(), *accessors._by_uri.values()]
