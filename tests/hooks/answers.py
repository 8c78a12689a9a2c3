"""Answers as they come over the wire, good ones and all kinds that servers and gateways make of them.

A row is its name, the answer, and what it is to those who asked for a job: ``job``, the name of an error's
class, ``transient`` for any error that may pass, or ``alike`` where only this counts, that one client gives
what the other gives. ``either`` is where a library can't be told to read as the other does: the job in one
client, and an error that may pass in the other.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from typing import Any

from pixxel_provider.api import calls
from pixxel_provider.api.errors import api_error_class
from pixxel_provider.api.job import Job
from tests.loopback import End, Part, Raw
from tests.support import CANARY

CALL = calls.get_job("wf-succeeds", "job-finished")
FIELDS = {
    "id": "job-finished",
    "workflow_id": "wf-succeeds",
    "status": "completed",
    "progress": 100,
    "cost": 5,
}
TEXT = json.dumps(FIELDS)
BODY = TEXT.encode()
LATIN_1 = BODY[:-1] + b', "created_by": "J\xfcrgen"}'
JOB = Job.read(FIELDS)
KEY = CANARY.encode()

TRANSIENT = "transient"
ALIKE = "alike"
EITHER = "either"


OK = b"HTTP/1.1 200 OK"


def head(*lines: bytes, status: bytes = OK, code: bytes = b"", kind: bytes = b"application/json") -> bytes:
    status = b"HTTP/1.1 " + code if code else status
    return b"\r\n".join([status, b"Content-Type: " + kind, *lines]) + b"\r\n\r\n"


def sized(body: bytes = BODY, *lines: bytes, **start: bytes) -> bytes:
    return head(*lines, b"Content-Length: %d" % len(body), **start) + body


def chunked(
    *chunks: bytes,
    end: bytes = b"0\r\n\r\n",
    lines: Iterable[bytes] = (),
    coding: bytes = b"chunked",
    **start: bytes,
) -> bytes:
    return head(*lines, b"Transfer-Encoding: " + coding, **start) + b"".join(chunks) + end


def chunk(data: bytes = BODY, size: bytes | None = None, line: bytes = b"\r\n") -> bytes:
    return (b"%x" % len(data) if size is None else size) + line + data + line


def deflated(data: bytes, bits: int) -> bytes:
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(data) + packer.flush()


def encoded(name: bytes, body: bytes) -> bytes:
    return sized(body, b"Content-Encoding: " + name)


def stepwise(answer: bytes, size: int = 7) -> list[Part]:
    """Cut an answer into parts that arrive one by one."""
    parts: list[Part] = []
    for start in range(0, len(answer), size):
        parts += [answer[start : start + size], 0.001]
    return parts


Row = tuple[str, Any, str]

# What stands before the body.
STATUS_LINES: list[Row] = [
    ("no reason", sized(status=b"HTTP/1.1 200 "), "job"),
    ("no reason and no space", sized(status=b"HTTP/1.1 200"), "job"),
    ("HTTP/1.0", sized(status=b"HTTP/1.0 200 OK"), "job"),
    ("HTTP/1.0 without a length", head(status=b"HTTP/1.0 200 OK") + BODY, "job"),
    ("a long reason", sized(status=b"HTTP/1.1 200 " + b"fine " * 1_000), "job"),
    ("a reason in latin-1", sized(status=b"HTTP/1.1 200 Sch\xf6n"), "job"),
    ("a reason in UTF-8", sized(status="HTTP/1.1 200 Schön ✓".encode()), "job"),
    ("201", sized(status=b"HTTP/1.1 201 Created"), "job"),
    ("202", sized(status=b"HTTP/1.1 202 Accepted"), "job"),
    ("203", sized(status=b"HTTP/1.1 203 Non-Authoritative Information"), "job"),
    ("299", sized(status=b"HTTP/1.1 299 Odd"), "job"),
    ("lower-case http", sized(status=b"http/1.1 200 OK"), ALIKE),
    ("HTTP/0.9", sized(status=b"HTTP/0.9 200 OK"), ALIKE),
    ("HTTP/1.2", sized(status=b"HTTP/1.2 200 OK"), ALIKE),
    ("HTTP/2.0", sized(status=b"HTTP/2.0 200 OK"), ALIKE),
    ("HTTP/2", sized(status=b"HTTP/2 200 OK"), ALIKE),
    ("HTTP/11.1", sized(status=b"HTTP/11.1 200 OK"), ALIKE),
    ("HTTP/1.", sized(status=b"HTTP/1. 200 OK"), ALIKE),
    ("RTSP/1.0", sized(status=b"RTSP/1.0 200 OK"), TRANSIENT),
    ("RTSP/1.0 after a blank line", b"\n" + sized(status=b"RTSP/1.0 200 OK"), TRANSIENT),
    ("ICY", sized(status=b"ICY 200 OK"), ALIKE),
    ("two spaces before the status", sized(status=b"HTTP/1.1  200 OK"), ALIKE),
    ("two spaces after the status", sized(status=b"HTTP/1.1 200  OK"), ALIKE),
    ("a tab before the status", sized(status=b"HTTP/1.1\t200 OK"), ALIKE),
    ("a space before the version", sized(status=b" HTTP/1.1 200 OK"), ALIKE),
    ("status 20", sized(status=b"HTTP/1.1 20 OK"), ALIKE),
    ("status 099", sized(status=b"HTTP/1.1 099 Odd"), ALIKE),
    ("status 000", sized(status=b"HTTP/1.1 000 Odd"), ALIKE),
    ("status 0200", sized(status=b"HTTP/1.1 0200 OK"), ALIKE),
    ("status 1000", sized(status=b"HTTP/1.1 1000 Odd"), ALIKE),
    ("status -1", sized(status=b"HTTP/1.1 -1 Odd"), ALIKE),
    ("status +200", sized(status=b"HTTP/1.1 +200 OK"), ALIKE),
    ("status 2_0", sized(status=b"HTTP/1.1 2_0 OK"), ALIKE),
    ("status 2x0", sized(status=b"HTTP/1.1 2x0 OK"), ALIKE),
    ("status ٢٠٠", sized(status="HTTP/1.1 ٢٠٠ OK".encode()), ALIKE),
    ("status 600", sized(status=b"HTTP/1.1 600 Odd"), ALIKE),
    ("status 999", sized(status=b"HTTP/1.1 999 Odd"), ALIKE),
    ("no status", sized(status=b"HTTP/1.1"), ALIKE),
    ("an empty line first", b"\r\n" + sized(), ALIKE),
    ("several empty lines first", b"\r\n\r\n\r\n" + sized(), ALIKE),
    ("a NUL in the reason", sized(status=b"HTTP/1.1 200 O\0K"), ALIKE),
    ("a status line of 9,000 bytes", sized(status=b"HTTP/1.1 200 " + b"r" * 8_987), "job"),
    ("a status line of 60,000 bytes", sized(status=b"HTTP/1.1 200 " + b"r" * 59_987), ALIKE),
    ("a status line of 70,000 bytes", sized(status=b"HTTP/1.1 200 " + b"r" * 69_987), TRANSIENT),
    ("not HTTP at all", b"SSH-2.0-OpenSSH_9.6\r\n", TRANSIENT),
    ("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x0a", TRANSIENT),
    ("HTTP twice", b"HTTP/HTTP", TRANSIENT),
    ("JSON after the status line", OK + b"\r\n{}", TRANSIENT),
    ("HTML alone", b"<html><body>Bad gateway</body></html>", TRANSIENT),
    ("JSON alone", BODY, TRANSIENT),
]

CONTINUE, PROCESSING = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"

INFORMATIONAL: list[Row] = [
    ("100", CONTINUE + sized(), "job"),
    ("102", PROCESSING + sized(), "job"),
    ("103", HINTS + sized(), "job"),
    ("104", b"HTTP/1.1 104 Upload Resumption Supported\r\n\r\n" + sized(), "job"),
    ("199", b"HTTP/1.1 199 Odd\r\n\r\n" + sized(), "job"),
    ("each of them", CONTINUE + PROCESSING + HINTS + sized(), "job"),
    ("three of 102", PROCESSING * 3 + sized(), "job"),
    ("103 by itself, then the answer", [HINTS, 0.05, sized()], "job"),
    ("103 with a length", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + sized(), ALIKE),
    ("103, then an error", HINTS + sized(b"{}", code=b"503 Busy"), "PixxelServerError"),
    (
        "103, then a redirect in circles",
        HINTS + head(b"Location: /", b"Content-Length: 0", code=b"302 F"),
        TRANSIENT,
    ),
    (
        "103 over four parts",
        [HINTS[:9], 0.01, HINTS[9:-1], 0.01, HINTS[-1:] + sized()[:-9], 0.01, BODY[-9:]],
        "job",
    ),
    ("103, then nothing", HINTS, TRANSIENT),
    ("101", SWITCHING[:-2] + b"Upgrade: h2c\r\nConnection: upgrade\r\n\r\n", TRANSIENT),
    ("101 with a chunk", SWITCHING[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(), TRANSIENT),
    ("103, then RTSP", HINTS + sized(status=b"RTSP/1.0 200 OK"), TRANSIENT),
    ("101 with an answer", SWITCHING + sized(), TRANSIENT),
    ("50 of 100", CONTINUE * 50 + sized(), "job"),
    # Python 3.14.8 and others give up at 100 of them, earlier ones and aiohttp never do.
    ("1,000 of 100", CONTINUE * 1_000 + sized(), EITHER),
    ("1,000 of 103", HINTS * 1_000 + sized(), ALIKE),
]


def many(count: int) -> bytes:
    """An answer with so many headers in all."""
    return sized(BODY, *(b"X-%d: v" % n for n in range(count - 2)))


HEADERS: list[Row] = [
    ("9,000 bytes", sized(BODY, b"Set-Cookie: c=" + b"x" * 8_986), "job"),
    ("60,000 bytes", sized(BODY, b"Set-Cookie: c=" + b"x" * 59_986), "job"),
    ("65,537 bytes", sized(BODY, b"X-Long: " + b"x" * 65_529), ALIKE),
    ("65,535 bytes without a space", sized(BODY, b"X-Long:" + b"x" * 65_526), TRANSIENT),
    ("65,534 bytes without a space", sized(BODY, b"X-Long:" + b"x" * 65_525), "job"),
    ("70,000 bytes", sized(BODY, b"X-Long: " + b"x" * 70_000), TRANSIENT),
    ("a name of 9,000 bytes", sized(BODY, b"X" * 9_000 + b": v"), "job"),
    ("99 of them", many(99), "job"),
    ("100 of them", many(100), ALIKE),
    ("101 of them", many(101), ALIKE),
    ("127 of them", many(127), ALIKE),
    ("129 of them", many(129), ALIKE),
    ("150 of them", many(150), ALIKE),
    ("300 of them", many(300), ALIKE),
    ("10,000 of them", many(10_000), TRANSIENT),
    ("30 of 9,000 bytes", sized(BODY, *(b"X-%d: " % n + b"x" * 9_000 for n in range(30))), ALIKE),
    ("80 of 60,000 bytes", sized(BODY, *(b"X-%d: " % n + b"x" * 60_000 for n in range(80))), ALIKE),
    ("none", b"HTTP/1.1 200 OK\r\n\r\n" + BODY, "job"),
    ("one name twice", sized(BODY, b"Content-Type: text/plain", b"X-A: 1", b"X-A: 2"), "job"),
    ("upper case", head(b"CONTENT-LENGTH: %d" % len(BODY)) + BODY, "job"),
    ("no space after the colon", head(b"Content-Length:%d" % len(BODY)) + BODY, "job"),
    ("tabs and spaces around a value", head(b"Content-Length: \t %d \t " % len(BODY)) + BODY, "job"),
    ("an empty value", sized(BODY, b"X-Empty:"), "job"),
    ("latin-1 in a value", sized(BODY, b"X-Place: M\xfcnchen"), "job"),
    ("UTF-8 in a value", sized(BODY, "X-Place: München ✓".encode()), "job"),
    ("folded", sized(BODY, b"X-Folded: one\r\n two"), ALIKE),
    ("folded with a tab", sized(BODY, b"X-Folded: one\r\n\ttwo"), ALIKE),
    ("folded length", head(b"Content-Length:\r\n %d" % len(BODY)) + BODY, ALIKE),
    ("the first one folded", b"HTTP/1.1 200 OK\r\n X-Folded: one\r\n" + sized()[17:], ALIKE),
    ("no colon", sized(BODY, b"this is no header"), ALIKE),
    (
        "no colon, then the length",
        head(b"this is no header", b"Content-Length: %d" % len(BODY)) + BODY,
        ALIKE,
    ),
    ("a space before the colon", sized(BODY, b"X-Odd : v"), ALIKE),
    ("a space before the length's colon", head(b"Content-Length : %d" % len(BODY)) + BODY, ALIKE),
    ("a space in the name", sized(BODY, b"X Odd: v"), ALIKE),
    ("an empty name", sized(BODY, b": v"), ALIKE),
    ("a name that isn't ASCII", sized(BODY, "X-Größe: v".encode()), ALIKE),
    ("a NUL in a value", sized(BODY, b"X-Odd: a\0b"), ALIKE),
    ("a control character in a value", sized(BODY, b"X-Odd: a\x01b"), ALIKE),
    ("DEL in a value", sized(BODY, b"X-Odd: a\x7fb"), ALIKE),
    ("a lone CR in a value", sized(BODY, b"X-Odd: a\rb"), ALIKE),
    ("a form feed in a value", sized(BODY, b"X-Odd: a\x0cb"), ALIKE),
    ("NEL in a value", sized(BODY, b"X-Odd: a\x85b: c"), ALIKE),
    ("a NUL in a name", sized(BODY, b"X\0Odd: v"), ALIKE),
    ("ends of lines without CR", sized().replace(b"\r\n", b"\n"), ALIKE),
    ("ends of lines without LF", sized().replace(b"\r\n", b"\r"), ALIKE),
    ("one end of line without CR", sized(BODY, b"X-A: 1\nX-B: 2"), ALIKE),
    ("no end", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n", TRANSIENT),
    ("Connection: close", sized(BODY, b"Connection: close"), "job"),
    (
        "Connection: keep-alive of 1.0",
        sized(BODY, b"Connection: keep-alive", status=b"HTTP/1.0 200 OK"),
        "job",
    ),
    ("Upgrade offered", sized(BODY, b"Upgrade: h2,h2c", b"Connection: Upgrade"), "job"),
    ("Trailer announced", sized(BODY, b"Trailer: X-Checksum"), "job"),
    ("a cookie that can't be read", sized(BODY, b'Set-Cookie: ="\x01; Domain=..;;; Expires=never'), ALIKE),
    ("a cookie in latin-1", sized(BODY, b"Set-Cookie: c=M\xfcnchen; Path=/"), "job"),
    ("links that can't be read", sized(BODY, b"Link: <http://[::1; rel=next"), "job"),
]

GZIPPED, ZLIBBED, DEFLATED = gzip.compress(BODY), zlib.compress(BODY), deflated(BODY, -15)

ENCODINGS: list[Row] = [
    ("gzip", encoded(b"gzip", GZIPPED), "job"),
    ("GZIP", encoded(b"GZIP", GZIPPED), "job"),
    ("x-gzip", encoded(b"x-gzip", GZIPPED), "job"),
    ("deflate with zlib's head", encoded(b"deflate", ZLIBBED), "job"),
    ("deflate without it", encoded(b"deflate", DEFLATED), "job"),
    ("identity", encoded(b"identity", BODY), "job"),
    ("an empty name", encoded(b"", BODY), "job"),
    ("gzip in parts", stepwise(encoded(b"gzip", GZIPPED)), "job"),
    ("deflate in parts", stepwise(encoded(b"deflate", DEFLATED), 1), "job"),
    (
        "gzip in chunks",
        chunked(*(chunk(GZIPPED[n : n + 1]) for n in range(len(GZIPPED))), lines=[b"Content-Encoding: gzip"]),
        "job",
    ),
    ("gzip in two members", encoded(b"gzip", gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])), ALIKE),
    ("gzip twice", encoded(b"gzip, gzip", gzip.compress(GZIPPED)), ALIKE),
    ("deflate, gzip", encoded(b"deflate, gzip", gzip.compress(ZLIBBED)), ALIKE),
    ("gzip, identity", encoded(b"gzip, identity", GZIPPED), ALIKE),
    ("gzip in two headers", sized(gzip.compress(GZIPPED), *[b"Content-Encoding: gzip"] * 2), ALIKE),
    ("gzip ten times", encoded(b", ".join([b"gzip"] * 10), GZIPPED), ALIKE),
    ("spaces around gzip", encoded(b" gzip \t", GZIPPED), "job"),
    ("gzip with a semicolon", encoded(b"gzip;q=1", GZIPPED), ALIKE),
    ("br", encoded(b"br", b"\x0b\x02\x80{}\x03"), TRANSIENT),
    ("br that isn't", encoded(b"br", BODY), ALIKE),
    ("zstd", encoded(b"zstd", b"\x28\xb5\x2f\xfd\x04\x00\x11\x00\x00{}\x97\x8e\xc2\x55"), TRANSIENT),
    ("zstd that isn't", encoded(b"zstd", BODY), ALIKE),
    ("compress", encoded(b"compress", b"\x1f\x9d\x90{"), TRANSIENT),
    ("an unknown one", encoded(b"rot13", BODY), ALIKE),
    ("an unknown one, then gzip", encoded(b"rot13, gzip", GZIPPED), ALIKE),
    ("aws-chunked", encoded(b"aws-chunked", BODY), ALIKE),
    ("UTF-8 as an encoding", encoded(b"UTF-8", BODY), ALIKE),
    ("gzip that isn't", encoded(b"gzip", BODY), ALIKE),
    ("deflate that isn't", encoded(b"deflate", BODY), ALIKE),
    ("gzip that is deflate", encoded(b"gzip", ZLIBBED), ALIKE),
    ("deflate that is gzip", encoded(b"deflate", GZIPPED), ALIKE),
    ("gzip without a name", sized(GZIPPED), "PixxelResponseError"),
    ("gzip with rubbish after it", encoded(b"gzip", GZIPPED + b"rubbish"), ALIKE),
    ("gzip with zeros after it", encoded(b"gzip", GZIPPED + b"\0" * 100), ALIKE),
    ("deflate with rubbish after it", encoded(b"deflate", ZLIBBED + b"rubbish"), ALIKE),
    ("gzip that ends early", encoded(b"gzip", GZIPPED[:-20]), TRANSIENT),
    ("gzip without its checksum", encoded(b"gzip", GZIPPED[:-8]), ALIKE),
    ("gzip with a wrong checksum", encoded(b"gzip", GZIPPED[:-8] + b"\0" * 8), TRANSIENT),
    ("gzip with a broken middle", encoded(b"gzip", GZIPPED[:20] + b"\xff\xff\xff" + GZIPPED[23:]), TRANSIENT),
    ("deflate that ends early", encoded(b"deflate", ZLIBBED[:-20]), TRANSIENT),
    ("gzip of nothing", encoded(b"gzip", gzip.compress(b"")), "PixxelResponseError"),
    ("gzip with no body", encoded(b"gzip", b""), "PixxelResponseError"),
    ("gzip whose head ends early", encoded(b"gzip", GZIPPED[:5]), TRANSIENT),
    (
        "an error in gzip",
        sized(
            gzip.compress(b'{"error": {"code": "x", "message": "Busy"}}'),
            b"Content-Encoding: gzip",
            code=b"503 Busy",
        ),
        "PixxelServerError",
    ),
    ("an error in gzip that isn't", sized(b"Busy", b"Content-Encoding: gzip", code=b"503 Busy"), TRANSIENT),
    ("a 404 in gzip that isn't", sized(b"no", b"Content-Encoding: gzip", code=b"404 Not Found"), ALIKE),
]


def length(value: bytes, body: bytes = BODY) -> bytes:
    return head(b"Content-Length: " + value) + body


COUNT = b"%d" % len(BODY)

LENGTHS: list[Row] = [
    ("missing", head() + BODY, "job"),
    ("missing, and keep-alive", head(b"Connection: keep-alive") + BODY, ALIKE),
    ("too small", length(b"10"), "PixxelResponseError"),
    ("too large", length(b"%d" % (len(BODY) + 10)), "PixxelConnectionError"),
    ("zero", length(b"0"), "PixxelResponseError"),
    ("leading zeros", length(b"000" + COUNT), "job"),
    ("negative", length(b"-5"), ALIKE),
    ("minus zero", length(b"-0"), ALIKE),
    ("with a plus", length(b"+" + COUNT), ALIKE),
    ("with an underscore", length(b"1_00"), ALIKE),
    ("in hex", length(b"0x10"), ALIKE),
    ("a fraction", length(COUNT + b".0"), ALIKE),
    ("with a space in it", length(b"1 0"), ALIKE),
    ("with words after it", length(COUNT + b" bytes"), ALIKE),
    ("empty", length(b""), ALIKE),
    ("words", length(b"many"), ALIKE),
    ("with NEL after it", length(COUNT + b"\x85"), ALIKE),
    ("two that are equal", head(b"Content-Length: " + COUNT, b"Content-Length: " + COUNT) + BODY, ALIKE),
    ("two that differ", head(b"Content-Length: " + COUNT, b"Content-Length: 5") + BODY, ALIKE),
    ("a list of equal ones", length(COUNT + b", " + COUNT), ALIKE),
    ("a list of different ones", length(COUNT + b", 5"), ALIKE),
    ("a list with an empty end", length(COUNT + b","), ALIKE),
    ("digits of another script", length("٥".encode()), ALIKE),
    ("2 ** 63", length(b"%d" % 2**63), TRANSIENT),
    ("2 ** 64", length(b"%d" % 2**64), TRANSIENT),
    ("2 ** 64 and a bit", length(b"%d" % (2**64 + len(BODY))), TRANSIENT),
    ("5,000 digits", length(b"1" * 5_000), TRANSIENT),
    ("33 MiB promised", length(b"%d" % (33 * 2**20)), TRANSIENT),
    ("with chunks", chunked(chunk(), lines=[b"Content-Length: 5"]), ALIKE),
    ("right, with no transfer encoding", sized(BODY, b"Transfer-Encoding:"), TRANSIENT),
    ("right, with chunks", chunked(chunk(), lines=[b"Content-Length: " + COUNT]), ALIKE),
    ("something after it", sized() + b"something", "job"),
    ("an end of line after it", sized() + b"\r\n", "job"),
    ("something that comes after it", [sized(), 0.02, b"something"], "job"),
    ("another answer after it", sized() + sized(b'{"id": "other", "status": "failed"}'), "job"),
]

CHUNKS: list[Row] = [
    ("one", chunked(chunk()), "job"),
    ("several", chunked(chunk(BODY[:9]), chunk(BODY[9:])), "job"),
    ("of one byte", chunked(*(chunk(BODY[n : n + 1]) for n in range(len(BODY)))), "job"),
    ("in parts", stepwise(chunked(chunk(BODY[:9]), chunk(BODY[9:])), 3), "job"),
    ("upper-case hex", chunked(chunk(BODY + b" " * (0xAB - len(BODY)), b"AB")), "job"),
    ("leading zeros", chunked(chunk(size=b"0000%x" % len(BODY))), "job"),
    ("100 leading zeros", chunked(chunk(size=b"0" * 100 + b"%x" % len(BODY))), ALIKE),
    ("an extension", chunked(chunk(size=b"%x;name=value" % len(BODY))), "job"),
    ("a quoted extension", chunked(chunk(size=b'%x;name="va;lue"' % len(BODY))), ALIKE),
    ("an extension of 10,000 bytes", chunked(chunk(size=b"%x;n=" % len(BODY) + b"v" * 10_000)), ALIKE),
    ("an extension of 100,000 bytes", chunked(chunk(size=b"%x;n=" % len(BODY) + b"v" * 100_000)), "job"),
    ("a space after the size", chunked(chunk(size=b"%x " % len(BODY))), ALIKE),
    ("a space before the size", chunked(chunk(size=b" %x" % len(BODY))), ALIKE),
    ("a trailer", chunked(chunk(), end=b"0\r\nX-Checksum: abc\r\n\r\n"), "job"),
    ("many trailers", chunked(chunk(), end=b"0\r\n" + b"X-T: v\r\n" * 200 + b"\r\n"), ALIKE),
    ("a trailer of 9,000 bytes", chunked(chunk(), end=b"0\r\nX-T: " + b"v" * 9_000 + b"\r\n\r\n"), ALIKE),
    ("a trailer of 70,000 bytes", chunked(chunk(), end=b"0\r\nX-T: " + b"v" * 70_000 + b"\r\n\r\n"), ALIKE),
    ("a trailer that isn't one", chunked(chunk(), end=b"0\r\nrubbish\r\n\r\n"), ALIKE),
    ("an encoding in the trailer", chunked(chunk(), end=b"0\r\nTransfer-Encoding: chunked\r\n\r\n"), ALIKE),
    ("a length in the trailer", chunked(chunk(), end=b"0\r\nContent-Length: 3\r\n\r\n"), ALIKE),
    ("no last chunk", chunked(chunk(), end=b""), "PixxelConnectionError"),
    ("a last chunk without its end", chunked(chunk(), end=b"0\r\n"), ALIKE),
    ("a last chunk cut in its line", chunked(chunk(), end=b"0"), ALIKE),
    ("a trailer without its end", chunked(chunk(), end=b"0\r\nX-T: v\r\n"), ALIKE),
    ("no chunk at all", chunked(end=b""), "PixxelConnectionError"),
    ("only the last chunk", chunked(), "PixxelResponseError"),
    ("a broken size", chunked(chunk(size=b"zz")), TRANSIENT),
    ("a broken size by itself", [head(b"Transfer-Encoding: chunked"), 0.05, b"ZZ\r\n"], TRANSIENT),
    # A triggerer that waited for its end would lose all waits.
    ("the same, and no end", Raw((chunked(end=b""), 0.1, b"ZZ\r\n"), End.HOLD), "PixxelConnectionError"),
    ("an empty size", chunked(chunk(size=b"")), TRANSIENT),
    ("a negative size", chunked(chunk(size=b"-5")), TRANSIENT),
    ("a size with a plus", chunked(chunk(size=b"+%x" % len(BODY))), ALIKE),
    ("a size with 0x", chunked(chunk(size=b"0x%x" % len(BODY))), ALIKE),
    ("a size with an underscore", chunked(chunk(size=b"%x_0" % (len(BODY) // 16))), ALIKE),
    ("a size of 2 ** 64", chunked(chunk(size=b"10000000000000000")), TRANSIENT),
    ("a size of 2 ** 64 and a bit", chunked(chunk(size=b"100000000000000%02x" % len(BODY))), TRANSIENT),
    ("a size of a thousand digits", chunked(chunk(size=b"f" * 1_000)), TRANSIENT),
    ("a size that is too small", chunked(chunk(size=b"%x" % (len(BODY) - 3))), ALIKE),
    ("a size that is too large", chunked(chunk(size=b"%x" % (len(BODY) + 30))), TRANSIENT),
    ("no end of line after the data", chunked(b"%x\r\n" % len(BODY) + BODY), ALIKE),
    ("ends of lines without CR", chunked(chunk(line=b"\n"), end=b"0\n\n"), ALIKE),
    ("something after it", chunked(chunk()) + b"something", EITHER),
    ("two names", chunked(chunk(), coding=b"gzip, chunked"), ALIKE),
    ("upper-case name", chunked(chunk(), coding=b"CHUNKED"), "job"),
    ("chunked twice", chunked(chunk(), coding=b"chunked, chunked"), ALIKE),
    ("two headers", chunked(chunk(), lines=[b"Transfer-Encoding: chunked"]), ALIKE),
    ("an unknown transfer encoding", head(b"Transfer-Encoding: odd") + BODY, ALIKE),
    ("identity as transfer encoding", head(b"Transfer-Encoding: identity") + BODY, ALIKE),
    ("identity as transfer encoding with a length", sized(BODY, b"Transfer-Encoding: identity"), ALIKE),
    ("in HTTP/1.0", chunked(chunk(), status=b"HTTP/1.0 200 OK"), ALIKE),
    ("an error in chunks", chunked(chunk(b"{}"), code=b"502 Bad Gateway"), "PixxelServerError"),
]

PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body>Welcome</body></html>"

ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in CANARY)
ECHO = '{"error": {"code": "bad_key", "message": "%s", "details": {"%s": ["%s"]}}}'
REFUSED = b"400 Bad Request"


def echo(key: str, status: bytes = REFUSED, encoding: str = "utf-8") -> bytes:
    return sized((ECHO % (key, key, key)).encode(encoding), code=status)


BAD = "PixxelBadRequestError"

BODIES: list[Row] = [
    ("a page with status 200", sized(PAGE, b"X-From: gateway"), "PixxelResponseError"),
    ("a page with status 502", sized(PAGE, code=b"502 Bad Gateway"), "PixxelServerError"),
    ("a page with status 403", sized(PAGE, code=b"403 Forbidden"), "PixxelAuthError"),
    ("a page with status 404", sized(PAGE, code=b"404 Not Found"), "PixxelNotFoundError"),
    *(
        (f"{status} in the envelope", echo("no", status), api_error_class(int(status[:3])).__name__)
        for status in (b"401 U", b"403 F", b"404 N", b"405 M", b"408 T", b"409 C", b"429 T", b"500 I")
    ),
    ("503 as plain text", sized(b"busy", code=b"503 B", kind=b"text/plain"), "PixxelServerError"),
    ("504 without a body", sized(b"", code=b"504 G"), "PixxelServerError"),
    ("403 without a body", sized(b"", code=b"403 F"), "PixxelAuthError"),
    ("500 with a list", sized(b"[1]", code=b"500 I"), "PixxelServerError"),
    ("400 with a number for an envelope", sized(b'{"error": 7}', code=REFUSED), BAD),
    ("400 with a string for one", sized(b'{"error": "no such"}', code=REFUSED), BAD),
    *(
        (f"{body.decode()} for an answer", sized(body), "PixxelResponseError")
        for body in (b"words", b"null", b"[{}]", b'"job"', b"{}", b'{"id": {"id": ["nested"]}}')
    ),
    ("a page with status 407", sized(PAGE, code=b"407 Proxy Authentication Required"), ALIKE),
    (
        "401 with a challenge",
        sized(b"", b"WWW-Authenticate: Basic realm=x", code=b"401 U"),
        "PixxelAuthError",
    ),
    (
        "401 with a digest",
        sized(b"", b"WWW-Authenticate: Digest nonce=x, realm=y", code=b"401 U"),
        "PixxelAuthError",
    ),
    ("408", sized(b"", code=b"408 Request Timeout"), "PixxelTemporaryError"),
    ("429 with Retry-After", sized(b"", b"Retry-After: 7", code=b"429 Too Many"), "PixxelRateLimitError"),
    ("429 with two", sized(b"", b"Retry-After: 7", b"Retry-After: 9", code=b"429 T"), "PixxelRateLimitError"),
    ("empty", sized(b""), "PixxelResponseError"),
    ("blank", sized(b"  \r\n "), "PixxelResponseError"),
    ("UTF-8 with a mark", sized(b"\xef\xbb\xbf" + BODY), ALIKE),
    ("UTF-16", sized(TEXT.encode("utf-16")), ALIKE),
    ("UTF-16 that says so", sized(TEXT.encode("utf-16"), kind=b"application/json; charset=utf-16"), ALIKE),
    ("UTF-32", sized(TEXT.encode("utf-32-le")), ALIKE),
    ("latin-1", sized(LATIN_1), ALIKE),
    ("latin-1 that says so", sized(LATIN_1, kind=b"application/json; charset=latin-1"), ALIKE),
    ("a charset that nobody knows", sized(BODY, kind=b"application/json; charset=klingon"), "job"),
    ("as text", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + BODY, "job"),
    ("half", sized(BODY[: len(BODY) // 2]), "PixxelResponseError"),
    ("deep", sized(b"[" * 100_000), "PixxelResponseError"),
    ("a number of 10,000 digits", sized(BODY[:-1] + b', "cost": ' + b"9" * 10_000 + b"}"), ALIKE),
    ("another job", sized(BODY.replace(b"job-finished", b"job-other")), "PixxelResponseError"),
    ("another workflow's job", sized(BODY.replace(b"wf-succeeds", b"wf-other")), "PixxelResponseError"),
    ("a job without its workflow", sized(b'{"id": "job-finished", "status": "completed"}'), "answer"),
    ("a job without its id", sized(b'{"status": "completed"}'), ALIKE),
    ("204", head(code=b"204 No Content"), "PixxelResponseError"),
    ("204 with a length", head(b"Content-Length: 5", code=b"204 No Content"), ALIKE),
    ("204 with a body", sized(code=b"204 No Content"), ALIKE),
    ("204 with chunks", chunked(chunk(), code=b"204 N"), ALIKE),
    ("205", sized(b"", code=b"205 Reset Content"), "PixxelResponseError"),
    ("205 with a body", sized(code=b"205 Reset Content"), ALIKE),
    ("206", sized(BODY, b"Content-Range: bytes 0-1/2", code=b"206 Partial Content"), ALIKE),
    ("304", head(code=b"304 Not Modified"), "PixxelResponseError"),
    ("304 with a length", head(b"Content-Length: 500", code=b"304 Not Modified"), "PixxelResponseError"),
    ("304 with a body", sized(code=b"304 Not Modified"), "PixxelResponseError"),
]

ECHOES: list[Row] = [
    ("in an error", echo(CANARY), BAD),
    ("in UTF-16", echo(CANARY, encoding="utf-16"), BAD),
    ("in UTF-32", echo(CANARY, encoding="utf-32"), BAD),
    ("with one letter escaped", echo(CANARY.replace("c", "\\u0063", 1)), BAD),
    ("with all letters escaped", echo(ESCAPED), BAD),
    ("with all letters escaped in upper case", echo(ESCAPED.upper().replace("U", "u")), BAD),
    ("in a page", sized(b"<title>" + KEY + b"</title>", code=REFUSED), BAD),
    ("in a page in UTF-16", sized(f"<title>{CANARY}".encode("utf-16-le"), code=REFUSED), BAD),
    ("as a page, beyond what is shown", sized(b"x" * 105 + KEY, code=REFUSED), BAD),
    ("in gzip", sized(gzip.compress(KEY), b"Content-Encoding: gzip", code=REFUSED), BAD),
    ("in the answer", sized(BODY[:-1] + b', "created_by": "' + KEY + b'"}'), "answer"),
    ("in the answer, escaped", sized(BODY[:-1] + b', "x": ["' + ESCAPED.encode() + b'"]}'), "answer"),
    ("in a name of the answer", sized(BODY[:-1] + b', "' + ESCAPED.encode() + b'": 1}'), "answer"),
    *(
        (
            f"in an answer in {coding}",
            sized(f'{TEXT[:-1]}, "{CANARY}": "{CANARY}"}}'.encode(coding)),
            "answer",
        )
        for coding in ("utf-16", "utf-32-be")
    ),
    ("as the status of the job", sized(BODY.replace(b"completed", ESCAPED.encode())), "answer"),
    ("as the job", sized(BODY.replace(b"job-finished", KEY)), "PixxelResponseError"),
    ("in the type", sized(b"no", kind=b"text/" + KEY), "PixxelResponseError"),
    ("in the type of an error", sized(b"no", kind=KEY, code=REFUSED), BAD),
    ("in the reason", sized(b"no", code=REFUSED + b" " + KEY), BAD),
    ("in the version", b"HTTP/" + KEY + b" 200 OK\r\n\r\nno", TRANSIENT),
    ("instead of HTTP", b"Authorization: Bearer " + KEY + b"\r\n\r\n", TRANSIENT),
    ("in a header without a colon", sized(BODY, KEY), ALIKE),
    ("in a header with a NUL", sized(BODY, b"X-Echo: \0" + KEY), ALIKE),
    ("in a header's name", sized(BODY, KEY + b" : v"), ALIKE),
    ("in a first header that is folded", OK + b"\r\n X-A: " + KEY + b"\r\n" + sized()[17:], ALIKE),
    ("in a header that is too long", sized(BODY, b"X-Echo: " + KEY * 3_000), TRANSIENT),
    ("as the length", length(KEY), ALIKE),
    ("as a second length", sized(BODY, b"Content-Length: " + KEY), ALIKE),
    ("as an encoding", encoded(KEY, BODY), ALIKE),
    ("as a transfer encoding", head(b"Transfer-Encoding: " + KEY) + BODY, ALIKE),
    ("as a chunk's size", chunked(chunk(size=KEY)), TRANSIENT),
    ("as a trailer", chunked(chunk(), end=b"0\r\n" + KEY + b"\r\n\r\n"), ALIKE),
    ("as Retry-After", sized(b"", b"Retry-After: " + KEY, code=b"429 T"), "PixxelRateLimitError"),
    ("as a cookie", sized(BODY, b"Set-Cookie: " + KEY + b"=" + KEY + b"; Path=\x01"), ALIKE),
    ("as a link", sized(BODY, b"Link: <http://[" + KEY), ALIKE),
]

BREAKS: list[Row] = [
    (f"{end.value} {what}", Raw((start,), end), "PixxelConnectionError")
    for end in (End.CLOSE, End.RESET)
    for what, start in {
        "at once": b"",
        "in the version": b"HTTP/1",
        "after the version": b"HTTP/1.1 ",
        "in the status": b"HTTP/1.1 20",
        "after the status": b"HTTP/1.1 200 OK",
        "after the status line": b"HTTP/1.1 200 OK\r\n",
        "in a header's name": b"HTTP/1.1 200 OK\r\nContent-Le",
        "in a header's value": b"HTTP/1.1 200 OK\r\nContent-Length: 1",
        "before the empty line": sized()[: -len(BODY) - 2],
        "before the body": sized()[: -len(BODY)],
        "in the body": sized()[:-5],
        "in a chunk's size": chunked(chunk()[:1], end=b""),
        "in a chunk": chunked(chunk()[:-8], end=b""),
        "in an informational answer": b"HTTP/1.1 103 Early",
    }.items()
]

TABLE = {
    "status line": STATUS_LINES,
    "informational": INFORMATIONAL,
    "headers": HEADERS,
    "encoding": ENCODINGS,
    "length": LENGTHS,
    "chunks": CHUNKS,
    "body": BODIES,
    "echo": ECHOES,
    "connection": BREAKS,
}
