"""The check that the http provider's event trigger asks of its user; it is imported anew for every answer."""

from __future__ import annotations

import json
from typing import Any


async def has_ended(response: Any) -> bool:
    """Tell whether the job of an answer has ended."""
    return json.loads(response.content)["status"] == "completed"
