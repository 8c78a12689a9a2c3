"""Puts the members of an archive in place: all of them, after each was checked."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pixxel_provider.download.archive import Archive, Member
from pixxel_provider.download.cancellation import Cancellation
from pixxel_provider.download.errors import PixxelArchiveError
from pixxel_provider.download.fill_folder import STAGED, FolderFill, crc, the_same
from pixxel_provider.download.local_disk import LocalTarget, in_words, sync_folder
from pixxel_provider.download.local_target import sync
from pixxel_provider.download.member_names import LONGEST_PATH, named
from pixxel_provider.download.object_store import UNKNOWN, StoreTarget, UnreadableError
from pixxel_provider.download.open_folders import Folders
from pixxel_provider.download.rollback import one_by_one


@dataclass(frozen=True)
class Unpacked:
    """The result of unpacking an archive."""

    members: list[Member]
    written: int
    """Members that weren't there before."""

    @property
    def bytes(self) -> int:
        """The unpacked bytes of all members."""
        return sum(member.size for member in self.members)


def unpack_into_folder(
    archive: Archive, place: LocalTarget, workspace: Path, cancellation: Cancellation
) -> Unpacked:
    """Unpack into a folder of this machine: first beside it, and into it once all members are complete.

    In a folder that has files, new ones are removed if a later one fails; replaced ones stay replaced.

    :param workspace: an empty folder in the same file system.
    :param cancellation: whether the download was cancelled; then nothing more is written.
    :raises PixxelArchiveError: a member is damaged, or conflicts with something in the folder.
    :raises PixxelDownloadError: the folder or the disk refuses it, or the download was cancelled.
    """
    target = place.path
    _check_lengths(archive, target)
    with in_words(target), Folders(workspace) as staged:
        fresh = not target.exists() or (target.is_dir() and not set(target.iterdir()) - {workspace})
        if not fresh and not target.is_dir():
            raise PixxelArchiveError(f"{target} is a file, and a folder is needed to unpack into.")
        filling = FolderFill(archive, target, cancellation)
        missing = archive.members if fresh else filling.missing()
        cancellation.check()
        staged.open([STAGED], make=True)
        whole = fresh and workspace.parent != target
        if whole and target.exists():
            # Before anything is in it: what is created in a folder inherits from it.
            whole = _made_like(workspace / STAGED, target)
        _stage(archive, missing, staged, cancellation.check)
        written = len(missing)
        with cancellation.step():
            # The one step in which everything appears.
            whole = whole and _renamed(workspace / STAGED, target)
        if not whole:
            written = filling.move(staged, missing)
        sync_folder(target)
    return Unpacked(archive.members, written)


def unpack_into_store(archive: Archive, place: StoreTarget, cancellation: Cancellation) -> Unpacked:
    """Unpack into an object store: members are tested first, and new ones are removed if one fails.

    :param cancellation: whether the download was cancelled; then nothing more is written.
    :raises PixxelArchiveError: a member is damaged.
    :raises PixxelDownloadError: the store refuses it, or the download was cancelled.
    """
    for member in archive.members:
        for _ in archive.parts(member):
            cancellation.check()
    written = 0
    with one_by_one(place) as steps:
        for member in archive.members:
            cancellation.check()
            there = place.member(member.name)
            length = there.size()
            if length == member.size and _crc(there) == member.crc:
                continue
            file = there.file()
            with cancellation.holding(file.discard):
                file.begin(member.size)
                for part in archive.parts(member):
                    file.write(part)
                with cancellation.step():
                    file.commit()
            written += 1
            if length is None:
                steps.undo(there.remove)
            else:
                steps.replaced += 1
        for member in archive.members:
            # Only now: if the store treats another name as the same, this has overwritten it.
            if member.name in archive.alike and _isnt(place.member(member.name), member):
                raise the_same(member.name)
    return Unpacked(archive.members, written)


def _made_like(folder: Path, other: Path) -> bool:
    """Give a folder the rights, owner and group of another, and return whether it has them all."""
    wanted = other.stat()
    with contextlib.suppress(OSError):
        # First, as it removes the set-group-ID bit.
        os.chown(folder, wanted.st_uid, wanted.st_gid)
        shutil.copystat(other, folder)
    status = folder.stat()
    # A group that isn't one's own removes that bit too, and without an error.
    return all(getattr(status, each) == getattr(wanted, each) for each in ("st_mode", "st_uid", "st_gid"))


def _check_lengths(archive: Archive, target: Path) -> None:
    room = LONGEST_PATH - len(os.fsencode(target)) - 2
    for member in archive.members:
        if len(member.name.encode("utf-8", "surrogatepass")) > room:
            raise PixxelArchiveError(
                f"{named(member.name)} of the package would have a path below {target} that no system allows."
            )


def _renamed(staged: Path, target: Path) -> bool:
    """Return whether the whole folder could be put in place, in one step.

    Not every file system renames folders, or one onto another, and another task may have been faster.
    """
    with contextlib.suppress(OSError):
        staged.rename(target)
        return True
    return False


def _stage(archive: Archive, members: list[Member], staged: Folders, check: Callable[[], None]) -> None:
    for folder in archive.folders:
        check()
        staged.open([STAGED, *folder.split("/")], make=True)
    for member in members:
        _write(archive, member, staged, check)


def _write(archive: Archive, member: Member, staged: Folders, check: Callable[[], None]) -> None:
    *folder, name = member.name.split("/")
    try:
        above = staged.open([STAGED, *folder], make=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(name, flags, 0o666, dir_fd=above)
    except (FileExistsError, PixxelArchiveError):
        # Nothing else is there but other members.
        raise the_same(member.name) from None
    with FileIO(handle, "w") as file:
        for part in archive.parts(member):
            left = memoryview(part)
            while left:
                check()
                left = left[file.write(left) :]
        sync(file.fileno())


def _crc(there: StoreTarget) -> int | None:
    """Return the checksum of an object, None if it may not be read."""
    try:
        return crc(there.parts())
    except UnreadableError:
        return None


def _isnt(there: StoreTarget, member: Member) -> bool:
    """Return whether an object differs from the member; if it may not be read, it counts as different."""
    length = there.size()
    if length == member.size:
        return _crc(there) not in (member.crc, None)
    return length != UNKNOWN
