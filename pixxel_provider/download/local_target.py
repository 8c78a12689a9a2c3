"""What is at the place of a file or a folder: whether it can be replaced, and who may read it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from pixxel_provider.download.errors import PixxelArchiveError, PixxelDownloadError

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_ACCESS_LIST = "system.posix_acl_access"
# The error codes of fsync() in a file system without it.
_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}


def file_target(path: Path) -> Path:
    """Return where a file will be, links followed, if nothing there forbids replacing it.

    :raises PixxelDownloadError: a folder, a pipe, a socket or a device is there, or a mount point.
    :raises OSError: the system refuses access; links in a circle are a case of that.
    """
    target, status = _followed(path)
    if status is None:
        return target
    if stat.S_ISDIR(status.st_mode):
        raise PixxelDownloadError(f"{path} is a folder, and a file was to be written there.")
    if not stat.S_ISREG(status.st_mode) or _is_stream(path):
        kind = kind_of(status) if not stat.S_ISREG(status.st_mode) else "an open stream"
        raise PixxelDownloadError(f"{path} is {kind}, which isn't replaced by a file.")
    if mount_of(target) != mount_of(target.parent):
        raise PixxelDownloadError(
            f"{path} is a mount point, which can't be replaced: mount the folder that it lies in."
        )
    if _is_guarded(target, status):
        raise PixxelDownloadError(
            f"{path} belongs to another user, and its folder (sticky bit) lets only that user replace it."
        )
    return target


def folder_target(path: Path) -> Path:
    """Return where a folder is or will be, links followed.

    :raises PixxelArchiveError: something else is there.
    :raises OSError: the system refuses access; links in a circle are a case of that.
    """
    target, status = _followed(path)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        raise PixxelArchiveError(f"{path} is {kind_of(status)}, and a folder is needed to unpack into.")
    return target


def kind_of(status: os.stat_result) -> str:
    """Return the name of something that isn't a folder."""
    return next((name for is_one, name in _KINDS if is_one(status.st_mode)), "a file")


def keep_rights(new: int, old: Path) -> None:
    """Give a new, open file the group, rights and owner of the one that it will replace, if there is one.

    What the system doesn't allow is left out, but nobody gets more rights than before: if the group or an
    access list can't be kept, the group's rights are no more than everybody's.
    """
    try:
        status = old.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        return
    with contextlib.suppress(OSError):
        os.fchown(new, -1, status.st_gid)
    mode, listed = stat.S_IMODE(status.st_mode) & 0o777, _access_list(old)
    same_group = os.fstat(new).st_gid == status.st_gid
    # An access list includes the group's rights.
    kept = mode if same_group and listed is None else _without_group(mode)
    with contextlib.suppress(OSError, AttributeError):
        # An access list that it inherited from its folder.
        os.removexattr(new, _ACCESS_LIST)
    with contextlib.suppress(OSError):
        os.fchmod(new, kept)
    if listed is not None and same_group:
        with contextlib.suppress(OSError):
            os.setxattr(new, _ACCESS_LIST, listed)
    # Last: after the owner has changed, this process may not change the file any more.
    with contextlib.suppress(OSError):
        os.fchown(new, status.st_uid, -1)


def sync(handle: int) -> None:
    """Write a file to the disk, if its file system supports that."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _followed(path: Path) -> tuple[Path, os.stat_result | None]:
    # Not Path.resolve: before Python 3.13 it raises another exception for links in a circle.
    target = Path(os.path.realpath(path))
    try:
        return target, path.stat()
    except FileNotFoundError:
        # A link often leads nowhere because its target isn't mounted.
        if path.is_symlink() and not target.parent.is_dir():
            raise PixxelDownloadError(
                f"{path} is a link to {target}, and there is no folder {target.parent}."
            ) from None
        return target, None


def _is_stream(path: Path) -> bool:
    """Return whether a path leads through /dev or /proc to an open file of a process, such as its log."""
    while True:
        above = os.path.realpath(path.parent)
        if above == "/dev" or above.startswith("/proc/"):
            return True
        if not path.is_symlink():
            return False
        path = Path(above, path.readlink())


def _is_guarded(target: Path, status: os.stat_result) -> bool:
    above = target.parent.stat()
    return bool(above.st_mode & stat.S_ISVTX) and os.geteuid() not in (0, status.st_uid, above.st_uid)


def mount_of(path: Path) -> str | None:
    """Return the number of the mount that a path is in, None if the system doesn't provide it."""
    if not hasattr(os, "O_PATH"):
        return None
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        lines = Path(f"/proc/self/fdinfo/{handle}").read_text().splitlines()
    except OSError:
        return None
    finally:
        os.close(handle)
    return next((line for line in lines if line.startswith("mnt_id:")), None)


def _access_list(path: Path) -> bytes | None:
    with contextlib.suppress(OSError, AttributeError):
        return os.getxattr(path, _ACCESS_LIST, follow_symlinks=False)
    return None


def _without_group(mode: int) -> int:
    return mode & 0o707 | (mode >> 3 & (mode & 0o007)) << 3
