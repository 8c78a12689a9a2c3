from __future__ import annotations

import functools
import gzip

import pytest

from pixxel_provider.hooks.content_encoding import decoded_body
from tests.hooks.answers import deflated

BODY = b'{"id": "job"}' * 20
LIMIT = 4096

# Without the time of day: pytest's workers must collect the same names.
gzipped = functools.partial(gzip.compress, mtime=0)


ZLIB, BARE = deflated(BODY, 15), deflated(BODY, -15)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (BODY, None),
        (BODY, ""),
        (BODY, "identity"),
        (BODY, "aws-chunked"),
        (BODY, "br"),
        (gzipped(BODY), "gzip"),
        (gzipped(BODY), " GZip "),
        (gzipped(BODY), "x-gzip"),
        (gzipped(BODY), "identity, gzip,"),
        (ZLIB, "deflate"),
        (BARE, "deflate"),
        (gzipped(ZLIB), "deflate, gzip"),
        (deflated(gzipped(BODY), 15), "gzip, deflate"),
        (gzipped(gzipped(BODY)), "gzip, gzip"),
        (gzipped(BODY[:50]) + gzipped(BODY[50:]), "gzip"),
        (gzipped(BODY) + b"\0\0 padding", "gzip"),
        (ZLIB + b" padding", "deflate"),
        # A gateway has decoded it and left the header.
        (BODY, "gzip"),
        (gzipped(BODY), "gzip, gzip"),
    ],
)
def test_a_body_is_decoded_as_its_header_says(data: bytes, encoding: str | None) -> None:
    assert decoded_body(data, encoding, LIMIT) == BODY


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "deflate, gzip"])
def test_no_body_is_no_body(encoding: str) -> None:
    assert decoded_body(b"", encoding, LIMIT) == b""


@pytest.mark.parametrize(
    ("data", "encoding", "words"),
    [
        (b"\x1f\x8bno gzip", "gzip", "is no gzip, which its header says"),
        (BODY, "deflate", "is no deflate, which its header says"),
        (gzipped(BODY)[:-6] + b"\0" * 6, "gzip", "is no gzip, which its header says"),
        (gzipped(BODY)[:-1], "gzip", "is gzip that is cut short"),
        (gzipped(BODY)[:12], "gzip", "is gzip that is cut short"),
        (gzipped(BODY) + gzipped(BODY)[:9], "gzip", "is gzip that is cut short"),
        (ZLIB[:-1], "deflate", "is deflate that is cut short"),
        (BARE[:-1], "deflate", "is deflate that is cut short"),
        (gzipped(b"") * 17, "gzip", "is gzip in more than 16 members"),
        (gzipped(BODY), "gzip, deflate, gzip", "is encoded more than twice"),
        (gzipped(BODY), ", ".join(["gzip"] * 5_000), "is encoded more than twice"),
    ],
)
def test_what_can_not_be_decoded_is_said(data: bytes, encoding: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}$"):
        decoded_body(data, encoding, LIMIT)


@pytest.mark.parametrize("pack", [gzipped, lambda data: deflated(data, 15), lambda data: deflated(data, -15)])
def test_the_limit_is_one_of_what_comes_out(pack: object) -> None:
    assert callable(pack)
    encoding = "gzip" if pack is gzipped else "deflate"
    assert decoded_body(pack(b" " * LIMIT), encoding, LIMIT) == b" " * LIMIT
    for size in (LIMIT + 1, 50_000_000):
        with pytest.raises(ValueError, match=r"^is larger than 0\.00390625 MiB once it is decoded"):
            decoded_body(pack(b" " * size), encoding, LIMIT)


def test_the_limit_is_one_for_all_members_and_for_what_is_encoded_twice() -> None:
    half = gzipped(b" " * (LIMIT // 2))
    assert len(decoded_body(half * 2, "gzip", LIMIT)) == LIMIT
    twice = gzipped(gzipped(b" " * 10**7))
    for data, encoding in ((half * 2 + gzipped(b" "), "gzip"), (twice, "gzip, gzip")):
        with pytest.raises(ValueError, match=r"^is larger than"):
            decoded_body(data, encoding, LIMIT)
