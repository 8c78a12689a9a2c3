"""The one table of status words, and the one place that decides what a status means for a wait."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.api.parsing import shown

# Pixxel doesn't list its statuses. Its job page and its block SDK (pixxel-clay 1.3.0, clay.callback)
# name "completed", "failed", "created" and "inprogress"; the rest are usual words for the same things.
SUCCESS_WORDS = frozenset({"completed", "succeeded", "success", "done", "finished"})
FAILURE_WORDS = frozenset(
    "failed failure error errored cancelled canceled aborted terminated rejected timedout expired".split()
)
WAITING_WORDS = frozenset(
    "created queued pending scheduled submitted running inprogress started processing paused".split()
)
#: Of those, the words for running work.
RUNNING_WORDS = frozenset({"running", "inprogress", "processing", "started"})
# Longer texts aren't statuses, and aren't cached.
_USUAL_LENGTH = 100
_JOINERS = str.maketrans("", "", "-_")


class Verdict(Enum):
    """What a job's status means for a wait."""

    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    #: It has a real ``finished_at`` and an unknown status: only a person can interpret it.
    UNCLEAR = "unclear"


def normalise(status: str) -> str:
    """Return a status as it is compared: without case, spaces, hyphens and underscores."""
    return _word(status) if len(status) <= _USUAL_LENGTH else _word.__wrapped__(status)


@lru_cache(maxsize=256)
def _word(status: str) -> str:
    return "".join(status.casefold().translate(_JOINERS).split())


@dataclass(frozen=True)
class StatusRules:
    """Which statuses end a wait, and how; all words normalised."""

    success: frozenset[str] = SUCCESS_WORDS
    failure: frozenset[str] = FAILURE_WORDS

    @classmethod
    def of(
        cls, success_statuses: Iterable[str] | None = None, failure_statuses: Iterable[str] | None = None
    ) -> StatusRules:
        """Build rules from the two arguments users know.

        An argument that is given replaces that list of defaults completely, and its words are removed from
        the other list's defaults.

        :raises PixxelInputError: an argument isn't a collection of words, or both name the same status.
        """
        success = status_words("success_statuses", success_statuses)
        failure = status_words("failure_statuses", failure_statuses)
        if success is not None and failure is not None and (both := success & failure):
            raise PixxelInputError(
                "success_statuses", f"and failure_statuses both name {', '.join(sorted(both))}"
            )
        # Thousands of waits share the defaults: a copy for each would be more than a kilobyte.
        if success is None:
            success = SUCCESS_WORDS - failure if failure else SUCCESS_WORDS
        if failure is None:
            failure = FAILURE_WORDS - success if success & FAILURE_WORDS else FAILURE_WORDS
        return cls(success, failure)

    def verdict(self, status: str, *, ended: bool) -> Verdict:
        """Interpret a status; ``ended``: whether the job has a real ``finished_at``."""
        word = normalise(status)
        if word in self.success:
            return Verdict.SUCCEEDED
        if word in self.failure:
            return Verdict.FAILED
        return Verdict.UNCLEAR if ended and word not in WAITING_WORDS else Verdict.WAITING

    def knows(self, status: str) -> bool:
        """Return whether these rules or the table of waiting words name the status."""
        return normalise(status) in self.success | self.failure | WAITING_WORDS


def status_words(field: str, given: Iterable[str] | None) -> frozenset[str] | None:
    """Return statuses normalised, None for None.

    :raises PixxelInputError: it isn't a collection of words.
    """
    if given is None:
        return None
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise PixxelInputError(field, f"must be a list of statuses, not {type(given).__name__}")
    words = list(given)
    for word in words:
        if not isinstance(word, str) or not normalise(word):
            raise PixxelInputError(field, f"holds {shown(word)}, which isn't a status")
    return frozenset(map(normalise, words))


def shows_failure(status: str, err_msg: str, failure_type: str) -> bool:
    """Tell whether a task with these has failed; a block may leave a remark although it has succeeded."""
    word = normalise(status)
    return word in FAILURE_WORDS or bool(word not in SUCCESS_WORDS and (err_msg or failure_type))
