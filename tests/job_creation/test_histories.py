"""Five hundred lives of a task that runs a job, drawn at random, each held against what Pixxel bills."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pixxel_provider.hooks import protocol
from pixxel_provider.hooks.network_errors import unreachable
from pixxel_provider.hooks.pixxel import PixxelHook
from pixxel_provider.operators import run as run_module
from tests.operators.running import RunRunner
from tests.support import CANARY, HISTORIES, FakeClock, FakeTaskInstance

WORKFLOW, PROJECT, OWNER = "wf-own", "project-agriculture", "user-simulator-1"
COST = 120
UNCONFIRMED = "PixxelUnconfirmedJobError"

#: Answers that are lost: whoever gets one of these can't know whether there is a job.
LOST: dict[str, dict[str, Any]] = {
    "reset": {"drop": "reset"},
    "closed": {"drop": "close"},
    "timeout": {},
    "408": {"status": 408},
    "500": {"status": 500},
    "502 of a proxy": {"status": 502, "body": "html"},
    "504": {"status": 504, "body": "none"},
    "a page": {"body": "html"},
    "null": {"body": "null"},
    "a list": {"body": "list"},
    "nested": {"body": "nested"},
    "empty": {"body": "none"},
    "elsewhere": {"location": "/elsewhere"},
    "without an id": {"json": {"status": "pending"}},
    "not an id": {"json": {"id": "job\n1", "status": "pending"}},
    "of another workflow": {"json": {"id": "job-1", "workflow_id": "wf-other", "status": "pending"}},
    "names an old job": {},
}
#: Requests that are turned away, and known to be.
TURNED_AWAY: dict[str, dict[str, Any]] = {
    "429": {"status": 429},
    "429 for a while": {"status": 429, "retry_after": 7},
    "refused": {},
    "400": {"status": 400},
    "403": {"status": 403},
}
#: What becomes of a request to create a job. Of the lost ones each is carried out, or isn't.
SURVIVED = ("answered", "429", "cut off", *(f"{way}, done" for way in LOST))
FATES = (*SURVIVED, *(f"{way}, not done" for way in LOST), *TURNED_AWAY)
LISTS: dict[str, dict[str, Any]] = {
    "shown": {},
    "503": {"status": 503},
    "429": {"status": 429},
    "reset": {"drop": "reset"},
    "a page": {"body": "html"},
    "hidden": {"hide": 1.0},
    "403": {"status": 403},
}
#: The moments at which a worker may die, and the triggerer.
MOMENTS = (
    *("before estimate_cost", "before list_jobs", "after list_jobs", "before set asking", "after set asking"),
    *("before create_job", "after create_job", "before set created", "after set created", "before delete"),
    *("after delete", "before xcom job_id", "before xcom _link_PixxelJobLink", "before get_job", "asleep"),
    *("after get_job", "before set unconfirmed", "after set unconfirmed", "before xcom status"),
    *("before set done", "after set done", "before success", "in the triggerer"),
)
ENDS = frozenset(
    "success Killed AirflowSensorTimeout PixxelJobFailedError PixxelCostError PixxelAuthError "
    "PixxelBadRequestError PixxelConnectionError PixxelRateLimitError PixxelResponseError "
    "PixxelServerError".split()
) | {UNCONFIRMED}


@dataclass(frozen=True)
class History:
    """What happens to one task instance, and to the Pixxel it talks to."""

    mode: str
    store: bool
    retries: int
    crashes: tuple[tuple[str, int], ...]
    """At which occurrence of which moment a process dies."""
    posts: tuple[str, ...]
    """What becomes of each request to create a job; those after the last one are answered."""
    lists: tuple[tuple[str, int], ...]
    """How the list is answered, and how many times so; it is shown after that."""
    list_delay: float
    courses: tuple[str, ...]
    """How the first jobs go; all later ones succeed."""
    max_cost: Any
    troubled: int
    """How many looks at a job, and how many estimates, fail."""
    missed: int
    """How many looks at a job find it missing."""
    mute_triggers: bool
    """Whether no trigger is ever heard of again."""
    timeout: float | None
    clearings: tuple[float, ...]
    """Seconds after each end until a person clears the task."""
    others: frozenset[tuple[str, int]]
    """Before and after which requests to create a job somebody else creates one."""
    owner_given: bool
    older: tuple[float, ...]
    """Ages of jobs of the same user that have nothing to do with the task."""
    skew: float
    """How far the worker's clock is ahead of Pixxel's."""

    @property
    def honest(self) -> bool:
        """Whether the list always tells of every job."""
        return not self.list_delay and all(kind != "hidden" for kind, _ in self.lists)

    @property
    def told_apart(self) -> bool:
        """Whether nobody's jobs can be taken for the task's."""
        return self.owner_given or not self.others


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw histories of four tempers, as some of what can go wrong only does where little else does.

    In a calm one all that happens is what a task has to survive. A crowded one is calm but for other people's
    jobs, which nothing tells from the task's own. In a blind one the list fails where it matters.
    """
    temper = draw(st.sampled_from(["calm", "rough", "crowded", "blind"]))
    rough = temper == "rough"

    def several(values: Any, most: int, least: int = 0) -> tuple[Any, ...]:
        return tuple(draw(st.lists(st.sampled_from(values), min_size=least, max_size=most)))

    def rarely(common: Any, *rare: Any) -> Any:
        return draw(st.sampled_from([common, common, *rare])) if rough else common

    lists: tuple[tuple[str, int], ...] = ()
    if rough:
        lists = several([(kind, times) for kind in LISTS for times in (1, 2, 9)], 3)
    elif temper == "blind":
        lists = several([("shown", 1), ("403", 1), ("hidden", 1)], 3, 1)
    crowd = [(when, post) for when in ("before", "after") for post in (1, 2)]
    store = draw(st.sampled_from([True, True, True, False]))
    found = History(
        mode=draw(st.sampled_from(["poke", "deferred", *(["reschedule"] if store else [])])),
        store=store,
        retries=draw(st.sampled_from([3, 2, 1, 0])),
        crashes=tuple(draw(st.lists(st.tuples(st.sampled_from(MOMENTS), st.integers(1, 3)), max_size=4))),
        posts=several(FATES if temper in ("rough", "blind") else SURVIVED, 4),
        lists=lists,
        list_delay=rarely(0.0, 3.0, 45.0, 100.0, 1000.0),
        courses=several(["succeeds", "fails", "invalid"], 3) if rough else (),
        max_cost=draw(st.sampled_from([None, COST, "500", *([COST - 1] if rough else [])])),
        troubled=draw(st.sampled_from([0, 0, 1, 3])),
        missed=draw(st.sampled_from([0, 0, 1, 3])),
        mute_triggers=rarely(False, True),
        timeout=rarely(None, 40.0),
        clearings=several([0.0, 20.0, 400.0, 4000.0], 2),
        others=frozenset(several(crowd, 2, int(temper == "crowded"))),
        owner_given=temper != "crowded" and (not rough or draw(st.booleans())),
        older=several([1.0, 60.0, 250.0, 5000.0], 2),
        skew=draw(st.sampled_from([0.0, 0.0, 200.0, -200.0])),
    )
    if not (found.store and found.honest):
        # What a list had left out before, or what nobody remembers, can't be told from the task's own.
        found = replace(found, older=tuple(age for age in found.older if age > 1000))
    return found


