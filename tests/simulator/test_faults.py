from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.simulator.__main__ import fault_help
from pixxel_provider.simulator.faults import BODIES, DROPS, ROUTES, Fault, FaultBook


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "route=get_job,status=503,retry_after=2,times=3",
            {"route": "get_job", "status": 503, "retry_after": 2, "times": 3},
        ),
        ("status=500", {"status": 500}),
        ("drop=reset, times=0", {"drop": "reset", "times": None}),
        ("latency=0.5,after=2", {"latency": 0.5, "after": 2}),
        ("route=list_jobs,hide=a|b", {"route": "list_jobs", "hide": ["a", "b"]}),
        ("route=list_jobs,hide=0.5", {"route": "list_jobs", "hide": 0.5}),
        ("job_id=j,body=huge,megabytes=2", {"job_id": "j", "body": "huge", "megabytes": 2}),
        ("status=302,location=http://localhost/?a=b", {"status": 302, "location": "http://localhost/?a=b"}),
        ("status=503,carried_out=true", {"status": 503, "carried_out": True}),
        ("latency=2,carried_out=True", {"latency": 2, "carried_out": True}),
        ("announce=+5", {"announce": "+5"}),
        ("announce=500", {"announce": 500}),
        ("pause=0.1,chunk=10,truncate=50", {"pause": 0.1, "chunk": 10, "truncate": 50}),
    ],
)
def test_text_and_json_give_the_same_fault(text: str, fields: dict[str, Any]) -> None:
    assert Fault.read(text) == Fault.read(fields)


BAD: dict[str, list[Any]] = {
    "route: must be one of get_job, list_jobs": ["route=get_jobs,status=500"],
    "satus: there is no such field; the fields are route": ["route=get_job,satus=500"],
    "status: Input should be": [
        "status=abc",
        "status=99",
        {"status": True},
        {"status": 500.5},
        {"status": "500"},
    ],
    "status: Input should be less than or equal to 599 (got '600')": ["status=600"],
    "status: can't be null": [{"status": None}],
    "times: ": ["status=500,times=-1", {"status": 500, "times": 0.5}],
    "after: ": ["status=500,after=x"],
    "latency: ": ["latency=-1", "latency=inf", {"latency": True}],
    "body: ": ["body=pdf", {"body": ["html"]}],
    "drop: must be one of reset, close (got 'hard')": ["drop=hard"],
    "share: ": ["status=500,share=0", "status=500,share=1.5", "status=500,share=half"],
    "hide: must be job ids": [f"route=list_jobs,hide={share}" for share in (2, 0)]
    + [{"hide": hidden, "route": "list_jobs"} for hidden in ([], [1], True)],
    "hide: only the route list_jobs": ["route=get_job,hide=a"],
    "message: ": [{"message": 1, "status": 500}],
    "announce: must be a number of bytes": [
        "announce=many",
        *({"announce": each} for each in (-5, True, 1.5)),
    ],
    "stall: ": ["stall=-1"],
    "chunk: ": ["pause=1,chunk=0", "truncate=5,chunk=5"],
    "carried_out: ": ["carried_out=maybe,status=500", {"carried_out": 1, "status": 500}],
    "drop and status, body, json or location can't be combined": ["drop=reset,status=500"],
    "truncate and status, body, json or location can't be combined": ["truncate=5,body=html"],
    "truncate and stall can't be combined": ["stall=5,truncate=5"],
    "status, body, json or location and pause can't be combined": ["pause=1,status=500"],
    "drop and pause can't be combined": ["pause=1,drop=reset"],
    "json and body": [{"json": 1, "body": "html"}],
    "the fault does nothing": ["route=get_job", "carried_out=true"],
    "'' is not of the form field=value": [""],
    "'status' is not of the form field=value": ["status"],
    "status: given twice": ["status=500,status=501"],
    "must be an object": [[], 3],
}


@pytest.mark.parametrize(("words", "spec"), [(words, spec) for words, specs in BAD.items() for spec in specs])
def test_a_bad_fault_is_refused_by_field(words: str, spec: Any) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        Fault.read(spec)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from([*Fault.model_fields, "x"]), _JSON | st.sampled_from([*BODIES, *DROPS]))
    | st.text()
)
def test_any_spec_gives_a_fault_or_a_fault_error(spec: Any) -> None:
    fault = None
    with contextlib.suppress(ValueError):
        fault = Fault.read(spec)
    if fault is not None:
        again = {key: value for key, value in fault.to_json().items() if key != "served"}
        assert Fault.read(again).to_json() == fault.to_json()


def test_the_help_names_every_field_and_word() -> None:
    text = fault_help()
    names = Fault.descriptions()
    assert all(names.values())
    assert [word for word in (*names, *ROUTES, *BODIES, *DROPS) if word not in text] == []
    assert "json_body" not in names


@pytest.mark.parametrize(
    ("faults", "statuses"),
    [
        # Once, unless it is given how often; 0 means always.
        (["status=500"], [500, None, None]),
        (["status=500,times=0"], [500, 500, 500]),
        (["status=500,times=2,after=1"], [None, 500, 500, None, None]),
        # In the order in which they were added, but those that last after the others.
        (["status=500", "status=501"], [500, 501, None]),
        (["status=500,times=0", "status=501"], [501, 500, 500]),
    ],
)
def test_faults_are_served_in_order_and_as_often_as_given(
    faults: list[Any], statuses: list[int | None]
) -> None:
    book = FaultBook(faults)
    assert [getattr(book.take("ping", None), "status", None) for _ in statuses] == statuses


def test_a_fault_concerns_its_route_and_job_only() -> None:
    book = FaultBook(["route=get_job,job_id=j,status=500,times=0"])
    others = [("get_job", "k"), ("list_jobs", None), ("download_job", "j")]
    assert [book.take(*each) for each in others] == [None] * 3
    assert book.take("get_job", "j") is not None


def test_a_fault_concerns_its_workflow_only() -> None:
    book = FaultBook(["route=create_job,workflow_id=w,status=500,times=0"])
    assert [book.take("create_job", None, each) for each in ("v", None)] == [None] * 2
    assert book.take("create_job", None, "w") is not None


def test_a_share_of_the_requests_meets_a_fault_and_the_same_ones_with_the_same_seed() -> None:
    books = [FaultBook(["status=500,share=0.1,times=0"], seed) for seed in (1, 1, 2)]
    first, same, other = ([book.take("ping") is not None for _ in range(1000)] for book in books)
    assert 70 < sum(first) < 130
    assert first == same
    assert first != other


def test_a_share_counts_what_it_served_towards_the_times() -> None:
    book = FaultBook(["status=500,share=0.5,times=3"], seed=1)
    assert sum(book.take("ping") is not None for _ in range(100)) == 3


def test_delays_add_up_before_the_first_other_fault() -> None:
    book = FaultBook(["latency=1,times=0", "latency=2", "status=500"])
    taken = [book.take("ping", None) for _ in range(2)]
    assert [(fault.status, fault.latency) for fault in taken if fault] == [(500, 3), (None, 1)]


def test_reset_arms_the_first_faults_again_and_drops_the_others() -> None:
    book = FaultBook(["status=500"])
    book.add(Fault(status=501))
    book.take("ping", None)
    book.reset()
    assert book.to_json() == [{"route": "*", "times": 1, "served": 0, "status": 500}]
    book.clear()
    assert book.to_json() == []
