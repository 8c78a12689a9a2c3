from __future__ import annotations

import base64
import json
import math
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.api import parsing

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=60)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
ZERO_DAYS = "0001-01-01T00:00:00Z|0001-01-01 00:00:00 +0000 UTC|0001-01-01T05:30:00+05:30|0001-01-01"
MORE_ZERO_DAYS = (
    "0001-01-01T00:00:00+05:30|0000-12-31T19:00:00-05:00|0000-00-00 00:00:00|1970-01-01T00:00:00Z"
)
NOT_YET = [None, "", "  ", *f"{ZERO_DAYS}|{MORE_ZERO_DAYS}".split("|"), 0, "0", 0.0, -62135596800]


def shown(value: Any) -> str:
    try:
        return ascii(value)[:20]
    except ValueError:
        return "too many digits"


def deep(levels: int) -> Any:
    value: Any = "end"
    for level in range(levels):
        value = {"k": value} if level % 2 else [value]
    return value


# ---------------------------------------------------------------------------------------- text and number


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        (" x ", " x "),
        (7, "7"),
        (-1.5, "-1.5"),
        *((nothing, "") for nothing in (True, None, ["x"], {"x": 1}, 10**5_000)),
        ("a\x00b", "a\ufffdb"),
        ("a\ud800b", "a?b"),
        ("é\x00\udfff😀", "é\ufffd?😀"),
    ],
    ids=shown,
)
def test_text_is_text_or_nothing(value: Any, expected: str) -> None:
    assert parsing.text(value) == expected


@given(ANY_TEXT)
def test_text_can_always_be_stored(value: str) -> None:
    found = parsing.text(value)

    assert b"\x00" not in found.encode()
    assert len(found) == len(value)


NOT_NUMBERS = [True, None, "", "twelve", "\ud800", "1\x00", [12], "nan", "-Infinity", math.nan, math.inf]
TOO_LARGE = [2**63, -(2**63), 2.0**63, 1e300, "1" * 5_000, 10**5_000]


@pytest.mark.parametrize(
    ("expected", "values"),
    [
        (12, [12, "12", " 12.0 "]),
        (12.5, [12.5]),
        (-0.5, ["-0.5"]),
        (1000, ["1e3"]),
        (2**63 - 1, [2**63 - 1]),
        (None, [*NOT_NUMBERS, *TOO_LARGE]),
    ],
)
def test_a_number_is_finite_or_nothing(expected: Any, values: list[Any]) -> None:
    for value in values:
        found = parsing.number(value)
        assert found == expected, shown(value)
        assert type(found) is type(expected)


@given(st.integers() | st.floats() | ANY_TEXT | st.none() | st.booleans())
def test_whatever_a_number_is_it_is_strict_json_and_whole_ones_are_int(value: Any) -> None:
    found = parsing.number(value)

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert not (isinstance(found, float) and found.is_integer())


@pytest.mark.parametrize(
    ("expected", "values"),
    [
        (75, ["75%", "75 %", " 75", 75]),
        (75.5, [75.5]),
        (33.3, ["33.3%"]),
        (0, ["0%", -5]),
        (100, ["250%"]),
        (None, ["", "%", None, True, "half", math.nan, [50]]),
    ],
)
def test_progress_is_a_percentage(expected: Any, values: list[Any]) -> None:
    assert list(map(parsing.percent, values)) == [expected] * len(values)


# --------------------------------------------------------------------------------------------- timestamps


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02t03:04:05z",
        " 2026-01-02 03:04:05 ",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04:05UTC",
        "2026-01-02T08:34:05+05:30",
        "2026-01-02T08:34:05+0530",
        "2026-01-01T22:04:05-05:00",
        "2026-01-02 03:04:05 +0000 UTC",
        "2026-01-02 08:34:05 +0530 IST",
        "Fri, 02 Jan 2026 03:04:05 GMT",
        "Fri, 02 Jan 2026 04:04:05 +0100",
        "Fri, 02 Jan 2026 03:04:05 -0000",
        "Fri Jan  2 03:04:05 2026",
        1767323045,
        "1767323045",
        1767323045.0,
        1767323045000,
        "1767323045000",
    ],
)
def test_a_moment_is_read_in_whichever_form_it_comes(value: Any) -> None:
    assert parsing.timestamp(value) == MOMENT
    assert parsing.timestamp(value).utcoffset() == timedelta(0)  # type: ignore[union-attr]
    assert parsing.timestamp_text(value) == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        ("2026-01-02T03:04:05.6Z", 600_000),
        ("2026-01-02T03:04:05,25Z", 250_000),
        ("2026-01-02T03:04:05.123456789Z", 123_456),
        ("2026-01-02T03:04:05.1234567891234+00:00", 123_456),
        ("2026-01-02 03:04:05.000001 +0000 UTC", 1),
    ],
)
def test_fractions_are_kept_to_the_microsecond(value: str, micros: int) -> None:
    assert parsing.timestamp(value) == MOMENT.replace(microsecond=micros)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=timezone.utc)),
        ("2026-01-02T03:04Z", datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)),
    ],
)
def test_a_moment_cut_short_is_the_beginning_of_its_day_or_minute(value: str, expected: datetime) -> None:
    assert parsing.timestamp(value) == expected


