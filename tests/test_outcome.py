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
from pixxel_provider.api.polling import PollResult
from pixxel_provider.outcome import (
    PixxelJobFailedError,
    conclude,
    event_of,
    result_of,
    started_at,
    without_causes,
)

AUTH = PixxelAuthError("no", status_code=401, code="unauthorized", details={"a": 1}, request="GET /x")
RESULTS = [
    PollResult("succeeded", "ended", {"id": "j", "cost": 3}),
    PollResult("failed", "failed", {"id": "j"}),
    PollResult("timed_out", "too late"),
    PollResult.from_error(AUTH),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.kind)
def test_an_event_is_json_and_tells_everything(result: PollResult) -> None:
    assert result_of(json.loads(json.dumps(event_of(result)))) == result


@pytest.mark.parametrize("event", [None, [], "x", {}, {"version": 1}, {"version": 2, "kind": "failed"}])
def test_what_is_no_event_is_recognised(event: Any) -> None:
    assert result_of(event) is None


def test_success_returns_the_metadata() -> None:
    assert conclude(RESULTS[0]) == {"id": "j", "cost": 3}


def test_a_failed_job_is_not_retried_by_airflow() -> None:
    with pytest.raises(PixxelJobFailedError, match="failed") as caught:
        conclude(RESULTS[1])
    assert isinstance(caught.value, AirflowFailException)


def test_a_deadline_is_airflows_own_exception() -> None:
    with pytest.raises(AirflowSensorTimeout, match="too late"):
        conclude(RESULTS[2])


def test_an_operator_keeps_the_error_of_its_last_run_alone() -> None:
    class Operator:
        raised_error: Any = None

        @without_causes
        def execute(self, error: Exception | None) -> str:
            if error is not None:
                raise error from ValueError("the cause")
            return "done"

    operator = Operator()
    with pytest.raises(PixxelAuthError) as caught:
        operator.execute(AUTH)
    assert caught.value.__cause__ is None
    assert operator.raised_error is AUTH
    assert operator.execute(None) == "done"
    assert operator.raised_error is None


def test_an_error_comes_back_as_it_was() -> None:
    with pytest.raises(PixxelAuthError) as caught:
        conclude(result_of(event_of(RESULTS[3])) or RESULTS[0])
    assert caught.value.fields() == AUTH.fields()
    assert str(caught.value) == str(AUTH)


@pytest.mark.parametrize("result", RESULTS[1:3], ids=lambda result: result.kind)
def test_soft_fail_skips_and_keeps_the_reason(result: PollResult) -> None:
    with pytest.raises(AirflowSkipException, match=f"soft_fail is set: {result.message}"):
        conclude(result, soft_fail=True)


def test_soft_fail_hides_no_wrong_key() -> None:
    with pytest.raises(PixxelAuthError):
        conclude(RESULTS[3], soft_fail=True)


@pytest.mark.parametrize("result", RESULTS[1:], ids=lambda result: result.kind)
def test_never_fail_skips_and_keeps_the_reason(result: PollResult) -> None:
    with pytest.raises(AirflowSkipException, match="never_fail is set"):
        conclude(result, never_fail=True)


def test_no_error_of_this_package_is_one_that_airflow_skips_on() -> None:
    def all_below(kind: type) -> set[type]:
        return {kind}.union(*(all_below(below) for below in kind.__subclasses__()))

    assert not [kind for kind in all_below(PixxelError) if issubclass(kind, AirflowException)]


GOOD = {"version": 1, "kind": "succeeded", "message": "m", "metadata": {"id": "j"}, "error": None}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": ["succeeded"]},
        {"kind": 1},
        {"metadata": "all of it"},
        {"metadata": ["j"]},
        {"kind": "error", "error": "no"},
        {"kind": "identified", "metadata": None},
        {"kind": "identified", "metadata": {"id": None}},
        {"kind": "identified", "metadata": {"id": ".."}},
    ],
    ids=repr,
)
def test_an_event_with_a_field_of_another_type_has_no_result(wrong: dict[str, Any]) -> None:
    assert result_of(GOOD) is not None
    assert result_of({**GOOD, **wrong}) is None


@pytest.mark.parametrize("moment", [None, "1", True, float("nan"), float("inf")])
def test_a_beginning_that_is_no_moment_is_not_known(moment: Any) -> None:
    assert started_at({**GOOD, "started_at": 1.5}) == 1.5
    assert started_at({**GOOD, "started_at": moment}) is None


@pytest.mark.parametrize("kind", ["failed", "timed_out", "error"])
@pytest.mark.parametrize("message", [None, ""])
@pytest.mark.parametrize(
    "error", [None, {"type": "PixxelAuthError"}, {"type": ["x"]}, {"type": "PixxelInputError"}]
)
def test_an_end_without_words_is_told_all_the_same(kind: str, message: Any, error: Any) -> None:
    result = result_of({"version": 1, "kind": kind, "message": message, "error": error})
    assert result is not None
    with pytest.raises((PixxelError, AirflowException)) as caught:
        conclude(result)
    assert str(caught.value).strip()
