"""A package comes as exactly the bytes it has, whatever the host does, or not at all."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pixxel_provider.api.errors import PixxelAuthError, PixxelConnectionError, PixxelError, PixxelServerError
from pixxel_provider.api.retry import LONGEST_PAUSE
from pixxel_provider.download.errors import PixxelAddressError, PixxelDownloadError
from pixxel_provider.download.signed_url import SignedUrl
from pixxel_provider.download.storage_client import Answer, StorageClient
from pixxel_provider.download.transfer import Received, Transfer
from pixxel_provider.hooks.pixxel import PixxelHook
from pixxel_provider.simulator.packages import CHECKSUMS
from tests.download.hosting import (
    SIGNATURE,
    Host,
    everything_said,
    locals_of,
    log_everything,
    part_from,
    settings_for,
    until_nobody_is_served,
)
from tests.loopback import Reply, dripping, reply, then_reset, then_silence
from tests.support import CANARY, FakeClock, RecordingLog

TEN = b"0123456789"


class Sink:
    """Keeps what comes; ``checks`` are run after each part."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.begins: list[int | None] = []
        self.checks: list[Callable[[bytes], None]] = []

    def begin(self, length: int | None) -> None:
        self.begins.append(length)
        self.content.clear()

    def write(self, part: bytes) -> None:
        assert self.begins, "a part came before the beginning"
        self.content += part
        for check in self.checks:
            check(bytes(self.content))


class Fetching:
    """A transfer from the simulator: what it was given, what it said, how long it slept."""

    def __init__(self, pixxel: Any) -> None:
        self.pixxel = pixxel
        self.clock = FakeClock()
        self.clock.on_sleep.append(self._not_for_ever)
        self.sink = Sink()
        self.said: list[str] = []
        self.urls: list[str] = []
        self.storage = StorageClient(settings_for(pixxel.url), 5.0)

    def package(self, **plan: Any) -> bytes:
        """Set the package, and return its bytes."""
        if "size" in plan:
            plan["content"] = random.Random(plan.pop("seed", 0)).randbytes(plan.pop("size"))
        self.pixxel.set_package("job-finished", seconds=0, **plan)
        return bytes(plan["content"])

    def ask(self) -> str:
        self.urls.append(PixxelHook().request_download("wf-succeeds", "job-finished").signed_url)
        return self.urls[-1]

    def fault(self, **fault: Any) -> None:
        self.pixxel.fail_next("download_file", **fault)

    def transfer(self, **options: Any) -> Transfer:
        usual: dict[str, Any] = {
            "storage": self.storage,
            "sink": self.sink,
            "renew": self.ask,
            "log": RecordingLog(self.said),
            "clock": self.clock,
        }
        return Transfer(**{**usual, **options})

    def run(self, **options: Any) -> Received:
        url = self.ask()
        self.pixxel.counters.clear()
        return self.transfer(**options).run(SignedUrl(url))

    def fail(self, **options: Any) -> PixxelError:
        """Return the error a transfer ends with, once it is certain that it gives nothing away."""
        with pytest.raises(PixxelError) as caught:
            self.run(**options)
        said = everything_said(caught.value)
        assert "signature=" not in said
        assert all(url.partition("signature=")[2] not in said for url in self.urls)
        assert CANARY not in said
        return caught.value

    @property
    def statuses(self) -> list[int | str | None]:
        return [seen.status for seen in self.pixxel.counters.seen if seen.route == "download_file"]

    @property
    def sent(self) -> int:
        """How many bytes of the package were sent, whatever errors had."""
        return sum(seen.bytes_sent for seen in self.pixxel.counters.seen if seen.status in (200, 206))

    @property
    def slept(self) -> float:
        return sum(self.clock.slept)

    def _not_for_ever(self, _: float) -> None:
        assert len(self.clock.slept) < 500, "it never ends"

    def lines(self, words: str) -> list[str]:
        return [line for line in self.said if words in line]


@pytest.fixture
def fetching(pixxel: Any) -> Fetching:
    return Fetching(pixxel)


def from_host(host: Host, fetching: Fetching, stall_timeout: float = 5.0, **options: Any) -> Received:
    storage = StorageClient(settings_for(host.origin), stall_timeout)
    return fetching.transfer(storage=storage, renew=lambda: host.url, **options).run(host.signed)


# -------------------------------------------------------------------------------------------------- whole


