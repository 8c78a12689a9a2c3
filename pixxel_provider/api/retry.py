"""What to try again, and when: one policy for both clients, made of tenacity's pieces."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pixxel_provider.api.errors import PixxelConnectionError, PixxelError, PixxelRateLimitError
from pixxel_provider.api.reading import timestamp

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from pixxel_provider.api.calls import Call

#: How long a single call is tried again, in seconds, before its error is raised.
PATIENCE = 60.0
#: The longest pause between two tries that the server didn't ask for, in seconds.
LONGEST_PAUSE = 20.0
# A server that answers with a date a year ahead means "not now", not "in a year".
_LONGEST_RETRY_AFTER = 24 * 3600.0


def worth_retrying(call: Call[Any], error: BaseException) -> bool:
    """Tell whether the same call may be sent again after this error.

    A call that isn't safe is sent again only where the server can't have accepted it: the request never left,
    or it was turned away with 429.
    """
    if not isinstance(error, PixxelError) or not error.transient:
        return False
    if call.safe:
        return True
    return isinstance(error, PixxelRateLimitError) or (
        isinstance(error, PixxelConnectionError) and not error.sent
    )


def policy(call: Call[Any], patience: float = PATIENCE) -> dict[str, Any]:
    """Return the arguments that make tenacity's ``Retrying`` or ``AsyncRetrying`` follow the policy.

    Pauses have full jitter and double up to 20 s; a Retry-After is honoured where it is longer. The last
    error is raised as it is once the next pause would end after ``patience`` seconds.
    """
    from tenacity import retry_if_exception, wait_random_exponential

    jitter = wait_random_exponential(multiplier=1, max=LONGEST_PAUSE)

    def wait(state: RetryCallState) -> float:
        return max(jitter(state), _retry_after(state))

    def stop(state: RetryCallState) -> bool:
        # idle_for counts the pauses asked for, so that a fake sleep makes time pass too.
        spent = max(state.idle_for, state.seconds_since_start or 0.0)
        return spent + state.upcoming_sleep > patience

    return {
        "retry": retry_if_exception(lambda error: worth_retrying(call, error)),
        "wait": wait,
        "stop": stop,
        "reraise": True,
    }


def read_retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, from a number of seconds or an HTTP date.

    None where the header is missing or can't be read; never negative, never more than a day.
    """
    if not header or not header.strip():
        return None
    words = header.strip()
    try:
        seconds = float(words)
    except ValueError:
        moment = timestamp(words)
        if moment is None:
            return None
        seconds = (moment - now.astimezone(timezone.utc)).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def _retry_after(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return (error.retry_after or 0.0) if isinstance(error, PixxelError) else 0.0
