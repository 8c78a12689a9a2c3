from __future__ import annotations

import copy
import functools
import inspect
import json
import math
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixxel_provider.api import errors
from pixxel_provider.api.errors import (
    PixxelApiError,
    PixxelAuthError,
    PixxelBadRequestError,
    PixxelConnectionError,
    PixxelError,
    PixxelInputError,
    PixxelNotFoundError,
    PixxelRateLimitError,
    PixxelResponseError,
    PixxelServerError,
    PixxelTemporaryError,
    api_error_class,
    rebuild,
)


def family(kind: type[PixxelError]) -> Iterator[type[PixxelError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


ALL = sorted({kind for kind in family(PixxelError) if kind.__module__ == errors.__name__}, key=str)
# A value for every parameter of every constructor, none of them its default.
VALUES: dict[str, Any] = {
    "field": "job_id",
    "problem": "is empty",
    "message": "no such thing",
    "reason": "dns",
    "sent": False,
    "status_code": 418,
    "code": "teapot",
    "details": {"cup": [1, 2.5, None, "é"]},
    "request": "GET /v0/tea",
    "retry_after": 7.5,
}


def build(kind: type[PixxelError]) -> PixxelError:
    if kind.__init__ is Exception.__init__:
        return kind("something broke")
    return kind(**{name: VALUES[name] for name in list(inspect.signature(kind).parameters)})


def test_every_class_can_be_rebuilt() -> None:
    assert len(ALL) >= 12
    assert set(ALL) == set(errors._CLASSES.values())


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "travel",
    [
        lambda error: rebuild(error.fields()),
        lambda error: rebuild(json.loads(json.dumps(error.fields(), allow_nan=False))),
        lambda error: pickle.loads(pickle.dumps(error)),  # noqa: S301
        copy.copy,
        copy.deepcopy,
    ],
    ids=["fields", "json", "pickle", "copy", "deepcopy"],
)
def test_an_error_arrives_elsewhere_as_it_left(kind: type[PixxelError], travel: Any) -> None:
    error = build(kind)
    arrived = travel(error)

    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
    assert arrived.retry_after == error.retry_after
    assert arrived.fields() == error.fields()


def test_errors_of_connections_servers_and_unreadable_answers_are_transient_and_no_others() -> None:
    transient = [PixxelConnectionError, PixxelResponseError]
    transient += [PixxelTemporaryError, PixxelRateLimitError, PixxelServerError]
    for kind in ALL:
        assert kind.transient is build(kind).transient is (kind in transient)


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (PixxelBadRequestError, [400]),
        (PixxelAuthError, [401, 403]),
        (PixxelNotFoundError, [404]),
        (PixxelTemporaryError, [408, 425]),
        (PixxelRateLimitError, [429]),
        (PixxelServerError, [500, 503, 599]),
        (PixxelApiError, [402, 409, 418, 499, 600]),
    ],
)
def test_the_class_of_an_http_status(kind: type[PixxelError], statuses: list[int]) -> None:
    assert {api_error_class(status) for status in statuses} == {kind}


def test_the_sentence_says_what_the_server_said_and_to_what() -> None:
    error = PixxelApiError(
        "job is locked", status_code=409, code="conflict", details={"by": "me"}, request="GET /v0/x"
    )

    assert (
        str(error)
        == 'Pixxel answered HTTP 409 (conflict) to GET /v0/x: job is locked. Details: {"by": "me"}.'
    )


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        *((empty, "") for empty in (None, "", [], {})),
        *((0, " Details: 0."), (False, " Details: false."), ("words", " Details: words.")),
    ],
)
def test_details_are_shown_unless_they_are_empty(details: Any, shown: str) -> None:
    error = PixxelApiError("Gone!", status_code=410, details=details)
    assert str(error) == f"Pixxel answered HTTP 410: Gone!{shown}"


def test_a_wrong_key_and_a_missing_right_are_told_apart() -> None:
    wrong = str(PixxelAuthError("unauthorized", status_code=401))
    forbidden = str(PixxelAuthError("forbidden", status_code=403))

    assert "isn't accepted" in wrong
    assert "auth_scheme" in wrong
    assert "no access" in forbidden
    assert "auth_scheme" not in forbidden


