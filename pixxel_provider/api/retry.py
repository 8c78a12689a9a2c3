"""What to try again, and when: one policy for both clients, made of tenacity's pieces."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pixxel_provider.api.errors import PixxelConnectionError, PixxelError, PixxelRateLimitError
from pixxel_provider.api.parsing import timestamp

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from pixxel_provider.api.calls import Call

#: How long a single call is tried again, in seconds, before its error is raised.
RETRY_FOR = 60.0
#: The longest pause between two tries that the server didn't ask for, in seconds.
LONGEST_PAUSE = 20.0
#: The longest that one Retry-After is heeded, in seconds. APIs ask for seconds to a few minutes. One that
#: means an hour loses little by a request each quarter of it; a wait that was misled would lose much by more.
LONGEST_RETRY_AFTER = 900.0
# From this number on, the second in 2001 that had it, it is no pause but a moment in Unix time.
_FIRST_MOMENT = 1e9
_LONGEST_HEADER = 500
# Commas, but those after the day of the week that a date begins with.
_BETWEEN_VALUES = re.compile(
    r"(?<!mon)(?<!tue)(?<!wed)(?<!thu)(?<!fri)(?<!sat)(?<!sun)(?<!day),\s+", re.IGNORECASE
)


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


def policy(call: Call[Any], retry_for: float = RETRY_FOR) -> dict[str, Any]:
    """Return the arguments that make tenacity's ``Retrying`` or ``AsyncRetrying`` follow the policy.

    Pauses have full jitter and double up to 20 s; a Retry-After is honoured where it is longer. The last
    error is raised as it is once the next pause would end after ``retry_for`` seconds.
    """
    from tenacity import retry_if_exception, wait_random_exponential

    jitter = wait_random_exponential(multiplier=1, max=LONGEST_PAUSE)

    def wait(state: RetryCallState) -> float:
        return max(jitter(state), _retry_after(state))

    def stop(state: RetryCallState) -> bool:
        # idle_for counts the pauses asked for, so that a fake sleep makes time pass too.
        spent = max(state.idle_for, state.seconds_since_start or 0.0)
        return spent + state.upcoming_sleep > retry_for

    return {
        "retry": retry_if_exception(lambda error: worth_retrying(call, error)),
        "wait": wait,
        "stop": stop,
        "reraise": True,
    }


def read_retry_after(header: str | None, now: datetime, date: str | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for; the longest, where there are several values.

    It may be a number of seconds, an HTTP date, or a moment in Unix time (seconds, or thousandths, millionths
    and so on of them). None where it is missing or can't be read; never negative, never more than 15 minutes.

    :param now: our time, by which moments are read where the answer doesn't say its own.
    :param date: the answer's Date header: the server's clock may not agree with ours.
    """
    words = (header or "")[:_LONGEST_HEADER].strip()
    clock = ((timestamp(date) if date else None) or now).timestamp()
    found = [_seconds(part.strip(), clock) for part in _BETWEEN_VALUES.split(words)]
    seconds = max((each for each in found if each is not None), default=None)
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _seconds(words: str, clock: float) -> float | None:
    try:
        number = float(words)
    except ValueError:
        moment = timestamp(words)
        return None if moment is None else moment.timestamp() - clock
    for _ in range(3):
        # Unix time in thousandths, millionths or billionths of a second.
        if 100 * _FIRST_MOMENT <= number < math.inf:
            number /= 1000
    if _FIRST_MOMENT <= number < 100 * _FIRST_MOMENT:
        return number - clock
    return None if math.isnan(number) else number


def _retry_after(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return (error.retry_after or 0.0) if isinstance(error, PixxelError) else 0.0
