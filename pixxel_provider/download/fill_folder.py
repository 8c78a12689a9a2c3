"""Moves members into a folder one by one, without following links there."""

from __future__ import annotations

import contextlib
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import FileIO
from pathlib import Path

from pixxel_provider.download.archive import Archive, Member
from pixxel_provider.download.cancellation import Cancellation
from pixxel_provider.download.errors import PixxelArchiveError, PixxelDownloadError
from pixxel_provider.download.local_disk import CHUNK, in_words
from pixxel_provider.download.local_target import keep_rights, kind_of
from pixxel_provider.download.member_names import named
from pixxel_provider.download.open_folders import Folders, alone
from pixxel_provider.download.rollback import Rollback, one_by_one

#: The folder of a workspace in which members are staged.
STAGED = "files"


@dataclass
class FolderFill:
    """A folder that may already have files, and the archive whose members are moved into it.

    :param cancellation: whether the download was cancelled.
    """

    archive: Archive
    target: Path
    cancellation: Cancellation
    _known: dict[str, tuple[int, ...]] = field(default_factory=dict, init=False)

    def missing(self) -> list[Member]:
        """Return the members that aren't there yet.

        :raises PixxelArchiveError: something there can't be replaced, or leads elsewhere.
        """
        with Folders(self.target) as there:
            for folder in self.archive.folders:
                with contextlib.suppress(FileNotFoundError):
                    there.open(folder.split("/"))
            return [member for member in self.archive.members if not self._fits(there, member)]

    def move(self, staged: Folders, missing: list[Member]) -> int:
        """Move members there, and return how many were moved: another task may have been faster.

        :param missing: the staged members.
        :raises PixxelArchiveError: something there can't be replaced, or leads elsewhere.
        :raises PixxelDownloadError: another task is changing the folder.
        """
        self.cancellation.check()
        with one_by_one(self.target) as steps:
            with contextlib.suppress(FileExistsError):
                self.target.mkdir()
                steps.undo(self.target.rmdir)
            with alone(self.target, self.cancellation.clock), Folders(self.target) as there:
                mine = {member.name for member in missing}
                missing = [member for member in self.archive.members if not self._fits(there, member)]
                for member in missing:
                    if member.name not in mine:
                        path = self.target.joinpath(member.name)
                        raise PixxelDownloadError(f"{path} was changed meanwhile, by another task perhaps.")
                for folder in self.archive.folders:
                    self.cancellation.check()
                    self._open(there, folder.split("/"), steps)
                # Inodes of files that are already members: another name may lead to one of them.
                taken = {self._known[name][:2] for name in self.archive.alike & self._known.keys()}
                for member in missing:
                    self._move(member, staged, there, steps, taken)
        return len(missing)

    def _move(
        self, member: Member, staged: Folders, there: Folders, steps: Rollback, taken: set[tuple[int, ...]]
    ) -> None:
        *folder, name = member.name.split("/")
        source, into = staged.open([STAGED, *folder]), self._open(there, folder, steps)
        ours, status = _stat(name, source), None
        with contextlib.suppress(FileNotFoundError):
            status = _stat(name, into)
        if status is None:
            # Before it is there: the task may be stopped right after.
            steps.undo(partial(_unlink, self.target, member.name, ours))
        elif member.name in self.archive.alike and (status.st_dev, status.st_ino) in taken:
            raise the_same(member.name)
        else:
            self._check_kind(member, status)
            with FileIO(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)) as file:
                keep_rights(file.fileno(), self.target.joinpath(member.name))
        with self.cancellation.step():
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=into)
        taken.add((ours.st_dev, ours.st_ino))
        steps.replaced += status is not None

    def _open(self, there: Folders, folder: list[str], steps: Rollback) -> int:
        return there.open(folder, make=True, made=lambda new: steps.undo(partial(_rmdir, self.target, new)))

    def _fits(self, there: Folders, member: Member) -> bool:
        *folder, name = member.name.split("/")
        try:
            above = there.open(folder)
            status = _stat(name, above)
        except FileNotFoundError:
            return False
        self._check_kind(member, status)
        mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if status.st_size != member.size or self._known.get(member.name) == mark:
            return status.st_size == member.size
        with in_words(self.target.joinpath(member.name), "read"):
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=above)
            with FileIO(handle) as file:
                fits = crc(self._parts(file)) == member.crc
        if fits:
            # Hours may pass before it is moved: then only files that have changed are read again.
            self._known[member.name] = mark
        return fits

    def _parts(self, file: FileIO) -> Iterator[bytes]:
        while part := file.read(CHUNK):
            self.cancellation.check()
            yield part

    def _check_kind(self, member: Member, status: os.stat_result) -> None:
        path = self.target.joinpath(member.name)
        if stat.S_ISDIR(status.st_mode):
            raise PixxelArchiveError(f"{path} is a folder, and the package has a file of that name.")
        if not stat.S_ISREG(status.st_mode):
            kind = "a link" if stat.S_ISLNK(status.st_mode) else kind_of(status)
            raise PixxelArchiveError(f"{path} is {kind}, which isn't replaced by a file.")


def _stat(name: str, above: int) -> os.stat_result:
    return os.stat(name, dir_fd=above, follow_symlinks=False)


def _rmdir(target: Path, folder: list[str]) -> None:
    with Folders(target) as there:
        os.rmdir(folder[-1], dir_fd=there.open(folder[:-1]))


def _unlink(target: Path, member: str, ours: os.stat_result) -> None:
    """Remove a file if it is ours: another task may have replaced it."""
    *folder, name = member.split("/")
    with contextlib.suppress(FileNotFoundError), Folders(target) as there:
        above = there.open(folder)
        if os.path.samestat(_stat(name, above), ours):
            os.unlink(name, dir_fd=above)


def the_same(name: str) -> PixxelArchiveError:
    """Return the error that two members would be one file."""
    return PixxelArchiveError(
        f"{named(name)} and another member of the package would be the same file there: their names differ "
        "in case, or in how their letters are composed, and the file system doesn't distinguish them."
    )


def crc(parts: Iterable[bytes]) -> int:
    """Return the checksum that a zip has of its members."""
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return checksum