@dataclass
class Post:
    """One request to create a job, and the job that came of it."""

    clearing: int
    attempt: int
    fate: str
    job: str | None = None


@dataclass
class Life:
    """One history as it happens, and the books that are kept of it."""

    history: History
    pixxel: Any
    runner: RunRunner
    clearing: int = 0
    posts: list[Post] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    """The jobs that the task got what it wanted of."""
    asked_a_person: list[int] = field(default_factory=list)
    """The clearings that ended unconfirmed."""
    listed: list[str] = field(default_factory=list)
    """The jobs of the list that was answered last."""
    known: list[str] = field(default_factory=list)
    """The same, and none where the last request for it told nothing."""
    unsettled: list[Post] = field(default_factory=list)
    """The requests that weren't settled when a later one was sent."""
    doubt: bool = False
    """Whether, at any moment, nobody could know whether there was a job."""
    died_asking: list[int] = field(default_factory=list)
    """The clearings in which a process died that had said it would ask."""
    in_vain: bool = False
    """Whether one of those had no job."""
    crashes: int = 0
    moments: Counter[str] = field(default_factory=Counter)

    # ---------------------------------------------------------------------------------- what happens to it

    def kill(self, moment: str) -> bool:
        self.moments[moment] += 1
        if (moment, self.moments[moment]) not in self.history.crashes:
            return False
        if moment != "in the triggerer":
            self.crashes += 1
            store = self.runner.store
            asking = store is not None and '"asking"' in store.values.get("pixxel_job", "")
            self.doubt |= asking or store is None
            self.died_asking += [self.clearing] * asking
            self.in_vain |= asking and not any(
                post.job for post in self.posts if post.clearing == self.clearing
            )
        return True

    def exchange(self, real: Any) -> Any:
        """Make the exchanges of the synchronous hook meet their fates."""
        lists: Iterator[str] = iter([kind for kind, times in self.history.lists for _ in range(times)])
        posts = iter(self.history.posts)

        def exchange(hook: Any, given: Any, call: Any, target: str) -> Any:
            if call.name == "create_job":
                return self.post(
                    next(posts, "answered"), lambda: real(hook, given, call, target), given, call
                )
            if call.name == "list_jobs":
                fault = LISTS[next(lists, "shown")]
                if fault:
                    self.pixxel.fail_next("list_jobs", **fault)
                self.known = []
                answer: protocol.Answer | None = real(hook, given, call, target)
                # None where a kept connection broke: then the hook asks again.
                if answer is not None and answer.status == 200 and "body" not in fault:
                    self.known = self.listed = [job["id"] for job in json.loads(answer.body)["jobs"]]
                return answer
            return real(hook, given, call, target)

        return exchange

    def post(self, fate: str, send: Any, given: Any, call: Any) -> Any:
        # Not asserted here: the task would be tried again, and the error forgotten.
        self.unsettled += self.open_posts()
        post = Post(self.clearing, self.runner.ti.try_number, fate)
        self.posts.append(post)
        way, _, done = fate.partition(", ")
        self.doubt |= way in LOST or fate == "cut off"
        plans, courses = self.pixxel.world.workflows, self.history.courses
        paid = self.pixxel.bill().jobs
        course = courses[len(paid)] if len(paid) < len(courses) else "succeeds"
        plans[WORKFLOW] = plans[f"wf-{course}"].model_copy(
            update={"id": WORKFLOW, "project_id": PROJECT, "cost": COST}
        )
        self.let_others_create("before")
        if fate == "refused":
            raise unreachable(given, call, ConnectionRefusedError())
        if fate == "cut off":
            self.pixxel.fail_next("create_job", truncate=100)
        elif fate in TURNED_AWAY:
            self.pixxel.fail_next("create_job", **TURNED_AWAY[fate])
        elif way != "timeout" and way in LOST:
            fault = LOST[way] or {"json": {"id": [*self.known, None][0], "status": "pending"}}
            self.pixxel.fail_next("create_job", **fault, carried_out=done == "done")
        try:
            answer = None if fate == "timeout, not done" else send()
        finally:
            (post.job,) = self.pixxel.bill().jobs[len(paid) :] or (None,)
            self.let_others_create("after")
        if way == "timeout":
            raise unreachable(given, call, requests.ReadTimeout())
        return answer

    def let_others_create(self, when: str) -> None:
        if (when, len(self.posts)) in self.history.others:
            self.pixxel.create_job(WORKFLOW, created_by="user-other")

    def clear(self) -> None:
        store = self.runner.store
        record = json.loads(store.values.get("pixxel_job", "{}")) if store is not None else {}
        # It may have died between storing its end and telling Airflow: only the log of that try says more.
        if record.get("state") == "done" and record["job_id"] not in self.named:
            self.named.append(record["job_id"])
        if record.get("state") == "unconfirmed" and self.clearing not in self.asked_a_person:
            self.asked_a_person.append(self.clearing)
        self.clearing += 1
        self.runner.clear()

    # ------------------------------------------------------------------------------------- what must hold

    def failed(self, job: str) -> bool:
        found = self.pixxel.world.jobs[job]
        return bool(self.pixxel.world.state(found).status == "failed")

    def settled(self, post: Post) -> bool:
        """Whether another job may be paid for after this request."""
        if post.fate in TURNED_AWAY or (post.job and (self.failed(post.job) or post.job in self.named)):
            return True
        if self.history.store:
            # Clearing what a person was asked about is that person's word.
            return any(post.clearing <= end < self.clearing for end in self.asked_a_person)
        # Without a memory a first try knows nothing; a retry knows the list.
        if post.clearing < self.clearing:
            return True
        is_news = post.attempt < self.runner.ti.try_number
        return is_news and not (self.history.honest and self.history.told_apart and post.job)

    def open_posts(self) -> list[Post]:
        """Return the requests because of which no other one may be sent now."""
        unsettled = [post for post in self.posts if not self.settled(post)]
        if not self.history.told_apart:
            # Somebody else's job may have been taken for the one in doubt: then this can't know.
            unsettled = [post for post in unsettled if post.attempt == self.runner.ti.try_number]
        return unsettled

    def check(self, ended: Any) -> None:
        """Hold the end of one clearing against the bill."""
        history, paid = self.history, self.pixxel.bill().jobs
        now = [post for post in self.posts if post.clearing == self.clearing]
        created = [post.job for post in now if post.job and not self.failed(post.job)]
        assert self.unsettled == []
        assert ended.kind in ENDS
        for said in (ended.message, *self.runner.said):
            assert CANARY not in said
        if history.max_cost == COST - 1:
            assert (paid, ended.kind == "success") == ((), False)
        elif ended.kind == "PixxelCostError":
            pytest.fail("refused, though the estimate is within max_cost")
        if history.store:
            assert len(created) <= 1 or not history.told_apart
            if not self.doubt:
                assert ended.kind != UNCONFIRMED
                assert not any("Adopting" in said for said in self.runner.said)
        if ended.kind == "success":
            self.check_success(ended, created)
        elif ended.kind == UNCONFIRMED:
            self.check_question(ended, now)
        elif ended.kind == "PixxelJobFailedError":
            assert self.failed(ended.xcoms["job_id"])
            assert ended.xcoms["status"] == "failed"
        elif ended.kind == "AirflowSensorTimeout":
            assert history.timeout is not None or history.mute_triggers
        if "job_id" in ended.xcoms and history.told_apart:
            assert ended.xcoms["job_id"] in paid

    def check_success(self, ended: Any, created: list[str]) -> None:
        job = ended.returned["id"]
        assert ended.xcoms["job_id"] == job
        assert ended.xcoms["pixxel_conn_id"] == "pixxel_default"
        assert ended.xcoms["status"] == "completed"
        if self.history.store:
            assert ended.xcoms.get("estimated_cost") == (None if self.history.max_cost is None else COST)
        if self.history.told_apart:
            assert job in self.pixxel.bill().jobs
        elif job not in self.pixxel.bill().jobs:
            # Nothing tells the others' jobs from ours: but never one of theirs where ours is listed too.
            assert [ours for ours in created if ours in self.listed] == []
        if self.history.store:
            assert job not in self.named
            if self.history.told_apart:
                assert created in ([], [job])
        self.named.append(job)

    def check_question(self, ended: Any, now: list[Post]) -> None:
        """See that a person is told what is known, and isn't asked the same again."""
        if self.history.store and self.clearing - 1 in self.asked_a_person:
            assert now or self.clearing in self.died_asking
        ours = [post.job for post in now if post.job and post.job in self.listed]
        if "The list of jobs couldn't be read." in ended.message:
            assert self.history.lists
        elif "No new job is listed." in ended.message:
            assert ours == []
        else:
            candidates = ended.message.split("It may be one of these: ")[1]
            assert all(job in candidates for job in ours)
            assert any(job in candidates for job in self.pixxel.world.jobs)
        self.asked_a_person.append(self.clearing)

    @property
    def must_succeed(self) -> bool:
        """Whether everything that happened is something that a task survives."""
        history = self.history
        return (
            history.store
            and history.told_apart
            and not (history.lists or history.list_delay or history.timeout or history.mute_triggers)
            and not (history.courses or history.max_cost == COST - 1 or self.in_vain)
            and all(post.fate in SURVIVED for post in self.posts)
            and self.crashes <= history.retries
        )


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Any:
    """The simulator of all tests: hypothesis wants nothing that is made anew for each test."""
    return request.getfixturevalue("_simulator")


