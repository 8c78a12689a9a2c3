"""A place on a local disk: its file is complete, or isn't there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from pixxel_provider.download.errors import PixxelDownloadError
from pixxel_provider.download.local_target import file_target, folder_target, keep_rights, sync

#: Bytes that are read at a time.
CHUNK = 1024 * 1024
# Bytes of one write: for larger ones Linux needs as much contiguous memory, which takes longer.
_WRITE = 64 * 1024
# After this many bytes the system is asked to write them to the disk: that shortens the wait at the end.
_WRITE_BACK = 64 * 1024 * 1024


def hidden_name() -> str:
    """Return a unique name for something incomplete."""
    return f".pixxel-{secrets.token_hex(8)}.part"


@contextlib.contextmanager
def in_words(path: Path | str, doing: str = "written") -> Iterator[None]:
    """Turn the system's error about a path into one that a person can act on."""
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise PixxelDownloadError(f"{path} can't be {doing}: {why}. No partial file is left.") from error


class LocalFile:
    """A file that appears under its name only when it is complete, as private as the one it replaces.

    :param path: its destination; missing folders are created, and links followed.
    :raises PixxelDownloadError: what is there can't be replaced, or the system refuses the write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._at = self._asked = 0
        with in_words(path):
            make_folder(path.parent)
            self._target = file_target(path)
            above, replaced = self._target.parent, self._target.exists()
            try_renaming(above, above, over=replaced)
            # In the same folder: only within one file system is renaming a single step.
            self.part = above / hidden_name()
            rights = 0o600 if replaced else 0o666
            self._file = FileIO(
                os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, rights), "r+b"
            )

    def begin(self, length: int | None = None) -> None:
        """Drop all received bytes."""
        with in_words(self.path):
            self._open().truncate(0)
            self._open().seek(0)
        self._at = self._asked = 0

    def write(self, part: bytes | memoryview) -> None:
        """Write the next part."""
        with in_words(self.path):
            left = memoryview(part)
            while left:
                left = left[self._open().write(left[:_WRITE]) :]
        self._at += len(part)
        if self._at - self._asked >= _WRITE_BACK and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(
                self._open().fileno(), self._asked, self._at - self._asked, os.POSIX_FADV_DONTNEED
            )
            self._asked = self._at

    def commit(self) -> None:
        """Let the file appear under its name, in place of what is there."""
        file = self._open()
        with in_words(self.path):
            # Again: hours may have passed.
            self._target = file_target(self.path)
            keep_rights(file.fileno(), self._target)
            sync(file.fileno())
            file.close()
            self.part.replace(self._target)
            self._file = None
            sync_folder(self._target.parent)

    def discard(self) -> None:
        """Remove everything, unless it was committed."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
            self.part.unlink(missing_ok=True)

    def _open(self) -> FileIO:
        if self._file is None:
            raise PixxelDownloadError(f"{self.path} was given up.")
        return self._file


class LocalTarget:
    """A file or folder on this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def size(self) -> int | None:
        """Return the length of the file here, None if there is none."""
        with in_words(self.path, "read"):
            return self.path.stat().st_size if self.path.is_file() else None

    def parts(self, start: int = 0) -> Iterator[bytes]:
        """Yield the content, from a byte on."""
        with in_words(self.path, "read"), self.path.open("rb", buffering=0) as file:
            file.seek(start)
            while part := file.read(CHUNK):
                yield part

    def check(self) -> None:
        """Check whether a file may replace what is here.

        :raises PixxelDownloadError: it may not.
        """
        with in_words(self.path):
            file_target(self.path)

    def file(self) -> LocalFile:
        """Begin a file here."""
        return LocalFile(self.path)

    def folder(self) -> Path:
        """Return where this folder is, or will be, with links followed.

        :raises PixxelArchiveError: something else is here.
        """
        with in_words(self.path):
            return folder_target(self.path)

    def member(self, name: str) -> LocalTarget:
        """Return the place of a file in this folder."""
        return LocalTarget(self.path.joinpath(*name.split("/")))


class LocalFolder:
    """A folder for incomplete data, beside a path or in it; no other user may read it."""

    def __init__(self, path: Path, *, inside: bool = False) -> None:
        with in_words(path):
            if not inside:
                make_folder(path.parent)
                inside = not self._lies_beside(path)
            if inside:
                make_folder(path)
                self._make(path)

    def _lies_beside(self, path: Path) -> bool:
        """Create it beside a folder, if files can be moved into that: mounts aren't always visible."""
        is_there = path.is_dir()
        try:
            self._make(path.parent)
            if is_there:
                try_renaming(self.path, path)
        except OSError:
            if not is_there:
                raise
            with contextlib.suppress(OSError):
                self.path.rmdir()
            return False
        return True

    def _make(self, above: Path) -> None:
        self.path = above / hidden_name()
        # The package may be private, while the surrounding folder is open to all.
        self.path.mkdir(0o700)

    def discard(self) -> None:
        """Remove its content."""
        shutil.rmtree(self.path, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Create a folder, and those above it, unless it is there.

    :raises OSError: it can't be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        words = f"{path} is a file, or a link that leads nowhere"
        raise NotADirectoryError(errno.ENOTDIR, words) from None


def try_renaming(folder: Path, into: Path, *, over: bool = False) -> None:
    """Move an empty file from one folder into another and remove it.

    :param over: move it over another file.
    :raises OSError: the file system, or a mount between the two, refuses it.
    """
    before, after = folder / hidden_name(), into / hidden_name()
    try:
        for each in (before, after) if over else (before,):
            os.close(os.open(each, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        before.rename(after)
    finally:
        for each in (before, after):
            with contextlib.suppress(OSError):
                each.unlink()


def sync_folder(path: Path) -> None:
    """Make a folder's new entries survive a power failure."""
    # Some file systems can't do that for folders; the file itself has been written all the same.
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
