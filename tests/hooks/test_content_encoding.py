from __future__ import annotations

import gzip
import zlib

import pytest

from pixxel_provider.hooks.content_encoding import decoded_body

BODY = b'{"id": "job"}' * 20
LIMIT = 4096


def deflated(data: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(data) + packer.flush()


ZLIB, BARE = deflated(BODY, 15), deflated(BODY, -15)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (BODY, None),
        (BODY, ""),
        (BODY, "identity"),
        (BODY, "aws-chunked"),
        (BODY, "br"),
        (gzip.compress(BODY), "gzip"),
        (gzip.compress(BODY), " GZip "),
        (gzip.compress(BODY), "x-gzip"),
        (gzip.compress(BODY), "identity, gzip,"),
        (ZLIB, "deflate"),
        (BARE, "deflate"),
        (gzip.compress(ZLIB), "deflate, gzip"),
        (deflated(gzip.compress(BODY), 15), "gzip, deflate"),
        (gzip.compress(gzip.compress(BODY)), "gzip, gzip"),
        (gzip.compress(BODY[:50]) + gzip.compress(BODY[50:]), "gzip"),
        (gzip.compress(BODY) + b"\0\0 padding", "gzip"),
        (ZLIB + b" padding", "deflate"),
        # A gateway has decoded it and left the header.
        (BODY, "gzip"),
        (gzip.compress(BODY), "gzip, gzip"),
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
        (gzip.compress(BODY)[:-6] + b"\0" * 6, "gzip", "is no gzip, which its header says"),
        (gzip.compress(BODY)[:-1], "gzip", "is gzip that is cut short"),
        (gzip.compress(BODY)[:12], "gzip", "is gzip that is cut short"),
        (gzip.compress(BODY) + gzip.compress(BODY)[:9], "gzip", "is gzip that is cut short"),
        (ZLIB[:-1], "deflate", "is deflate that is cut short"),
        (BARE[:-1], "deflate", "is deflate that is cut short"),
        (gzip.compress(b"") * 17, "gzip", "is gzip in more than 16 members"),
        (gzip.compress(BODY), "gzip, deflate, gzip", "is encoded more than twice"),
        (gzip.compress(BODY), ", ".join(["gzip"] * 5_000), "is encoded more than twice"),
    ],
)
def test_what_can_not_be_decoded_is_said(data: bytes, encoding: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}$"):
        decoded_body(data, encoding, LIMIT)


@pytest.mark.parametrize(
    "pack", [gzip.compress, lambda data: deflated(data, 15), lambda data: deflated(data, -15)]
)
def test_the_limit_is_one_of_what_comes_out(pack: object) -> None:
    assert callable(pack)
    encoding = "gzip" if pack is gzip.compress else "deflate"
    assert decoded_body(pack(b" " * LIMIT), encoding, LIMIT) == b" " * LIMIT
    for size in (LIMIT + 1, 50_000_000):
        with pytest.raises(ValueError, match=r"^is larger than 0\.00390625 MiB once it is decoded"):
            decoded_body(pack(b" " * size), encoding, LIMIT)


def test_the_limit_is_one_for_all_members_and_for_what_is_encoded_twice() -> None:
    half = gzip.compress(b" " * (LIMIT // 2))
    assert len(decoded_body(half * 2, "gzip", LIMIT)) == LIMIT
    for data, encoding in (
        (half * 2 + gzip.compress(b" "), "gzip"),
        (gzip.compress(gzip.compress(b" " * 10**7)), "gzip, gzip"),
    ):
        with pytest.raises(ValueError, match=r"^is larger than"):
            decoded_body(data, encoding, LIMIT)
