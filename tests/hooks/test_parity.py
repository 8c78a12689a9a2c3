"""Whatever bytes a server or a gateway sends, both clients make the same of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest

from pixxel_provider.api import calls
from tests.hooks.answers import (
    ALIKE,
    BODY,
    CALL,
    EITHER,
    ENCODINGS,
    GZIPPED,
    HINTS,
    JOB,
    PAGE,
    TABLE,
    TRANSIENT,
    chunk,
    chunked,
    encoded,
    head,
    length,
    sized,
)
from tests.hooks.clients import CLIENTS, Asking, Outcome, connection_to
from tests.hooks.locations import FOREIGN, LOCATIONS
from tests.loopback import End, Raw, RawServer
from tests.support import CANARY

#: Seconds for each time-out of the connection, of which an exchange has four.
STEP = 2.0
#: Seconds that an exchange may take longer than it should, on a machine that is busy.
MARGIN = 2.5

PATH = b"/v0/workflows/wf-succeeds/jobs/job-finished"


@pytest.fixture(scope="module")
def evil(server: RawServer) -> Iterator[list[RawServer]]:
    """Servers that must hear nothing: on another port, and on the same one of another address."""
    with RawServer() as beside, RawServer("127.0.0.2", server.port) as other:
        yield [beside, other]


@pytest.fixture(autouse=True)
def _connect(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection_to(server, STEP))


@pytest.fixture(autouse=True)
def _no_key_in_a_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    said = [
        record for record in caplog.get_records("call") if CANARY in f"{record.getMessage()} {record.args}"
    ]
    assert not said


@pytest.fixture
def ask(server: RawServer) -> Iterator[Callable[..., dict[str, list[Outcome]]]]:
    """Give both clients the same answers; each has to come to an end in time."""

    def both(*answers: Any, steps: Iterable[Any] = (CALL,)) -> dict[str, list[Outcome]]:
        found, heads = {}, {}
        for name, client in CLIENTS.items():
            server.answer_with(*answers)
            asking = Asking(partial(client, steps))
            found[name] = asking.result(len(list(steps)) * (4 * STEP + MARGIN))
            heads[name] = [request.split(b"\r\n")[0].decode() for request in server.requests]
            for outcome in found[name]:
                assert not outcome.kind.startswith("foreign"), f"{name}: {outcome}"
                assert CANARY not in repr(outcome), f"the {name}'s client shows the key"
        assert heads["worker"] == heads["triggerer"]
        return found

    yield both
    server.hang_up()


def assert_alike(found: dict[str, list[Outcome]]) -> list[Outcome]:
    worker, triggerer = found["worker"], found["triggerer"]
    assert worker == triggerer
    for outcome in worker:
        assert outcome.kind == "answer" or re.search(r"(GET|POST|PUT) /(v0/|ping)", outcome.words), outcome
    assert [outcome.gist for outcome in worker] == [outcome.gist for outcome in triggerer]
    return worker


def assert_expected(outcome: Outcome, expected: str) -> None:
    if expected == "job":
        assert outcome.answer == JOB, outcome
    elif expected == TRANSIENT:
        assert outcome.transient, outcome
    elif expected != ALIKE:
        assert outcome.kind == expected, outcome


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(answer, expected, id=f"{group}: {name}")
        for group, rows in TABLE.items()
        for name, answer, expected in rows
    ],
)
def test_both_clients_make_the_same_of_an_answer(ask: Any, answer: Any, expected: str) -> None:
    if expected == EITHER:
        for (outcome,) in ask(answer).values():
            assert outcome.answer == JOB or outcome.transient, outcome
        return
    (outcome,) = assert_alike(ask(answer))
    assert_expected(outcome, expected)


# ------------------------------------------------------------ one connection, several requests

FIRST: dict[str, bytes] = {
    "a job": sized(),
    "a job of HTTP/1.0": sized(BODY, b"Connection: keep-alive", status=b"HTTP/1.0 200 OK"),
    "chunks": chunked(chunk()),
    "chunks with a trailer": chunked(chunk(), end=b"0\r\nX-Checksum: abc\r\n\r\n"),
    "gzip": encoded(b"gzip", GZIPPED),
    "gzip that isn't": encoded(b"gzip", BODY),
    "gzip with rubbish after it": encoded(b"gzip", GZIPPED + b"rubbish"),
    "an early hint": HINTS + sized(),
    "204": head(code=b"204 No Content"),
    "304": head(code=b"304 Not Modified"),
    "304 with a length": head(b"Content-Length: 500", code=b"304 Not Modified"),
    "404": sized(b"{}", code=b"404 Not Found"),
    "503": sized(PAGE, code=b"503 Busy"),
    "a page": sized(PAGE),
    "a redirect": sized(PAGE, b"Location: " + PATH, code=b"302 Found"),
    "a redirect elsewhere": sized(PAGE, b"Location: http://example.com/", code=b"302 Found"),
    "another job": sized(BODY.replace(b"job-finished", b"job-other")),
    "a long header": sized(BODY, b"X-Long: " + b"x" * 60_000),
    "rubbish after it": sized() + b"rubbish",
    "another answer after it": sized() + sized(BODY.replace(b"completed", b"failed")),
    "a length that is too small": length(b"10"),
    "Connection: close": sized(BODY, b"Connection: close"),
}


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_what_came_before_spoils_no_later_answer(ask: Any, first: bytes) -> None:
    answers = [Raw((first,), End.KEEP), Raw((sized(),), End.KEEP)]
    found = assert_alike(ask(*answers, steps=(CALL, 0.05, CALL)))
    assert found[-1].answer == JOB


@pytest.mark.parametrize("more", [sized(BODY.replace(b"completed", b"failed")), head(), HINTS])
def test_what_comes_in_one_piece_with_the_last_chunk_is_the_answer_to_nothing(ask: Any, more: bytes) -> None:
    late = [head(b"Transfer-Encoding: chunked"), 0.05, chunk() + b"0\r\n\r\n" + more]
    found = assert_alike(ask(Raw(tuple(late), End.KEEP), Raw((sized(),), End.KEEP), steps=(CALL, 0.05, CALL)))
    assert [outcome.answer for outcome in found] == [JOB, JOB]


def test_a_connection_is_used_again(server: RawServer, ask: Any) -> None:
    assert_alike(ask(Raw((sized(),), End.KEEP), steps=(CALL, CALL, CALL)))
    assert server.connections == 1


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
def test_a_connection_that_the_server_has_closed_is_not_used_again(ask: Any, end: End) -> None:
    first, second = assert_alike(ask(Raw((sized(),), end), steps=(CALL, 0.1, CALL)))
    assert (first.answer, second.answer) == (JOB, JOB)


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
def test_a_kept_connection_that_breaks_under_a_request(ask: Any, end: End) -> None:
    answers = [Raw((sized(),), End.KEEP), Raw((), end), Raw((sized(),), End.KEEP)]
    first, second = assert_alike(ask(*answers, steps=(CALL, CALL)))
    assert first.answer == JOB
    assert second.answer == JOB or second.reason == "dropped"


@pytest.mark.parametrize("late", [b"rubbish\r\n\r\n", sized(BODY.replace(b"completed", b"failed"))])
def test_what_comes_between_two_requests_is_the_answer_to_neither(ask: Any, late: bytes) -> None:
    answers = [Raw((sized(), 0.05, late), End.KEEP), Raw((sized(),), End.KEEP)]
    first, second = assert_alike(ask(*answers, steps=(CALL, 0.2, CALL)))
    assert first.answer == JOB
    assert second.answer == JOB or second.transient


def test_what_has_begun_between_two_requests_spoils_no_answer(ask: Any) -> None:
    late = sized(BODY.replace(b"completed", b"failed"))
    answers = [Raw((sized(), 0.05, late[:40], 0.3, late[40:]), End.KEEP), Raw((sized(),), End.KEEP)]
    first, second = assert_alike(ask(*answers, steps=(CALL, 0.15, CALL)))
    assert (first.answer, second.answer) == (JOB, JOB)


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
def test_a_billed_request_that_is_dropped_was_sent_once(server: RawServer, ask: Any, end: End) -> None:
    create = calls.create_job("wf-succeeds", "project")
    first, second = assert_alike(ask(Raw((sized(),), End.KEEP), Raw((), end), steps=(CALL, create)))
    assert first.answer == JOB
    assert (second.reason, second.sent) == ("dropped", True)
    assert sum(request.startswith(b"POST") for request in server.requests) == 1


COOKIES = [
    b"Set-Cookie: session=abc",
    b"Set-Cookie: session=abc; Path=/; Max-Age=3600; SameSite=None",
    b"Set-Cookie: session=abc; Domain=127.0.0.1; HttpOnly",
    b'Set-Cookie2: session="abc"; Version="1"',
]


@pytest.mark.parametrize("status", [b"HTTP/1.1 200 OK", b"HTTP/1.1 302 Found", b"HTTP/1.1 503 Busy"])
def test_cookies_are_never_sent_back(server: RawServer, ask: Any, status: bytes) -> None:
    first = sized(BODY, *COOKIES, b"Location: " + PATH, status=status)
    ask(Raw((first,), End.KEEP), Raw((sized(),), End.KEEP), steps=(CALL, CALL))
    assert len(server.requests) >= 2
    assert not re.search(rb"(?im)^cookie2?:", b"".join(server.requests))


# ------------------------------------------------------------ redirects


def moved(location: bytes, status: bytes = b"302 Found", body: bytes = b"") -> bytes:
    return sized(body, b"Location: " + location, code=b"" + status)


@pytest.fixture
def place(server: RawServer, evil: list[RawServer]) -> Iterator[Callable[[str], bytes]]:
    """Fill in who is who in a Location; in the end nobody else has heard of it."""
    for each in evil:
        each.answer_with(sized())
    hosts = [f"{each.host}:{each.port}" for each in (server, *evil)]
    yield lambda words: words.format(own=hosts[0], port=server.port, evil=hosts[1], other=hosts[2]).encode(
        "utf-8"
    )
    assert [each.connections for each in evil] == [0, 0]
    for request in server.requests:
        assert f"\r\nhost: {hosts[0]}\r\n".encode() in request.lower()
        assert re.fullmatch(rb"[A-Z]+ /[!-~]* HTTP/1\.1", request.split(b"\r\n")[0])


@pytest.mark.parametrize(
    ("location", "expected"), LOCATIONS, ids=[repr(words)[:60] for words, _ in LOCATIONS]
)
def test_a_redirect_leads_to_the_api_or_nowhere(
    server: RawServer, ask: Any, place: Any, location: str, expected: str
) -> None:
    (outcome,) = assert_alike(ask(moved(place(location)), sized()))
    assert_expected(outcome, expected)
    assert len(server.requests) == (
        1 if expected == FOREIGN else 2 if expected == "job" else len(server.requests)
    )
    assert "secret" not in outcome.words


@pytest.mark.parametrize("location", [b"/gr\xf6\xdfe", b"\xff\xfe/", b"http://\xff\xfe/", b"//\xc3"])
def test_a_redirect_that_is_not_utf_8_leads_to_the_api_or_nowhere(
    ask: Any, place: Any, location: bytes
) -> None:
    assert_alike(ask(moved(location), sized()))


def test_two_locations_are_read_alike(ask: Any, place: Any) -> None:
    for one, two in (("http://{evil}/", "/elsewhere"), ("/elsewhere", "http://{evil}/")):
        lines = [b"Location: " + place(words) for words in (one, two)]
        assert_alike(ask(sized(b"", *lines, code=b"302 Found"), sized()))


@pytest.mark.parametrize("given", ["LOCALHOST", "LocalHost"])
def test_letters_of_a_host_have_no_case(
    server: RawServer, ask: Any, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    connection = connection_to(server, STEP).replace("127.0.0.1", "localhost")
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection)
    (outcome,) = assert_alike(ask(moved(f"http://{given}:{server.port}/elsewhere".encode()), sized()))
    assert outcome.answer == JOB
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 306, 307, 308, 399])
def test_every_kind_of_redirect_is_read_alike(ask: Any, place: Any, status: int) -> None:
    reason = b"%d Moved" % status
    (without,) = assert_alike(ask(head(b"Content-Length: 0", code=b"" + reason), sized()))
    assert without.kind == "PixxelResponseError"
    (within,) = assert_alike(ask(moved(b"/elsewhere", reason), sized()))
    assert within.answer == JOB or within.kind == "PixxelResponseError"
    assert_alike(ask(moved(place("http://{evil}/"), reason), sized()))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_billed_request_follows_no_redirect(server: RawServer, ask: Any, place: Any, status: int) -> None:
    create = calls.create_job("wf-succeeds", "project")
    for location in ("/elsewhere", "http://{evil}/elsewhere", "http://{evil}\\@{own}/elsewhere"):
        answer = moved(place(location), b"%d Moved" % status)
        (outcome,) = assert_alike(ask(answer, sized(), steps=(create,)))
        assert outcome.kind == "PixxelResponseError"
        assert "must not be sent twice" in outcome.words or "{evil}" in location
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_other_requests_are_redirected_alike(ask: Any, place: Any, status: int) -> None:
    answer = sized(b'{"id": "d", "status": "pending"}')
    download = calls.download_job("wf-succeeds", "job-finished")
    assert_alike(ask(moved(b"/elsewhere", b"%d Moved" % status), answer, steps=(download,)))


def test_a_redirect_in_circles_ends_soon(server: RawServer, ask: Any) -> None:
    (outcome,) = assert_alike(ask(moved(PATH, body=PAGE)))
    assert outcome.kind == "PixxelResponseError"
    assert len(server.requests) <= 10


@pytest.mark.parametrize("row", [row[0] for row in ENCODINGS if row[2] == ALIKE or row[2] == TRANSIENT])
def test_the_body_of_a_redirect_does_not_matter_to_one_client_alone(ask: Any, row: str) -> None:
    answer: Any = next(each for name, each, _ in ENCODINGS if name == row)
    rest = answer.partition(b"\r\n")[2]
    assert_alike(ask(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n" + rest, sized()))
