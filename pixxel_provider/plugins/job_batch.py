"""Many jobs for one refresh: by their workflows' lists if that is cheaper, with few requests, in turn."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pixxel_provider.api.errors import PixxelApiError, PixxelError, PixxelResponseError

if TYPE_CHECKING:
    from pixxel_provider.api.job import Job
    from pixxel_provider.plugins.cache import CachedAnswer

K = TypeVar("K", bound=Hashable)
#: A connection, and the workflow that is requested with it.
Workflow = tuple[str, str]

#: From this number of jobs of one workflow on, their list costs less than each of them.
FROM_LIST = 4
#: The most requests for one refresh of the page of all waits.
MAX_REQUESTS = 24
#: Seconds that a refresh with known jobs waits for newer answers.
KNOWN_WAIT = 0.25
# Jobs, and requests in the order in which they were sent, that are kept.
_KEPT = 2_000


class JobKey(NamedTuple):
    """A job, and the connection with which it is requested."""

    conn_id: str
    workflow_id: str
    job_id: str


class JobBatch:
    """The known state of many jobs: the last one of those that aren't requested in a refresh.

    :param get_job: requests a job; for each answer, :meth:`update` has to be called.
    :param get_list: requests a workflow's list.
    """

    def __init__(
        self,
        get_job: Callable[[JobKey, float], Awaitable[Any]],
        get_list: Callable[[Workflow, float], Awaitable[CachedAnswer[dict[str, Job]]]],
    ) -> None:
        self._get_job, self._get_list = get_job, get_list
        self._known: OrderedDict[JobKey, tuple[datetime, Job]] = OrderedDict()
        self._requested: OrderedDict[Hashable, None] = OrderedDict()
        # Jobs that were missing from their lists.
        self._unlisted: OrderedDict[JobKey, None] = OrderedDict()

    async def get(self, keys: Collection[JobKey], max_wait: float) -> Mapping[JobKey, tuple[datetime, Job]]:
        """Return the known jobs among these, each with the time of that state.

        Later answers are there at the next refresh.

        :param max_wait: seconds to wait if none of them is known.
        """
        if any(key in self._known for key in keys):
            max_wait = min(max_wait, KNOWN_WAIT)
        deadline = asyncio.get_running_loop().time() + max_wait
        by_workflow: defaultdict[Workflow, list[JobKey]] = defaultdict(list)
        for key in dict.fromkeys(keys):
            by_workflow[key[:2]].append(key)
        by_list = {workflow: wanted for workflow, wanted in by_workflow.items() if len(wanted) >= FROM_LIST}
        single = [key for key in dict.fromkeys(keys) if key[:2] not in by_list or key in self._unlisted]
        # Lists leave a quarter to the jobs that have to be requested one by one.
        lists = self._next(by_list, MAX_REQUESTS * 3 // 4 if single else MAX_REQUESTS)
        first = self._next(single, MAX_REQUESTS - len(lists))
        await asyncio.gather(
            *(self._update_from_list(workflow, by_list[workflow], max_wait) for workflow in lists),
            *(self._get_job(key, max_wait) for key in first),
        )
        # Those whose lists have only now turned out not to contain them.
        unlisted = [
            key
            for workflow in lists
            for key in by_list[workflow]
            if key in self._unlisted and key not in first
        ]
        rest = self._next(unlisted, MAX_REQUESTS - len(lists) - len(first))
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        await asyncio.gather(*(self._get_job(key, left) for key in rest))
        return {key: self._known[key] for key in keys if key in self._known}

    def update(self, key: JobKey, job: Job, at: datetime) -> None:
        """Record a job as it was at a time."""
        known = self._known.get(key)
        if known is None or known[0] <= at:
            _keep(self._known, key, (at, job))

    async def _update_from_list(self, workflow: Workflow, wanted: list[JobKey], max_wait: float) -> None:
        listed = await self._get_list(workflow, max_wait)
        jobs = listed.value or {}
        for key in wanted:
            job = jobs.get(key.job_id)
            if job is not None and listed.at is not None:
                self.update(key, job, listed.at)
            if job is not None and listed.error is None:
                self._unlisted.pop(key, None)
            elif _is_no_help(listed.error):
                _keep(self._unlisted, key, None)

    def _next(self, requests: Iterable[K], most: int) -> list[K]:
        """Return the requests to be sent now: the least recently sent ones, or new ones."""
        order = {request: number for number, request in enumerate(self._requested)}
        chosen = sorted(requests, key=lambda request: order.get(request, -1))[: max(0, most)]
        for request in chosen:
            _keep(self._requested, request, None)
        return chosen


def _is_no_help(error: PixxelError | None) -> bool:
    """Return whether to do without a list after this error.

    If no request can be sent at all, or a server has an error, requests for each job wouldn't help either.
    """
    if error is None or isinstance(error, PixxelResponseError):
        # A list that is too long can't be read, but the jobs can.
        return True
    return isinstance(error, PixxelApiError) and not error.transient and error.status_code != 401


def _keep(kept: OrderedDict[Any, Any], key: Hashable, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _KEPT:
        kept.popitem(last=False)
