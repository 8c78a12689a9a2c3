"""What a job would cost: a number in XCom, and a failure where that is too much."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pixxel_provider.api.errors import (
    PixxelAuthError,
    PixxelInputError,
    PixxelNotFoundError,
    PixxelResponseError,
    PixxelServerError,
)
from pixxel_provider.clock import CLOCK
from pixxel_provider.job_creation.cost_limit import PixxelCostError
from pixxel_provider.operators.pixxel import PixxelEstimateCostOperator
from tests.support import CANARY


def estimate(context: Any, **arguments: Any) -> Any:
    arguments = {"workflow_id": "wf-succeeds", **arguments}
    return PixxelEstimateCostOperator(task_id="estimate", **arguments).execute(context)


def test_the_estimate_is_returned_as_a_number_and_pushed_beside_its_workflow(
    pixxel: Any, context: Any
) -> None:
    assert estimate(context) == 120
    assert context["ti"].xcoms == {"estimated_cost": 120, "workflow_id": "wf-succeeds"}
    assert [type(value) for value in context["ti"].xcoms.values()] == [int, str]


def test_nothing_is_created_and_one_question_is_asked(pixxel: Any, context: Any) -> None:
    estimate(context, max_cost=200)
    assert pixxel.requests("estimate_cost") == pixxel.counters.total == 1
    assert pixxel.bill().credits == 0


def test_the_log_says_what_it_would_cost_and_what_it_may(
    pixxel: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(PixxelEstimateCostOperator, "log", SimpleNamespace(info=said.append, warning=print))
    estimate(context)
    estimate(context, max_cost="150")
    assert said == [
        "Pixxel estimates 120 credits for a job of workflow wf-succeeds",
        "Pixxel estimates 120 credits for a job of workflow wf-succeeds; max_cost is 150",
    ]


@pytest.mark.parametrize("max_cost", [120, 120.0, "120", 1e9, "", None])
def test_an_estimate_that_is_not_above_max_cost_passes(pixxel: Any, context: Any, max_cost: Any) -> None:
    assert estimate(context, max_cost=max_cost) == 120


@pytest.mark.parametrize("max_cost", [0, 119, 119.99, "119"])
def test_an_estimate_above_max_cost_fails_names_both_and_leaves_the_number(
    pixxel: Any, context: Any, max_cost: Any
) -> None:
    with pytest.raises(PixxelCostError, match=rf"120 credits .* max_cost is {max_cost}\b"):
        estimate(context, max_cost=max_cost)
    assert context["ti"].xcoms["estimated_cost"] == 120


def test_a_fraction_of_a_credit_stays_one(pixxel: Any, context: Any) -> None:
    pixxel.fail_next("estimate_cost", json={"estimated_cost": 12.5}, times=2)
    assert estimate(context, max_cost=12.5) == 12.5
    with pytest.raises(PixxelCostError, match=r"12\.5 credits"):
        estimate(context, max_cost=12)


@pytest.mark.parametrize("answer", [{}, {"estimated_cost": None}, {"estimated_cost": "much"}, [120], None])
def test_an_answer_without_an_estimate_is_an_error_and_not_a_zero(
    pixxel: Any, context: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CLOCK, "sleep", lambda seconds: None)
    pixxel.fail_next("estimate_cost", json=answer, times=0)
    with pytest.raises(PixxelResponseError, match="estimated_cost"):
        estimate(context, max_cost=1000)
    assert context["ti"].xcoms == {}


@pytest.mark.parametrize(
    "arguments",
    [
        {"workflow_id": ""},
        {"workflow_id": None},
        {"workflow_id": ".."},
        {"max_cost": "much"},
        {"max_cost": -1},
        {"max_cost": True},
        {"max_cost": "nan"},
        {"pixxel_conn_id": "no_such_connection"},
    ],
    ids=str,
)
def test_an_argument_that_can_not_be_used_is_named_before_anything_is_asked(
    pixxel: Any, context: Any, arguments: dict[str, Any]
) -> None:
    with pytest.raises(PixxelInputError, match=next(iter(arguments))):
        estimate(context, **arguments)
    assert pixxel.counters.total == 0


def test_a_workflow_that_is_not_there_is_told_with_the_servers_words(pixxel: Any, context: Any) -> None:
    with pytest.raises(PixxelNotFoundError, match="404"):
        estimate(context, workflow_id="wf-nowhere")


def test_a_wrong_key_fails_at_once_and_is_not_shown(pixxel: Any, context: Any) -> None:
    pixxel.fail_next("estimate_cost", status=401, body="echo", times=0)
    with pytest.raises(PixxelAuthError) as caught:
        estimate(context)
    assert CANARY not in repr(caught.value) + str(caught.value)
    assert pixxel.requests("estimate_cost") == 1


def test_trouble_that_passes_is_waited_out_and_trouble_that_lasts_is_not(
    pixxel: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(CLOCK, "sleep", pauses.append)
    pixxel.fail_next("estimate_cost", status=503, times=2)
    assert estimate(context) == 120
    assert len(pauses) == 2
    pixxel.fail_next("estimate_cost", status=503, times=0)
    with pytest.raises(PixxelServerError, match="503"):
        estimate(context)
    assert sum(pauses) <= 120
