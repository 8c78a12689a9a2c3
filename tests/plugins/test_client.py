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
from pixxel_provider.plugins import client as client_module
from pixxel_provider.plugins import page_hook
from pixxel_provider.plugins.client import PageClient, PageJob, slim
from pixxel_provider.plugins.job_batch import JobRef
from pixxel_provider.plugins.page_hook import PageHook
from pixxel_provider.plugins.redaction import Redactor
from tests.support import CANARY, FakeClock

T = TypeVar("T")
RETRY_FOR = 20.0
#: Short, as a message may quote what is too short for a key.
HUSH = "hush-hush"


def key(job_id: str, workflow_id: str = "wf-succeeds", conn_id: str = "pixxel_default") -> JobRef:
    return JobRef(conn_id, workflow_id, job_id)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000.0)


@pytest.fixture
def client(pixxel: Any, clock: FakeClock) -> PageClient:
    # Here a look waits for what it asks.
    return PageClient(clock, known_wait=RETRY_FOR)  # type: ignore[arg-type]


def connect(
    pixxel: Any, monkeypatch: pytest.MonkeyPatch, name: str = "PIXXEL_DEFAULT", **changes: Any
) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({**pixxel.airflow_connection, **changes}))


def look_at(client: PageClient, *jobs: JobRef) -> Any:
    """Look at one job, or at one after another; return what was found."""

    async def look() -> Any:
        return [await client.job(job, RETRY_FOR) for job in jobs]

    return run(look()) if len(jobs) > 1 else run(look())[0]


def asked(client: PageClient, clock: FakeClock, pixxel: Any, job: JobRef, *pauses: float) -> list[int]:
    """Look after each pause; return how many requests there had been each time."""

    async def look() -> list[int]:
        counts = []
        for pause in pauses:
            clock.sleep(pause)
            await client.job(job, RETRY_FOR)
            counts.append(pixxel.requests("get_job"))
        return counts

    return run(look())


# --------------------------------------------------------------------------------------------------- one job