def test_a_package_comes_whole_with_one_request(fetching: Fetching) -> None:
    content = fetching.package(size=3_000_000)
    received = fetching.run()
    assert received == Received(len(content), hashlib.sha256(content).hexdigest(), ())
    assert fetching.sink.content == content
    assert fetching.sink.begins == [len(content)]
    assert fetching.statuses == [200]
    assert fetching.said[0] == "info: Receiving a package of 2.9 MiB"
    assert fetching.said[-1].startswith("info: Received 2.9 MiB in 0.0 s")
    assert fetching.clock.slept == []


def test_a_package_of_one_byte_is_a_package(fetching: Fetching) -> None:
    fetching.package(content=b"x")
    assert fetching.run().bytes == 1


@pytest.mark.parametrize("header", CHECKSUMS)
def test_a_checksum_of_the_host_is_compared_and_named(fetching: Fetching, header: str) -> None:
    fetching.package(content=TEN, checksum=header)
    assert fetching.run().checked == (CHECKSUMS[header][0],)


# Of the address that storage may not be at: of each kind one, see test_address_guard.py.
FORBIDDEN = ["http://169.254.169.254/latest/", "https://10.0.0.1/", "ftp://127.0.0.1/", "file:///etc/passwd"]


@pytest.mark.parametrize(
    ("plan", "fault", "options", "words", "statuses", "begun"),
    [
        *(
            (
                {"checksum": header, "wrong_checksum": True},
                {},
                {},
                f"^The package isn't what the storage host promised: its {CHECKSUMS[header][0]} differs\\.$",
                [200],
                True,
            )
            for header in CHECKSUMS
        ),
        ({"size": 1000, "checksum": "Digest"}, {"announce": "-5"}, {}, "its sha256 differs", [200], True),
        ({"content": b""}, {}, {}, r"^The package is empty: it has 0 bytes\.$", [200], False),
        ({"content": b""}, {"announce": "none"}, {}, "is empty", [200], True),
        (
            {"size": 1001},
            {},
            {"max_bytes": 1000},
            r"^The package has 1001 bytes or more, and max_bytes is 1000 bytes\.$",
            [200],
            False,
        ),
        # Without a length it shows only in the middle.
        (
            {"size": 5_000_000},
            {"announce": "none"},
            {"max_bytes": 2_000_000},
            r"max_bytes is 1\.9 MiB",
            [200],
            True,
        ),
        ({}, {"status": 503, "retry_after": 1000}, {}, "At last: .* answered HTTP 503", [503], False),
        *(({}, {"status": each}, {}, f"HTTP {each}", [each], False) for each in (204, 304, 402, 405, 451)),
        *(({}, {"location": each}, {}, "", [302], False) for each in FORBIDDEN),
        ({}, {"location": "?again", "times": 0}, {}, "in circles", [302] * 4, False),
        *(
            ({}, {"status": 403}, {"renew": lambda url=each: url}, "", [403], False)
            for each in ("https://10.0.0.1/x", "file:///etc/passwd", "http://storage.example/")
        ),
    ],
)
def test_what_no_other_attempt_could_mend_ends_it_at_once(
    fetching: Fetching,
    plan: dict[str, Any],
    fault: dict[str, Any],
    options: dict[str, Any],
    words: str,
    statuses: list[int],
    begun: bool,
) -> None:
    fetching.package(**(plan if "size" in plan else {"content": TEN, **plan}))
    if fault:
        fetching.fault(**fault)
    error = fetching.fail(**options)
    assert re.search(words, str(error))
    assert isinstance(error, PixxelAddressError) is (words == "")
    assert not error.transient
    assert fetching.statuses == statuses
    assert bool(fetching.sink.begins) is begun
    assert len(fetching.sink.content) <= options.get("max_bytes", 1000)
    assert len(fetching.clock.slept) == ("renew" in options)


# ----------------------------------------------------------------------------------------------- cut off


def test_a_package_that_is_cut_off_goes_on_where_it_was(fetching: Fetching) -> None:
    content = fetching.package(size=1_000_000)
    fetching.fault(truncate=300_000)
    assert fetching.run().sha256 == hashlib.sha256(content).hexdigest()
    assert fetching.sink.content == content
    assert fetching.sink.begins == [1_000_000]
    assert fetching.statuses == [200, 206]
    assert fetching.sent == 1_000_000
    assert len(fetching.lines("293.0 KiB were received; resuming")) == 1


