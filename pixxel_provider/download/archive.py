"""A package that is a zip, checked as a whole before any member is used."""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pixxel_provider.download.errors import PixxelArchiveError
from pixxel_provider.download.member_names import Names, check_kind, checked_name, is_folder, named
from pixxel_provider.download.progress import size

#: Bytes that are unpacked at a time.
CHUNK = 1024 * 1024
# Members below this many unpacked bytes aren't checked for their ratio: a mask of zeros packs well.
_SMALL = 1024 * 1024
# The list of members is read in one piece: it has this size with 100,000 long names.
_LARGEST_LIST = 64 * 1024 * 1024
_ENTRY, _LOCATOR = b"PK\x01\x02", b"PK\x06\x07"
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    OverflowError,
)


@dataclass(frozen=True)
class Limits:
    """The limits for unpacking a package."""

    bytes: int = 50 * 1024**3
    ratio: float = 200.0
    """Unpacked bytes for one packed byte, of the package and of each member."""
    members: int = 100_000


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    name: str
    """Relative, with ``/`` between folders; it never leads out of the folder."""
    size: int
    crc: int
    info: zipfile.ZipInfo


class Archive(contextlib.AbstractContextManager["Archive"]):
    """An archive whose every member may be unpacked, as far as its list of members shows.

    :raises PixxelArchiveError: it isn't a zip, or has a refused member; the message names it.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        self._came = 0
        self._packed = path.stat().st_size
        self._file = _Guarded(path, limits.members)
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._file.opening = False
            self._check_locator()
            self.members, self.folders = self._check(self._zip.infolist())
        except _BROKEN as error:
            self._file.close()
            raise PixxelArchiveError(f"The package isn't a readable zip: {error}.") from None
        except BaseException:
            self._file.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def parts(self, member: Member) -> Iterator[bytes]:
        """Yield a member's unpacked bytes; it is only known to be complete after the last of them.

        :raises PixxelArchiveError: it is damaged, or larger than it claimed.
        """
        came = 0
        try:
            with self._zip.open(member.info) as file:
                while part := file.read(CHUNK):
                    came += len(part)
                    self._count(member, came, len(part))
                    yield part
        except _BROKEN as error:
            raise PixxelArchiveError(f"{named(member.name)} of the package is damaged: {error}.") from None
        if came != member.size:
            raise PixxelArchiveError(
                f"{named(member.name)} of the package unpacks to {came} bytes, but claims {member.size}."
            )

    def _count(self, member: Member, came: int, more: int) -> None:
        # The unpacked bytes, whatever the list claims. Each member may be unpacked twice, once as a test.
        self._came += more
        self._check_ratio(named(member.name), came, member.info.compress_size)
        if came > self._limits.bytes or self._came > 2 * self._limits.bytes:
            raise PixxelArchiveError(f"The package unpacks to more than {size(self._limits.bytes)}.")

    def _check(self, infos: list[zipfile.ZipInfo]) -> tuple[list[Member], list[str]]:
        if len(infos) > self._limits.members:
            raise PixxelArchiveError(
                f"The package has {len(infos)} members, and at most {self._limits.members} are unpacked."
            )
        members, folders, seen = [], [], Names(self._limits.members)
        for info in infos:
            name = checked_name(info)
            check_kind(info)
            self._check_place(info)
            if is_folder(info):
                folders.append(name)
                seen.add_folder(name)
                continue
            if not name:
                raise PixxelArchiveError("A member of the package has no name.")
            self._check_ratio(named(name), info.file_size, info.compress_size)
            seen.add_file(name)
            members.append(Member(name, info.file_size, info.CRC, info))
        seen.check()
        self.alike = frozenset(seen.alike)
        self._check_total(members)
        return members, [folder for folder in folders if folder]

    def _check_place(self, info: zipfile.ZipInfo) -> None:
        if info.header_offset < 0:
            raise PixxelArchiveError("The package isn't a readable zip: its beginning is missing.")
        if info.header_offset + 30 + info.compress_size > self._zip.start_dir:
            raise PixxelArchiveError(f"{named(info.orig_filename)} of the package lies beyond its end.")

    def _check_locator(self) -> None:
        """Check the end of a large zip, which not every release of zipfile does."""
        # Last is a record of 22 bytes and a comment; before it the locator, and before that the end.
        at = self._packed - 22 - len(self._zip.comment) - 20
        if at < 0:
            return
        self._file.seek(at)
        locator = self._file.read(20)
        if locator[:4] == _LOCATOR and int.from_bytes(locator[8:16], "little") > at - 56:
            raise PixxelArchiveError("The package isn't a readable zip: its end lies beyond its end.")

    def _check_total(self, members: list[Member]) -> None:
        total = sum(member.size for member in members)
        if total > self._limits.bytes:
            raise PixxelArchiveError(
                f"The package unpacks to {size(total)}, and at most {size(self._limits.bytes)} are unpacked "
                "(max_unpacked_bytes)."
            )
        self._check_ratio("The package", total, self._packed)
        end, before = 0, None
        for member in sorted(members, key=lambda member: member.info.header_offset):
            # Members that share packed bytes: a few of them could unpack to petabytes.
            if member.info.header_offset < end:
                raise PixxelArchiveError(f"{named(member.name)} and {before} of the package overlap.")
            end = member.info.header_offset + 30 + member.info.compress_size
            before = named(member.name)

    def _check_ratio(self, what: str, unpacked: int, packed: int) -> None:
        if unpacked > _SMALL and unpacked > self._limits.ratio * max(packed, 1):
            raise PixxelArchiveError(
                f"{what} unpacks to {unpacked / max(packed, 1):.0f} times its size or more, and at most "
                f"{self._limits.ratio:g} times is accepted (max_ratio)."
            )


class _Guarded(FileIO):
    """A file whose list of members can't fill the memory while it is read."""

    def __init__(self, path: Path, members: int) -> None:
        super().__init__(path, "rb")
        self._members = members
        self._end = path.stat().st_size
        self.opening = True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_SET and not 0 <= offset <= self._end:
            raise zipfile.BadZipFile("it leads beyond its end")
        return super().seek(offset, whence)

    def read(self, count: int | None = -1, /) -> bytes:
        wanted = self._end - self.tell() if count is None or count < 0 else count
        if wanted > _LARGEST_LIST:
            raise PixxelArchiveError(f"The package's list of members takes {size(wanted)}.")
        data = super().read(wanted) or b""
        if self.opening and data.count(_ENTRY) > self._members:
            raise PixxelArchiveError(f"The package has more than {self._members} members.")
        return data
