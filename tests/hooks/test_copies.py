"""A hook that is copied, or sent to another process, takes no key along and works there."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from pixxel_provider.api import calls
from pixxel_provider.hooks.pixxel import PixxelAsyncHook, PixxelHook

JOB = calls.get_job("wf-succeeds", "job-finished")
COPIES: dict[str, Callable[[Any], Any]] = {
    "copied": copy.copy,
    "copied in depth": copy.deepcopy,
    "pickled": lambda hook: pickle.loads(pickle.dumps(hook)),  # noqa: S301 - its own
}


def shown(hook: Any) -> list[str]:
    return [repr(hook.__getstate__()), repr(vars(hook)), repr(pickle.dumps(hook))]


@pytest.mark.parametrize("make", COPIES.values(), ids=list(COPIES))
def test_a_copy_of_a_workers_hook_holds_no_key_and_works(pixxel: Any, make: Any) -> None:
    hook = PixxelHook()
    assert hook.send(JOB).id == "job-finished"
    other = make(hook)
    assert "settings" not in vars(other)
    assert not [words for words in shown(other) if pixxel.key in words]
    assert pixxel.key.encode() not in pickle.dumps(hook)
    assert other.send(JOB).id == hook.send(JOB).id == "job-finished"
    assert other.get_conn() is not hook.get_conn()
    for each in (hook, other):
        assert not each.get_conn().cookies
        each.close()


@pytest.mark.parametrize("make", COPIES.values(), ids=list(COPIES))
def test_a_copy_of_a_triggers_hook_holds_no_key_and_works(pixxel: Any, make: Any) -> None:
    async def use() -> Any:
        hook = PixxelAsyncHook()
        assert (await hook.send(JOB)).id == "job-finished"
        other = make(hook)
        assert other.settings is None
        assert not [words for words in shown(other) if pixxel.key in words]
        assert pixxel.key.encode() not in pickle.dumps(hook)
        found = await asyncio.gather(hook.send(JOB), other.send(JOB))
        assert {job.id for job in found} == {"job-finished"}
        return other

    other = asyncio.run(use())
    # In another loop, as in another process.
    assert asyncio.run(make(other).send(JOB)).id == "job-finished"
