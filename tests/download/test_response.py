"""An answer of a storage host says which part of which package it is, or why there is none."""

from __future__ import annotations

import hashlib
import pickle
from base64 import b64encode

import pytest
from requests.structures import CaseInsensitiveDict

from pixxel_provider.download.errors import PixxelDownloadError, PixxelExpiredError, PixxelTransferError
from pixxel_provider.download.response import PackageResponse, check_content, read_response

MD5 = hashlib.md5(b"x", usedforsecurity=False).digest()


def read(status: int, **headers: str) -> PackageResponse:
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return read_response(status, CaseInsensitiveDict(named))


def delivery(total: int | None = 10, etag: str = '"a"', modified: str = "then") -> PackageResponse:
    return PackageResponse(start=0, total=total, etag=etag, modified=modified, promised={})


# -------------------------------------------------------------------------------------------- what is read


def test_a_whole_package_begins_at_its_first_byte() -> None:
    found = read(
        200, content_length=" 12 ", etag=' "abc" ', last_modified="then", content_md5=b64encode(MD5).decode()
    )
    assert found == PackageResponse(start=0, total=12, etag='"abc"', modified="then", promised={"md5": MD5})


@pytest.mark.parametrize(
    ("text", "start", "total"),
    [
        ("bytes 3-9/10", 3, 10),
        ("bytes 0-0/1", 0, 1),
        ("Bytes  3-9/10", 3, 10),
        (" bytes 3-5/10 ", 3, 10),
    ],
)
def test_a_part_says_where_it_begins_and_how_long_the_whole_is(text: str, start: int, total: int) -> None:
    found = read(206, content_range=text, content_length="999")
    assert (found.start, found.total) == (start, total)


def test_a_part_takes_no_promise_from_headers_about_the_part() -> None:
    value = b64encode(MD5).decode()
    assert read(206, content_range="bytes 3-9/10", content_md5=value).promised == {}
    assert read(206, content_range="bytes 3-9/10", x_goog_hash=f"md5={value}").promised == {"md5": MD5}


def test_a_package_without_a_length_is_taken_in_chunks() -> None:
    assert read(200, transfer_encoding="Chunked").total is None


@pytest.mark.parametrize(
    "coding",
    [
        "", "identity", " Identity ", "aws-chunked", "AWS-Chunked", "aws-chunked,", "aws-chunked, identity",
        "none", "None", "binary", "null", "8bit", "utf-8", "UTF-8", "chunked", " , ,", "identity,identity",
    ],
)  # fmt: skip
def test_an_answer_whose_encoding_changes_nothing_is_taken(coding: str) -> None:
    assert read(200, content_length="1", content_encoding=coding).total == 1


@pytest.mark.parametrize(
    ("etag", "validator"),
    [('"a"', '"a"'), ('W/"a"', None), ("", None), ("bare", "bare")],
)
def test_only_an_etag_that_is_exact_to_the_byte_makes_a_condition(etag: str, validator: str | None) -> None:
    assert delivery(etag=etag).validator == validator


@pytest.mark.parametrize(
    ("rest", "same"),
    [
        (delivery(), True),
        (delivery(etag=""), True),
        (delivery(modified=""), True),
        (delivery(etag='"b"'), False),
        (delivery(modified="now"), False),
        (delivery(total=11), False),
        (delivery(total=None), False),
    ],
)
def test_a_rest_continues_a_package_where_nothing_either_says_differs(
    rest: PackageResponse, same: bool
) -> None:
    assert rest.continues(delivery()) is same


def test_of_a_package_of_unknown_length_nothing_is_a_rest() -> None:
    assert not delivery(total=None).continues(delivery(total=None))


# ------------------------------------------------------------------------------- a page instead of a package

PAGE = b"<!DOCTYPE html><html><head><title>Expired</title></head></html>"
JSON = b'{"status": "accepted", "description": "not available yet"}'
XML = b'<?xml version="1.0"?><Error><Code>InternalError</Code></Error>'
ZIP = b"PK\x03\x04\x14\x00"
TIFF = b"II*\x00\x08\x00"


def check(beginning: bytes, kind: str = "", name: str = "/data/package.zip") -> None:
    check_content(CaseInsensitiveDict({"Content-Type": kind} if kind else {}), beginning, name)


