from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from pixxel_provider.api.errors import PixxelAuthError, PixxelError
from pixxel_provider.api.wait import Ending
from pixxel_provider.outcome import PixxelJobFailedError, conclude, ending_of, event_of, push_end, push_job

AUTH = PixxelAuthError("no", status_code=401, code="unauthorized", details={"a": 1}, request="GET /x")
ENDINGS = [
    Ending("succeeded", "ended", {"id": "j", "cost": 3}),
    Ending("failed", "failed", {"id": "j"}),
    Ending("timed_out", "too late"),
    Ending.from_error(AUTH),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.kind)
def test_an_event_is_json_and_tells_everything(ending: Ending) -> None:
    assert ending_of(json.loads(json.dumps(event_of(ending)))) == ending


@pytest.mark.parametrize("event", [None, [], "x", {}, {"version": 1}, {"version": 2, "kind": "failed"}])
def test_what_is_no_event_is_recognised(event: Any) -> None:
    assert ending_of(event) is None


def test_success_returns_the_metadata() -> None:
    assert conclude(ENDINGS[0]) == {"id": "j", "cost": 3}


def test_a_failed_job_is_not_retried_by_airflow() -> None:
    with pytest.raises(PixxelJobFailedError, match="failed") as caught:
        conclude(ENDINGS[1])
    assert isinstance(caught.value, AirflowFailException)


def test_a_deadline_is_airflows_own_exception() -> None:
    with pytest.raises(AirflowSensorTimeout, match="too late"):
        conclude(ENDINGS[2])


def test_an_error_comes_back_as_it_was() -> None:
    with pytest.raises(PixxelAuthError) as caught:
        conclude(ending_of(event_of(ENDINGS[3])) or ENDINGS[0])
    assert caught.value.fields() == AUTH.fields()
    assert str(caught.value) == str(AUTH)


@pytest.mark.parametrize("ending", ENDINGS[1:3], ids=lambda ending: ending.kind)
def test_soft_fail_skips_and_keeps_the_reason(ending: Ending) -> None:
    with pytest.raises(AirflowSkipException, match=f"soft_fail is set: {ending.message}"):
        conclude(ending, soft_fail=True)


def test_soft_fail_hides_no_wrong_key() -> None:
    with pytest.raises(PixxelAuthError):
        conclude(ENDINGS[3], soft_fail=True)


@pytest.mark.parametrize("ending", ENDINGS[1:], ids=lambda ending: ending.kind)
def test_never_fail_skips_and_keeps_the_reason(ending: Ending) -> None:
    with pytest.raises(AirflowSkipException, match="never_fail is set"):
        conclude(ending, never_fail=True)


def test_no_error_of_this_package_is_one_that_airflow_skips_on() -> None:
    def all_below(kind: type) -> set[type]:
        return {kind}.union(*(all_below(below) for below in kind.__subclasses__()))

    assert not [kind for kind in all_below(PixxelError) if issubclass(kind, AirflowException)]


def test_the_single_keys_are_pushed_with_their_types(context: Any) -> None:
    push_job(context, "w", "j", "pixxel_eu")
    start = {"workflow_id": "w", "job_id": "j", "pixxel_conn_id": "pixxel_eu"}
    assert context["ti"].xcoms == start
    push_end(context, {"status": "completed", "cost": 12, "id": "j", "tasks": []})
    assert context["ti"].xcoms == {**start, "status": "completed", "cost": 12}
