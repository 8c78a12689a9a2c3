"""Many jobs for one refresh: by their workflows' lists if that is cheaper, with few requests, in turn."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pixxel_provider.api.errors import PixxelApiError, PixxelError, PixxelResponseError

if TYPE_CHECKING:
    from pixxel_provider.api.job import Job
    from pixxel_provider.plugins.cache import CachedAnswer

Q = TypeVar("Q", bound=Hashable)
#: A workflow, and the connection for its requests.
Workflow = tuple[str, str]

# Jobs, and turns of requests, that are kept.
_KEPT = 2_000


@dataclass(frozen=True)
class JobRef:
    """Which job, and where to ask for it."""

    conn_id: str
    workflow_id: str
    job_id: str


class JobBatch:
    """The known state of many jobs. Jobs without a turn in a refresh are shown in their last known state.

    :param one: requests a job; for each answer, :meth:`note` has to be called.
    :param many: requests a workflow's list.
    :param from_list: from this number of jobs of one workflow on, its list is requested.
    :param most: the most requests for one refresh.
    :param known_wait: seconds that a refresh with known jobs waits for newer ones.
    """

    def __init__(
        self,
        one: Callable[[JobRef, float], Awaitable[Any]],
        many: Callable[[Workflow, float], Awaitable[CachedAnswer[dict[str, Job]]]],
        *,
        from_list: int,
        most: int,
        known_wait: float,
    ) -> None:
        self._one, self._many, self._known_wait = one, many, known_wait
        self._from_list, self._most = from_list, most
        self._seen: OrderedDict[JobRef, tuple[datetime, Job]] = OrderedDict()
        self._turns: OrderedDict[Hashable, None] = OrderedDict()
        # Jobs that were missing from their lists.
        self._lacking: OrderedDict[JobRef, None] = OrderedDict()

    async def look(self, keys: Collection[JobRef], max_wait: float) -> tuple[Mapping[JobRef, Job], bool]:
        """Return the known jobs among these, and whether that is all of them.

        Later answers are there at the next refresh.
        """
        if all(key in self._seen for key in keys):
            max_wait = min(max_wait, self._known_wait)
        deadline = asyncio.get_running_loop().time() + max_wait
        by_workflow: defaultdict[Workflow, list[JobRef]] = defaultdict(list)
        for key in dict.fromkeys(keys):
            by_workflow[key.conn_id, key.workflow_id].append(key)
        crowds = {
            workflow: wanted for workflow, wanted in by_workflow.items() if len(wanted) >= self._from_list
        }
        single = [
            key
            for workflow, wanted in by_workflow.items()
            for key in wanted
            if workflow not in crowds or key in self._lacking
        ]
        # Lists leave a quarter to the jobs that have to be requested one by one.
        lists = self._in_turn(crowds, self._most * 3 // 4 if single else self._most)
        first = self._in_turn(single, self._most - len(lists))
        await asyncio.gather(
            *(self._list(workflow, crowds[workflow], max_wait) for workflow in lists),
            *(self._one(key, max_wait) for key in first),
        )
        # Those whose lists have only now turned out not to contain them.
        lacking = [
            key for workflow in lists for key in crowds[workflow] if key in self._lacking and key not in first
        ]
        rest = self._in_turn(lacking, self._most - len(lists) - len(first))
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        await asyncio.gather(*(self._one(key, left) for key in rest))
        found = {key: self._seen[key][1] for key in keys if key in self._seen}
        return found, all(key in found for key in keys)

    def note(self, key: JobRef, job: Job, at: datetime) -> None:
        """Record a job as it was at a time."""
        known = self._seen.get(key)
        if known is None or known[0] <= at:
            _keep(self._seen, key, (at, job))

    async def _list(self, workflow: Workflow, wanted: list[JobRef], max_wait: float) -> None:
        listed = await self._many(workflow, max_wait)
        jobs = listed.value or {}
        for key in wanted:
            job = jobs.get(key.job_id)
            if job is not None and listed.at is not None:
                self.note(key, job, listed.at)
            if job is not None and listed.trouble is None:
                self._lacking.pop(key, None)
            elif _is_no_help(listed.trouble):
                _keep(self._lacking, key, None)

    def _in_turn(self, questions: Iterable[Q], most: int) -> list[Q]:
        """Return the requests whose turn it is: the least recently sent ones, or new ones."""
        turns = {question: turn for turn, question in enumerate(self._turns)}
        chosen = sorted(questions, key=lambda question: turns.get(question, -1))[: max(0, most)]
        for question in chosen:
            _keep(self._turns, question, None)
        return chosen


def _is_no_help(trouble: PixxelError | None) -> bool:
    """Return whether to do without a list after this error.

    If no request can be sent at all, or a server has an error, requests for each job wouldn't help either.
    """
    if trouble is None or isinstance(trouble, PixxelResponseError):
        # A list that is too long can't be read, but the jobs can.
        return True
    return isinstance(trouble, PixxelApiError) and not trouble.transient and trouble.status_code != 401


def _keep(kept: OrderedDict[Any, Any], key: Hashable, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _KEPT:
        kept.popitem(last=False)
