"""Decodes the Content-Encoding of an answer, the same for both clients and within a limit."""

from __future__ import annotations

import zlib

_GZIP = b"\x1f\x8b"
#: How often an answer may be encoded; twice happens if a gateway encodes an encoded answer.
_TWICE = 2
#: Each further member of a gzip file copies the rest of it.
_MEMBERS = 16


def decoded_body(data: bytes, encoding: str | None, limit: int) -> bytes:
    """Return a body without its encodings.

    Encodings other than gzip and deflate weren't requested and are left: whether the body is JSON is checked
    later.

    :param encoding: the Content-Encoding header.
    :param limit: bytes after decoding.
    :raises ValueError: it can't be decoded, or not within the limit; the message continues "the answer ...".
    """
    names = [name.strip().lower() for name in (encoding or "").split(",")]
    codings = [name for name in names if name in ("gzip", "x-gzip", "deflate")]
    if len(codings) > _TWICE:
        raise ValueError("is encoded more than twice")
    for coding in reversed(codings):
        data = _inflate(data, coding, limit)
    return data


def _inflate(data: bytes, coding: str, limit: int) -> bytes:
    # A gateway that has decoded the body may have kept the header.
    if not data or (coding != "deflate" and data[:2] != _GZIP):
        return data
    found = bytearray()
    for _ in range(_MEMBERS):
        decoder = zlib.decompressobj(_window(data, coding))
        try:
            found += decoder.decompress(data, limit + 1 - len(found))
        except zlib.error:
            raise ValueError(f"is no {coding}, which its header says") from None
        if len(found) > limit:
            raise ValueError(f"is larger than {limit / 2**20:g} MiB once it is decoded, which no job is")
        if not decoder.eof:
            raise ValueError(f"is {coding} that is cut short")
        # Another member may follow; other data after the end isn't part of the answer.
        data = decoder.unused_data
        if not data.startswith(_GZIP):
            return bytes(found)
    raise ValueError(f"is {coding} in more than {_MEMBERS} members")


def _window(data: bytes, coding: str) -> int:
    if coding != "deflate":
        return 16 + zlib.MAX_WBITS
    # Both formats have that name: with zlib's header, and without it (RFC 9110, 8.4.1.2).
    with_header = len(data) > 1 and data[0] & 0x0F == 8 and (data[0] * 256 + data[1]) % 31 == 0
    return zlib.MAX_WBITS if with_header else -zlib.MAX_WBITS
