"""Whether Airflow reports lineage to OpenLineage."""

from __future__ import annotations

import sys


def reports_lineage() -> bool:
    """Return whether OpenLineage's listener is in use in this process.

    Its plugin, which is loaded before a task begins, imports the listener only if OpenLineage is configured.
    """
    return "airflow.providers.openlineage.plugins.listener" in sys.modules
