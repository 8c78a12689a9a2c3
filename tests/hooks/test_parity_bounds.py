"""Every exchange has an end, and takes so much memory and no more, whatever drips or pours in."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, repeat
from typing import Any

import pytest

from pixxel_provider.hooks.pixxel import PixxelHook
from tests.hooks.answers import BODY, CALL, CONTINUE, HINTS, JOB, OK, chunk, deflated, head, sized
from tests.hooks.clients import CLIENTS, Asking, Outcome, connection_to
from tests.loopback import End, Part, Raw, RawServer, dripping, pouring

#: Seconds that an exchange may take longer than it should, on a machine that is busy.
MARGIN = 2.5
LIMIT = 32 * 2**20
#: What kernels hold between two sockets, and a client reads at a time.
IN_FLIGHT = 24 * 2**20
MEMORY = 240 * 2**20

PIECE = b"x" * 2**18
CHUNKED = head(b"Transfer-Encoding: chunked")
FOUND = b"HTTP/1.1 302 Found"
#: A block of deflate that holds nothing: much comes in, nothing goes out.
NOTHING = b"\x00\x00\x00\xff\xff"


@pytest.fixture
def ask(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Outcome]]]:
    """Give both clients the same answers, at the same time; each has to come to an end in time."""

    def both(seconds: float, *answers: Any) -> list[Outcome]:
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection_to(server, seconds))
        server.answer_with(*answers)
        deadline = PixxelHook().settings.exchange_timeout
        asking = [Asking(partial(client, [CALL])) for client in CLIENTS.values()]
        return [each.result(deadline + MARGIN)[0] for each in asking]

    yield both
    server.hang_up()


def packed_drips(_: bytes) -> Iterator[Part]:
    packer = zlib.compressobj(wbits=31)
    yield head(b"Content-Encoding: gzip")
    for _ in repeat(None):
        yield packer.compress(b" ") + packer.flush(zlib.Z_SYNC_FLUSH)
        yield 0.03


def headers_one_by_one(_: bytes) -> Iterator[Part]:
    yield OK + b"\r\n"
    for number in count():
        yield b"X-%d: v\r\n" % number
        yield 0.03


#: What may drip and pour: what comes before, what then drips, and what then pours.
ENDLESS: dict[str, tuple[bytes, bytes, bytes]] = {
    "a status line": (b"HTTP/1.1 200 ", b"O", PIECE),
    "empty lines before all": (b"", b"\r\n", b"\r\n" * 2**16),
    "a header's name": (OK + b"\r\n", b"X", PIECE),
    "a header's value": (OK + b"\r\nX-Long: ", b"x", PIECE),
    "a body without a length": (head(), b" ", PIECE),
    "the size of a chunk": (CHUNKED, b"0", b"0" * 2**18),
    "an extension of a chunk": (CHUNKED + b"5;n=", b"v", PIECE),
    "a trailer": (CHUNKED + chunk() + b"0\r\nX-T: ", b"v", PIECE),
    "trailers": (CHUNKED + chunk() + b"0\r\n", b"X-T: v\r\n", b"X-T: v\r\n" * 2**14),
    "100 over and over": (b"", CONTINUE, CONTINUE * 2**12),
    "103 over and over": (b"", HINTS, HINTS * 2**12),
    "the body of a redirect without a length": (head(b"Location: /x", status=FOUND), b" ", PIECE),
    "the body of a 401": (head(code=b"401 Unauthorized"), b" ", PIECE),
    "the body of a 404": (head(code=b"404 Not Found"), b" ", PIECE),
    "the body of a 503": (head(code=b"503 Busy"), b" ", PIECE),
    "a body after 204": (head(code=b"204 No Content"), b" ", PIECE),
    "something after the answer": (sized(), b" ", PIECE),
}

DRIPS: dict[str, Raw] = {
    **{name: dripping(start, part) for name, (start, part, _) in ENDLESS.items()},
    "silence": dripping(b"", b""),
    "a version": dripping(b"HTTP/1.", b"1"),
    "headers": Raw(headers_one_by_one, End.HOLD),
    "one header over and over": dripping(OK + b"\r\n", b"X-Same: 1\r\n"),
    "a folded header": dripping(OK + b"\r\nX-Slow: x", b"\r\n", b" x"),
    "a body with a length": dripping(head(b"Content-Length: 1000000"), b" "),
    "a body in gzip": Raw(packed_drips, End.HOLD),
    "a body in gzip that holds nothing": dripping(head(b"Content-Encoding: deflate"), NOTHING),
    "a chunk": dripping(CHUNKED + b"ffffff\r\n", b" "),
    "chunks": dripping(CHUNKED, b"1\r\n", b" \r\n"),
    "a header of a 103": dripping(b"HTTP/1.1 103 Early Hints\r\nX-Slow: ", b"x"),
    "each answer of a redirect in circles": Raw(
        lambda _: iter(
            [FOUND, 0.1, b"\r\nLocation: /x", 0.1, b"\r\nContent-Length: 3", 0.1, b"\r\n\r\n", 0.1, b"a"]
            + [0.1, b""] * 90
        ),
        End.HOLD,
    ),
    "the body of a redirect": dripping(head(b"Location: /x", b"Content-Length: 1000000", status=FOUND), b" "),
    "the body of a redirect elsewhere": dripping(head(b"Location: http://example.com/", status=FOUND), b" "),
}
# Where a client has all it needs before the end, or has a reason of its own to stop.
SOONER = {
    *(name for name in DRIPS if name.startswith("the body of a ")),
    "a version",
    "empty lines before all",
    "headers",
    "one header over and over",
    "a folded header",
    "a body after 204",
    "something after the answer",
    "each answer of a redirect in circles",
}


#: How many are asked for at the same time, as each takes its whole time.
AT_ONCE = 8


@pytest.fixture(scope="module")
def drips() -> Iterator[dict[str, list[Asking]]]:
    """Both clients at each answer that drips, when they have had the time that they may take."""
    found: dict[str, list[Asking]] = {}
    with contextlib.ExitStack() as servers, pytest.MonkeyPatch.context() as patch:
        for start in range(0, len(DRIPS), AT_ONCE):
            begun = list(DRIPS)[start : start + AT_ONCE]
            for number, name in enumerate(begun, start):
                server = servers.enter_context(RawServer())
                server.answer_with(DRIPS[name])
                patch.setenv(f"AIRFLOW_CONN_DRIP_{number}", connection_to(server, 0.2))
                ask = [partial(client, [CALL], f"drip_{number}") for client in CLIENTS.values()]
                found[name] = list(map(Asking, ask))
            deadline = PixxelHook(f"drip_{start}").settings.exchange_timeout
            for each in (asking for name in begun for asking in found[name]):
                each.wait(deadline + MARGIN)
        yield found


@pytest.mark.parametrize("name", DRIPS)
def test_an_answer_that_drips_is_given_up(drips: dict[str, list[Asking]], name: str) -> None:
    for (outcome,) in [asking.result(0) for asking in drips[name]]:
        assert not outcome.kind.startswith("foreign"), outcome
        if name not in SOONER:
            assert (outcome.kind, outcome.reason) == ("PixxelConnectionError", "timeout")
            assert outcome.sent
            assert outcome.transient


def test_redirects_share_one_deadline(server: RawServer, ask: Any) -> None:
    slow = Raw((0.2, head(b"Location: /x", b"Content-Length: 0", status=FOUND)), End.KEEP)
    late = Raw((0.2, sized()[:-5], 0.2, b" " * 5, 0.2), End.HOLD)
    hang = dripping(head(b"Content-Length: 1000"), b" ")
    for outcome in ask(0.2, slow, slow, slow, slow, late, hang):
        assert outcome.transient


def bomb(wbits: int, size: int = 2**30) -> bytes:
    packer = zlib.compressobj(9, wbits=wbits)
    piece = b" " * 2**22
    return b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()


BOMB = bomb(31)

FLOODS: dict[str, Raw] = {
    **{name: pouring(start, flood) for name, (start, _, flood) in ENDLESS.items()},
    "a body with a length": pouring(head(b"Content-Length: 1073741824"), PIECE),
    "a body in chunks": pouring(CHUNKED, chunk(PIECE)),
    "a body in small chunks": pouring(CHUNKED, chunk(b"x") * 2**15),
    "one chunk": pouring(CHUNKED + b"40000000\r\n", PIECE),
    "a bomb in gzip": Raw((sized(BOMB, b"Content-Encoding: gzip"),)),
    "a bomb in deflate": Raw((sized(bomb(15), b"Content-Encoding: deflate"),)),
    "a bomb in raw deflate": Raw((sized(bomb(-15), b"Content-Encoding: deflate"),)),
    "bombs one after another": Raw((sized(bomb(31, 2**23) * 64, b"Content-Encoding: gzip"),)),
    "a bomb in a bomb": Raw((sized(gzip.compress(BOMB), b"Content-Encoding: gzip, gzip"),)),
    "a bomb in chunks": Raw((CHUNKED[:-2] + b"Content-Encoding: gzip\r\n\r\n" + chunk(BOMB) + b"0\r\n\r\n",)),
    "deflate that holds nothing": pouring(head(b"Content-Encoding: deflate"), NOTHING * 50_000),
    "empty members of gzip": pouring(head(b"Content-Encoding: gzip"), gzip.compress(b"") * 10_000),
    "headers": pouring(OK + b"\r\n", b"X-Many: v\r\n" * 2**14),
    "long headers": pouring(OK + b"\r\n", b"X-Long: " + b"x" * 60_000 + b"\r\n"),
    "a folded header": pouring(OK + b"\r\nX-Long: ", b"x" * 60_000 + b"\r\n "),
    "extensions of chunks": pouring(CHUNKED, chunk(b"x", b"1;n=" + b"v" * 8_000)),
    "the body of a redirect": pouring(
        head(b"Location: /x", b"Content-Length: 1073741824", status=FOUND), PIECE
    ),
    "a bomb of a redirect": Raw((sized(BOMB, b"Content-Encoding: gzip", b"Location: /x", status=FOUND),)),
}
#: The answer is there before the flood, or says all without it; one that gives up then is right, too.
ENOUGH = {
    *(name for name in FLOODS if name.startswith("the body of a ") and name != "the body of a 503"),
    "a bomb of a redirect",
    "a body after 204",
    "something after the answer",
}


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_takes_so_much_memory_and_no_more(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, client: str, name: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection_to(server, 1))
    server.answer_with(FLOODS[name])
    tracemalloc.start()
    try:
        asking = Asking(lambda: CLIENTS[client]([CALL]))
        (outcome,) = asking.result(PixxelHook().settings.exchange_timeout + MARGIN)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        server.hang_up()
    assert not outcome.kind.startswith("foreign"), outcome
    assert outcome.transient or name in ENOUGH, outcome
    assert peak < MEMORY
    requests = len(server.requests)
    assert server.sent <= requests * (LIMIT + IN_FLIGHT)


@pytest.mark.parametrize("pack", [None, "gzip", "deflate"])
@pytest.mark.parametrize("beyond", [0, 1])
def test_the_limit_is_32_mib_of_what_was_packed(ask: Any, pack: str | None, beyond: int) -> None:
    body = BODY + b" " * (LIMIT - len(BODY) + beyond)
    if pack:
        packed = gzip.compress(body) if pack == "gzip" else deflated(body, 15)
        answer = sized(packed, b"Content-Encoding: " + pack.encode())
    else:
        answer = sized(body)
    for outcome in ask(4, answer):
        if beyond:
            assert outcome.kind == "PixxelResponseError"
            assert "32 MiB" in outcome.words
        else:
            assert outcome.answer == JOB