@settings(
    # The same ones in each run: what lands must not depend on luck.
    derandomize=True,
    max_examples=HISTORIES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=histories())
def test_whatever_happens_one_task_instance_has_one_bill(server: Any, history: History) -> None:
    with pytest.MonkeyPatch.context() as patch:
        live(history, server, patch)


def live(history: History, pixxel: Any, patch: pytest.MonkeyPatch) -> None:
    # Half a million lines that nobody reads take longer than what they tell of.
    patch.setattr(logging.root.manager, "disable", logging.INFO)
    pixxel.reset()
    patch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", pixxel.connection_json())
    patch.setattr(run_module, "HAS_TASK_STATE_STORE", history.store)
    clock = FakeClock()
    clock.now += history.skew
    # Below the runner's own: a worker that dies before a request hasn't met the request's fate.
    real, fates = PixxelHook.exchange, []
    patch.setattr(PixxelHook, "exchange", lambda *given: fates[0](*given))
    runner = RunRunner(
        history.mode, pixxel, clock, patch, FakeTaskInstance(), retries=history.retries, store=history.store
    )
    pixxel.world.add_workflow(WORKFLOW, cost=COST)
    pixxel.world.list_delay = history.list_delay
    for age in history.older:
        pixxel.create_job(WORKFLOW, age=age)
    if history.troubled:
        pixxel.fail_next("get_job", status=503, times=history.troubled)
        pixxel.fail_next("estimate_cost", status=503, times=history.troubled)
    if history.missed:
        pixxel.fail_next("get_job", status=404, body="html", after=history.troubled, times=history.missed)
    runner.lose_trigger = history.mute_triggers
    life = Life(history, pixxel, runner)
    runner.kill = life.kill
    fates.append(life.exchange(real))
    arguments = {
        "workflow_id": WORKFLOW,
        "project_id": PROJECT,
        "poke_interval": 100,
        "max_cost": history.max_cost,
        "created_by": OWNER if history.owner_given else None,
        **({} if history.timeout is None else {"timeout": history.timeout}),
    }
    ended = runner.run(**arguments)
    life.check(ended)
    for pause in history.clearings:
        runner.clock.sleep(pause)
        life.clear()
        ended = runner.run(**arguments)
        life.check(ended)
        event(f"{history.mode}, cleared: {ended.kind}")
    event(f"{history.mode}: {ended.kind}")
    if life.must_succeed:
        event("must succeed")
        assert ended.kind == "success"
        # What was paid for is what was got: one job for each clearing.
        assert list(pixxel.bill().jobs) == life.named
        assert len(life.named) == 1 + len(history.clearings)