@pytest.mark.parametrize(
    "details",
    ["é" * 5_000, {"words": "é" * 5_000}, list(range(5_000)), '"' * 1_999, '"' * 2_001],
    ids=["text", "object", "list", "escapes", "more escapes"],
)
def test_long_details_are_cut_and_stay_the_same_after_travelling(details: Any) -> None:
    error = PixxelApiError("no", status_code=400, details=details)
    arrived = rebuild(json.loads(json.dumps(error.fields())))

    assert len(str(error)) < 2_100
    assert len(json.dumps(error.fields(), ensure_ascii=False)) < 4_200
    assert str(arrived) == str(error)
    assert arrived.fields() == error.fields()


@pytest.mark.parametrize(
    "details",
    [
        float("nan"),
        {"a": [float("inf")]},
        10**400,
        10**5_000,
        "\ud800",
        {"\udfff": "\x00"},
        {1, 2},
        object(),
        functools.reduce(lambda inner, _: [inner], range(300), "end"),
        functools.reduce(lambda inner, _: [inner], range(100_000), "end"),
    ],
    ids=["nan", "infinity", "big", "bigger", "surrogate", "nul", "set", "object", "300 deep", "100,000 deep"],
)
def test_details_of_any_kind_give_fields_that_are_strict_json(details: Any) -> None:
    error = PixxelApiError("no", status_code=400, details=details)
    written = json.dumps(error.fields(), allow_nan=False, ensure_ascii=False).encode()
    arrived = rebuild(json.loads(written))

    assert str(arrived) == str(error)
    assert str(error).encode()
    assert "\x00" not in str(error)


@settings(max_examples=60)
@given(st.recursive(st.none() | st.floats() | st.integers() | st.text(max_size=9), st.lists, max_leaves=6))
def test_any_details_travel(details: Any) -> None:
    error = PixxelRateLimitError("no", status_code=429, details=details, retry_after=3.0)
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301

    assert str(arrived) == str(error)
    assert arrived.fields() == error.fields()


def test_an_error_of_a_later_version_is_a_plain_one_with_its_words() -> None:
    arrived = rebuild({"type": "PixxelSomethingNewError", "message": "no credits", "more": 1})

    assert type(arrived) is PixxelError
    assert str(arrived) == "no credits"


def test_an_error_of_an_earlier_version_lacks_only_what_was_not_written() -> None:
    api = rebuild({"type": "PixxelServerError", "message": "no", "status_code": 503})
    connection = rebuild({"type": "PixxelConnectionError", "message": "no"})
    argument = rebuild({"type": "PixxelInputError", "message": "job_id is empty"})

    assert (api.retry_after, str(api)) == (None, "Pixxel answered HTTP 503: no.")
    assert isinstance(connection, PixxelConnectionError)
    assert (connection.reason, connection.sent) == ("other", True)
    assert "job_id is empty" in str(argument)
    assert str(rebuild({})) == ""


def test_an_input_error_is_a_value_error_that_names_the_field() -> None:
    error = PixxelInputError("job_id", "is empty")

    assert isinstance(error, ValueError)
    assert (str(error), error.field, error.problem) == ("job_id is empty", "job_id", "is empty")


def test_only_errors_of_the_api_know_when_to_come_back() -> None:
    assert PixxelConnectionError("gone").retry_after is None
    assert PixxelServerError("busy", status_code=503, retry_after=9.0).retry_after == 9.0


@pytest.mark.parametrize("value", [None, "x", [], {"a": 1}, float("nan"), 1e300, "1e999", True])
@pytest.mark.parametrize("name", [*errors._CLASSES, "Later"])
def test_an_error_is_made_of_fields_of_any_type(name: str, value: Any) -> None:
    fields = dict.fromkeys(
        "message status_code code details request retry_after field problem reason sent".split(), value
    )
    error = errors.rebuild({**fields, "type": name})
    assert type(error).__name__ == (name if name in errors._CLASSES else "PixxelError")
    assert error.retry_after is None or math.isfinite(error.retry_after)
    json.dumps(error.fields(), allow_nan=False)
