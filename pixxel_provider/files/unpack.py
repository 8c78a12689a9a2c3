"""The members of an archive, put where they belong: all of them, after each was found whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

from pixxel_provider.files.archive import Archive, Member
from pixxel_provider.files.destination import Place
from pixxel_provider.files.errors import PixxelArchiveError, PixxelDownloadError
from pixxel_provider.files.local import LocalPlace, in_words, sync_folder
from pixxel_provider.files.store import StoredPlace


@dataclass(frozen=True)
class Unpacked:
    """What an archive has become."""

    names: list[str]
    bytes: int
    written: int
    """Members that weren't there already."""


def unpack_into_folder(archive: Archive, place: LocalPlace, workspace: Path) -> Unpacked:
    """Unpack into a folder of this machine: first beside it, and into it once all members are whole.

    In a folder that has files, new ones are removed where a later one fails; what was replaced stays so.

    :param workspace: an empty folder in the same file system.
    :raises PixxelArchiveError: a member is damaged, or doesn't fit what lies in the folder.
    :raises PixxelDownloadError: the folder or the disk doesn't take it.
    """
    target = place.path
    with in_words(target):
        fresh = not target.exists() or (target.is_dir() and _is_empty(target, workspace))
        if not fresh and not target.is_dir():
            raise PixxelArchiveError(f"{target} is a file, and a folder is needed to unpack into.")
    if not fresh:
        for folder in archive.folders:
            _clear_way(target, folder.split("/"))
    missing = archive.members if fresh else [m for m in archive.members if not _fits(target, m)]
    staged = workspace / "files"
    whole = fresh and workspace.parent != target
    with in_words(target):
        staged.mkdir()
        if whole and target.exists():
            # Before anything is in it: what is made in a folder inherits from it.
            whole = _made_like(staged, target)
        for folder in archive.folders:
            staged.joinpath(folder).mkdir(parents=True, exist_ok=True)
        for member in missing:
            _write(archive, member, staged.joinpath(member.name))
        if whole:
            # The one step in which everything appears.
            staged.rename(target)
        else:
            with _one_by_one(target) as steps:
                _move(staged, target, archive.folders, missing, steps)
        sync_folder(target)
    return _unpacked(archive, len(missing))


def unpack_into_store(archive: Archive, place: StoredPlace) -> Unpacked:
    """Unpack into an object store: members are tried first, and new ones are removed where one fails.

    :raises PixxelArchiveError: a member is damaged.
    :raises PixxelDownloadError: the store doesn't take it.
    """
    for member in archive.members:
        for _ in archive.parts(member):
            pass
    written = 0
    with _one_by_one(place) as steps, contextlib.ExitStack() as undo:
        for member in archive.members:
            there = place.member(member.name)
            length = there.size()
            if length == member.size and _crc(there) == member.crc:
                continue
            file = there.file()
            undo.callback(file.discard)
            file.begin(member.size)
            for part in archive.parts(member):
                file.write(part)
            file.commit()
            written += 1
            if length is None:
                steps.undo(there.remove)
            else:
                steps.replaced += 1
        undo.pop_all()
    return _unpacked(archive, written)


def _unpacked(archive: Archive, written: int) -> Unpacked:
    names = [member.name for member in archive.members]
    return Unpacked(names, sum(member.size for member in archive.members), written)


def _is_empty(target: Path, workspace: Path) -> bool:
    return all(entry == workspace for entry in target.iterdir())


def _made_like(folder: Path, other: Path) -> bool:
    """Give a folder the rights, owner and group of another, and tell whether it has them all."""
    wanted = other.stat()
    with contextlib.suppress(OSError):
        # First, as it takes the set-group-ID bit away.
        os.chown(folder, wanted.st_uid, wanted.st_gid)
        shutil.copystat(other, folder)
    found = folder.stat()
    # A group that isn't one's own costs that bit too, and without an error.
    return all(getattr(found, each) == getattr(wanted, each) for each in ("st_mode", "st_uid", "st_gid"))


def _fits(target: Path, member: Member) -> bool:
    """Tell whether a member lies in the folder already.

    :raises PixxelArchiveError: what lies there instead can't be replaced, or leads elsewhere.
    """
    _clear_way(target, member.name.split("/")[:-1])
    path = target.joinpath(member.name)
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(found.st_mode):
        raise PixxelArchiveError(f"{path} is a folder, and the package has a file of that name.")
    same = stat.S_ISREG(found.st_mode) and found.st_size == member.size
    return same and _crc(LocalPlace(path)) == member.crc


def _clear_way(target: Path, folders: list[str]) -> None:
    path = target
    for folder in folders:
        path = path / folder
        # A link would lead what is written through it to another place.
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise PixxelArchiveError(f"{path} is in the way: the package has a folder of that name.")


def _write(archive: Archive, member: Member, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileIO(path, "xb") as file:
        for part in archive.parts(member):
            left = memoryview(part)
            while left:
                left = left[file.write(left) :]
        os.fsync(file.fileno())


class _Steps:
    """What changes a place that isn't new, and how the new of it is taken back."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self.replaced = 0

    def undo(self, step: Callable[[], None]) -> None:
        """Take back the last step so, where a later one fails."""
        self._undo.append(step)

    def take_back(self) -> str:
        """Take back what is new, and say what stays all the same."""
        stuck = 0
        for step in reversed(self._undo):
            try:
                step()
            except Exception:
                # What led here is what a person has to know; and the others can be taken back still.
                stuck += 1
        replaced = (
            f" Members that were replaced before, and stay so: {self.replaced}." if self.replaced else ""
        )
        left = f" New ones that couldn't be removed again: {stuck}." if stuck else ""
        return replaced + left


@contextlib.contextmanager
def _one_by_one(place: Path | Place) -> Iterator[_Steps]:
    """Take back what is new where a step fails, and add to the error what that doesn't undo."""
    steps = _Steps()
    try:
        yield steps
    except BaseException as error:
        left = steps.take_back()
        if left and isinstance(error, OSError):
            why = error.strerror or type(error).__name__
            raise PixxelDownloadError(f"{place} can't be written: {why}.{left}") from error
        if left and isinstance(error, PixxelDownloadError):
            raise PixxelDownloadError(f"{str(error).rstrip('.')}.{left}") from error
        raise


def _move(staged: Path, target: Path, folders: list[str], members: list[Member], steps: _Steps) -> None:
    for folder in folders:
        _make_folders(target, folder.split("/"), steps)
    for member in members:
        _make_folders(target, member.name.split("/")[:-1], steps)
        path, ours = target.joinpath(member.name), staged.joinpath(member.name)
        new = not os.path.lexists(path)
        if new:
            # Before it is there: what ends the task may come right after.
            steps.undo(partial(_unlink, path, os.lstat(ours)))
        ours.replace(path)
        steps.replaced += not new


def _make_folders(target: Path, folders: list[str], steps: _Steps) -> None:
    path = target
    for folder in folders:
        path = path / folder
        try:
            path.mkdir()
        except OSError:
            if not path.is_dir():
                raise
        else:
            steps.undo(path.rmdir)


def _unlink(path: Path, ours: os.stat_result) -> None:
    """Remove a file if it is ours: another task may have replaced it."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(path.lstat(), ours):
            path.unlink()


def _crc(place: Place) -> int:
    found = 0
    for part in place.parts():
        found = zlib.crc32(part, found)
    return found