@pytest.mark.parametrize("value", NOT_YET)
def test_every_way_to_say_not_yet_is_none(value: Any) -> None:
    assert parsing.timestamp(value) is None
    assert parsing.timestamp_text(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        "2026-13-02T03:04:05Z",
        "2026-02-30T03:04:05Z",
        "2026-01-02T25:00:00Z",
        "02/01/2026",
        "9999-12-31T23:59:59-23:59",
        "1 Jan 2020 1.2.3.4",
        "31 Dec 9999 23:59:59 -2359",
        "99999999999999999",
    ],
)
def test_what_is_no_moment_is_none_and_its_text_stays(value: str) -> None:
    assert parsing.timestamp(value) is None
    assert parsing.timestamp_text(f" {value} ") == value


@pytest.mark.parametrize("value", [True, [], {}, ["2026-01-02T03:04:05Z"], {"seconds": 5}, float("inf")])
def test_what_cannot_be_a_moment_is_none(value: Any) -> None:
    assert parsing.timestamp(value) is None


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(9999, 12, 30)), st.integers(-1439, 1439)
)
def test_a_moment_in_any_zone_comes_back_as_itself(naive: datetime, minutes: int) -> None:
    moment = naive.replace(tzinfo=timezone.utc)
    local = moment.astimezone(timezone(timedelta(minutes=minutes))) if naive.year > 1971 else moment

    assert parsing.timestamp(local.isoformat()) == moment
    assert parsing.timestamp(local.isoformat(" ")) == moment
    assert parsing.timestamp(format_datetime(local)) == moment.replace(microsecond=0)
    assert parsing.timestamp(parsing.timestamp_text(local.isoformat())) == moment


PIECES = st.sampled_from(
    "1 31 Jan 2020 99 : 00:00:00 1.2.3.4 -0500 + , a-b ² ٣ GMT 0001-01-01T 2026-01-02".split()
)


@given(
    st.lists(PIECES, max_size=7).map(" ".join)
    | st.from_regex(r"\d{1,5}-\d{1,2}-\d\d[T ]?(\d\d:?){0,3}(\.\d+)?( ?[+-]\d\d:?\d\d)?", fullmatch=True)
    | st.floats()
    | st.integers()
    | ANY_TEXT
)
def test_no_timestamp_raises_and_each_is_real_or_none(value: Any) -> None:
    found, words = parsing.timestamp(value), parsing.timestamp_text(value)

    assert found is None or (found.tzinfo is timezone.utc and found.year >= 1971)
    assert words is None or words.encode()
    if found is not None:
        assert datetime.fromisoformat(str(words).replace("Z", "+00:00")) == found


# -------------------------------------------------------------------------------------------- byte fields


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ('{"a": [1, "é"]}', {"a": [1, "é"]}),
        ("[1, 2]", [1, 2]),
        ('"x"', "x"),
        ("12", 12),
        ("null", None),
        ("plain words, é☃\r\n\tand more", "plain words, é☃\r\n\tand more"),
        ("\x1b[31mred\x1b[0m\u00a0log\u200b", "\x1b[31mred\x1b[0m\u00a0log\u200b"),
        ("{broken", "{broken"),
    ],
    ids=ascii,
)
def test_bytes_are_decoded_from_a_list_and_from_base64(words: str, expected: Any) -> None:
    data = words.encode()

    assert parsing.raw_bytes(list(data)) == expected
    assert parsing.raw_bytes(base64.b64encode(data).decode()) == expected


