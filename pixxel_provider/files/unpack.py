"""The members of an archive, put where they belong: all of them, after each was found whole."""

from __future__ import annotations

import contextlib
import os
import stat
import zlib
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pixxel_provider.files.archive import Archive, Member
from pixxel_provider.files.destination import Place
from pixxel_provider.files.errors import PixxelArchiveError
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
    with in_words(target):
        staged.mkdir()
        for folder in archive.folders:
            staged.joinpath(folder).mkdir(parents=True, exist_ok=True)
        for member in missing:
            _write(archive, member, staged.joinpath(member.name))
        if fresh and workspace.parent != target:
            # The one step in which everything appears.
            staged.rename(target)
        else:
            _move(staged, target, archive.folders, missing)
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
    with contextlib.ExitStack() as undo:
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
                undo.callback(_remove, there)
        undo.pop_all()
    return _unpacked(archive, written)


def _unpacked(archive: Archive, written: int) -> Unpacked:
    names = [member.name for member in archive.members]
    return Unpacked(names, sum(member.size for member in archive.members), written)


def _is_empty(target: Path, workspace: Path) -> bool:
    return all(entry == workspace for entry in target.iterdir())


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


def _move(staged: Path, target: Path, folders: list[str], members: list[Member]) -> None:
    for folder in folders:
        target.joinpath(folder).mkdir(parents=True, exist_ok=True)
    for member in members:
        path = target.joinpath(member.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.joinpath(member.name).replace(path)


def _crc(place: Place) -> int:
    found = 0
    for part in place.parts():
        found = zlib.crc32(part, found)
    return found


def _remove(place: StoredPlace) -> None:
    with contextlib.suppress(Exception):
        place.remove()
