"""What a member of an archive may be called, and what it may be: an ordinary file under one folder."""

from __future__ import annotations

import re
import stat
import struct
import unicodedata
import zipfile
import zlib

from pixxel_provider.download.errors import PixxelArchiveError

#: Bytes of a path, and steps in it, at the most.
LONGEST_PATH, DEEPEST = 4096, 100
_LONGEST_NAME = 255
_UTF_8, _ENCRYPTED = 0x800, 0x1 | 0x40 | 0x2000
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_UNICODE_NAME, _DOS_FOLDER = 0x7075, 0x10
# C0, DEL and C1; what turns the direction of text around; what begins another line.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_DRIVE = re.compile(r"^[A-Za-z]:")


class Names:
    """The names of an archive's members, as a tree: no path in it is kept more than once.

    ``alike`` has those of files that only some file systems tell apart: they differ in capitals, or in how
    their letters are composed.

    :param most: files, and folders, at the most.
    """

    def __init__(self, most: int = 100_000) -> None:
        self.alike: set[str] = set()
        self._most = most
        self._steps: dict[tuple[int, str], int] = {}
        self._files: dict[int, str] = {}
        self._folders: set[int] = set()
        self._folded: dict[int, str] = {}

    def add_file(self, name: str) -> None:
        """Take in a file's name.

        :raises PixxelArchiveError: another one is the same, or there are too many folders.
        """
        folder, _, last = name.rpartition("/")
        at = self._step(self.add_folder(folder), last)
        if at in self._files:
            raise PixxelArchiveError(
                f"{named(name)} and {named(self._files[at])} of the package would be the same file."
            )
        self._files[at] = name
        # A number in place of one more text for each; two texts of one number would only be looked at closer.
        other = self._folded.setdefault(hash(_folded(name)), name)
        if other != name:
            self.alike |= {name, other}

    def add_folder(self, name: str) -> int:
        """Take in a folder's name, and those of the folders it lies in.

        :raises PixxelArchiveError: there are too many.
        """
        at = 0
        for step in name.split("/") if name else ():
            at = self._step(at, step)
            self._folders.add(at)
        if len(self._folders) > self._most:
            raise PixxelArchiveError(f"The package has more than {self._most} folders.")
        return at

    def check(self) -> None:
        """Compare files with folders.

        :raises PixxelArchiveError: one is both.
        """
        for at in self._folders & self._files.keys():
            raise PixxelArchiveError(f"{named(self._files[at])} of the package is a file and a folder.")

    def _step(self, at: int, step: str) -> int:
        return self._steps.setdefault((at, step), len(self._steps) + 1)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def checked_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name as steps below one folder, with ``/`` between them.

    :raises PixxelArchiveError: it leads elsewhere, or can't be a name.
    """
    given = name_of_member(info)
    name = given.replace("\\", "/")
    problem = ""
    if _CONTROL.search(given):
        problem = "holds a control character"
    elif name.startswith("/"):
        problem = "is an absolute path"
    elif _DRIVE.match(name):
        problem = "begins with a drive"
    elif _length(given) > LONGEST_PATH:
        problem = f"is longer than a path can be ({LONGEST_PATH} bytes)"
    steps = [step for step in name.split("/") if step not in ("", ".")]
    if ".." in steps:
        problem = "leads out of its folder"
    elif len(steps) > DEEPEST:
        problem = problem or f"lies deeper than {DEEPEST} levels"
    elif any(_length(step) > _LONGEST_NAME for step in steps):
        problem = problem or "is longer than a name can be"
    if problem:
        raise PixxelArchiveError(f"{named(given)} of the package {problem}: it isn't unpacked.")
    return "/".join(steps)


def name_of_member(info: zipfile.ZipInfo) -> str:
    """Return a member's name as its writer meant it, with whatever stands in it.

    Older programs write names in the letters of their machine; some add a second name in Unicode, and others
    (macOS, Unix) write UTF-8 without saying so.

    :raises PixxelArchiveError: that second name can't be read.
    """
    # As it stands in the archive: the other one ends at the first NUL.
    given = info.orig_filename
    if info.flag_bits & _UTF_8:
        return given
    try:
        # What zipfile takes it for; each byte is a letter there.
        raw = given.encode("cp437")
        return _second_name(info.extra, raw) or raw.decode()
    except UnicodeError:
        return given


def _second_name(extra: bytes, raw: bytes) -> str:
    """Return the name of a Unicode Path Extra Field (Info-ZIP), empty where there is none for this name."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        field, at = extra[at + 4 : at + 4 + length], at + 4 + length
        if kind == _UNICODE_NAME and field[:5] == b"\x01" + zlib.crc32(raw).to_bytes(4, "little"):
            try:
                return field[5:].decode()
            except UnicodeError:
                raise PixxelArchiveError(
                    f"{named(raw.decode('cp437'))} of the package has a Unicode name that can't be read."
                ) from None
    return ""


def is_folder(info: zipfile.ZipInfo) -> bool:
    """Tell whether a member is a folder; not every program ends its name with a slash."""
    if name_of_member(info).endswith(("/", "\\")):
        return True
    kind = stat.S_IFMT(info.external_attr >> 16)
    marked = kind == stat.S_IFDIR or (not kind and info.external_attr & _DOS_FOLDER)
    return bool(marked) and not info.file_size


def _length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def check_kind(info: zipfile.ZipInfo) -> None:
    """Check that a member is a file or folder that can be read.

    :raises PixxelArchiveError: it is a link or a device, encrypted, or packed in an unusual way.
    """
    kind = stat.S_IFMT(info.external_attr >> 16)
    problem = ""
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "is a link" if kind == stat.S_IFLNK else "is a device, a pipe or a socket"
    elif info.flag_bits & _ENCRYPTED:
        problem = "is encrypted"
    elif info.compress_type not in _METHODS:
        problem = f"is packed with method {info.compress_type}, and only stored and deflated ones can be read"
    if problem:
        raise PixxelArchiveError(f"{named(info.orig_filename)} of the package {problem}: it isn't unpacked.")


def named(name: str) -> str:
    """Return a name for a message."""
    return repr(name if len(name) <= 200 else f"{name[:200]}…")