@pytest.mark.parametrize(
    ("beginning", "what"),
    [
        (PAGE, "a page"),
        (PAGE.lower(), "a page"),
        (b"<html>", "a page"),
        (b"<HTML lang=en>", "a page"),
        (b"\xef\xbb\xbf" + PAGE, "a page"),
        (PAGE.decode().encode("utf-16"), "a page"),
        (b"\r\n" * 1000 + b" \t<!-- a\n-- comment -->\n" + PAGE, "a page"),
        (b"<body><h1>Sign in</h1>", "a page"),
        ("<html><title>Gesperrt: ü".encode("latin-1"), "a page"),
        (JSON, "a JSON document"),
        (b"\n{\n}", "a JSON document"),
        (b'[{"error": "x"}]', "a JSON document"),
        (b"[null]", "a JSON document"),
        (XML, "an XML document"),
        (b"<Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b"<h1>Expired</h1>", "an XML document"),
        (b"<!-- without an end", "an XML document"),
    ],
)
@pytest.mark.parametrize("kind", ["", "application/octet-stream", "application/zip", "text/plain"])
def test_a_page_or_a_document_isnt_the_package_whatever_its_type_says(
    beginning: bytes, what: str, kind: str
) -> None:
    with pytest.raises(PixxelExpiredError) as caught:
        check(beginning, kind)
    assert str(caught.value) == f"The storage host answered with {what}, and not with the package."
    assert caught.value.transient


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("text/html", "a page"),
        (" Text/HTML ; charset=utf-8", "a page"),
        ("application/xhtml+xml", "a page"),
        ("application/json", "a JSON document"),
        ("application/problem+json", "a JSON document"),
        ("text/json", "a JSON document"),
        ("text/xml", "an XML document"),
        ("application/soap+xml; charset=utf-8", "an XML document"),
    ],
)
def test_text_that_is_none_of_these_is_what_its_type_says(kind: str, what: str) -> None:
    with pytest.raises(PixxelExpiredError, match=f"answered with {what}, and"):
        check(b"Your order has expired.", kind)
    check(b"Your order has expired.", "application/octet-stream")


@pytest.mark.parametrize("kind", ["", "text/html", "application/json", "text/xml", "application/zip"])
@pytest.mark.parametrize(
    "beginning",
    [
        ZIP,
        b"PK\x05\x06" + bytes(18),
        TIFF,
        b"MM\x00*",
        b"\x89HDF\r\n\x1a\n",
        b"\x1f\x8b\x08",
        b"{\x00",
        b"<a\x01",
    ],
)
def test_what_isnt_text_is_the_package_whatever_its_type_says(beginning: bytes, kind: str) -> None:
    check(beginning, kind)


@pytest.mark.parametrize(
    "beginning", [b"", b"package", b"0123456789", b"{", b"[section]\n", b"< 5", b"%PDF-1.7\n"]
)
def test_other_text_is_taken_where_its_type_names_no_document(beginning: bytes) -> None:
    for kind in ("", "application/zip", "text/plain", "binary/octet-stream", "application/x-zip-compressed"):
        check(beginning, kind)


@pytest.mark.parametrize(
    ("beginning", "kind", "name"),
    [
        (JSON, "application/json", "/data/fields.json"),
        (JSON, "application/geo+json", "s3://bucket/fields.GeoJSON"),
        (JSON, "application/x-ndjson", "fields.jsonl"),
        (JSON, "text/html", "fields.json"),
        (XML, "application/xml", "/data/meta.xml"),
        (XML, "", "/data/area.kml"),
        (PAGE, "text/html", "/data/report.html"),
    ],
)
def test_a_document_is_taken_where_the_destination_is_called_like_one(
    beginning: bytes, kind: str, name: str
) -> None:
    check(beginning, kind, name)


@pytest.mark.parametrize(
    ("beginning", "name"),
    [
        (PAGE, "/data/fields.json"),
        (PAGE, "/data/meta.xml"),
        (JSON, "/data/meta.xml"),
        (XML, "/data/fields.geojson"),
        (JSON, "/data.json/package"),
        (JSON, "/data/json"),
        (JSON, ""),
    ],
)
def test_another_than_the_destination_is_called_like_isnt(beginning: bytes, name: str) -> None:
    with pytest.raises(PixxelExpiredError):
        check(beginning, "", name)