def test_a_job_comes_with_its_page_in_the_console(
    client: PageClient, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(pixxel, monkeypatch, extra={"console_url": "https://c.example.com/{workflow_id}/{job_id}"})

    found = look_at(client, key("job-finished"))

    assert found.value is not None
    assert found.value.job.id == "job-finished"
    assert found.value.job.tasks
    assert found.value.console == "https://c.example.com/wf-succeeds/job-finished"


def test_twenty_who_look_cost_one_request(client: PageClient, pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1")

    async def crowd() -> set[str]:
        found = await asyncio.gather(*(client.job(key("job-1"), RETRY_FOR) for _ in range(20)))
        return {each.value.job.id for each in found if each.value is not None}

    assert run(crowd()) == {"job-1"}
    assert pixxel.requests() == 1


def test_a_job_that_runs_is_asked_for_every_three_seconds(
    client: PageClient, clock: FakeClock, pixxel: Any
) -> None:
    pixxel.create_job("wf-succeeds", "job-1")

    assert asked(client, clock, pixxel, key("job-1"), 0, 2.9, 0.1, 2.9, 0.1) == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("end", ["job-finished", "job-failed", "unclear"])
def test_a_job_that_has_ended_is_asked_for_once_a_minute(
    client: PageClient, clock: FakeClock, pixxel: Any, end: str
) -> None:
    workflow = "wf-fails" if end == "job-failed" else "wf-succeeds"
    if end == "unclear":
        pixxel.create_job(workflow, end, age=3600, fields={"status": "archived"})

    assert asked(client, clock, pixxel, key(end, workflow), 0, 3, 56.9, 0.1) == [1, 1, 1, 2]


def test_the_same_job_of_another_connection_is_another_question(
    client: PageClient, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(pixxel, monkeypatch, "OTHER", password="wrong-key-of-the-other-one")

    mine, other = look_at(client, key("job-finished"), key("job-finished", conn_id="other"))
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
    client: PageClient,
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
        await client.job(key("job-finished"), RETRY_FOR)
        await client.estimate(key("job-finished"), RETRY_FOR)
        await client.several(jobs(pixxel, 4), RETRY_FOR)

    run(everything())
    assert seen == [expected] * 3


def test_trouble_is_not_tried_again_by_itself(client: PageClient, pixxel: Any) -> None:
    pixxel.fail_next("get_job", status=503, times=None)

    found = look_at(client, key("job-finished"))

    assert isinstance(found.trouble, PixxelServerError)
    assert pixxel.requests() == 1


def test_a_server_that_wants_to_be_left_alone_is(client: PageClient, clock: FakeClock, pixxel: Any) -> None:
    pixxel.fail_next("get_job", status=429, retry_after="30")

    assert asked(client, clock, pixxel, key("job-finished"), 0, 29.9, 0.1) == [1, 1, 2]


def test_a_server_in_trouble_leaves_what_was_known(client: PageClient, clock: FakeClock, pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1")

    async def look() -> Any:
        await client.job(key("job-1"), RETRY_FOR)
        pixxel.fail_next("get_job", status=429)
        clock.sleep(3)
        return await client.job(key("job-1"), RETRY_FOR)

    found = run(look())
    assert found.value is not None
    assert isinstance(found.trouble, PixxelRateLimitError)


def test_a_job_or_connection_that_is_not_there_is_trouble(client: PageClient, pixxel: Any) -> None:
    keys = key("nothing"), key("job-finished", conn_id="nothing"), key("..", workflow_id="..")
    missing, unconnected, climbing = look_at(client, *keys)
    assert isinstance(missing.trouble, PixxelNotFoundError)
    assert isinstance(unconnected.trouble, PixxelInputError)
    assert "'nothing'" in str(unconnected.trouble)
    assert isinstance(climbing.trouble, PixxelInputError)
    assert pixxel.requests() == 1


def test_trouble_never_holds_the_key(client: PageClient, pixxel: Any) -> None:
    pixxel.fail_next("get_job", status=401, json={"error": {"message": f"who is {CANARY}?", "code": CANARY}})

    found = look_at(client, key("job-finished"))

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
    client: PageClient,
    pixxel: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
) -> None:
    connect(pixxel, monkeypatch, **changes)
    (name,) = list(changes["extra"]) if "extra" in changes else list(changes)

    found = look_at(client, key("job-finished"))

    assert isinstance(found.trouble, PixxelInputError)
    for word in ("'pixxel_default'", name, "log"):
        assert word in str(found.trouble)
    assert HUSH not in repr(found) + str(found.trouble) + str(vars(found.trouble))
    (record,) = [each for each in caplog.records if each.name == "pixxel_provider.plugins.page_hook"]
    assert name in record.getMessage()


def test_a_connection_that_is_spoilt_meanwhile_is_quoted_in_the_log_alone(
    client: PageClient, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixxel.fail_next("get_job", status=401)
    read_anew = PixxelHook._read_anew

    def spoil(self: PixxelHook, *args: Any) -> Any:
        # After a 401 the connection is read anew.
        connect(pixxel, monkeypatch, extra={"allow_http": HUSH})
        return read_anew(self, *args)

    monkeypatch.setattr(PixxelHook, "_read_anew", spoil)

    found = look_at(client, key("job-finished"))

    assert isinstance(found.trouble, PixxelInputError)
    assert HUSH not in str(found.trouble)


@pytest.mark.parametrize("conn_type", ["http", "https", "generic", "", "postgres"])
def test_only_connections_of_pixxels_type_are_used(
    client: PageClient,
    pixxel: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    conn_type: str,
) -> None:
    connect(pixxel, monkeypatch, conn_type=conn_type)

    found = look_at(client, key("job-finished"))

    assert isinstance(found.trouble, PixxelInputError)
    assert "conn_type" in str(found.trouble)
    assert pixxel.requests() == 0
    assert conn_type == "postgres" or "the pages only use connections of type 'pixxel'" in caplog.text


def test_the_type_counts_anew_where_the_connection_is_read_anew(
    client: PageClient, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixxel.fail_next("get_job", status=401)
    read = PageHook._read

    def spoil(hook: PageHook) -> Any:
        found = read(hook)
        connect(pixxel, monkeypatch, conn_type="http", password="another-service's")
        return found

    monkeypatch.setattr(PageHook, "_read", spoil)
    found = look_at(client, key("job-finished"))

    assert found.value is None
    assert found.trouble is not None
    assert pixxel.requests() == 1


@pytest.mark.parametrize("secret", ["k3y", "hush", "47110815"])
def test_a_short_key_is_in_no_job_and_no_error(
    client: PageClient, pixxel: Any, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    connect(pixxel, monkeypatch, password=secret)
    answers = [
        {"status": 200, "json": {"id": "j0", "status": "running", "created_by": f"<{secret}>"}},
        {"status": 403, "json": {"error": {"message": f"<{secret}>", "code": secret, "details": [secret]}}},
        {"status": 200, "json": {"message": f"<{secret}>"}},
    ]
    for number, answer in enumerate(answers):
        pixxel.fail_next("get_job", job_id=f"j{number}", **answer)

    job, refused, odd = look_at(client, *(key(f"j{number}") for number in range(len(answers))))
    assert job.value is not None
    assert job.value.redact.shown(job.value.job.created_by) == "<***>"
    assert isinstance(refused.trouble, PixxelAuthError)
    assert "<***>" in str(refused.trouble)
    assert odd.trouble is not None
    for found in (refused, odd):
        assert secret not in repr(found) + str(found.trouble) + str(vars(found.trouble))


# ------------------------------------------------------------------------------------------- how much is kept


def test_of_a_large_job_only_what_is_shown_is_read_and_kept(client: PageClient, pixxel: Any) -> None:
    fields = {
        "tasks": [{"id": f"t{number}", "status": "done"} for number in range(1_200)],
        "val_errors": ["x"] * 300,
        "else": {"kept": True},
    }
    pixxel.create_job("wf-succeeds", "job-1", fields=fields)

    found = look_at(client, key("job-1")).value
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


def test_the_list_has_no_key_either(client: PageClient, pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(pixxel, monkeypatch, password="hush")
    answer = {"id": "j", "status": "is hush", "created_by": "hush"}
    pixxel.fail_next("get_job", status=200, json=answer, times=None)
    listed = [{**answer, "id": f"j{number}"} for number in range(4)]
    pixxel.fail_next("list_jobs", status=200, json={"jobs": listed}, times=None)

    for keys in ([key("j")], [key(f"j{number}") for number in range(4)]):
        found, complete = run(client.several(keys, RETRY_FOR))
        assert complete
        assert {job.status for job in found.values()} == {"is ***"}


def test_a_job_that_is_nested_too_deep_to_be_packed_is_shown_as_far_as_it_can_be() -> None:
    deep: Any = []
    for _ in range(3_000):
        deep = [deep]

    found = PageJob.of(Job.read({"id": "j", "status": "running", "deep": deep}), "")

    assert found.job.id == "j"


def test_jobs_whose_list_is_too_long_are_asked_for_in_turn(
    client: PageClient, clock: FakeClock, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_hook, "ANSWER_LIMIT", 20_000)
    keys = jobs(pixxel, 5)
    pixxel.fail_next("list_jobs", status=200, json={"jobs": [], "more": "x" * 20_000}, times=None)

    found, complete = run(client.several(keys, RETRY_FOR))

    assert found.keys() == set(keys)
    assert complete
    assert pixxel.requests("get_job") == 5


def test_a_session_is_closed_also_after_trouble(
    client: PageClient, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[PixxelHook] = []
    monkeypatch.setattr(PixxelHook, "close", lambda self: closed.append(self))
    pixxel.fail_next("estimate_cost", status=500)

    async def both() -> None:
        await client.job(key("job-finished"), RETRY_FOR)
        await client.estimate(key("job-finished"), RETRY_FOR)

    run(both())
    assert len(closed) == 2


def test_four_requests_run_at_once_and_no_more(client: PageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, everybody, go = threading.Semaphore(0), [], threading.Event()

    def ask(job: JobRef) -> Any:
        everybody.append(job)
        begun.release()
        assert go.wait(RETRY_FOR)
        raise PixxelServerError("x", status_code=500)

    monkeypatch.setattr(client_module, "_ask_job", ask)

    async def crowd() -> int:
        looks = [asyncio.ensure_future(client.job(key(f"job-{n}"), RETRY_FOR)) for n in range(10)]
        for _ in range(4):
            assert await asyncio.to_thread(begun.acquire, timeout=RETRY_FOR)
        fifth = await asyncio.to_thread(begun.acquire, timeout=0.1)
        at_once = len(everybody)
        go.set()
        await asyncio.gather(*looks)
        assert not fifth
        return at_once

    assert run(crowd()) == 4
    assert len(everybody) == 10


# ------------------------------------------------------------------------------------------------- estimates


def test_an_estimate_is_asked_for_once_a_workflow(client: PageClient, clock: FakeClock, pixxel: Any) -> None:
    async def look() -> list[Any]:
        found = [
            await client.estimate(key(job), RETRY_FOR) for job in ("job-finished", "job-finished-earlier")
        ]
        clock.sleep(599.9)
        found.append(await client.estimate(key("job-finished"), RETRY_FOR))
        return found

    promised = pixxel.world.workflow("wf-succeeds").promised_cost
    assert run(look()) == [promised] * 3
    assert pixxel.requests("estimate_cost") == 1


def test_an_estimate_that_pixxel_does_not_give_is_none(client: PageClient, pixxel: Any) -> None:
    pixxel.fail_next("estimate_cost", status=404)

    assert run(client.estimate(key("job-finished"), RETRY_FOR)) is None


# -------------------------------------------------------------------------------------------------- the list


def jobs(pixxel: Any, count: int, workflow_id: str = "wf-succeeds") -> list[JobRef]:
    names = [f"{workflow_id}-{number}" for number in range(count)]
    for name in names:
        pixxel.create_job(workflow_id, name)
    return [key(name, workflow_id) for name in names]


def jobs_of_each(pixxel: Any, *counts: int) -> list[JobRef]:
    """Make so many jobs in each of as many workflows."""
    for number in range(len(counts)):
        pixxel.world.add_workflow(f"wf-{number}")
    return [key for number, count in enumerate(counts) for key in jobs(pixxel, count, f"wf-{number}")]


@pytest.mark.parametrize(
    ("count", "singly", "lists"), [(0, 0, 0), (1, 1, 0), (3, 3, 0), (4, 0, 1), (40, 0, 1)]
)
def test_from_four_jobs_of_a_workflow_on_their_list_is_asked_for(
    client: PageClient, pixxel: Any, count: int, singly: int, lists: int
) -> None:
    keys = jobs(pixxel, count)

    found, complete = run(client.several(keys, RETRY_FOR))

    assert {each: job.id for each, job in found.items()} == {each: each.job_id for each in keys}
    assert complete
    assert (pixxel.requests("get_job"), pixxel.requests("list_jobs")) == (singly, lists)


def test_workflows_are_counted_apart(client: PageClient, pixxel: Any) -> None:
    keys = jobs(pixxel, 3) + jobs(pixxel, 5, "wf-fails")

    found, complete = run(client.several(keys, RETRY_FOR))

    assert found.keys() == set(keys)
    assert complete
    assert (pixxel.requests("get_job"), pixxel.requests("list_jobs")) == (3, 1)


def test_a_list_lasts_ten_seconds(client: PageClient, clock: FakeClock, pixxel: Any) -> None:
    keys = jobs(pixxel, 4)

    async def look(pause: float) -> int:
        clock.sleep(pause)
        await client.several(keys, RETRY_FOR)
        return int(pixxel.requests("list_jobs"))

    assert [run(look(pause)) for pause in (0, 9.9, 0.1)] == [1, 1, 2]


def looks(client: PageClient, clock: FakeClock, keys: list[JobRef], count: int) -> list[tuple[Any, bool]]:
    """Look several times, a minute apart."""

    async def look() -> list[tuple[Any, bool]]:
        found = []
        for _ in range(count):
            found.append(await client.several(keys, RETRY_FOR))
            clock.sleep(60)
        return found

    return run(look())


def test_a_job_that_its_list_lacks_is_asked_for_by_itself(
    client: PageClient, clock: FakeClock, pixxel: Any
) -> None:
    keys = jobs(pixxel, 5)
    pixxel.fail_next("list_jobs", hide=[keys[2].job_id], times=2)

    for found, complete in looks(client, clock, keys, 3):
        assert found.keys() == set(keys)
        assert complete
    # Once more beside a list that has it again, and no more after that.
    assert pixxel.requests("get_job") == pixxel.requests("get_job", keys[2].job_id) == 3
    looks(client, clock, keys, 1)
    assert pixxel.requests("get_job") == 3


def test_a_job_that_nobody_knows_is_missing_and_said_to_be(client: PageClient, pixxel: Any) -> None:
    keys = [*jobs(pixxel, 5), key("nothing")]

    found, complete = run(client.several(keys, RETRY_FOR))

    assert found.keys() == set(keys[:5])
    assert not complete


@pytest.mark.parametrize("status", [403, 404])
def test_jobs_whose_list_is_refused_are_asked_for_in_turn(
    client: PageClient, clock: FakeClock, pixxel: Any, status: int
) -> None:
    keys = jobs(pixxel, 40)
    pixxel.fail_next("list_jobs", status=status, times=None)

    first, second = looks(client, clock, keys, 2)

    assert (len(first[0]), first[1]) == (23, False)
    assert (len(second[0]), second[1]) == (40, True)
    assert pixxel.requests("list_jobs") == 2
    assert pixxel.requests("get_job") == 2 * 23


@pytest.mark.parametrize("status", [401, 429, 503])
def test_trouble_that_asking_for_each_job_would_not_help_leads_to_nothing_more(
    client: PageClient, pixxel: Any, status: int
) -> None:
    keys = jobs(pixxel, 5)
    pixxel.fail_next("list_jobs", status=status)

    assert run(client.several(keys, RETRY_FOR)) == ({}, False)
    assert pixxel.requests() == 1


def test_a_connection_that_is_not_there_is_looked_up_once_for_a_list(client: PageClient, pixxel: Any) -> None:
    keys = [key(f"job-{number}", conn_id="nothing") for number in range(5)]

    assert run(client.several(keys, RETRY_FOR)) == ({}, False)
    assert pixxel.requests() == 0


def test_a_job_in_trouble_leaves_the_others_alone(client: PageClient, pixxel: Any) -> None:
    keys = jobs(pixxel, 3)
    pixxel.fail_next("get_job", job_id=keys[1].job_id, status=500)

    found, complete = run(client.several(keys, RETRY_FOR))

    assert found.keys() == {keys[0], keys[2]}
    assert not complete


@pytest.mark.filterwarnings("error::RuntimeWarning", "error::pytest.PytestUnraisableExceptionWarning")
def test_one_look_leads_to_a_bounded_number_of_questions(client: PageClient, pixxel: Any) -> None:
    keys = jobs_of_each(pixxel, *[1] * 30)

    found, complete = run(client.several(keys, RETRY_FOR))

    assert pixxel.requests() == len(found) == client_module.MOST_QUESTIONS == 24
    assert not complete


def test_what_had_no_turn_has_it_at_the_next_look_and_the_others_are_shown_as_they_were(
    client: PageClient, clock: FakeClock, pixxel: Any
) -> None:
    keys = jobs_of_each(pixxel, *[1] * 30)

    first, second, third = looks(client, clock, keys, 3)

    assert (len(first[0]), first[1]) == (24, False)
    for found, complete in (second, third):
        assert found.keys() == set(keys)
        assert complete
    assert pixxel.requests() == 3 * 24
    assert {pixxel.requests("get_job", each.job_id) for each in keys} == {2, 3}


def test_lists_leave_a_quarter_to_the_others(client: PageClient, clock: FakeClock, pixxel: Any) -> None:
    keys = jobs_of_each(pixxel, *[4] * 30, *[1] * 8)

    first, second = looks(client, clock, keys, 2)

    assert (len(first[0]), first[1]) == (18 * 4 + 6, False)
    assert second[1]
    assert (pixxel.requests("list_jobs"), pixxel.requests("get_job")) == (2 * 18, 2 * 6)
    looks(client, clock, keys[: 30 * 4], 1)
    # All of them, where nothing else is to be asked.
    assert pixxel.requests("list_jobs") == 3 * 18 + 6
