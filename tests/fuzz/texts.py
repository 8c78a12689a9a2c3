"""Texts and JSON as nobody sends them by accident: long runs, half escapes, odd letters, the key."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tests.api.test_any_json import ANY, JOB, LEAF, LISTS, OBJECT, TEXT
from tests.support import CANARY

#: What parsers stumble over, alone and in long runs.
PIECES = [
    "\\",
    " ",
    "\t",
    "%25",
    "%",
    "&#0",
    "&#x",
    "-",
    "_",
    "{",
    "[",
    "]",
    "}",
    "a://",
    "a:\\/\\/",
    "@",
    "sig=",
    "x-amz-",
    "1",
    "0",
    "9",
    ".",
    ":",
    "2026-01-02",
    "T03:04:05",
    "Fri, ",
    "+",
    "\x00",
    "\ud800",
    "é",
    "xn--",
    "İ",
    "ß",
    CANARY[:6],
    "\\u0063",
    "c",
    '"',
    "'",
    "<",
    "<!--",
    "/",
    "../",
    "#",
    "?",
    "\u2028",
    "\r\n",
    ",",
    "eyJhIjog",
    "e",
    "nan",
    "://",
    "https://",
    "[::1]",
    "=",
    "(",
    "a",
    "\x1b[31m",
    "\U0001f600",
    "{workflow_id}",
]
_SIZES = [0, 1, 1, 2, 3, 40, 300, 5_000, 30_000]

RUNS = st.builds(
    lambda start, piece, times, end: start + piece * times + end,
    st.sampled_from(["", *PIECES]),
    st.sampled_from(PIECES),
    st.sampled_from(_SIZES),
    st.sampled_from(["", *PIECES]),
)
SHORT_RUNS = st.builds("".join, st.lists(st.sampled_from(PIECES), max_size=8))
KEYED = st.sampled_from([CANARY, f"Bearer {CANARY}", f"key {CANARY}.", json.dumps(CANARY)])
#: Any text.
WORDS = TEXT | RUNS | SHORT_RUNS | KEYED
#: Any JSON value, as a field may have it.
VALUE = ANY | WORDS | st.lists(WORDS, max_size=3)


def escaped(words: str) -> str:
    r"""Return JSON in which each third letter is an escape, as ``\u0061``."""
    return "".join(f"\\u{ord(c):04x}" if n % 3 == 0 and ord(c) < 0x10000 else c for n, c in enumerate(words))


#: The JSON of an answer: of a good one, of none, or of anything.
ANSWERS = st.one_of(
    LISTS,
    OBJECT,
    JOB,
    ANY,
    st.fixed_dictionaries({"error": st.dictionaries(st.sampled_from(["code", "message", "details"]), VALUE)}),
    st.fixed_dictionaries(
        {"id": WORDS | LEAF, "status": WORDS | LEAF, "finished_at": VALUE, "created_at": VALUE}
        | {
            "spec": VALUE,
            "cost": VALUE,
            "tasks": st.lists(
                st.dictionaries(
                    st.sampled_from(
                        ["id", "name", "status", "depends_on", "inputs", "err_msg", "created_at"]
                    ),
                    VALUE,
                    max_size=4,
                ),
                max_size=3,
            ),
        }
    ),
)


def changed(
    base: dict[str, Any], values: st.SearchStrategy[Any] = VALUE
) -> st.SearchStrategy[dict[str, Any]]:
    """Make an object like this one, in which some values are others, are missing, or come in addition."""

    def apply(drop: set[str], put: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
        return {**{key: value for key, value in base.items() if key not in drop}, **put, **more}

    names = st.sampled_from(sorted(base))
    return st.builds(
        apply,
        st.sets(names, max_size=1),
        st.dictionaries(names, values, max_size=3),
        st.dictionaries(st.sampled_from(["version", "later_argument", "kind", "x"]), values, max_size=1)
        if len(base) % 2
        else st.just({}),
    )