def test_while_something_new_comes_it_goes_on_however_often_it_is_cut_off(fetching: Fetching) -> None:
    content = fetching.package(size=40_000)
    fetching.fault(truncate=1000, times=0)
    fetching.run(stall_timeout=1.5)
    assert fetching.sink.content == content
    assert fetching.statuses == [200] + [206] * 39
    assert fetching.sent == 40_000
    assert all(seconds <= 1 for seconds in fetching.clock.slept)


@pytest.mark.parametrize("fault", [{"drop": "reset"}, {"drop": "close"}, {"status": 503}, {"status": 500}])
def test_transient_errors_at_any_time_are_retried(fetching: Fetching, fault: dict[str, Any]) -> None:
    content = fetching.package(size=1000)
    fetching.fault(**fault, times=2)
    fetching.fault(truncate=400)
    fetching.fault(**fault, times=2)
    fetching.run()
    assert fetching.sink.content == content
    assert fetching.sent == 1000
    assert fetching.pixxel.requests("download_file") == 6


CUT = {"truncate": 400}


@pytest.mark.parametrize(
    ("plan", "faults", "statuses", "begins", "line"),
    [
        ({"ranges": False}, [CUT], [200, 200], [1000, 1000], "sends the package from its beginning"),
        ({}, [CUT, {"status": 416}], [200, 416, 200], [1000, 1000], "HTTP 416"),
        ({}, [CUT, {"announce": "-5"}], [200, 206, 206], [1000], "resuming"),
        # A length that only the end shows.
        ({"checksum": "Content-MD5"}, [{"announce": "none"}], [200], [None], ""),
        ({"checksum": "Content-MD5"}, [{"truncate": 300, "times": 0}], [200] + [206] * 3, [1000], "resuming"),
        # Less than was announced isn't the whole.
        ({}, [{"announce": "+1"}], [200, 416, 200], [1001, 1000], "HTTP 416"),
        ({}, [{"announce": "+5000"}], [200, 416, 200], [6000, 1000], "HTTP 416"),
        ({}, [{"status": 200, "body": "html"}], [200, 200], [1000], "and not with the package. Requesting"),
        # A url is replaced only where it is turned away.
        *(
            ({}, [{"status": 503}, {"status": each, "body": "xml"}], [503, each, 200], [1000], f"HTTP {each}")
            for each in (400, 401, 403, 404, 410)
        ),
    ],
)
def test_a_package_is_whole_whatever_the_host_does_first(
    fetching: Fetching,
    plan: dict[str, Any],
    faults: list[dict[str, Any]],
    statuses: list[int],
    begins: list[int | None],
    line: str,
) -> None:
    content = fetching.package(size=1000, **plan)
    for fault in faults:
        fetching.fault(**fault)
    assert fetching.run().checked == (("md5",) if plan.get("checksum") else ())
    assert fetching.sink.content == content
    assert (fetching.statuses, fetching.sink.begins) == (statuses, begins)
    assert fetching.lines(line)
    assert fetching.pixxel.requests("download_job") == len(fetching.lines("Requesting another one"))
    assert len(fetching.urls) - 1 == (1 if "body" in faults[-1] else 0)


@pytest.mark.parametrize(
    ("plan", "fault", "stall_timeout", "words"),
    [
        ({"ranges": False}, CUT, 100, "100 s, after 400 bytes of 1000 bytes. At last: "),
        ({"ranges": False}, {"announce": "+5"}, 30, "30 s, after 1000 bytes of 1005 bytes. At last: "),
        ({}, {"status": 403}, 300, "300 s, after 0 bytes. At last: The storage host answered HTTP 403"),
        ({}, {"status": 200, "body": "html"}, 20, "20 s, after 0 bytes. At last: The storage host answered"),
        ({}, {"status": 200, "body": "xml"}, 20, "20 s, after 0 bytes. At last: The storage host answered"),
    ],
)
def test_a_package_that_never_gets_any_further_is_given_up_after_the_stall_timeout(
    fetching: Fetching, plan: dict[str, Any], fault: dict[str, Any], stall_timeout: float, words: str
) -> None:
    fetching.package(size=1000, **plan)
    fetching.fault(**fault, times=0)
    error = fetching.fail(stall_timeout=float(stall_timeout))
    assert str(error).startswith(f"The transfer stalled: no new byte for {words}")
    assert not error.transient
    # It ends once the next delay, which is random, would end after the timeout.
    assert stall_timeout - LONGEST_PAUSE < fetching.slept <= stall_timeout + 1
    assert bool(fetching.sink.begins) == ("of" in words.partition("At last")[0])
    # One that waits ever longer sends no more than a few dozen requests.
    assert len(fetching.statuses) < 80


