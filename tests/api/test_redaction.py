from __future__ import annotations

import html
import json
import time
from urllib.parse import quote

import pytest

from pixxel_provider.api.redaction import redact, redact_json

KEY = "Key/With+Signs=0123"
ODD = "a\"quoted\\key/with'signs"


UPPER = "\\u{:04X}"


def escaped(text: str, form: str = "\\u{:04x}") -> str:
    return "".join(form.format(ord(char)) for char in text)


@pytest.mark.parametrize("form", ["\\u{:04x}", UPPER])
@pytest.mark.parametrize("place", range(len(KEY)))
def test_any_letter_of_a_key_may_be_escaped_in_json(place: int, form: str) -> None:
    echoed = f'"{KEY[:place]}{escaped(KEY[place], form)}{KEY[place + 1 :]}"'
    assert json.loads(echoed) == KEY
    assert redact_json(echoed.encode(), [KEY]) == b'"***"'


@pytest.mark.parametrize(
    "echoed",
    [
        json.dumps(ODD),
        json.dumps(ODD).replace("/", "\\/"),
        f'"{escaped(ODD)}"',
        f'"{escaped(ODD, UPPER)}"',
        f'"{escaped(ODD[:12])}{json.dumps(ODD[12:])[1:]}',
    ],
)
def test_a_key_with_quotes_and_backslashes_goes_too(echoed: str) -> None:
    assert json.loads(echoed) == ODD
    assert redact_json(echoed.encode(), [ODD]) == b'"***"'


def test_json_keeps_all_but_the_key() -> None:
    body = f'{{"a":"{KEY}","b":"caf\\u00e9 \\/ \\"{escaped(KEY)}\\"","c":"{KEY[:-1]}","d":"{KEY.lower()}"}}'
    found = json.loads(redact_json(body.encode(), [KEY]))
    # Another case of letters is another text there, as ids have.
    assert found == {"a": "***", "b": 'café / "***"', "c": KEY[:-1], "d": KEY.lower()}


@pytest.mark.parametrize(
    "body", ['{"id":"j","name":"caf\\u00e9"}', '{"a":"\\\\u004b\\/"}', "", "no JSON \\u"]
)
def test_json_without_the_key_is_left_as_it_is(body: str) -> None:
    assert redact_json(body.encode(), [KEY]) == body.encode()


def test_bytes_that_are_no_text_are_left_around_the_key() -> None:
    assert redact_json(b"\xff\xee" + KEY.encode() + b"\xfe", [KEY]) == b"\xff\xee***\xfe"


@pytest.mark.parametrize(
    "echoed",
    [
        KEY,
        KEY.lower(),
        KEY.upper(),
        quote(KEY, safe=""),
        quote(KEY, safe="").lower(),
        quote(quote(KEY, safe=""), safe=""),
        "".join(f"%{ord(char):02x}" for char in KEY),
        escaped(KEY),
        escaped(KEY, UPPER),
        escaped(KEY, "\\\\u{:04x}"),
        KEY.replace("/", "\\/"),
        escaped(KEY, "&#{};"),
        escaped(KEY, "&#{:05d};"),
        escaped(KEY, "&#x{:x};"),
        escaped(KEY, "&#X{:02X};"),
        KEY[:5] + escaped(KEY[5:9], "%{:02X}") + escaped(KEY[9:], "&#{};"),
    ],
)
def test_a_text_shows_the_key_in_no_writing(echoed: str) -> None:
    assert redact(f"you sent {echoed}, twice: {echoed}", [KEY]) == "you sent ***, twice: ***"


@pytest.mark.parametrize(
    "echoed", [ODD, repr(ODD), json.dumps(ODD), json.dumps(json.dumps(ODD)), repr(repr(ODD))]
)
def test_a_text_shows_no_key_with_quotes_and_backslashes(echoed: str) -> None:
    found = redact(echoed, [ODD])
    assert "***" in found
    assert "quoted" not in found


def test_every_secret_goes_the_longer_first() -> None:
    secrets = [f"Bearer {KEY}", KEY]
    assert redact(f"Bearer {KEY} or {KEY}", secrets) == "*** or ***"
    assert redact_json(f"Bearer {KEY} or {KEY}".encode(), secrets) == b"*** or ***"
    assert redact("as it is", []) == "as it is"
    assert redact_json(b"as it is", []) == b"as it is"


def test_signs_of_a_key_are_no_pattern() -> None:
    key = ".*[a-z]+(key)?$^|{2}"
    assert redact(f"<{key}> and nothing else", [key]) == "<***> and nothing else"
    assert redact_json(b"nothing else", [key]) == b"nothing else"
    assert redact_json(json.dumps({"a": key}).encode(), [key]) == b'{"a": "***"}'


def test_a_page_may_name_the_signs_of_a_key() -> None:
    key = "a-key&with<some>\"odd\"'signs'"
    assert redact(f"<p>{html.escape(key)}</p>", [key]) == "<p>***</p>"


@pytest.mark.parametrize("key", [KEY, f"-{KEY}", f"_{KEY}", f'"{KEY}', f"\\{KEY}", f"\\\\{KEY}"])
@pytest.mark.parametrize("row", ["\\", "-\\", "%25", "&#0"])
def test_the_time_to_search_a_key_grows_with_the_text_alone(key: str, row: str) -> None:
    words = row * 30_000
    start = time.thread_time()
    assert redact(words, [key]) == words
    assert redact(f"{words} {key}", [key]) == f"{words} ***"
    # Cubed, it would be hours.
    assert time.thread_time() - start < 4