# ---------------------------------------------------------------------------------------- what isn't usable


@pytest.mark.parametrize("length", ["", "-1", "1.5", "ten", "0x10", "1_000", "+5", "٣", "5, 5", "9" * 5000])
def test_without_a_length_that_can_be_read_a_package_isnt_taken(length: str) -> None:
    with pytest.raises(PixxelDownloadError, match="doesn't send the length of the package") as caught:
        read(200, content_length=length)
    # The head may have broken off before it came.
    assert caught.value.transient


@pytest.mark.parametrize(
    "coding",
    ["gzip", "GZIP", "x-gzip", "br", "deflate", "zstd", "identity, gzip", "aws-chunked,gzip", "x" * 500],
)
def test_an_encoded_package_isnt_taken(coding: str) -> None:
    with pytest.raises(PixxelDownloadError, match="sends the package encoded as") as caught:
        read(200, content_length="1", content_encoding=coding)
    assert not caught.value.transient
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip", "chunked ", "chunked, chunked", "aws-chunked"])
def test_a_body_whose_frame_nothing_here_takes_off_isnt_taken(coding: str) -> None:
    with pytest.raises(PixxelDownloadError, match="sends the package encoded as"):
        read(200, content_length="1", transfer_encoding=coding)


@pytest.mark.parametrize(
    "text",
    [
        "", "bytes", "bytes */10", "bytes 3-/10", "bytes -5/10", "items 3-9/10", "bytes 3-9", "bytes=3-9/10",
        "bytes a-b/c", "bytes 3-9/10, bytes 0-1/10",
        # A part that can't be
        "bytes 3-9/*", "bytes 5-4/10", "bytes 3-10/10", "bytes 0-0/0", "bytes 12-15/10",
        f"bytes 0-1/{'9' * 5000}",
    ],
)  # fmt: skip
def test_a_part_that_doesnt_say_which_it_is_may_be_asked_for_again(text: str) -> None:
    with pytest.raises(PixxelTransferError, match="sends a part of") as caught:
        read(206, content_range=text)
    assert caught.value.transient
    assert not isinstance(caught.value, PixxelExpiredError)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_host_that_turns_a_url_away_asks_for_another_one(status: int) -> None:
    with pytest.raises(PixxelExpiredError, match=rf"HTTP {status} \(.+\): the signed URL has expired"):
        read(status)


@pytest.mark.parametrize("status", [408, 416, 421, 425, 429, 500, 502, 503, 504, 599])
def test_a_host_that_cant_deliver_now_is_asked_again_when_it_says(status: int) -> None:
    with pytest.raises(PixxelTransferError, match=f"HTTP {status}") as caught:
        read(status, retry_after="17")
    assert not isinstance(caught.value, PixxelExpiredError)
    assert caught.value.transient
    assert caught.value.retry_after == 17.0


def test_a_host_that_names_a_moment_means_its_own_clock() -> None:
    with pytest.raises(PixxelTransferError) as caught:
        read(503, retry_after="1790000030", date="Mon, 21 Sep 2026 14:13:20 GMT")
    assert caught.value.retry_after == 30.0


def test_a_host_that_doesnt_say_when_leaves_it_open() -> None:
    for text in ("", "soon", "nan"):
        with pytest.raises(PixxelTransferError) as caught:
            read(503, retry_after=text)
        assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [204, 201, 202, 203, 207, 300, 304, 307, 402, 405, 406, 418, 451])
def test_an_answer_that_is_none_to_such_a_request_ends_it(status: int) -> None:
    with pytest.raises(
        PixxelDownloadError, match=rf"HTTP {status}.*no answer to a request for a file"
    ) as caught:
        read(status, content_length="5")
    assert not caught.value.transient


def test_a_status_without_a_name_is_named_by_its_number() -> None:
    with pytest.raises(PixxelDownloadError, match=r"answered HTTP 299, which"):
        read(299)


@pytest.mark.parametrize("kind", [PixxelDownloadError, PixxelTransferError, PixxelExpiredError])
def test_an_error_outlives_being_sent_to_another_process(kind: type[PixxelDownloadError]) -> None:
    again = pickle.loads(pickle.dumps(kind("why")))  # noqa: S301 - made a line above
    assert type(again) is kind
    assert str(again) == "why"
