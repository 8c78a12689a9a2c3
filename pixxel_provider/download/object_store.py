"""A place in an object store, or another file system of fsspec: its object is complete, or isn't there."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator
from typing import Any

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.download.errors import PixxelDownloadError
from pixxel_provider.download.local_disk import CHUNK, hidden_name

#: The least bytes of an uploaded part. One part is held in memory while another is sent.
PART = 8 * 1024 * 1024
#: The length of an object that may be written but not read.
UNKNOWN = -1
# Object stores take 10,000 parts of an upload.
_MOST_PARTS = 9_000
# Classes of files that complete their upload when they are closed, and don't show it before.
_COMPLETED_BY_CLOSING = frozenset({"AzureBlobFile"})


@contextlib.contextmanager
def in_words(place: str, doing: str = "written") -> Iterator[None]:
    """Turn any exception of a storage provider into an error that names the place."""
    try:
        yield
    except PixxelError:
        raise
    except Exception as error:
        # Each provider has its own exceptions; they share at best the file system's base class.
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        kind = UnreadableError if doing == "read" and _is_refusal(error) else PixxelDownloadError
        raise kind(f"{place} can't be {doing}: {why}") from error


def account_name(fs: Any) -> str | None:
    """Return the account of a file system of Azure, None for others; its client may know it alone."""
    return getattr(getattr(fs, "service_client", fs), "account_name", None)


class UnreadableError(PixxelDownloadError):
    """The credentials may write at a place, but not read it."""


class StoredFile:
    """An object that appears under its key only when it is complete.

    If the file system can delay an upload until it is completed (S3, Google Cloud Storage,
    Azure), that is used; elsewhere the object gets a temporary key, and is moved.
    """

    def __init__(self, fs: Any, path: str, place: str) -> None:
        self._fs, self._path, self.place = fs, path, place
        self._temporary = posixpath.join(posixpath.dirname(path), hidden_name())
        self._block = PART
        self._file: Any = None
        self._held_back = False
        self._given_up = False
        self._count = 0

    def begin(self, length: int | None = None) -> None:
        """Drop all received bytes, and prepare for an object of this length."""
        with in_words(self.place):
            if self._given_up:
                # A transfer that still runs after the cancellation would leave something behind.
                raise PixxelDownloadError(f"{self.place} was given up.")
            # An upload that can't be cancelled is left over; another one can begin all the same.
            with contextlib.suppress(Exception):
                self._abandon()
            self._block = max(PART, -(-(length or 0) // _MOST_PARTS))
            self._count = 0
            self._open()

    def write(self, part: bytes | memoryview) -> None:
        """Write the next part."""
        with in_words(self.place):
            taken = self._current().write(bytes(part))
            # Not every file system returns how much it wrote; those that don't wrote it all.
            if isinstance(taken, int) and taken != len(part):
                raise OSError(f"only {taken} of {len(part)} bytes were written")
        self._count += len(part)

    def commit(self) -> None:
        """Let the object appear under its key, in place of what is there.

        :raises PixxelDownloadError: it doesn't, or an object of another length is there afterwards.
        """
        with in_words(self.place):
            file = self._current()
            file.close()
            if self._given_up:
                # Until then, discard() also removes an object that the closing has completed.
                self._file = file
                self._abandon()
            self._current()
            if self._held_back:
                file.commit()
            else:
                other = self._unlike(self._temporary)
                if other is not None:
                    # discard() removes it: that key belongs to this upload alone.
                    raise PixxelDownloadError(
                        f"{self.place} can't be written: the store has {other} after {self._count} were "
                        "written."
                    )
                self._move()
        self._file = None
        self._let_go(file)
        with in_words(self.place, "checked after it was written"):
            other = self._unlike(self._path)
        if other is not None:
            # It stays: another writer has written a complete object.
            raise PixxelDownloadError(
                f"{self.place} has {other} after {self._count} were written there: "
                "something else lies there now, perhaps another writer's. It isn't touched."
            )

    def discard(self) -> None:
        """Remove everything, unless it was committed."""
        self._given_up = True
        # If this fails, the error that led here is the one to report.
        with contextlib.suppress(Exception):
            self._abandon()

    def _unlike(self, path: str) -> str | None:
        """Return the length at a key, None if it is the written one, or may not be read."""
        try:
            self._fs.invalidate_cache()
            info = self._fs.info(path)
        except FileNotFoundError:
            return "nothing"
        except Exception as error:
            if _is_refusal(error):
                return None
            raise
        if info.get("type") == "directory":
            return "a folder"
        size = info.get("size")
        return None if size in (None, self._count) else f"{size} bytes"

    def _move(self) -> None:
        from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

        if getattr(self._fs.mv, "__func__", None) is AbstractFileSystem.mv:
            # That method treats *, ? and [ in a name as a pattern.
            self._fs.cp_file(self._temporary, self._path)
            self._fs.rm_file(self._temporary)
        else:
            self._fs.mv(self._temporary, self._path)

    def _let_go(self, file: Any) -> None:
        # The file system would otherwise keep it, and its data, for a transaction that doesn't exist.
        with contextlib.suppress(Exception):
            files = self._fs.transaction.files
            kept = [each for each in files if each is not file]
            files.clear()
            files.extend(kept)

    def _open(self) -> None:
        # Under the temporary key: opening may already create something.
        try:
            probe = self._begin(self._temporary, autocommit=False)
        except TypeError:
            # Not every file system knows the argument.
            probe = None
        self._let_go(probe)
        self._held_back = _holds_back(probe)
        if self._held_back:
            # Nothing is sent before the first part is full, and nothing of a file that is marked as closed.
            probe.closed = True
            self._file = self._begin(self._path, autocommit=False)
            return
        for end in ("discard", "close"):
            with contextlib.suppress(Exception):
                getattr(probe, end)()
        self._file = self._begin(self._temporary)
        if self._is_folder():
            raise IsADirectoryError("a folder is there, and a file was to be written")

    def _is_folder(self) -> bool:
        try:
            return bool(self._fs.isdir(self._path))
        except Exception as error:
            if _is_refusal(error):
                return False
            raise

    def _begin(self, path: str, **options: Any) -> Any:
        try:
            return self._fs.open(path, "wb", block_size=self._block, **options)
        except FileNotFoundError:
            # File systems with folders need them; in object stores, no bucket must be created on the way.
            self._fs.makedirs(posixpath.dirname(path), exist_ok=True)
            return self._fs.open(path, "wb", block_size=self._block, **options)

    def _abandon(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if self._held_back:
                file.discard()
        finally:
            # A file that is closed, or garbage-collected, would complete its upload.
            _never_flush(file)
            self._let_go(file)
            if not self._held_back:
                self._fs.rm_file(self._temporary)

    def _current(self) -> Any:
        if self._file is None or self._given_up:
            raise PixxelDownloadError(f"{self.place} was given up.")
        return self._file


class StoreTarget:
    """A key, or a prefix of keys, in a file system of fsspec.

    :param fs: the file system.
    :param path: the path in it.
    :param text: the name of the place in messages.
    """

    def __init__(self, fs: Any, path: str, text: str) -> None:
        self.fs, self.path, self._text = fs, path, text

    def __str__(self) -> str:
        return self._text

    def size(self) -> int | None:
        """Return the length of the object here, None if there is none, UNKNOWN if it may not be read."""
        with in_words(self._text, "read"):
            try:
                self.fs.invalidate_cache()
                info = self.fs.info(self.path)
            except FileNotFoundError:
                return None
            except Exception as error:
                if _is_refusal(error):
                    return UNKNOWN
                raise
            size = info.get("size")
            return size if info.get("type") == "file" and isinstance(size, int) else None

    def parts(self, start: int = 0) -> Iterator[bytes]:
        """Yield the content, from a byte on.

        :raises UnreadableError: that isn't allowed.
        """
        with in_words(self._text, "read"), self.fs.open(self.path, "rb", block_size=PART) as file:
            file.seek(start)
            while part := file.read(CHUNK):
                yield part

    def check(self) -> None:
        """Check that the storage's library would write to exactly this name.

        :raises PixxelDownloadError: it interprets the name differently.
        """
        split = getattr(self.fs, "split_path", None)
        if split is not None:
            with in_words(self._text):
                bucket, key = split(self.path)[:2]
                if f"{bucket}/{key}" != self.path:
                    raise ValueError(f"the storage's library interprets that as an object named {key!r}")

    def file(self) -> StoredFile:
        """Begin an object here."""
        self.check()
        return StoredFile(self.fs, self.path, self._text)

    def try_out(self) -> None:
        """Begin an object here and cancel it.

        :raises PixxelDownloadError: this place can't be written to.
        """
        file = self.file()
        try:
            file.begin()
        finally:
            file.discard()

    def member(self, name: str) -> StoreTarget:
        """Return the place of an object under this prefix."""
        return StoreTarget(self.fs, f"{self.path.rstrip('/')}/{name}", f"{self._text.rstrip('/')}/{name}")

    def remove(self) -> None:
        """Remove the object here."""
        with in_words(self._text, "removed"):
            self.fs.rm_file(self.path)


def _is_refusal(error: BaseException) -> bool:
    """Return whether a store has answered that this isn't allowed: its libraries have no common error."""
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    return isinstance(error, PermissionError) or status == 403 or str(error).startswith("Forbidden")


def _holds_back(file: Any) -> bool:
    """Return whether a file completes its upload only when commit() is called."""
    from fsspec.spec import AbstractBufferedFile

    # Others have such methods as well, but write at once.
    if not isinstance(file, AbstractBufferedFile):
        return False
    kind, base = type(file), AbstractBufferedFile
    commits = kind.commit is not base.commit and kind.discard is not base.discard
    return commits or kind.__name__ in _COMPLETED_BY_CLOSING


def _never_flush(file: Any) -> None:
    from fsspec.spec import AbstractBufferedFile

    if isinstance(file, AbstractBufferedFile):
        file.closed = True
        return
    with contextlib.suppress(Exception):
        file.close()
