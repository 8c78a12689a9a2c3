"""Many jobs at a look: by their workflows' lists where that is cheaper, with few questions, in turn."""

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
#: A workflow, and where to ask for it.
Workflow = tuple[str, str]

# Jobs, and turns of questions, that are remembered.
_KEPT = 2_000


@dataclass(frozen=True)
class JobRef:
    """Which job, and where to ask for it."""

    conn_id: str
    workflow_id: str
    job_id: str


class JobBatch:
    """What is known of many jobs. Those that had no turn at a look are shown as they were last seen.

    :param one: asks for a job; as soon as there is an answer, :meth:`note` has to be told.
    :param many: asks for a workflow's list.
    :param from_list: jobs of one workflow from which on their list is asked for.
    :param most: questions that one look may lead to.
    :param known_wait: seconds for which a look at jobs that are all known waits for something newer.
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
        # Jobs that their lists lacked.
        self._lacking: OrderedDict[JobRef, None] = OrderedDict()

    async def look(self, keys: Collection[JobRef], max_wait: float) -> tuple[Mapping[JobRef, Job], bool]:
        """Return what is known of these jobs, and whether that is all of them.

        What is asked for and comes later is there at the next look.
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
        # Lists leave a quarter to the jobs that have to be asked for by themselves.
        lists = self._in_turn(crowds, self._most * 3 // 4 if single else self._most)
        first = self._in_turn(single, self._most - len(lists))
        await asyncio.gather(
            *(self._list(workflow, crowds[workflow], max_wait) for workflow in lists),
            *(self._one(key, max_wait) for key in first),
        )
        # Those whose lists have only now turned out to lack them.
        lacking = [
            key for workflow in lists for key in crowds[workflow] if key in self._lacking and key not in first
        ]
        rest = self._in_turn(lacking, self._most - len(lists) - len(first))
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        await asyncio.gather(*(self._one(key, left) for key in rest))
        found = {key: self._seen[key][1] for key in keys if key in self._seen}
        return found, all(key in found for key in keys)

    def note(self, key: JobRef, job: Job, at: datetime) -> None:
        """Remember a job as it was at a moment."""
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
        """Return the questions whose turn it is: those that were asked longest ago, or never."""
        turns = {question: turn for turn, question in enumerate(self._turns)}
        chosen = sorted(questions, key=lambda question: turns.get(question, -1))[: max(0, most)]
        for question in chosen:
            _keep(self._turns, question, None)
        return chosen


def _is_no_help(trouble: PixxelError | None) -> bool:
    """Tell whether a list is one to do without.

    Where nothing can be asked at all, or a server is in trouble, to ask for each job wouldn't help either.
    """
    if trouble is None or isinstance(trouble, PixxelResponseError):
        # One that is too long can't be read, and the jobs can.
        return True
    return isinstance(trouble, PixxelApiError) and not trouble.transient and trouble.status_code != 401


def _keep(kept: OrderedDict[Any, Any], key: Hashable, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _KEPT:
        kept.popitem(last=False)