@pytest.mark.parametrize(
    ("size", "stall", "times", "seconds"), [(3_000_000, 2_500_000, 1, 0.2), (500_000, 200_000, 0, 0.1)]
)
def test_silence_in_the_middle_is_gone_on_from_however_often_it_comes(
    fetching: Fetching, size: int, stall: int, times: int, seconds: float
) -> None:
    content = fetching.package(size=size)
    fetching.storage = StorageClient(settings_for(fetching.pixxel.url), seconds)
    fetching.fault(stall=stall, times=times)
    fetching.run(stall_timeout=20.0)
    assert fetching.sink.content == content
    assert fetching.statuses == [200, 206] if times else [200, 206, 206]
    assert fetching.lines("the answer took too long")


# ------------------------------------------------------------------------------------------- never mixed


@pytest.mark.parametrize(("size", "etag"), [(1000, True), (1500, True), (300, True), (1500, False)])
def test_a_package_that_changes_in_between_comes_anew(fetching: Fetching, size: int, etag: bool) -> None:
    fetching.package(size=1000, etag=etag)
    new: list[bytes] = []
    fetching.clock.on_sleep.append(lambda _: new.append(fetching.package(size=size, seed=1, etag=etag)))
    fetching.fault(truncate=400)
    received = fetching.run()
    assert fetching.sink.content == new[0]
    assert received.sha256 == hashlib.sha256(new[0]).hexdigest()
    assert fetching.statuses == [200, 200]
    assert fetching.sink.begins == [1000, size]


def test_a_package_without_an_etag_that_changes_isnt_handed_out_where_there_is_a_checksum(
    fetching: Fetching,
) -> None:
    fetching.package(size=1000, etag=False, checksum="Digest")
    fetching.clock.on_sleep.append(
        lambda _: fetching.package(size=1000, seed=1, etag=False, checksum="Digest") and None
    )
    fetching.fault(truncate=400)
    assert "its sha256 differs" in str(fetching.fail())


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"etag": '"a"'}, {"etag": '"b"'}),
        ({"etag": 'W/"a"'}, {"etag": 'W/"b"'}),
        (
            {"last_modified": "Sun, 01 Nov 2026 10:00:00 GMT"},
            {"last_modified": "Sun, 01 Nov 2026 10:00:01 GMT"},
        ),
        # What no exact mark identifies isn't asked for in parts.
        ({}, {}),
        ({"etag": 'W/"a"'}, {"etag": 'W/"a"'}),
    ],
)
def test_a_rest_of_another_package_isnt_joined(
    host: Host, fetching: Fetching, first: dict[str, str], then: dict[str, str]
) -> None:
    other = b"abcdefghij"
    host.replies = [reply(body=TEN, **first)[:-6], part_from(4, other, **then), reply(body=other, **then)]
    from_host(host, fetching)
    assert fetching.sink.content == other
    assert len(host.heads) == 3


PAGE = reply(body=b"<html><title>This link has expired</title></html>", content_type="text/html")
# The package but for its last six bytes, and the answer that has all of it.
WHOLE = reply(body=TEN, etag='"a"')
BROKEN = WHOLE[:-6]
REST = part_from(4, TEN, etag='"a"')
FROM_4 = "bytes=4-"


