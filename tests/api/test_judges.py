"""A package is waited for until it is ready. Most of :class:`PollState` is tested in ``test_polling``."""

from __future__ import annotations

from typing import Any

import pytest

from pixxel_provider.api.errors import (
    PixxelAuthError,
    PixxelBadRequestError,
    PixxelConnectionError,
    PixxelInputError,
)
from pixxel_provider.api.judges import PackagePoll, is_ready
from pixxel_provider.api.models import Download
from pixxel_provider.api.polling import PollResult, PollState, WaitPlan
from tests.download.hosting import SIGNATURE
from tests.support import RecordingLog

PLAN = WaitPlan(timeout=60.0, not_found_grace=30.0, poke_interval=10.0)
URL = f"https://storage.example/package.zip?signature={SIGNATURE}"
NAME = "The package of Pixxel job job-1 of workflow wf-1"


class Waiting:
    """A wait for a package, and what it logged."""

    def __init__(self, pixxel_task_id: str | None = None) -> None:
        self.logged: list[str] = []
        poll = PackagePoll("wf-1", "job-1", pixxel_task_id)
        self.wait = PollState(poll, PLAN, log=RecordingLog(self.logged), jitter=lambda: 0.5)

    def poll(self, status: str, url: str = "") -> PollResult | None:
        return self.wait.judge(Download("d-1", status, url))


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


# --------------------------------------------------------------------------------------- what is asked for


def test_the_package_of_the_whole_job_is_asked_for() -> None:
    call = PackagePoll("wf-1", "job-1").call()
    assert (call.name, call.method) == ("download_job", "PUT")
    assert call.path.endswith("wf-1/jobs/job-1/download")


def test_the_package_of_one_task_is_asked_for_by_its_id() -> None:
    call = PackagePoll("wf-1", "job-1", "task 7").call()
    assert (call.name, call.method) == ("download_task", "PUT")
    assert call.path.endswith("jobs/job-1/tasks/task%207/download")


@pytest.mark.parametrize("task_id", ["", "..", "."])
def test_a_tasks_id_that_cant_be_one_is_named_as_a_dag_names_it(task_id: str) -> None:
    with pytest.raises(PixxelInputError) as caught:
        PackagePoll("wf-1", "job-1", task_id).check()
    assert caught.value.field == "pixxel_task_id"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("task_id", [None, "task-1"])
@pytest.mark.parametrize(("field", "ids"), [("workflow_id", ("", "job-1")), ("job_id", ("wf-1", ".."))])
def test_other_ids_keep_their_names(task_id: str | None, field: str, ids: tuple[str, str]) -> None:
    with pytest.raises(PixxelInputError) as caught:
        PackagePoll(*ids, task_id).check()
    assert caught.value.field == field


# ---------------------------------------------------------------------------------------- when it is ready


@pytest.mark.parametrize(
    "status", ["ready", "READY", " Ready ", "completed", "succeeded", "success", "done", "finished"]
)
def test_a_package_that_is_ready_ends_the_wait(waiting: Waiting, status: str) -> None:
    assert waiting.poll(status, URL) == PollResult("succeeded", f"{NAME} is ready")
    assert is_ready(Download("d-1", status, URL))
    assert waiting.logged == []


def test_a_package_of_a_task_is_called_so() -> None:
    result = Waiting("task-7").poll("ready", URL)
    assert result.message == "The package of task task-7 of Pixxel job job-1 of workflow wf-1 is ready"


def test_a_package_that_is_ready_without_a_url_is_waited_on_with_one_warning(waiting: Waiting) -> None:
    assert waiting.poll("ready") is None
    assert waiting.poll("ready") is None
    assert waiting.logged == [f"warning: {NAME} is ready, and there is no signed_url. Waiting on."]
    assert not is_ready(Download("d-1", "ready", ""))
    result = waiting.poll("ready", URL)
    assert result.kind == "succeeded"
    assert waiting.logged[1:] == [f"info: {NAME} can be asked for again"]