@pytest.mark.parametrize("words", ['{"a": 1}', ' [1, {"b": null}]', '"x"'])
def test_text_that_is_json_already_is_decoded(words: str) -> None:
    assert parsing.raw_bytes(words) == json.loads(words)


NO_BYTES = [[], [1, 2, 3], [0xFF, 0xFE, 0xFD], [256], [-1], [1.0], [True], [False, 49], ["a"], [[1]]]
NO_TEXT = ["", "words that are no base64", "/w==", "{broken", '{"\ud800', "[" * 100_000, "é"]


@pytest.mark.parametrize("value", [None, True, 7, {"a": 1}, *NO_BYTES, *NO_TEXT], ids=shown)
def test_what_cannot_be_decoded_stays_as_it_came(value: Any) -> None:
    found = parsing.raw_bytes(value)

    assert type(found) is type(value)
    assert found == value


def test_json_that_is_too_deep_or_too_long_to_decode_stays_text() -> None:
    for words in ("[" * 100_000, "1" * 5_000):
        assert parsing.raw_bytes(list(words.encode())) == words


@given(st.binary(max_size=80))
def test_any_bytes_give_the_same_from_both_forms_or_stay(data: bytes) -> None:
    numbers, words = list(data), base64.b64encode(data).decode()
    found = parsing.raw_bytes(numbers)

    if found is numbers:
        assert parsing.raw_bytes(words) is words
    else:
        assert repr(parsing.raw_bytes(words)) == repr(found)


# ---------------------------------------------------------------------------------------------- json_safe


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        ("a\x00\ud800", "a\ufffd?"),
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (-(2**70), str(-(2**70))),
        (10**5_000, None),
        (1.5, 1.5),
        (float("nan"), None),
        (float("-inf"), None),
        ((1, [2]), [1, [2]]),
        ({"a\x00": {"b": float("inf")}}, {"a\ufffd": {"b": None}}),
        ({1: 2, None: 3}, {"1": 2, "": 3}),
        (datetime(2026, 1, 2), "2026-01-02 00:00:00"),
    ],
    ids=shown,
)
def test_what_json_cannot_say_is_said_otherwise(value: Any, expected: Any) -> None:
    assert parsing.json_safe(value) == expected


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@pytest.mark.parametrize("levels", [39, 40, 41, 300, 5_000])
def test_more_than_forty_levels_are_left_out(levels: int) -> None:
    found = parsing.json_safe(deep(levels))

    assert depth(found) == min(levels, 40)
    assert (found == deep(levels)) if levels <= 40 else ("end" not in json.dumps(found))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
        max_leaves=12,
    )
)
def test_anything_becomes_strict_json_and_strict_json_stays_itself(value: Any) -> None:
    found = parsing.json_safe(value)
    written = json.dumps(found, allow_nan=False, ensure_ascii=False).encode()

    assert "\\u0000" not in written.decode().replace("\\\\", "")
    assert json.loads(written) == found
    assert parsing.json_safe(found) == found
    if not isinstance(value, (dict, list, str)) and (not isinstance(value, float) or math.isfinite(value)):
        assert found == (value if not isinstance(value, int) or abs(value) < 2**63 else str(value))


@pytest.mark.parametrize("sign", [" ", "\t", "1", ":", "+"])
def test_a_long_text_is_no_date_and_takes_no_time(sign: str) -> None:
    words = f"2026-01-02{sign * 100_000}!"
    start = time.thread_time()
    assert parsing.timestamp(words) is None
    assert parsing.timestamp_text(words) == words
    assert time.thread_time() - start < 1


@pytest.mark.parametrize("sign", parsing.LIMITS)
def test_bytes_with_more_values_than_an_answer_may_have_are_kept_as_they_are(sign: bytes) -> None:
    count = parsing.LIMITS[sign]
    for beyond in (0, 1):
        packed = base64.b64encode(b'"%s%*s"' % (sign * (count + beyond), parsing.SMALL, b"")).decode()
        assert (parsing.raw_bytes(packed) == packed) == bool(beyond)


def test_a_value_in_a_message_is_short_whatever_it_is() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert parsing.shown("a") == "'a'"
    assert [len(parsing.shown(value)) for value in ("x" * 10_000, ["y"] * 10_000)] == [201, 201]
    assert parsing.shown(10**5_000) == "this int"
    assert parsing.shown(deep) == "this list"