@pytest.mark.parametrize(
    ("replies", "asked", "line"),
    [
        ([b"HTTP/1.1 200 OK\r\n", WHOLE], [None, None], ""),
        ([b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n", WHOLE], [None, None], ""),
        ([then_reset(BROKEN), WHOLE], [None, FROM_4], "connection was dropped"),
        ([then_silence(BROKEN), REST], [None, FROM_4], "answer took too long"),
        ([BROKEN, REST], [None, FROM_4], "resuming"),
        # What came isn't forgotten for a page.
        ([BROKEN, PAGE, REST], [None, FROM_4, FROM_4], "answered with a page"),
        *(
            (
                [BROKEN, part_from(other, TEN, etag='"a"'), WHOLE],
                [None, FROM_4, None],
                "another part came than was",
            )
            for other in (1, 2, 6)
        ),
        (
            [BROKEN, reply("206 No", TEN[4:] + b"more", content_range="bytes 4-9/10", etag='"a"'), WHOLE],
            [None, FROM_4, None],
            "sends more than it announced",
        ),
        # A part that nobody asked for is no package, one from the first byte on is.
        ([part_from(4, TEN), WHOLE], [None, None], "another part came than was"),
        ([part_from(0, TEN)], [None], ""),
        (
            [reply("206 No", TEN[:4], content_range="bytes 0-3/10", etag='"a"'), REST],
            [None, FROM_4],
            "resuming",
        ),
    ],
)
def test_whatever_comes_first_the_package_is_whole(
    host: Host, fetching: Fetching, replies: list[Reply], asked: list[str | None], line: str
) -> None:
    host.replies = list(replies)
    from_host(host, fetching, stall_timeout=0.3 if "too long" in line else 5.0)
    assert fetching.sink.content == TEN
    assert host.asked("range") == asked
    # A rest is asked for on the condition that it is of the same package.
    assert host.asked("if-range") == ['"a"' if each else None for each in asked]
    assert fetching.lines(line)


# ---------------------------------------------------------------------------------------------- expired


def test_a_url_that_has_expired_is_replaced(fetching: Fetching) -> None:
    content = fetching.package(size=1000, lifetime=60)
    url = fetching.ask()
    fetching.pixxel.advance(60)
    fetching.pixxel.counters.clear()
    assert fetching.transfer().run(SignedUrl(url)).bytes == len(content)
    assert fetching.statuses == [403, 200]
    assert fetching.pixxel.requests("download_job") == 1
    assert fetching.lines(
        "HTTP 403 (Forbidden): the signed URL has expired, or isn't accepted. Requesting another"
    )


def test_a_url_that_expires_in_the_middle_is_replaced_and_the_rest_fetched(fetching: Fetching) -> None:
    content = fetching.package(size=1000, lifetime=60)
    waited = iter([60])
    fetching.clock.on_sleep.append(lambda _: fetching.pixxel.advance(next(waited, 0)))
    fetching.fault(truncate=400)
    fetching.run()
    assert fetching.sink.content == content
    assert fetching.sink.begins == [1000]
    assert fetching.statuses == [200, 403, 206]
    assert fetching.pixxel.requests("download_job") == 1


def test_an_api_that_refuses_another_url_ends_it_in_its_own_words(fetching: Fetching) -> None:
    fetching.package(content=TEN)
    fetching.fault(status=403)
    url = fetching.ask()
    fetching.pixxel.fail_next("download_job", status=401, message="the key was withdrawn")
    with pytest.raises(PixxelAuthError, match="the key was withdrawn"):
        fetching.transfer().run(SignedUrl(url))
    assert fetching.statuses == [403]


def test_an_api_that_cant_answer_now_is_asked_again(fetching: Fetching) -> None:
    fetching.package(content=TEN)
    fetching.fault(status=403)
    answers: Iterator[Any] = iter(
        [PixxelServerError("busy", status_code=503), PixxelConnectionError("gone", reason="dropped")]
    )

    def renew() -> str:
        error = next(answers, None)
        if error is not None:
            raise error
        return fetching.ask()

    assert fetching.run(renew=renew).bytes == 10
    assert len(fetching.clock.slept) == 3


# -------------------------------------------------------------------------- other lengths, and pages


def test_a_package_of_unknown_length_that_breaks_off_comes_anew(host: Host, fetching: Fetching) -> None:
    whole = b"a\r\n" + TEN + b"\r\n0\r\n\r\n"
    host.replies = [
        reply(body=whole[:9], transfer_encoding="chunked", etag='"a"'),
        part_from(6, TEN, etag='"a"'),
        reply(body=whole, transfer_encoding="chunked", etag='"a"'),
    ]
    from_host(host, fetching)
    assert fetching.sink.content == TEN
    assert fetching.sink.begins[-1] is None


@pytest.mark.parametrize("body", [TEN, b""])
def test_a_package_without_a_length_or_an_end_is_refused(host: Host, fetching: Fetching, body: bytes) -> None:
    # More often than a transfer of five minutes asks.
    host.replies = [reply(body=body, content_length="")] * 1000
    with pytest.raises(PixxelDownloadError, match="doesn't send the length of the package"):
        from_host(host, fetching)
    assert fetching.sink.begins == []


def test_a_package_of_just_the_limit_is_taken(fetching: Fetching) -> None:
    fetching.package(size=1000)
    fetching.fault(truncate=400)
    assert fetching.run(max_bytes=1000).bytes == 1000


@pytest.mark.parametrize("coding", ["chunked", ""])
def test_a_document_is_taken_where_the_destination_is_called_like_one(
    host: Host, fetching: Fetching, coding: str
) -> None:
    body = b'{"type": "FeatureCollection", "features": []}'
    frame = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if coding else body
    host.replies = [
        reply(body=frame, transfer_encoding=coding, content_length="" if coding else str(len(body)))
    ]
    received = from_host(host, fetching, name="s3://bucket/fields.geojson")
    assert fetching.sink.content == body
    assert received.sha256 == hashlib.sha256(body).hexdigest()


# -------------------------------------------------------------------------------- stall_timeout


def test_a_host_that_says_when_to_come_again_is_left_alone_until_then(fetching: Fetching) -> None:
    fetching.package(content=TEN)
    fetching.fault(status=503, retry_after=47)
    fetching.run()
    assert fetching.clock.slept == [47.0]


def test_the_stall_timeout_begins_anew_with_every_new_byte(fetching: Fetching) -> None:
    content = fetching.package(size=1000)
    for _ in range(5):
        fetching.fault(status=503, retry_after=20)
        fetching.fault(truncate=150)
    fetching.run(stall_timeout=25.0)
    assert fetching.sink.content == content
    assert fetching.slept >= 100


def test_what_drips_before_and_after_the_package_is_given_up(host: Host, fetching: Fetching) -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
    host.replies = [dripping(start, b"X: y\r\n")] * 9
    storage = StorageClient(settings_for(host.origin), 0.3)
    transfer = fetching.transfer(storage=storage, renew=lambda: host.url, stall_timeout=0.3)
    with pytest.raises(PixxelDownloadError, match=r"no new byte for 0\.3 s, after 5 bytes"):
        transfer.run(host.signed)
    assert len(host.heads) < 9


# ---------------------------------------------------------------------------------------------------- sinks


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), MemoryError(), SystemExit(), PixxelDownloadError("the disk is full")]
)
def test_whatever_ends_it_ends_its_thread_and_its_connection_too(
    fetching: Fetching, error: BaseException
) -> None:
    fetching.package(size=5_000_000)

    def stop(content: bytes) -> None:
        raise error

    fetching.sink.checks.append(stop)
    before = set(threading.enumerate())
    with pytest.raises(type(error)) as caught:
        fetching.run()
    assert caught.value is error
    assert fetching.statuses == [200]
    assert [each for each in set(threading.enumerate()) - before if "digest" in each.name] == []
    until_nobody_is_served(fetching.pixxel)


