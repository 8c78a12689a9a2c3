"""What the pages ask a simulated Pixxel, and above all what they don't."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from pixxel_provider.api.errors import (
    PixxelAuthError,
    PixxelInputError,
    PixxelNotFoundError,
    PixxelRateLimitError,
    PixxelServerError,
)
from pixxel_provider.api.job import Job
from pixxel_provider.hooks.pixxel import PixxelHook
from pixxel_provider.plugins import asking as asking_module
from pixxel_provider.plugins import client
from pixxel_provider.plugins.asking import Asking, JobKey, Seen, slim
from pixxel_provider.plugins.client import PageHook
from pixxel_provider.plugins.redaction import Redactor
from tests.support import CANARY, FakeClock

T = TypeVar("T")
PATIENCE = 20.0
#: Short, as a message may quote what is too short for a key.
HUSH = "hush-hush"


def key(job_id: str, workflow_id: str = "wf-succeeds", conn_id: str = "pixxel_default") -> JobKey:
    return JobKey(conn_id, workflow_id, job_id)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000.0)


@pytest.fixture
def asking(pixxel: Any, clock: FakeClock) -> Asking:
    found = Asking()
    for answers in (found._jobs, found._lists, found._estimates):
        answers._monotonic = clock
    # Here a look waits for what it asks.
    found._crowd._glance = PATIENCE
    return found


def connect(
    pixxel: Any, monkeypatch: pytest.MonkeyPatch, name: str = "PIXXEL_DEFAULT", **changes: Any
) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({**pixxel.airflow_connection, **changes}))


def asked(asking: Asking, clock: FakeClock, pixxel: Any, job: JobKey, *pauses: float) -> list[int]:
    """Look after each pause; return how many requests there had been each time."""

    async def look() -> list[int]:
        counts = []
        for pause in pauses:
            clock.sleep(pause)
            await asking.job(job, PATIENCE)
            counts.append(pixxel.requests("get_job"))
        return counts

    return run(look())


# --------------------------------------------------------------------------------------------------- one job


def test_a_job_comes_with_its_page_in_the_console(
    asking: Asking, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(pixxel, monkeypatch, extra={"console_url": "https://c.example.com/{workflow_id}/{job_id}"})

    found = run(asking.job(key("job-finished"), PATIENCE))

    assert found.value is not None
    assert found.value.job.id == "job-finished"
    assert found.value.job.tasks
    assert found.value.console == "https://c.example.com/wf-succeeds/job-finished"


def test_twenty_who_look_cost_one_request(asking: Asking, pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1")

    async def crowd() -> set[str]:
        found = await asyncio.gather(*(asking.job(key("job-1"), PATIENCE) for _ in range(20)))
        return {each.value.job.id for each in found if each.value is not None}

    assert run(crowd()) == {"job-1"}
    assert pixxel.requests() == 1


def test_a_job_that_runs_is_asked_for_every_three_seconds(
    asking: Asking, clock: FakeClock, pixxel: Any
) -> None:
    pixxel.create_job("wf-succeeds", "job-1")

    assert asked(asking, clock, pixxel, key("job-1"), 0, 2.9, 0.1, 2.9, 0.1) == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("end", ["job-finished", "job-failed", "unclear"])
def test_a_job_that_has_ended_is_asked_for_once_a_minute(
    asking: Asking, clock: FakeClock, pixxel: Any, end: str
) -> None:
    workflow = "wf-fails" if end == "job-failed" else "wf-succeeds"
    if end == "unclear":
        pixxel.create_job(workflow, end, age=3600, fields={"status": "archived"})

    assert asked(asking, clock, pixxel, key(end, workflow), 0, 3, 56.9, 0.1) == [1, 1, 1, 2]


def test_the_same_job_of_another_connection_is_another_question(
    asking: Asking, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(pixxel, monkeypatch, "OTHER", password="wrong-key-of-the-other-one")

    async def both() -> list[Any]:
        return [
            await asking.job(key("job-finished", conn_id=name), PATIENCE)
            for name in ("pixxel_default", "other")
        ]

    mine, other = run(both())
    assert mine.value is not None
    assert other.value is None
    assert isinstance(other.trouble, PixxelAuthError)


# --------------------------------------------------------------------------------------------------- trouble


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (5.0, 15.0)),
        ({"connect_timeout": 600, "read_timeout": 3600}, (5.0, 15.0)),
        ({"connect_timeout": 2, "read_timeout": 3}, (2.0, 3.0)),
        ({"connect_timeout": 5, "read_timeout": 15}, (5.0, 15.0)),
    ],
)
def test_no_request_waits_long_whatever_the_connection_says(
    asking: Asking,
    pixxel: Any,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    expected: tuple[float, float],
) -> None:
    connect(pixxel, monkeypatch, extra=given)
    seen: list[tuple[float, float]] = []
    send = PixxelHook.send

    def watched(self: PixxelHook, call: Any, **more: Any) -> Any:
        seen.append((self.settings.connect_timeout, self.settings.read_timeout))
        return send(self, call, **more)

    monkeypatch.setattr(PixxelHook, "send", watched)

    async def everything() -> None:
        await asking.job(key("job-finished"), PATIENCE)
        await asking.estimate(key("job-finished"), PATIENCE)
        await asking.several(jobs(pixxel, 4), PATIENCE)

    run(everything())
    assert seen == [expected] * 3


def test_trouble_is_not_tried_again_by_itself(asking: Asking, pixxel: Any) -> None:
    pixxel.fail_next("get_job", status=503, times=None)

    found = run(asking.job(key("job-finished"), PATIENCE))

    assert isinstance(found.trouble, PixxelServerError)
    assert pixxel.requests() == 1


def test_a_server_that_wants_to_be_left_alone_is(asking: Asking, clock: FakeClock, pixxel: Any) -> None:
    pixxel.fail_next("get_job", status=429, retry_after="30")

    assert asked(asking, clock, pixxel, key("job-finished"), 0, 29.9, 0.1) == [1, 1, 2]


def test_a_server_in_trouble_leaves_what_was_known(asking: Asking, clock: FakeClock, pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1")

    async def look() -> Any:
        await asking.job(key("job-1"), PATIENCE)
        pixxel.fail_next("get_job", status=429)
        clock.sleep(3)
        return await asking.job(key("job-1"), PATIENCE)

    found = run(look())
    assert found.value is not None
    assert isinstance(found.trouble, PixxelRateLimitError)


def test_a_job_or_connection_that_is_not_there_is_trouble(asking: Asking, pixxel: Any) -> None:
    async def both() -> list[Any]:
        return [
            await asking.job(key("nothing"), PATIENCE),
            await asking.job(key("job-finished", conn_id="nothing"), PATIENCE),
            await asking.job(key("..", workflow_id=".."), PATIENCE),
        ]

    missing, unconnected, climbing = run(both())
    assert isinstance(missing.trouble, PixxelNotFoundError)
    assert isinstance(unconnected.trouble, PixxelInputError)
    assert "'nothing'" in str(unconnected.trouble)
    assert isinstance(climbing.trouble, PixxelInputError)
    assert pixxel.requests() == 1


def test_trouble_never_holds_the_key(asking: Asking, pixxel: Any) -> None:
    pixxel.fail_next("get_job", status=401, json={"error": {"message": f"who is {CANARY}?", "code": CANARY}})

    found = run(asking.job(key("job-finished"), PATIENCE))

    assert "who is ***?" in str(found.trouble)
    assert CANARY not in repr(found) + str(vars(found.trouble))


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": {"allow_http": HUSH}},
        {"extra": {"read_timeout": HUSH}},
        {"extra": {"verify": f"/nowhere/{HUSH}"}},
        {"extra": {"proxy": f"ftp://{HUSH}@proxy"}},
        {"conn_type": HUSH},
    ],
    ids=["allow_http", "read_timeout", "verify", "proxy", "conn_type"],
)
def test_a_connection_that_cannot_be_used_is_quoted_in_the_log_alone(
    asking: Asking,
    pixxel: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
) -> None:
    connect(pixxel, monkeypatch, **changes)
    (name,) = list(changes["extra"]) if "extra" in changes else list(changes)

    found = run(asking.job(key("job-finished"), PATIENCE))

    assert isinstance(found.trouble, PixxelInputError)
    for word in ("'pixxel_default'", name, "log"):
        assert word in str(found.trouble)
    assert HUSH not in repr(found) + str(found.trouble) + str(vars(found.trouble))
    (record,) = [each for each in caplog.records if each.name == "pixxel_provider.plugins.client"]
    assert name in record.getMessage()


def test_a_connection_that_is_spoilt_meanwhile_is_quoted_in_the_log_alone(
    asking: Asking, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixxel.fail_next("get_job", status=401)
    read_anew = PixxelHook._read_anew

    def spoil(self: PixxelHook, *args: Any) -> Any:
        # After a 401 the connection is read anew.
        connect(pixxel, monkeypatch, extra={"allow_http": HUSH})
        return read_anew(self, *args)

    monkeypatch.setattr(PixxelHook, "_read_anew", spoil)

    found = run(asking.job(key("job-finished"), PATIENCE))

    assert isinstance(found.trouble, PixxelInputError)
    assert HUSH not in str(found.trouble)


@pytest.mark.parametrize("conn_type", ["http", "https", "generic", "", "postgres"])
def test_only_connections_of_pixxels_type_are_used(
    asking: Asking,
    pixxel: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    conn_type: str,
) -> None:
    connect(pixxel, monkeypatch, conn_type=conn_type)

    found = run(asking.job(key("job-finished"), PATIENCE))

    assert isinstance(found.trouble, PixxelInputError)
    assert "conn_type" in str(found.trouble)
    assert pixxel.requests() == 0
    assert conn_type == "postgres" or "connections of type 'pixxel' alone" in caplog.text


def test_the_type_counts_anew_where_the_connection_is_read_anew(
    asking: Asking, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixxel.fail_next("get_job", status=401)
    read = PageHook._read

    def spoil(hook: PageHook) -> Any:
        found = read(hook)
        connect(pixxel, monkeypatch, conn_type="http", password="another-service's")
        return found

    monkeypatch.setattr(PageHook, "_read", spoil)
    found = run(asking.job(key("job-finished"), PATIENCE))

    assert found.value is None
    assert found.trouble is not None
    assert pixxel.requests() == 1


@pytest.mark.parametrize("secret", ["k3y", "hush", "47110815"])
def test_a_short_key_is_in_no_job_and_no_error(
    asking: Asking, pixxel: Any, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    connect(pixxel, monkeypatch, password=secret)
    answers = [
        {"status": 200, "json": {"id": "j0", "status": "running", "created_by": f"<{secret}>"}},
        {"status": 403, "json": {"error": {"message": f"<{secret}>", "code": secret, "details": [secret]}}},
        {"status": 200, "json": {"message": f"<{secret}>"}},
    ]
    for number, answer in enumerate(answers):
        pixxel.fail_next("get_job", job_id=f"j{number}", **answer)

    async def look() -> list[Any]:
        return [await asking.job(key(f"j{number}"), PATIENCE) for number in range(len(answers))]

    job, refused, odd = run(look())
    assert job.value is not None
    assert job.value.redact.shown(job.value.job.created_by) == "<***>"
    assert isinstance(refused.trouble, PixxelAuthError)
    assert "<***>" in str(refused.trouble)
    assert odd.trouble is not None
    for found in (refused, odd):
        assert secret not in repr(found) + str(found.trouble) + str(vars(found.trouble))


# ------------------------------------------------------------------------------------------- how much is kept


def test_of_a_large_job_only_what_is_shown_is_read_and_kept(asking: Asking, pixxel: Any) -> None:
    fields = {
        "tasks": [{"id": f"t{number}", "status": "done"} for number in range(1_200)],
        "val_errors": ["x"] * 300,
        "else": {"kept": True},
    }
    pixxel.create_job("wf-succeeds", "job-1", fields=fields)

    found = run(asking.job(key("job-1"), PATIENCE)).value

    assert found is not None
    assert (found.tasks, found.errors) == (1_200, 300)
    assert (len(found.job.tasks), len(found.job.val_errors)) == (1_000, 200)
    assert found.whole.raw["else"] == {"kept": True}
    assert isinstance(found.packed, bytes)


def test_the_list_keeps_of_a_job_what_it_shows() -> None:
    raw = {"id": "j", "status": " running ", "cost": "4", "progress": "7%", "finished_at": {"x": 1}}
    found = slim(
        Job.read({**raw, "tasks": [{}], "spec": "s", "val_errors": ["x"], "workflow_id": "w" * 9_000}),
        Redactor(),
    )

    assert found.raw.keys() == {"id", "workflow_id", "status", "progress", "cost", "finished_at"}
    assert (found.status, found.cost, found.progress, found.finished_at) == ("running", 4, 7, None)
    assert len(found.workflow_id) == 600


def test_the_list_has_no_key_either(asking: Asking, pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(pixxel, monkeypatch, password="hush")
    answer = {"id": "j", "status": "is hush", "created_by": "hush"}
    pixxel.fail_next("get_job", status=200, json=answer, times=None)
    listed = [{**answer, "id": f"j{number}"} for number in range(4)]
    pixxel.fail_next("list_jobs", status=200, json={"jobs": listed}, times=None)

    for keys in ([key("j")], [key(f"j{number}") for number in range(4)]):
        found, complete = run(asking.several(keys, PATIENCE))
        assert complete
        assert {job.status for job in found.values()} == {"is ***"}


def test_a_job_that_is_nested_too_deep_to_be_packed_is_shown_as_far_as_it_can_be() -> None:
    deep: Any = []
    for _ in range(3_000):
        deep = [deep]

    found = Seen.of(Job.read({"id": "j", "status": "running", "deep": deep}), "")

    assert found.job.id == "j"


def test_jobs_whose_list_is_too_long_are_asked_for_in_turn(
    asking: Asking, clock: FakeClock, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_LIMIT", 20_000)
    keys = jobs(pixxel, 5)
    pixxel.fail_next("list_jobs", status=200, json={"jobs": [], "more": "x" * 20_000}, times=None)

    found, complete = run(asking.several(keys, PATIENCE))

    assert found.keys() == set(keys)
    assert complete
    assert pixxel.requests("get_job") == 5


def test_a_session_is_closed_also_after_trouble(
    asking: Asking, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[PixxelHook] = []
    monkeypatch.setattr(PixxelHook, "close", lambda self: closed.append(self))
    pixxel.fail_next("estimate_cost", status=500)

    async def both() -> None:
        await asking.job(key("job-finished"), PATIENCE)
        await asking.estimate(key("job-finished"), PATIENCE)

    run(both())
    assert len(closed) == 2


def test_four_requests_run_at_once_and_no_more(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, everybody, go = threading.Semaphore(0), [], threading.Event()

    def ask(job: JobKey) -> Any:
        everybody.append(job)
        begun.release()
        assert go.wait(PATIENCE)
        raise PixxelServerError("x", status_code=500)

    monkeypatch.setattr(asking_module, "_ask_job", ask)

    async def crowd() -> int:
        looks = [asyncio.ensure_future(asking.job(key(f"job-{n}"), PATIENCE)) for n in range(10)]
        for _ in range(4):
            assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE)
        fifth = await asyncio.to_thread(begun.acquire, timeout=0.1)
        at_once = len(everybody)
        go.set()
        await asyncio.gather(*looks)
        assert not fifth
        return at_once

    assert run(crowd()) == 4
    assert len(everybody) == 10


# ------------------------------------------------------------------------------------------------- estimates


def test_an_estimate_is_asked_for_once_a_workflow(asking: Asking, clock: FakeClock, pixxel: Any) -> None:
    async def look() -> list[Any]:
        found = [
            await asking.estimate(key(job), PATIENCE) for job in ("job-finished", "job-finished-earlier")
        ]
        clock.sleep(599.9)
        found.append(await asking.estimate(key("job-finished"), PATIENCE))
        return found

    promised = pixxel.world.workflow("wf-succeeds").promised_cost
    assert run(look()) == [promised] * 3
    assert pixxel.requests("estimate_cost") == 1


def test_an_estimate_that_pixxel_does_not_give_is_none(asking: Asking, pixxel: Any) -> None:
    pixxel.fail_next("estimate_cost", status=404)

    assert run(asking.estimate(key("job-finished"), PATIENCE)) is None


# -------------------------------------------------------------------------------------------------- the list


def jobs(pixxel: Any, count: int, workflow_id: str = "wf-succeeds") -> list[JobKey]:
    names = [f"{workflow_id}-{number}" for number in range(count)]
    for name in names:
        pixxel.create_job(workflow_id, name)
    return [key(name, workflow_id) for name in names]


@pytest.mark.parametrize(
    ("count", "singly", "lists"), [(0, 0, 0), (1, 1, 0), (3, 3, 0), (4, 0, 1), (40, 0, 1)]
)
def test_from_four_jobs_of_a_workflow_on_their_list_is_asked_for(
    asking: Asking, pixxel: Any, count: int, singly: int, lists: int
) -> None:
    keys = jobs(pixxel, count)

    found, complete = run(asking.several(keys, PATIENCE))

    assert {each: job.id for each, job in found.items()} == {each: each.job_id for each in keys}
    assert complete
    assert (pixxel.requests("get_job"), pixxel.requests("list_jobs")) == (singly, lists)


def test_workflows_are_counted_apart(asking: Asking, pixxel: Any) -> None:
    keys = jobs(pixxel, 3) + jobs(pixxel, 5, "wf-fails")

    found, complete = run(asking.several(keys, PATIENCE))

    assert found.keys() == set(keys)
    assert complete
    assert (pixxel.requests("get_job"), pixxel.requests("list_jobs")) == (3, 1)


def test_a_list_lasts_ten_seconds(asking: Asking, clock: FakeClock, pixxel: Any) -> None:
    keys = jobs(pixxel, 4)

    async def look() -> list[int]:
        counts = []
        for pause in (0, 9.9, 0.1):
            clock.sleep(pause)
            await asking.several(keys, PATIENCE)
            counts.append(pixxel.requests("list_jobs"))
        return counts

    assert run(look()) == [1, 1, 2]


def looks(asking: Asking, clock: FakeClock, keys: list[JobKey], count: int) -> list[tuple[Any, bool]]:
    """Look several times, a minute apart."""

    async def look() -> list[tuple[Any, bool]]:
        found = []
        for _ in range(count):
            found.append(await asking.several(keys, PATIENCE))
            clock.sleep(60)
        return found

    return run(look())


def test_a_job_that_its_list_lacks_is_asked_for_by_itself(
    asking: Asking, clock: FakeClock, pixxel: Any
) -> None:
    keys = jobs(pixxel, 5)
    pixxel.fail_next("list_jobs", hide=[keys[2].job_id], times=2)

    for found, complete in looks(asking, clock, keys, 3):
        assert found.keys() == set(keys)
        assert complete
    # Once more beside a list that has it again, and no more after that.
    assert pixxel.requests("get_job") == pixxel.requests("get_job", keys[2].job_id) == 3
    looks(asking, clock, keys, 1)
    assert pixxel.requests("get_job") == 3


def test_a_job_that_nobody_knows_is_missing_and_said_to_be(asking: Asking, pixxel: Any) -> None:
    keys = [*jobs(pixxel, 5), key("nothing")]

    found, complete = run(asking.several(keys, PATIENCE))

    assert found.keys() == set(keys[:5])
    assert not complete


@pytest.mark.parametrize("status", [403, 404])
def test_jobs_whose_list_is_refused_are_asked_for_in_turn(
    asking: Asking, clock: FakeClock, pixxel: Any, status: int
) -> None:
    keys = jobs(pixxel, 40)
    pixxel.fail_next("list_jobs", status=status, times=None)

    first, second = looks(asking, clock, keys, 2)

    assert (len(first[0]), first[1]) == (23, False)
    assert (len(second[0]), second[1]) == (40, True)
    assert pixxel.requests("list_jobs") == 2
    assert pixxel.requests("get_job") == 2 * 23


@pytest.mark.parametrize("status", [401, 429, 503])
def test_trouble_that_asking_for_each_job_would_not_help_leads_to_nothing_more(
    asking: Asking, pixxel: Any, status: int
) -> None:
    keys = jobs(pixxel, 5)
    pixxel.fail_next("list_jobs", status=status)

    assert run(asking.several(keys, PATIENCE)) == ({}, False)
    assert pixxel.requests() == 1


def test_a_connection_that_is_not_there_is_looked_up_once_for_a_list(asking: Asking, pixxel: Any) -> None:
    keys = [key(f"job-{number}", conn_id="nothing") for number in range(5)]

    assert run(asking.several(keys, PATIENCE)) == ({}, False)
    assert pixxel.requests() == 0


def test_a_job_in_trouble_leaves_the_others_alone(asking: Asking, pixxel: Any) -> None:
    keys = jobs(pixxel, 3)
    pixxel.fail_next("get_job", job_id=keys[1].job_id, status=500)

    found, complete = run(asking.several(keys, PATIENCE))

    assert found.keys() == {keys[0], keys[2]}
    assert not complete


@pytest.mark.filterwarnings("error::RuntimeWarning", "error::pytest.PytestUnraisableExceptionWarning")
def test_one_look_leads_to_a_bounded_number_of_questions(asking: Asking, pixxel: Any) -> None:
    keys = []
    for number in range(30):
        pixxel.world.add_workflow(f"wf-{number}")
        keys += jobs(pixxel, 1, f"wf-{number}")

    found, complete = run(asking.several(keys, PATIENCE))

    assert pixxel.requests() == len(found) == asking_module.MOST_QUESTIONS == 24
    assert not complete


def test_what_had_no_turn_has_it_at_the_next_look_and_the_others_are_shown_as_they_were(
    asking: Asking, clock: FakeClock, pixxel: Any
) -> None:
    keys = []
    for number in range(30):
        pixxel.world.add_workflow(f"wf-{number}")
        keys += jobs(pixxel, 1, f"wf-{number}")

    first, second, third = looks(asking, clock, keys, 3)

    assert (len(first[0]), first[1]) == (24, False)
    for found, complete in (second, third):
        assert found.keys() == set(keys)
        assert complete
    assert pixxel.requests() == 3 * 24
    assert {pixxel.requests("get_job", each.job_id) for each in keys} == {2, 3}


def test_lists_leave_a_quarter_to_the_others(asking: Asking, clock: FakeClock, pixxel: Any) -> None:
    keys = []
    for number in range(38):
        pixxel.world.add_workflow(f"wf-{number}")
        keys += jobs(pixxel, 4 if number < 30 else 1, f"wf-{number}")

    first, second = looks(asking, clock, keys, 2)

    assert (len(first[0]), first[1]) == (18 * 4 + 6, False)
    assert second[1]
    assert (pixxel.requests("list_jobs"), pixxel.requests("get_job")) == (2 * 18, 2 * 6)
    looks(asking, clock, keys[: 30 * 4], 1)
    # All of them, where nothing else is to be asked.
    assert pixxel.requests("list_jobs") == 3 * 18 + 6
