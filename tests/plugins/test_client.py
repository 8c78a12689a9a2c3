"""Which requests the pages send to a simulated Pixxel, and above all which they don't."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

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
from pixxel_provider.plugins import job_batch, page_hook
from pixxel_provider.plugins.client import PageClient, PageJob, slim
from pixxel_provider.plugins.job_batch import MAX_REQUESTS, JobKey
from pixxel_provider.plugins.page_hook import PageHook
from pixxel_provider.plugins.redaction import Redactor
from tests.support import CANARY, FakeClock

#: Seconds; no answer takes as long.
MAX_WAIT = 20.0
#: Short, as a message may quote what is too short for a key.
HUSH = "hush-hush"


def key(job_id: str, workflow_id: str = "wf-succeeds", conn_id: str = "pixxel_default") -> JobKey:
    return JobKey(conn_id, workflow_id, job_id)


class Pages:
    """A PageClient with a clock of its own, and the simulated Pixxel."""

    def __init__(self, pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pixxel, self.monkeypatch = pixxel, monkeypatch
        self.clock = FakeClock(1_000.0)
        self.client = PageClient(self.clock)  # type: ignore[arg-type]

    def connect(self, name: str = "PIXXEL_DEFAULT", **changes: Any) -> None:
        connection = {**self.pixxel.airflow_connection, **changes}
        self.monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))

    def job(self, job: str | JobKey = "job-finished") -> Any:
        """Return the answer for a job."""
        return asyncio.run(self.client.jobs.get(key(job) if isinstance(job, str) else job, MAX_WAIT))

    def estimate(self, job_id: str = "job-finished") -> Any:
        return asyncio.run(self.client.estimates.get(key(job_id)[:2], MAX_WAIT)).value

    def several(self, keys: list[JobKey]) -> tuple[Any, bool]:
        known = asyncio.run(self.client.batch.get(keys, MAX_WAIT))
        return {each: job for each, (_, job) in known.items()}, len(known) == len(keys)

    def sent_after(self, job: JobKey, *pauses: float) -> list[int]:
        """Request a job after each pause; return how many requests had been sent each time."""
        counts = []
        for pause in pauses:
            self.clock.sleep(pause)
            self.job(job)
            counts.append(self.sent("get_job"))
        return counts

    def refreshes(self, keys: list[JobKey], count: int) -> list[tuple[Any, bool]]:
        """Refresh a list several times, a minute apart."""
        found = []
        for _ in range(count):
            found.append(self.several(keys))
            self.clock.sleep(60)
        return found

    def sent(self, *what: str) -> int:
        return int(self.pixxel.requests(*what))

    def jobs(self, *counts: int) -> list[JobKey]:
        """Make so many jobs in each of as many workflows."""
        keys = [
            key(f"wf-{at}-{number}", f"wf-{at}") for at, count in enumerate(counts) for number in range(count)
        ]
        for workflow_id in dict.fromkeys(each.workflow_id for each in keys):
            self.pixxel.world.add_workflow(workflow_id)
        for each in keys:
            self.pixxel.create_job(each.workflow_id, each.job_id)
        return keys


@pytest.fixture
def pages(pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> Pages:
    # Here a refresh waits for all that it requests.
    monkeypatch.setattr(job_batch, "KNOWN_WAIT", MAX_WAIT)
    return Pages(pixxel, monkeypatch)


def quoted(answer: Any) -> str:
    """Return all that an answer and its error hold."""
    return repr(answer) + str(answer.error) + str(vars(answer.error))


# --------------------------------------------------------------------------------------------------- one job


def test_a_job_comes_with_its_page_in_the_console(pages: Pages) -> None:
    pages.connect(extra={"console_url": "https://c.example.com/{workflow_id}/{job_id}"})

    found = pages.job().value

    assert found.job.id == "job-finished"
    assert found.job.tasks
    assert found.console == "https://c.example.com/wf-succeeds/job-finished"


@pytest.mark.parametrize(
    ("status", "pauses", "sent"),
    [
        ("running", (0, 2.9, 0.1, 2.9, 0.1), [1, 1, 2, 2, 3]),
        ("completed", (0, 3, 56.9, 0.1), [1, 1, 1, 2]),
        ("failed", (0, 3, 56.9, 0.1), [1, 1, 1, 2]),
        # Unclear: it has ended with a status that nobody knows.
        ("archived", (0, 3, 56.9, 0.1), [1, 1, 1, 2]),
    ],
)
def test_a_running_job_is_requested_every_three_seconds_and_an_ended_one_once_a_minute(
    pages: Pages, status: str, pauses: tuple[float, ...], sent: list[int]
) -> None:
    pages.pixxel.create_job(
        "wf-succeeds", "j", age=60 if status == "running" else 3600, fields={"status": status}
    )

    assert pages.sent_after(key("j"), *pauses) == sent


def test_the_same_job_with_another_connection_is_another_request(pages: Pages) -> None:
    pages.connect("OTHER", password="wrong-key-of-the-other-one")

    assert pages.job().value is not None
    other = pages.job(key("job-finished", conn_id="other"))
    assert other.value is None
    assert isinstance(other.error, PixxelAuthError)


# ---------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (5.0, 15.0)),
        ({"connect_timeout": 600, "read_timeout": 3600}, (5.0, 15.0)),
        ({"connect_timeout": 2, "read_timeout": 3}, (2.0, 3.0)),
        ({"connect_timeout": 5, "read_timeout": 15}, (5.0, 15.0)),
    ],
)
def test_no_timeout_is_longer_than_the_pages_own(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], expected: tuple[float, float]
) -> None:
    pages.connect(extra=given)
    seen: list[tuple[float, float]] = []
    send = PixxelHook.send

    def watched(self: PixxelHook, call: Any, **more: Any) -> Any:
        seen.append((self.settings.connect_timeout, self.settings.read_timeout))
        return send(self, call, **more)

    monkeypatch.setattr(PixxelHook, "send", watched)
    pages.job()
    pages.estimate()
    pages.several(pages.jobs(4))

    assert seen == [expected] * 3


def test_a_transient_error_is_not_retried_at_once(pages: Pages) -> None:
    pages.pixxel.fail_next("get_job", status=503, times=None)

    assert isinstance(pages.job().error, PixxelServerError)
    assert pages.sent() == 1


def test_retry_after_is_respected(pages: Pages) -> None:
    pages.pixxel.fail_next("get_job", status=429, retry_after="30")

    assert pages.sent_after(key("job-finished"), 0, 29.9, 0.1) == [1, 1, 2]


def test_an_error_leaves_the_cached_answer(pages: Pages) -> None:
    pages.pixxel.create_job("wf-succeeds", "job-1")
    pages.job("job-1")
    pages.pixxel.fail_next("get_job", status=429)
    pages.clock.sleep(3)

    found = pages.job("job-1")

    assert found.value is not None
    assert isinstance(found.error, PixxelRateLimitError)


def test_an_unknown_job_or_connection_or_an_odd_id_is_an_error(pages: Pages) -> None:
    assert isinstance(pages.job("nothing").error, PixxelNotFoundError)
    unconnected = pages.job(key("job-finished", conn_id="nothing")).error
    assert isinstance(unconnected, PixxelInputError)
    assert "'nothing'" in str(unconnected)
    assert isinstance(pages.job(key("..", workflow_id="..")).error, PixxelInputError)
    assert pages.sent() == 1


def test_no_error_holds_the_key(pages: Pages) -> None:
    error = {"message": f"who is {CANARY}?", "code": CANARY}
    pages.pixxel.fail_next("get_job", status=401, json={"error": error})

    found = pages.job()

    assert "who is ***?" in str(found.error)
    assert CANARY not in quoted(found)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("allow_http", {"extra": {"allow_http": HUSH}}),
        ("read_timeout", {"extra": {"read_timeout": HUSH}}),
        ("verify", {"extra": {"verify": f"/nowhere/{HUSH}"}}),
        ("proxy", {"extra": {"proxy": f"ftp://{HUSH}@proxy"}}),
        ("conn_type", {"conn_type": HUSH}),
    ],
)
def test_a_connection_that_cannot_be_used_is_quoted_in_the_log_alone(
    pages: Pages, caplog: pytest.LogCaptureFixture, name: str, changes: dict[str, Any]
) -> None:
    pages.connect(**changes)

    found = pages.job()

    assert isinstance(found.error, PixxelInputError)
    for word in ("'pixxel_default'", name, "log"):
        assert word in str(found.error)
    assert HUSH not in quoted(found)
    (record,) = [each for each in caplog.records if each.name == "pixxel_provider.plugins.page_hook"]
    assert name in record.getMessage()


@pytest.mark.parametrize("conn_type", ["http", "https", "generic", "", "postgres"])
def test_only_connections_of_pixxels_type_are_used(
    pages: Pages, caplog: pytest.LogCaptureFixture, conn_type: str
) -> None:
    pages.connect(conn_type=conn_type)

    found = pages.job()

    assert isinstance(found.error, PixxelInputError)
    assert "conn_type" in str(found.error)
    assert pages.sent() == 0
    assert conn_type == "postgres" or "the pages only use connections of type 'pixxel'" in caplog.text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"extra": {"allow_http": HUSH}}, PixxelInputError),
        ({"conn_type": "http", "password": HUSH}, PixxelAuthError),
    ],
)
def test_a_connection_that_is_read_again_after_a_401_is_checked_again(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], error: type[Exception]
) -> None:
    pages.pixxel.fail_next("get_job", status=401)
    read = PageHook._read

    def changed_afterwards(hook: PageHook) -> Any:
        settings = read(hook)
        pages.connect(**changes)
        return settings

    monkeypatch.setattr(PageHook, "_read", changed_afterwards)

    found = pages.job()

    assert found.value is None
    assert isinstance(found.error, error)
    assert HUSH not in quoted(found)
    assert pages.sent() == 1


@pytest.mark.parametrize("secret", ["k3y", "hush", "47110815"])
def test_a_short_key_is_in_no_job_and_no_error(pages: Pages, secret: str) -> None:
    pages.connect(password=secret)
    answers = [
        {"status": 200, "json": {"id": "j0", "status": "running", "created_by": f"<{secret}>"}},
        {"status": 403, "json": {"error": {"message": f"<{secret}>", "code": secret, "details": [secret]}}},
        {"status": 200, "json": {"message": f"<{secret}>"}},
    ]
    for number, answer in enumerate(answers):
        pages.pixxel.fail_next("get_job", job_id=f"j{number}", **answer)

    job, refused, odd = (pages.job(f"j{number}") for number in range(len(answers)))
    assert job.value.redact.shown(job.value.job.created_by) == "<***>"
    assert isinstance(refused.error, PixxelAuthError)
    assert "<***>" in str(refused.error)
    for found in (refused, odd):
        assert found.error is not None
        assert secret not in quoted(found)


# --------------------------------------------------------------------------------- how much is read and kept


def test_of_a_large_job_only_what_is_shown_is_read_and_kept(pages: Pages) -> None:
    fields = {
        "tasks": [{"id": f"t{number}", "status": "done"} for number in range(1_200)],
        "val_errors": ["x"] * 300,
        "else": {"kept": True},
    }
    pages.pixxel.create_job("wf-succeeds", "job-1", fields=fields)

    found = pages.job("job-1").value
    assert (found.tasks, found.errors) == (1_200, 300)
    assert (len(found.job.tasks), len(found.job.val_errors)) == (1_000, 200)
    assert found.whole.raw["else"] == {"kept": True}
    assert isinstance(found.packed, bytes)


def test_the_list_keeps_of_a_job_what_it_shows() -> None:
    raw = {"id": "j", "status": " running ", "cost": "4", "progress": "7%", "finished_at": {"x": 1}}
    large = {"tasks": [{}], "spec": "s", "val_errors": ["x"], "workflow_id": "w" * 9_000}
    found = slim(Job.read({**raw, **large}), Redactor())

    assert found.raw.keys() == {"id", "workflow_id", "status", "progress", "cost", "finished_at"}
    assert (found.status, found.cost, found.progress, found.finished_at) == ("running", 4, 7, None)
    assert len(found.workflow_id) == 600


def test_the_list_has_no_key_either(pages: Pages) -> None:
    pages.connect(password="hush")
    answer = {"id": "j", "status": "is hush", "created_by": "hush"}
    pages.pixxel.fail_next("get_job", status=200, json=answer, times=None)
    listed = [{**answer, "id": f"j{number}"} for number in range(4)]
    pages.pixxel.fail_next("list_jobs", status=200, json={"jobs": listed}, times=None)

    for keys in ([key("j")], [key(f"j{number}") for number in range(4)]):
        found, complete = pages.several(keys)
        assert complete
        assert {job.status for job in found.values()} == {"is ***"}


def test_a_job_that_is_nested_too_deep_to_be_packed_is_shown_as_far_as_it_can_be() -> None:
    deep: Any = []
    for _ in range(3_000):
        deep = [deep]

    found = PageJob.of(Job.read({"id": "j", "status": "running", "deep": deep}), "")

    assert found.job.id == "j"


def test_a_session_is_closed_also_after_an_error(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[PixxelHook] = []
    monkeypatch.setattr(PixxelHook, "close", lambda self: closed.append(self))
    pages.pixxel.fail_next("estimate_cost", status=500)
    pages.job()
    pages.estimate()

    assert len(closed) == 2


def test_four_requests_run_at_once_and_no_more(pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, sent, go = threading.Semaphore(0), list[JobKey](), threading.Event()

    def request(job: JobKey) -> Any:
        sent.append(job)
        begun.release()
        assert go.wait(MAX_WAIT)
        raise PixxelServerError("x", status_code=500)

    monkeypatch.setattr(client_module, "_request_job", request)
    client = PageClient()

    async def callers() -> int:
        waiting = [asyncio.ensure_future(client.jobs.get(key(f"job-{n}"), MAX_WAIT)) for n in range(10)]
        for _ in range(4):
            assert await asyncio.to_thread(begun.acquire, timeout=MAX_WAIT)
        assert not await asyncio.to_thread(begun.acquire, timeout=0.1)
        at_once = len(sent)
        go.set()
        await asyncio.gather(*waiting)
        return at_once

    assert asyncio.run(callers()) == 4
    assert len(sent) == 10


# ------------------------------------------------------------------------------------------------- estimates


def test_an_estimate_is_requested_once_a_workflow(pages: Pages) -> None:
    found = [pages.estimate("job-finished"), pages.estimate("job-finished-earlier")]
    pages.clock.sleep(599.9)
    found.append(pages.estimate())

    assert found == [pages.pixxel.world.workflow("wf-succeeds").promised_cost] * 3
    assert pages.sent("estimate_cost") == 1


def test_an_estimate_that_pixxel_does_not_give_is_none(pages: Pages) -> None:
    pages.pixxel.fail_next("estimate_cost", status=404)

    assert pages.estimate() is None


# -------------------------------------------------------------------------------------------------- the list


@pytest.mark.parametrize(
    ("counts", "single", "lists"),
    [((), 0, 0), ((1,), 1, 0), ((3,), 3, 0), ((4,), 0, 1), ((40,), 0, 1), ((3, 5), 3, 1)],
)
def test_from_four_jobs_of_a_workflow_on_their_list_is_requested(
    pages: Pages, counts: tuple[int, ...], single: int, lists: int
) -> None:
    keys = pages.jobs(*counts)

    found, complete = pages.several(keys)

    assert {each: job.id for each, job in found.items()} == {each: each.job_id for each in keys}
    assert complete
    assert (pages.sent("get_job"), pages.sent("list_jobs")) == (single, lists)


def test_a_list_lasts_ten_seconds(pages: Pages) -> None:
    keys, sent = pages.jobs(4), []
    for pause in (0, 9.9, 0.1):
        pages.clock.sleep(pause)
        pages.several(keys)
        sent.append(pages.sent("list_jobs"))

    assert sent == [1, 1, 2]


def test_a_job_that_its_list_lacks_is_requested_by_itself(pages: Pages) -> None:
    keys = pages.jobs(5)
    pages.pixxel.fail_next("list_jobs", hide=[keys[2].job_id], times=2)

    for found, complete in pages.refreshes(keys, 3):
        assert found.keys() == set(keys)
        assert complete
    # Once more beside a list that has it again, and no more after that.
    assert pages.sent("get_job") == pages.sent("get_job", keys[2].job_id) == 3
    pages.refreshes(keys, 1)
    assert pages.sent("get_job") == 3


def test_a_job_that_pixxel_does_not_know_makes_the_list_incomplete(pages: Pages) -> None:
    keys = pages.jobs(5)

    found, complete = pages.several([*keys, key("nothing", "wf-0")])

    assert found.keys() == set(keys)
    assert not complete


@pytest.mark.parametrize("status", [403, 404])
def test_jobs_whose_list_is_refused_are_requested_in_turn(pages: Pages, status: int) -> None:
    keys = pages.jobs(40)
    pages.pixxel.fail_next("list_jobs", status=status, times=None)

    first, second = pages.refreshes(keys, 2)

    assert (len(first[0]), first[1]) == (23, False)
    assert (len(second[0]), second[1]) == (40, True)
    assert pages.sent("list_jobs") == 2
    assert pages.sent("get_job") == 2 * 23


def test_jobs_whose_list_is_too_long_are_requested_in_turn(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_hook, "ANSWER_LIMIT", 20_000)
    keys = pages.jobs(5)
    pages.pixxel.fail_next("list_jobs", status=200, json={"jobs": [], "more": "x" * 20_000}, times=None)

    found, complete = pages.several(keys)

    assert found.keys() == set(keys)
    assert complete
    assert pages.sent("get_job") == 5


@pytest.mark.parametrize("status", [401, 429, 503])
def test_an_error_that_each_job_would_have_too_leads_to_no_more_requests(pages: Pages, status: int) -> None:
    keys = pages.jobs(5)
    pages.pixxel.fail_next("list_jobs", status=status)

    assert pages.several(keys) == ({}, False)
    assert pages.sent() == 1


def test_jobs_of_an_unknown_connection_lead_to_no_request(pages: Pages) -> None:
    keys = [key(f"job-{number}", conn_id="nothing") for number in range(5)]

    assert pages.several(keys) == ({}, False)
    assert pages.sent() == 0


def test_an_error_of_one_job_leaves_the_others_alone(pages: Pages) -> None:
    keys = pages.jobs(3)
    pages.pixxel.fail_next("get_job", job_id=keys[1].job_id, status=500)

    found, complete = pages.several(keys)

    assert found.keys() == {keys[0], keys[2]}
    assert not complete


@pytest.mark.filterwarnings("error::RuntimeWarning", "error::pytest.PytestUnraisableExceptionWarning")
def test_jobs_beyond_the_most_requests_of_a_refresh_are_requested_in_the_next_one(pages: Pages) -> None:
    keys = pages.jobs(*[1] * 30)

    first, second, third = pages.refreshes(keys, 3)

    assert (len(first[0]), first[1]) == (MAX_REQUESTS, False)
    for found, complete in (second, third):
        assert found.keys() == set(keys)
        assert complete
    assert pages.sent() == 3 * MAX_REQUESTS == 3 * 24
    assert {pages.sent("get_job", each.job_id) for each in keys} == {2, 3}


def test_lists_leave_a_quarter_to_the_others(pages: Pages) -> None:
    keys = pages.jobs(*[4] * 30, *[1] * 8)

    first, second = pages.refreshes(keys, 2)

    assert (len(first[0]), first[1]) == (18 * 4 + 6, False)
    assert second[1]
    assert (pages.sent("list_jobs"), pages.sent("get_job")) == (2 * 18, 2 * 6)
    pages.refreshes(keys[: 30 * 4], 1)
    # All of them, where nothing else is requested.
    assert pages.sent("list_jobs") == 3 * 18 + 6