# --------------------------------------------------------------------------------------- what is given away


def test_the_key_never_goes_to_the_host(fetching: Fetching) -> None:
    fetching.package(size=1000, lifetime=60)
    fetching.fault(truncate=400)
    fetching.fault(location="?x=1")
    fetching.fault(status=403)
    fetching.run()
    asked = [seen for seen in fetching.pixxel.counters.seen if seen.route == "download_file"]
    assert len(asked) > 3
    assert {seen.authorization for seen in asked} == {"none"}


def test_nothing_that_is_said_or_logged_or_shown_holds_a_signature_or_the_key(
    fetching: Fetching, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    log_everything(caplog)
    fetching.package(size=5000, lifetime=60, checksum="Digest", wrong_checksum=True)
    waited = itertools.chain([60], itertools.repeat(0))
    fetching.clock.on_sleep.append(lambda _: fetching.pixxel.advance(next(waited)))
    fetching.fault(truncate=400)
    fetching.fault(drop="reset", after=1)
    fetching.fault(location="?" + "x" * 10, after=2)
    fetching.fault(status=503, body="echo", after=2)
    fetching.fault(announce="+5", after=3)
    transfer = fetching.transfer()
    shown = [repr(transfer)]
    url = fetching.ask()
    with pytest.raises(PixxelDownloadError) as caught:
        transfer.run(SignedUrl(url))
    shown += [repr(transfer), caplog.text, *capsys.readouterr(), *fetching.said]
    shown.append(everything_said(caught.value))
    assert len(fetching.urls) > 1
    for secret in [CANARY, *(each.partition("signature=")[2] for each in fetching.urls)]:
        assert not any(secret in each for each in shown)


def test_no_error_of_a_connection_gives_the_url_away(host: Host, fetching: Fetching) -> None:
    host.replies = [then_reset(b""), b"no http", then_silence(b"HTTP/1.1 "), reply("402 Payment Required")]
    with pytest.raises(PixxelDownloadError) as caught:
        from_host(host, fetching, stall_timeout=0.2)
    assert len(host.heads) == 4
    assert SIGNATURE not in everything_said(caught.value) + "".join(fetching.said)


@pytest.mark.parametrize("answers", [[b""], [PAGE], [reply("302 Found", location="/\x01"), b""]])
def test_no_traceback_that_shows_locals_holds_the_url(
    host: Host, fetching: Fetching, answers: list[bytes]
) -> None:
    host.replies = answers * 99
    with pytest.raises(PixxelDownloadError) as caught:
        from_host(host, fetching, stall_timeout=2.0)
    assert SIGNATURE not in locals_of(caught.value)


# ----------------------------------------------------------------------------------------- any trouble at all

STEP = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 3000)),
    st.tuples(st.just("status"), st.sampled_from([403, 404, 416, 429, 500, 503])),
    st.tuples(st.just("final"), st.sampled_from([402, 304])),
    st.tuples(st.just("drop"), st.sampled_from(["reset", "close"])),
    st.tuples(st.just("announce"), st.sampled_from(["+1", "+700", "none"])),
    st.tuples(st.just("change"), st.integers(1, 3000)),
    st.tuples(st.just("no ranges"), st.none()),
    st.tuples(st.just("no ranges, cut"), st.integers(0, 3000)),
    st.tuples(st.just("expire"), st.none()),
    st.tuples(st.just("redirect"), st.none()),
)


