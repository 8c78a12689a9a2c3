"""A place in an object store, or another file system of fsspec: what lies there is whole, or isn't there."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator
from typing import Any

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.download.errors import PixxelDownloadError
from pixxel_provider.download.local_disk import CHUNK, hidden_name

#: Bytes of a part that is uploaded at once, at the least. One is held in memory, and another sent.
PART = 8 * 1024 * 1024
#: The length of what may lie at a place, where one may write and not read.
UNKNOWN = -1
# Object stores take 10,000 parts of an upload.
_MOST_PARTS = 9_000
# Classes of files that complete their upload when they are closed, and show nothing of it before.
_COMPLETED_BY_CLOSING = frozenset({"AzureBlobFile"})


@contextlib.contextmanager
def in_words(place: str, doing: str = "written") -> Iterator[None]:
    """Turn whatever a storage provider raises into an error that names the place."""
    try:
        yield
    except PixxelError:
        raise
    except Exception as error:
        # Each provider has its own exceptions; they have the file system's base class at best.
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        kind = UnreadableError if doing == "read" and _is_refusal(error) else PixxelDownloadError
        raise kind(f"{place} can't be {doing}: {why}") from error


class UnreadableError(PixxelDownloadError):
    """What lies at a place may not be read, by whoever may write there."""


class StoredFile:
    """An object that appears under its key only when it is whole.

    Where the file system can hold an upload back until it is told to complete it (S3, Google Cloud Storage,
    Azure), that is used; elsewhere the object gets a temporary key, and is moved.
    """

    def __init__(self, fs: Any, path: str, place: str) -> None:
        self._fs, self._path, self._place = fs, path, place
        self._temporary = posixpath.join(posixpath.dirname(path), hidden_name())
        self._block = PART
        self._file: Any = None
        self._held_back = False
        self._given_up = False
        self._count = 0

    def begin(self, length: int | None = None) -> None:
        """Forget what came so far, and make ready for an object of so many bytes."""
        with in_words(self._place):
            if self._given_up:
                # What still fetches while the task is ended would leave something behind.
                raise PixxelDownloadError(f"{self._place} was given up.")
            # An upload that can't be taken back is left over, and no reason against beginning another one.
            with contextlib.suppress(Exception):
                self._abandon()
            self._block = max(PART, -(-(length or 0) // _MOST_PARTS))
            self._count = 0
            self._open()

    def write(self, part: bytes | memoryview) -> None:
        """Take in the next part."""
        with in_words(self._place):
            taken = self._current().write(bytes(part))
            # Not every file system says how much it took; those that don't took it all.
            if isinstance(taken, int) and taken != len(part):
                raise OSError(f"only {taken} of {len(part)} bytes were taken")
        self._count += len(part)

    def commit(self) -> None:
        """Let the object appear under its key, in place of what is there.

        :raises PixxelDownloadError: it doesn't, or something of another length lies there afterwards.
        """
        with in_words(self._place):
            file = self._current()
            file.close()
            if self._given_up:
                # Meanwhile: what closing it has completed goes as well.
                self._file = file
                self._abandon()
            self._current()
            if self._held_back:
                file.commit()
            else:
                found = self._unlike(self._temporary)
                if found is not None:
                    # What has come goes with discard(): that key is nobody else's.
                    raise PixxelDownloadError(
                        f"{self._place} can't be written: the store has {found} after {self._count} were "
                        "written."
                    )
                self._move()
        self._file = None
        self._let_go(file)
        with in_words(self._place, "looked at after it was written"):
            found = self._unlike(self._path)
        if found is not None:
            # It stays: whoever wrote there meanwhile has written a whole object.
            raise PixxelDownloadError(
                f"{self._place} has {found} after {self._count} were written there: "
                "something else lies there now, perhaps another writer's. It isn't touched."
            )

    def discard(self) -> None:
        """Leave no trace, unless it was committed."""
        self._given_up = True
        # Whatever goes wrong here, what led to it is what a person has to know.
        with contextlib.suppress(Exception):
            self._abandon()

    def _unlike(self, path: str) -> str | None:
        """Return what lies at a key, None where it is as long as what was written, or may not be seen."""
        try:
            self._fs.invalidate_cache()
            found = self._fs.info(path)
        except FileNotFoundError:
            return "nothing"
        except Exception as error:
            if _is_refusal(error):
                return None
            raise
        if found.get("type") == "directory":
            return "a folder"
        size = found.get("size")
        return None if size in (None, self._count) else f"{size} bytes"

    def _move(self) -> None:
        from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

        if getattr(self._fs.mv, "__func__", None) is AbstractFileSystem.mv:
            # That one takes *, ? and [ in a name for a pattern.
            self._fs.cp_file(self._temporary, self._path)
            self._fs.rm_file(self._temporary)
        else:
            self._fs.mv(self._temporary, self._path)

    def _let_go(self, file: Any) -> None:
        # The file system would keep it, and what it holds, for a transaction that nobody has begun.
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
            # Not every file system knows the word.
            probe = None
        self._let_go(probe)
        self._held_back = _holds_back(probe)
        if self._held_back:
            # Nothing is sent before the first part is full, and never what is marked as closed.
            probe.closed = True
            self._file = self._begin(self._path, autocommit=False)
            return
        for end in ("discard", "close"):
            with contextlib.suppress(Exception):
                getattr(probe, end)()
        self._file = self._begin(self._temporary)
        if self._is_folder():
            raise IsADirectoryError("a folder lies there, and a file was to be written")

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
            # File systems with folders want them made; object stores must not make a bucket by the way.
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
            # A file that is closed, or just forgotten, would complete what it has begun.
            _never_flush(file)
            self._let_go(file)
            if not self._held_back:
                self._fs.rm_file(self._temporary)

    def _current(self) -> Any:
        if self._file is None or self._given_up:
            raise PixxelDownloadError(f"{self._place} was given up.")
        return self._file


class StoreTarget:
    """A key, or a prefix of keys, in a file system of fsspec.

    :param fs: the file system.
    :param path: the path in it.
    :param text: what people call the place.
    """

    is_local = False

    def __init__(self, fs: Any, path: str, text: str) -> None:
        self.fs, self.path, self._text = fs, path, text

    def __str__(self) -> str:
        return self._text

    def size(self) -> int | None:
        """Return the length of the object here, None where there is none, UNKNOWN where that is secret."""
        with in_words(self._text, "read"):
            try:
                self.fs.invalidate_cache()
                found = self.fs.info(self.path)
            except FileNotFoundError:
                return None
            except Exception as error:
                if _is_refusal(error):
                    return UNKNOWN
                raise
            size = found.get("size")
            return size if found.get("type") == "file" and isinstance(size, int) else None

    def parts(self, start: int = 0) -> Iterator[bytes]:
        """Yield what lies here, from a byte on.

        :raises UnreadableError: that isn't allowed.
        """
        with in_words(self._text, "read"), self.fs.open(self.path, "rb", block_size=PART) as file:
            file.seek(start)
            while part := file.read(CHUNK):
                yield part

    def check(self) -> None:
        """Find out whether the storage's library would write just here.

        :raises PixxelDownloadError: it reads the name in another way.
        """
        split = getattr(self.fs, "split_path", None)
        if split is not None:
            with in_words(self._text):
                bucket, key = split(self.path)[:2]
                if f"{bucket}/{key}" != self.path:
                    raise ValueError(f"the storage's library reads that as an object named {key!r}")

    def file(self) -> StoredFile:
        """Begin an object here."""
        self.check()
        return StoredFile(self.fs, self.path, self._text)

    def try_out(self) -> None:
        """Begin an object here and take it back.

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
        """Take away the object that lies here."""
        with in_words(self._text, "removed"):
            self.fs.rm_file(self.path)


def _is_refusal(error: BaseException) -> bool:
    """Tell whether a store has answered that this isn't allowed: its libraries have no common error."""
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    return isinstance(error, PermissionError) or status == 403 or str(error).startswith("Forbidden")


def _holds_back(file: Any) -> bool:
    """Tell whether a file completes its upload only when told to."""
    from fsspec.spec import AbstractBufferedFile

    # Others have such methods as well, and write at once all the same.
    if not isinstance(file, AbstractBufferedFile):
        return False
    kind, base = type(file), AbstractBufferedFile
    told = kind.commit is not base.commit and kind.discard is not base.discard
    return told or kind.__name__ in _COMPLETED_BY_CLOSING


def _never_flush(file: Any) -> None:
    from fsspec.spec import AbstractBufferedFile

    if isinstance(file, AbstractBufferedFile):
        file.closed = True
        return
    with contextlib.suppress(Exception):
        file.close()
