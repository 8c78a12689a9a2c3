"""Answers made by chance: a good one of any endpoint, and what may be done to it."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pixxel_provider.api import calls
from pixxel_provider.api.calls import Call
from tests.hooks.answers import FIELDS, KEY, PAGE, TABLE, deflated
from tests.hooks.locations import LOCATIONS
from tests.loopback import End, Part, Raw, raw
from tests.support import CANARY

WORKFLOW = {"id": "wf-succeeds", "name": "w", "project_id": "p", "estimated_cost": 3, "val_errors": []}
TASK = {
    "id": "t",
    "name": "Clip",
    "status": "completed",
    "progress": 100,
    "inputs": [123, 125],
    "err_msg": "",
}
DOWNLOAD = {"id": "d", "status": "ready", "signed_url": "https://storage.example.com/p?signature=x"}

ENDPOINTS: list[tuple[Call[Any], Any]] = [
    (calls.get_job("wf-succeeds", "job-finished"), {**FIELDS, "tasks": [TASK, TASK]}),
    (calls.list_jobs("wf-succeeds"), {"jobs": [FIELDS, {**FIELDS, "id": "job-2"}]}),
    (calls.create_job("wf-succeeds", "p"), {**FIELDS, "id": "job-new", "status": "created"}),
    (calls.get_workflow("wf-succeeds", "p"), WORKFLOW),
    (calls.list_workflows(), {"workflows": [WORKFLOW], "pagination": {"total": 1}}),
    (calls.estimate_cost("wf-succeeds"), {"estimated_cost": 12.5}),
    (calls.download_job("wf-succeeds", "job-finished"), DOWNLOAD),
    (calls.download_task("wf-succeeds", "job-finished", "t"), {**DOWNLOAD, "status": "pending"}),
    (calls.ping(), "pong"),
    (calls.list_projects(), {"projects": [{"id": "p", "name": "n", "title": "T"}], "count": 1}),
]


@dataclass
class Draft:
    """An answer in its parts, before it is put together."""

    body: bytes
    version: bytes = b"HTTP/1.1"
    status: bytes = b"200"
    reason: bytes = b" OK"
    headers: list[bytes] = field(default_factory=lambda: [b"Content-Type: application/json"])
    before: bytes = b""
    after: bytes = b""
    framing: str = "length"
    length: bytes | None = None
    sizes: list[int] = field(default_factory=list)
    chunk: tuple[bytes, bytes, bytes] = (b"%x", b"\r\n", b"0\r\n\r\n")
    line: bytes = b"\r\n"

    def whole(self) -> bytes:
        lines = [self.version + b" " + self.status + self.reason, *self.headers]
        body = self.body
        if self.framing in ("length", "both"):
            lines.append(b"Content-Length: " + (b"%d" % len(body) if self.length is None else self.length))
        if self.framing in ("chunked", "both"):
            lines.append(b"Transfer-Encoding: chunked")
            body = self._chunks()
        return self.before + self.line.join([*lines, b"", b""]) + body + self.after

    def _chunks(self) -> bytes:
        size, line, end = self.chunk
        found, rest = b"", self.body
        for count in [*self.sizes, len(self.body)]:
            data, rest = rest[: max(count, 1)], rest[max(count, 1) :]
            if data:
                written = size.replace(b"%x", b"%x" % len(data)).replace(b"%X", b"%X" % len(data))
                found += written + line + data + line
        return found + end


@dataclass(frozen=True)
class Case:
    """What one number makes: a call, and the answers to it."""

    number: int
    call: Call[Any]
    made: tuple[tuple[tuple[Part, ...], End], ...]

    def answers(self, hosts: dict[str, str]) -> list[Raw]:
        """Return the answers, with the hosts filled in."""
        return [Raw(tuple(_filled(part, hosts) for part in parts), end) for parts, end in self.made]


def _filled(part: Part, hosts: dict[str, str]) -> Part:
    if isinstance(part, bytes):
        for name, value in hosts.items():
            part = part.replace(b"{%s}" % name.encode(), value.encode())
    return part


def make(number: int) -> Case:
    """Make a case; the same number makes the same one."""
    rng = random.Random(number)
    call, good = rng.choice(ENDPOINTS)
    made = [_answer(rng, good)]
    while rng.random() < 0.15 and len(made) < 6:
        # What is asked again after a redirect, or not at all.
        made.insert(0, _answer(rng, good, redirect=True))
    return Case(number, call, tuple(made))


def _answer(rng: random.Random, good: Any, redirect: bool = False) -> tuple[tuple[Part, ...], End]:
    if rng.random() < 0.15 and not redirect:
        known = raw(rng.choice(rng.choice(list(TABLE.values())))[1])
        found = [part for part in known.to(b"") if isinstance(part, bytes)]
        whole = b"".join(found)[:200_000]
    else:
        draft = Draft(json.dumps(_with_changes(rng, good) if rng.random() < 0.2 else good).encode())
        if redirect:
            _redirect(rng, draft)
        for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3])):
            rng.choice(CHANGES)(rng, draft)
        whole = draft.whole()
    for _ in range(rng.choice([0, 0, 0, 0, 1, 1, 3])):
        whole = rng.choice(BYTES)(rng, whole)
    ends = [End.CLOSE] * 70 + [End.KEEP] * 24 + [End.RESET] * 4 + [End.HOLD] * 2
    return _in_parts(rng, whole), rng.choice(ends)


def _in_parts(rng: random.Random, whole: bytes) -> tuple[Part, ...]:
    if rng.random() < 0.7 or len(whole) > 100_000:
        return (whole,)
    cuts = sorted(rng.randrange(len(whole) + 1) for _ in range(rng.choice([1, 2, 5])))
    parts: list[Part] = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        parts += [whole[start:end], 0.002]
    return tuple(parts)


# ------------------------------------------------------------ what is in the answer

ODD: list[Any] = [
    None, True, -1, 0, 1e308, 10**400, "", " ", "x" * 5_000, "\x00", "\ud800", [], {}, [[]], [None],
    {"id": {}},
    CANARY, "job-other", "wf-other", "http://{evil}/", "2026-13-45T99:99:99Z", float("nan"), float("inf"),
]  # fmt: skip


def _with_changes(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        action = rng.random()
        if action < 0.2:
            return {name: each for name, each in value.items() if name != key}
        if action < 0.3:
            return {**value, CANARY: value[key]}
        return {**value, key: _with_changes(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        rest = value[place + 1 :] * rng.choice([0, 1, 30])
        return [*value[:place], _with_changes(rng, value[place]), *rest]
    return rng.choice(ODD)


def _escaped(rng: random.Random, words: str) -> str:
    return "".join(f"\\u{ord(c):04x}" if rng.random() < 0.3 else c for c in words)


def _body(rng: random.Random, draft: Draft) -> None:
    echoed = json.dumps({"error": {"code": CANARY, "message": f"key {CANARY} is wrong", "details": [CANARY]}})
    draft.body = rng.choice(
        [
            b"", b" ", b"null", b"[]", b"{}", b'"words"', b"12", b"{", PAGE, KEY, PAGE.replace(b"Sign in",
            KEY),
            echoed.encode(), echoed.replace(CANARY, _escaped(rng, CANARY)).encode(),
            echoed.encode("utf-16"),
            echoed.encode("utf-32"), b"\xef\xbb\xbf" + draft.body,
            draft.body.decode("latin-1").encode("utf-16"),
            draft.body.replace(b"j", b"\xfc"), draft.body[: rng.randrange(len(draft.body) + 1)],
            draft.body * 2,
            b"[" * 20_000, draft.body + b" " * rng.choice([1, 70_000, 3_000_000]), b"\0" * 50,
            draft.body.replace(b"job-finished", b"job-other"), draft.body.replace(b"wf-succeeds",
            b"wf-other"),
            b'{"id": "x", "status": "y", "status": "z"}', b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
            b"9" * 6_000,
        ]
    )  # fmt: skip


def _encoding(rng: random.Random, draft: Draft) -> None:
    pack: list[Callable[[bytes], bytes]] = [
        gzip.compress, zlib.compress, lambda data: deflated(data, -15), lambda data: data,
        lambda data: gzip.compress(gzip.compress(data)), lambda data: gzip.compress(data) + b"rubbish",
        lambda data: gzip.compress(data)[: -rng.randrange(1, 20)],
        lambda data: gzip.compress(b"") + gzip.compress(data),
        lambda data: zlib.compress(data)[:-5], lambda data: gzip.compress(b" " * 40_000_000),
    ]  # fmt: skip
    names = [
        b"gzip", b"gzip", b"gzip", b"deflate", b"deflate", b"x-gzip", b"GZip", b"br", b"zstd",
        b"identity", b"", b"odd",
        b"gzip, gzip", b"gzip,deflate", b"identity, gzip", b"gzip,", b"gzip gzip", b"\xff",
        b"aws-chunked", KEY,
    ]  # fmt: skip
    weights = [6, 4, 4, 2, 1, 1, 1, 1, 1, 0.3]
    draft.body = rng.choices(pack, weights)[0](draft.body)
    draft.headers.append(b"Content-Encoding: " + rng.choice(names))


def _redirect(rng: random.Random, draft: Draft) -> None:
    draft.status = rng.choice([b"301", b"302", b"303", b"307", b"308", b"300", b"304", b"305", b"399"])
    location = rng.choice(LOCATIONS)[0].replace("{{", "{").replace("}}", "}")
    if rng.random() < 0.3:
        place = rng.randrange(len(location) + 1)
        location = location[:place] + rng.choice("\\@/:?#%[] \t.;\x00\x7fü{") + location[place:]
    draft.headers.append(b"Location: " + location.encode("utf-8", "replace"))


# ------------------------------------------------------------ what is around it


def _status(rng: random.Random, draft: Draft) -> None:
    known = b"200 201 202 204 205 206 300 304 400 401 403 404 405 407 408 409 418 425 429 500 502 503 504 599"
    odd = b"099 000 1000 20 2000 -1 +200 0200 2x0 600 700 999 100 101 102 103 199 \xb2\xb2\xb2"
    draft.status = rng.choice((known if rng.random() < 0.8 else odd).split())


def _version(rng: random.Random, draft: Draft) -> None:
    names = b"HTTP/1.0 HTTP/1.0 HTTP/0.9 HTTP/1.2 HTTP/2 HTTP/2.0 HTTP/3 http/1.1 HTTP/1. HTTP ICY RTSP/1.0"
    odd = [b"", KEY, b"HTTP/1.1 ", b" HTTP/1.1", b"\xef\xbb\xbfHTTP/1.1"]
    draft.version = rng.choice([*names.split(), *odd])


def _reason(rng: random.Random, draft: Draft) -> None:
    reasons = [b"", b" ", b"  OK", b" Sch\xf6n", " ✓".encode(), b" \0", b" a\tb"]
    draft.reason = rng.choice([*reasons, b" " + KEY, b" " + b"r" * 9_000, b" " + b"r" * 66_000])


def _before(rng: random.Random, draft: Draft) -> None:
    status = rng.choice([b"100", b"102", b"103", b"103", b"101", b"199"])
    one = b"HTTP/1.1 %s X\r\n%s\r\n" % (status, rng.choice([b"", b"Link: </a>\r\n"]))
    unended = one.replace(b"\r\n\r\n", b"\r\n")
    draft.before = rng.choice([one, one, one * 3, one * 150, b"\r\n", b"\n", b"\0", unended])


def _after(rng: random.Random, draft: Draft) -> None:
    other = draft.whole()
    draft.after = rng.choice(
        [b"rubbish", b"\r\n", b" ", other, other.replace(b"job-finished", b"job-other"), KEY, b"\0" * 99]
    )


def _header(rng: random.Random, draft: Draft) -> None:
    value = rng.choice(
        [
            b"v", b"", b"M\xfcnchen", "München".encode(), b"a\0b", b"a\x01b", b"a\rb", b"a\x7fb",
            b"a\x85b", KEY, b"a\r\n b",
            b"a\n b", b"v" * 9_000, b"v" * 60_000, b"v" * 65_530, b"v" * 70_000, b'"quoted', b"a: b",
            b"a\x0bb", b"a\x1cb",
        ]
    )  # fmt: skip
    name = rng.choice(
        [
            b"X-A", b"x-a", b"X A", b"X-A ", b"", b" X-A", b"X\0A", "X-Ä".encode(), b"X(A)",
            b"Set-Cookie", b"Connection",
            b"Retry-After", b"Content-Type", b"Content-Encoding", b"Location", b"Link", b"Upgrade",
            b"Trailer",
            b"WWW-Authenticate", b"Date", b"Content-Length", b"Transfer-Encoding", b"Keep-Alive",
            b"Proxy-Authenticate", KEY,
        ]
    )  # fmt: skip
    line = name + rng.choice([b": ", b": ", b": ", b":", b"", b" : ", b"=", b":\t"]) + value
    draft.headers.insert(rng.randrange(len(draft.headers) + 1), line)


def _useful_header(rng: random.Random, draft: Draft) -> None:
    draft.headers.append(
        rng.choice(
            [
                b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade",
                b"Keep-Alive: timeout=5",
                b"Retry-After: 5", b"Retry-After: -5", b"Retry-After: 1790000000", b"Retry-After: soon",
                b"Retry-After: " + b"9" * 400,
                b"Retry-After: Fri, 31 Dec 2027 23:59:59 GMT", b"Set-Cookie: a=b; Domain=127.0.0.1",
                b"Content-Type: text/html",
                b"Content-Type: application/json; charset=utf-16", b"Content-Type: " + KEY,
                b"Content-Type: ;;;=\xff",
                b"WWW-Authenticate: Basic", b"Content-Location: http://{evil}/",
                b"Refresh: 0; url=http://{evil}/",
                b"Alt-Svc: h2=\"{evil}\"; ma=9999", b"Location: http://{evil}/",
                b"Strict-Transport-Security: max-age=9",
            ]
        )
    )  # fmt: skip


def _many_headers(rng: random.Random, draft: Draft) -> None:
    draft.headers += [
        b"X-%d: v" % number for number in range(rng.choice([50, 97, 98, 99, 126, 127, 128, 200, 2_000]))
    ]


def _framing(rng: random.Random, draft: Draft) -> None:
    draft.framing = rng.choice(["length", "chunked", "chunked", "chunked", "close", "both"])
    draft.sizes = [rng.randrange(1, 40) for _ in range(rng.choice([0, 0, 2, 9]))]


def _length(rng: random.Random, draft: Draft) -> None:
    size = len(draft.body)
    other = b"%d" % max(0, size + rng.choice([-9, -1, 1, 9, 900]))
    odd = b"-1 +5 0x5 5.0 1_0 5,5 5,6 9e9 00000005 18446744073709551616 words \xb2".split()
    same = b"%d" % size
    draft.length = rng.choice(
        [other, other, rng.choice(odd), b"", b" ", same + b", " + same, b"0", b"\t" + same, KEY]
    )


def _chunk(rng: random.Random, draft: Draft) -> None:
    draft.framing = "chunked"
    draft.sizes = [rng.randrange(1, 40) for _ in range(rng.choice([0, 1, 3]))]
    size = rng.choice(
        [
            b"%x", b"%x", b"%x", b"%X", b"000%x", b"%x;a=b", b'%x;a="b;c"', b"%x ", b" %x", b"0x%x",
            b"+%x", b"-%x", b"", b"zz", KEY,
            b"%x;" + b"x" * 9_000, b"%x;" + b"x" * 70_000, b"ffffffffffffffff", b"1%x", b"%x\0", b"%x\t",
            b"%x_0", b"f" * 99, b"1",
        ]
    )  # fmt: skip
    line = rng.choice([b"\r\n"] * 6 + [b"\n", b"\r", b"", b" \r\n", b"\r\n\r\n"])
    end = rng.choice(
        [
            b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\n\r\n", b"", b"0", b"0\r\n", b"0\n\n", b"00000\r\n\r\n",
            b"0;a=b\r\n\r\n", b"0\r\nX: v\r\n\r\n",
            b"0\r\nX: v\r\n", b"0\r\nrubbish\r\n\r\n", b"0\r\n" + KEY + b"\r\n\r\n",
            b"0\r\n" + b"X: v\r\n" * 150 + b"\r\n",
            b"0\r\nX: " + b"v" * 9_000 + b"\r\n\r\n", b"0\r\nContent-Length: 1\r\n\r\n", b"-0\r\n\r\n",
            b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ]
    )  # fmt: skip
    draft.chunk = size, line, end


def _lines(rng: random.Random, draft: Draft) -> None:
    draft.line = rng.choice([b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n"])


CHANGES: list[Callable[[random.Random, Draft], None]] = [
    _body, _body, _encoding, _encoding, _redirect, _status, _status, _version, _reason, _before, _after,
    _header, _header,
    _useful_header, _useful_header, _many_headers, _framing, _framing, _length, _chunk, _chunk, _lines,
]  # fmt: skip


# ------------------------------------------------------------ its bytes


def _cut(rng: random.Random, whole: bytes) -> bytes:
    return whole[: rng.randrange(len(whole) + 1)]


def _flip(rng: random.Random, whole: bytes) -> bytes:
    place = rng.randrange(min(len(whole), 400) + 1)
    return whole[:place] + bytes([rng.randrange(256)]) + whole[place + 1 :]


def _insert(rng: random.Random, whole: bytes) -> bytes:
    place = rng.randrange(min(len(whole), 400) + 1)
    piece = rng.choice(
        [b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\xff", b"\r\n\r\n", b"0", KEY, b"\x1a", b"{evil}"]
    )
    return whole[:place] + piece + whole[place:]


def _drop(rng: random.Random, whole: bytes) -> bytes:
    place = rng.randrange(min(len(whole), 400) + 1)
    return whole[:place] + whole[place + rng.choice([1, 1, 2, 10]) :]


def _twice(rng: random.Random, whole: bytes) -> bytes:
    one, two = sorted(rng.randrange(min(len(whole), 400) + 1) for _ in range(2))
    return whole[:two] + whole[one:]


BYTES: list[Callable[[random.Random, bytes], bytes]] = [_cut, _flip, _flip, _insert, _insert, _drop, _twice]