class Scripted(StorageClient):
    """Lets something happen to the package before each time it is asked for."""

    def __init__(self, pixxel: Any, size: int, steps: list[tuple[str, Any]]) -> None:
        super().__init__(settings_for(pixxel.url), 5.0)
        self.pixxel, self.steps = pixxel, list(steps)
        self.versions = [random.Random(size).randbytes(size)]
        self.refused = False
        self.set(True)

    def set(self, ranges: bool) -> None:
        self.pixxel.set_package(
            "job-finished", seconds=0, lifetime=60, content=self.versions[-1], ranges=ranges
        )

    def get(self, url: SignedUrl, headers: Mapping[str, str]) -> AbstractContextManager[Answer]:
        kind, value = self.steps.pop(0) if self.steps else ("", None)
        if kind == "change":
            self.versions.append(random.Random(len(self.versions)).randbytes(value))
        self.set("no ranges" not in kind)
        self.refused = kind == "final"
        if "cut" in kind:
            self.pixxel.fail_next("download_file", truncate=value)
        elif kind in ("status", "final"):
            self.pixxel.fail_next("download_file", status=value)
        elif kind in ("drop", "announce"):
            self.pixxel.fail_next("download_file", **{kind: value})
        elif kind == "redirect":
            self.pixxel.fail_next("download_file", location=url.absolute)
        elif kind == "expire":
            self.pixxel.advance(60)
        return super().get(url, headers)


@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(size=st.integers(1, 3000), steps=st.lists(STEP, max_size=8))
def test_whatever_happens_a_package_is_exactly_one_that_there_was_or_none(
    pixxel: Any, size: int, steps: list[tuple[str, Any]]
) -> None:
    pixxel.reset()
    fetching = Fetching(pixxel)
    storage = Scripted(pixxel, size, steps)

    def is_a_beginning(content: bytes) -> None:
        assert any(version.startswith(content) for version in storage.versions)

    fetching.sink.checks.append(is_a_beginning)
    try:
        received = fetching.transfer(storage=storage).run(SignedUrl(fetching.ask()))
    except PixxelDownloadError:
        assert storage.refused
    else:
        assert fetching.sink.content == storage.versions[-1]
        assert received.sha256 == hashlib.sha256(storage.versions[-1]).hexdigest()
        assert received.bytes == len(storage.versions[-1])
    assert all(fault["served"] for fault in pixxel.faults.to_json())
