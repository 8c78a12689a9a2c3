"""What a member of an archive may be called, and what it may be: an ordinary file under one folder."""

from __future__ import annotations

import re
import stat
import unicodedata
import zipfile

from pixxel_provider.files.errors import PixxelArchiveError

_LONGEST_NAME = 255
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"^[A-Za-z]:")


class Names:
    """The names of an archive's members, compared as file systems that know no capitals would."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: set[str] = set()

    def add_file(self, name: str) -> None:
        """Take in a file's name.

        :raises PixxelArchiveError: another one would be the same file.
        """
        key = _key(name)
        if key in self._files:
            raise PixxelArchiveError(
                f"{named(name)} and {named(self._files[key])} of the package would be the same file."
            )
        self._files[key] = name
        self.add_folder(name.rpartition("/")[0])

    def add_folder(self, name: str) -> None:
        """Take in a folder's name, and those of the folders it lies in."""
        key = _key(name)
        while key and key not in self._folders:
            self._folders.add(key)
            key = key.rpartition("/")[0]

    def check(self) -> None:
        """Compare files with folders.

        :raises PixxelArchiveError: one is both.
        """
        for key in self._folders & self._files.keys():
            raise PixxelArchiveError(f"{named(self._files[key])} of the package is a file and a folder.")


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def checked_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name as steps below one folder, with ``/`` between them.

    :raises PixxelArchiveError: it leads elsewhere, or can't be a name.
    """
    # As it stands in the archive: the other one ends at the first NUL.
    given = info.orig_filename
    name = given.replace("\\", "/")
    problem = ""
    if _CONTROL.search(given):
        problem = "holds a control character"
    elif name.startswith("/"):
        problem = "is an absolute path"
    elif _DRIVE.match(name):
        problem = "begins with a drive"
    steps = [step for step in name.split("/") if step not in ("", ".")]
    if ".." in steps:
        problem = "leads out of its folder"
    elif any(len(step.encode("utf-8", "surrogatepass")) > _LONGEST_NAME for step in steps):
        problem = "is longer than a name can be"
    if problem:
        raise PixxelArchiveError(f"{named(given)} of the package {problem}: it isn't unpacked.")
    return "/".join(steps)


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