@pytest.mark.parametrize("status", ["pending", "Queued", "in-progress", "expired"])
@pytest.mark.parametrize("url", ["", URL])
def test_a_package_that_is_being_made_is_logged_once(waiting: Waiting, status: str, url: str) -> None:
    for _ in range(3):
        assert waiting.poll(status, url) is None
    assert waiting.logged == [f"info: {NAME} is {status}"]
    assert not is_ready(Download("d-1", status, url))


def test_each_change_of_the_status_is_logged(waiting: Waiting) -> None:
    for status in ("queued", "running", "running", "queued"):
        assert waiting.poll(status) is None
    assert [line.rpartition(" ")[2] for line in waiting.logged] == ["queued", "running", "queued"]


def test_a_status_that_nobody_knows_is_waited_on_with_a_warning(waiting: Waiting) -> None:
    for _ in range(2):
        assert waiting.poll("zipping", URL) is None
    assert waiting.logged == [f"warning: {NAME} is 'zipping', which isn't known: waiting on"]
    assert not is_ready(Download("d-1", "zipping", URL))


@pytest.mark.parametrize("status", ["failed", "Error", "cancelled", "timed_out", "rejected"])
@pytest.mark.parametrize("url", ["", URL])
def test_a_package_that_failed_is_an_error_also_where_a_url_comes_with_it(
    waiting: Waiting, status: str, url: str
) -> None:
    result = waiting.poll(status, url)
    assert result.kind == "error"
    assert result.message == f"{NAME} could not be made: Pixxel says it is {status!r}."
    assert SIGNATURE not in repr(result)


# ---------------------------------------------------------- errors; the rest of PollState is in test_polling


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("job has not ended", "job has not ended. Only"),
        ("not yet.", "not yet. Only"),
        ("not yet!", "not yet! Only"),
        ("what?", "what? Only"),
    ],
)
def test_a_bad_request_names_what_has_to_come_first(waiting: Waiting, words: str, said: str) -> None:
    result = waiting.wait.judge(PixxelBadRequestError(words, status_code=400, code="nope"))
    assert result.kind == "error"
    found = result.exception()
    assert isinstance(found, PixxelBadRequestError)
    assert found.message == (
        f"{said} what a job has made can be downloaded: wait for its end first, with PixxelJobSensor."
    )
    assert (found.status_code, found.code) == (400, "nope")


def test_a_refusal_ends_the_wait(waiting: Waiting) -> None:
    result = waiting.wait.judge(PixxelAuthError("wrong key", status_code=401))
    assert isinstance(result.exception(), PixxelAuthError)


def test_a_transient_error_and_its_end_are_logged_once_each_time(waiting: Waiting) -> None:
    steady = waiting.wait.next_delay(0.0)
    for _ in range(2):
        for _ in range(3):
            assert waiting.wait.judge(PixxelConnectionError("no answer")) is None
        assert waiting.wait.next_delay(0.0) < steady
        assert waiting.poll("pending") is None
        assert waiting.wait.next_delay(0.0) == steady
    again = ["warning: no answer. Waiting on.", f"info: {NAME} can be asked for again"]
    assert waiting.logged == [*again, f"info: {NAME} is pending", *again]


@pytest.mark.parametrize(
    ("answers", "last"),
    [
        ([], "it was never seen."),
        (["pending"], "it was pending."),
        (["queued", "running"], "it was running."),
        ([PixxelConnectionError("no answer")], "it couldn't be asked for: no answer."),
        (["pending", PixxelConnectionError("no answer")], "it couldn't be asked for: no answer."),
        ([PixxelConnectionError("no answer"), "pending"], "it was pending."),
    ],
)
def test_a_timeout_names_what_was_seen_last(waiting: Waiting, answers: list[Any], last: str) -> None:
    for answer in answers:
        waiting.wait.judge(Download("d-1", answer, "") if isinstance(answer, str) else answer)
    words = f"{NAME} was not ready when the timeout of {{}} s was over; {last}"
    assert waiting.wait.overdue(60.0) is None
    assert waiting.wait.overdue(60.1) == PollResult("timed_out", words.format("60"))
    assert waiting.wait.timed_out(7.5) == PollResult("timed_out", words.format("7.5"))
