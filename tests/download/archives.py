"""Zips for tests, ordinary and otherwise."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixxel_provider.download.archive import Archive, Limits, Member
from pixxel_provider.download.cancellation import Cancellation
from pixxel_provider.download.local_disk import LocalTarget
from pixxel_provider.download.unpack import Unpacked, unpack_into_folder


def made(members: Mapping[str, bytes], *, mode: int = 0, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of these members, each with these Unix rights."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("x")
            # Past what the constructor makes of separators and NULs.
            info.filename = info.orig_filename = name
            info.external_attr, info.compress_type = mode << 16, method
            archive.writestr(info, content)
    return file.getvalue()


class Meanwhile(Archive):
    """An archive during whose last member something else happens."""

    happens: Callable[[], object] = staticmethod(lambda: None)

    def parts(self, member: Member) -> Iterator[bytes]:
        if member is self.members[-1]:
            self.happens()
        yield from super().parts(member)


def unpack(
    tmp_path: Path, content: bytes, happens: Callable[[], object] = lambda: None, work: str = "work"
) -> Unpacked:
    """Unpack a zip into the folder ``out``, while something else happens."""
    (tmp_path / f"{work}.zip").write_bytes(content)
    (tmp_path / work).mkdir()
    with Meanwhile(tmp_path / f"{work}.zip", Limits()) as archive:
        archive.happens = happens  # type: ignore[method-assign]
        return unpack_into_folder(archive, LocalTarget(tmp_path / "out"), tmp_path / work, Cancellation())


def everything(folder: Path) -> dict[str, bytes | None]:
    """Return what a folder holds, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def stored(memory: Any) -> dict[str, bytes]:
    """Return what a file system in memory holds."""
    return {name: file.getvalue() for name, file in memory.store.items()}


LINK, DEVICE = stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600


@dataclass
class Entry:
    """A member as no library would write it; what isn't given is right."""

    name: bytes
    content: bytes = b""
    flags: int = 0
    system: int = 3
    attributes: int = 0
    extra: bytes = b""
    offset: int | None = None
    packed: int | None = None
    listed_only: bool = False
    descriptor: bool = False


def crafted(*entries: Entry, before: bytes = b"", comment: bytes = b"", adjusted: bool = True) -> bytes:
    """Return a zip with these entries, stored, byte for byte as they say.

    :param before: bytes that come first, which the offsets count unless they aren't adjusted.
    """
    body, listed = bytearray(before), bytearray()
    for each in entries:
        at = len(body) - (0 if adjusted else len(before))
        flags = each.flags | (8 if each.descriptor else 0)
        sums = struct.pack("<III", zlib.crc32(each.content), len(each.content), len(each.content))
        if not each.listed_only:
            told = bytes(12) if each.descriptor else sums
            body += b"PK\x03\x04" + struct.pack("<HHHHH", 20, flags, 0, 0, 33) + told
            body += struct.pack("<HH", len(each.name), 0) + each.name + each.content
            body += b"PK\x07\x08" + sums if each.descriptor else b""
        packed = len(each.content) if each.packed is None else each.packed
        listed += b"PK\x01\x02" + struct.pack("<BBHHHHH", 20, each.system, 20, flags, 0, 0, 33) + sums[:4]
        listed += struct.pack("<II", packed, len(each.content))
        listed += struct.pack("<HHHHH", len(each.name), len(each.extra), 0, 0, 0)
        listed += struct.pack("<II", each.attributes, at if each.offset is None else each.offset)
        listed += each.name + each.extra
    count, at = min(len(entries), 0xFFFF), len(body) - (0 if adjusted else len(before))
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(listed), at, len(comment))
    return bytes(body + listed) + b"PK\x05\x06" + end + comment


def zip64_extra(*values: int) -> bytes:
    """An extra field with sizes and offsets of eight bytes."""
    return struct.pack("<HH", 1, 8 * len(values)) + b"".join(struct.pack("<Q", value) for value in values)


def unicode_name(raw: bytes, name: bytes, *, version: int = 1) -> bytes:
    """An extra field as Info-ZIP writes it, for a name in other letters."""
    body = bytes([version]) + zlib.crc32(raw).to_bytes(4, "little") + name
    return struct.pack("<HH", 0x7075, len(body)) + body


def in_zip64(content: bytes, *, count: int, length: int, offset: int, end: int | None = None) -> bytes:
    """Give a zip without a comment the records of a large one, which say what they are told to.

    :param end: where the locator says that the first of them lies.
    """
    at = len(content) - 22
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, at if end is None else end, 1)
    last = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return content[:at] + record + locator + last
