"""Which parts of a text are shown."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from pixxel_provider.connection import read_connection
from pixxel_provider.plugins.redaction import LONGEST, Redactor
from tests.support import CANARY


def of(password: str, **extra: Any) -> Redactor:
    connection: Any = SimpleNamespace(
        conn_id="c",
        conn_type="pixxel",
        host="https://api.example",
        password=password,
        schema=None,
        port=None,
        extra=json.dumps(extra),
    )
    return Redactor.of([read_connection(connection)])


@pytest.mark.parametrize("key", ["k", "7", "hush", "hush-hush", CANARY, "Token hush", "a b c"])
def test_a_key_is_redacted_however_short_it_is(key: str) -> None:
    shown = of(key).shown(f"<{key}> <Bearer {key}> https://h/{key}")

    assert key.split(None, 1)[-1] not in shown
    assert "***" in shown
    assert key not in repr(of(key))


def test_a_header_without_a_scheme_is_redacted_too() -> None:
    assert of("hush", auth_scheme="none").shown("hush: hush") == "***: ***"


def test_a_connection_that_was_read_twice_has_two_keys() -> None:
    first, second = (of(key).secrets for key in ("first", "second"))

    assert Redactor((*first, *second)).shown("first second") == "*** ***"


@pytest.mark.parametrize("before", range(2 * LONGEST - len(CANARY) - 2, 2 * LONGEST + 3))
def test_a_long_text_never_ends_in_half_a_key(before: int) -> None:
    # What comes before is redacted, so that the end of what was searched is shown.
    text = (CANARY * (before // len(CANARY))).ljust(before, "x") + CANARY * 9

    assert CANARY[:3] not in Redactor((CANARY,)).shown(text)


def test_a_long_text_ends_in_no_half_of_an_address() -> None:
    text = "https://h/?sig=" + "s" * 6_000 + " " + "x" * 1_955 + " https://user:pa55w0rd" + "p" * 50 + "@h/"

    assert "pa55" not in Redactor().shown(text)


@pytest.mark.parametrize("length", [LONGEST, LONGEST + 1, 2 * LONGEST + 1, 3_000_000])
def test_a_text_is_cut_before_it_is_searched(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixxel_provider.plugins import redaction

    searched: list[int] = []
    monkeypatch.setattr(redaction, "without_secrets", lambda text: (searched.append(len(text)), text)[1])
    shown = Redactor().shown("x" * length)

    assert searched[0] <= 2 * LONGEST
    assert len(shown) == LONGEST
    assert shown.endswith("…") == (length > LONGEST)
