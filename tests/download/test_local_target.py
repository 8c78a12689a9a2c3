"""What lies where a file is to go is looked at first, and what replaces a file is as private as that."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider.download import local_target as module
from pixxel_provider.download.errors import PixxelArchiveError, PixxelDownloadError
from pixxel_provider.download.local_target import file_target, folder_target, keep_rights, mount_of, sync
from tests.support import fails_with, open_folder, without_rights

ACCESS_LIST = "system.posix_acl_access"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as found:
        found.bind(os.path.relpath(path))


KINDS: dict[str, Callable[[Path], Any]] = {
    "a pipe": pipe,
    "a socket": listening,
    "a device": lambda path: path.symlink_to(os.devnull),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The path of a socket is short.
    monkeypatch.chdir(tmp_path)


# --------------------------------------------------------------------------------------- what lies there


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_named_and_isnt_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    KINDS[kind](path)
    with pytest.raises(PixxelDownloadError, match=f"out is {kind}, which isn't replaced by a file"):
        file_target(path)
    with pytest.raises(PixxelArchiveError, match=f"out is {kind}, and a folder is needed"):
        folder_target(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(PixxelDownloadError, match=f"link is {kind}, which isn't replaced by a file"):
        file_target(tmp_path / "link")


def test_a_folder_is_no_place_for_a_file_and_a_file_none_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PixxelDownloadError, match="is a folder, and a file was to be written there"):
        file_target(tmp_path)
    with pytest.raises(PixxelArchiveError, match="file is a file, and a folder is needed"):
        folder_target(tmp_path / "file")


@pytest.mark.parametrize("through", ["", "a link"])
def test_an_open_file_isnt_replaced_through_its_descriptor(tmp_path: Path, through: str) -> None:
    # As /dev/stdout, where a log is written to a file.
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system has no such folder")
    with (tmp_path / "log").open("w") as log:
        path = Path(f"/proc/self/fd/{log.fileno()}")
        if through:
            (tmp_path / "link").symlink_to(path)
            path = tmp_path / "link"
        with pytest.raises(PixxelDownloadError, match="is an open stream, which isn't replaced"):
            file_target(path)


@pytest.mark.parametrize("read", [file_target, folder_target])
def test_a_link_is_followed_to_its_end(tmp_path: Path, read: Callable[[Path], Path]) -> None:
    real = tmp_path / "real"
    real.touch() if read is file_target else real.mkdir()
    (tmp_path / "current").symlink_to("real")
    (tmp_path / "latest").symlink_to(tmp_path / "current")
    assert read(tmp_path / "latest") == real.resolve()


@pytest.mark.parametrize("read", [file_target, folder_target])
def test_a_link_to_nothing_is_followed_where_that_could_lie_and_else_named(
    tmp_path: Path, read: Callable[[Path], Path]
) -> None:
    (tmp_path / "latest").symlink_to("new")
    assert read(tmp_path / "latest") == tmp_path.resolve() / "new"
    # As one into a volume that isn't mounted.
    (tmp_path / "volume").symlink_to("missing/new")
    with pytest.raises(
        PixxelDownloadError, match=r"volume is a link to .*/missing/new, and there is no folder"
    ):
        read(tmp_path / "volume")


@pytest.mark.parametrize("read", [file_target, folder_target])
def test_links_in_a_circle_are_the_systems_error(tmp_path: Path, read: Callable[[Path], Path]) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        read(tmp_path / "a")


def test_a_file_that_is_a_mount_point_isnt_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package.zip").touch()
    assert file_target(tmp_path / "package.zip")
    # Only root can mount; what the system says of mounts is tried below.
    monkeypatch.setattr(module, "mount_of", lambda path: str(path))
    with pytest.raises(PixxelDownloadError, match=r"package\.zip is a mount point.* mount the folder"):
        file_target(tmp_path / "package.zip")


def test_mounts_are_distinguished(tmp_path: Path) -> None:
    if not Path("/proc/self/fdinfo").is_dir():
        pytest.skip("this system has no such folder")
    (tmp_path / "file").touch()
    assert mount_of(tmp_path / "file") == mount_of(tmp_path)
    assert mount_of(Path("/proc")) != mount_of(Path("/"))


def test_in_a_folder_with_the_sticky_bit_anothers_file_isnt_replaced() -> None:
    with open_folder() as folder:
        (folder / "package.zip").touch()
        folder.chmod(0o1777)
        owner = os.geteuid()
        assert file_target(folder / "package.zip")
        if owner != 0:
            # Nobody else's file can be made.
            return
        with without_rights(), pytest.raises(PixxelDownloadError, match="belongs to another user"):
            file_target(folder / "package.zip")


# ------------------------------------------------------------------------------------------ who may read


@pytest.fixture
def new(tmp_path: Path) -> Path:
    path = tmp_path / "new"
    path.touch(0o600)
    return path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old"
    path.touch()
    return path


def kept(new: Path, old: Path) -> int:
    with new.open("rb") as file:
        keep_rights(file.fileno(), old)
    return stat.S_IMODE(new.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o400, 0o000, 0o6755])
def test_rights_are_kept_and_no_file_becomes_one_that_runs_as_its_owner(
    new: Path, old: Path, mode: int
) -> None:
    old.chmod(mode)
    assert kept(new, old) == mode & 0o777
    assert (new.stat().st_uid, new.stat().st_gid) == (old.stat().st_uid, old.stat().st_gid)


def test_where_nothing_lies_or_a_link_there_is_nothing_to_keep(new: Path, tmp_path: Path) -> None:
    new.chmod(0o644)
    assert kept(new, tmp_path / "missing") == 0o644
    (tmp_path / "link").symlink_to(new)
    assert kept(new, tmp_path / "link") == 0o644


@pytest.mark.parametrize(
    ("mode", "given"), [(0o660, 0o600), (0o640, 0o600), (0o664, 0o644), (0o666, 0o666), (0o604, 0o604)]
)
def test_another_group_gets_no_more_than_everybody(
    new: Path, old: Path, monkeypatch: pytest.MonkeyPatch, mode: int, given: int
) -> None:
    old.chmod(mode)
    found = list(old.lstat())
    found[stat.ST_GID] += 1
    # A group that isn't one's own can't be given.
    monkeypatch.setattr(os, "fchown", fails_with(errno.EPERM))
    monkeypatch.setattr(Path, "lstat", lambda path: os.stat_result(found))
    assert kept(new, old) == given


def test_owner_and_group_are_kept_where_that_is_allowed(new: Path, old: Path) -> None:
    if os.geteuid() == 0:
        os.chown(old, 65534, 65534)
    old.chmod(0o640)
    assert kept(new, old) == 0o640
    assert (new.stat().st_uid, new.stat().st_gid) == (old.stat().st_uid, old.stat().st_gid)


def test_a_file_system_without_rights_is_no_error(
    new: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.chmod(0o644)
    for name in ("fchown", "fchmod"):
        monkeypatch.setattr(os, name, fails_with(errno.EPERM))
    assert kept(new, old) == 0o600


def access_list(group: int, user: int, mask: int) -> bytes:
    """Return one in which owner, a user with the id 12345, group, mask and others have rights."""
    none = 0xFFFFFFFF
    entries = [(1, 6, none), (2, user, 12345), (4, group, none), (16, mask, none), (32, 0, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize("works", [True, False])
def test_a_list_of_who_may_read_is_kept_or_nobody_of_it_may(
    new: Path, old: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    wanted = access_list(group=0, user=4, mask=4)
    try:
        os.setxattr(old, ACCESS_LIST, wanted)
    except (OSError, AttributeError):
        pytest.skip("the file system of the temporary folder has no access lists")
    # What the group seems to have is what the listed ones have at the most.
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    if not works:
        monkeypatch.setattr(os, "setxattr", fails_with(errno.ENOTSUP))
    assert kept(new, old) == (0o640 if works else 0o600)
    if works:
        assert os.getxattr(new, ACCESS_LIST) == wanted


def test_a_list_that_comes_from_the_folder_gives_nobody_more(new: Path, old: Path) -> None:
    try:
        os.setxattr(new, ACCESS_LIST, access_list(group=0, user=6, mask=6))
    except (OSError, AttributeError):
        pytest.skip("the file system of the temporary folder has no access lists")
    old.chmod(0o640)
    assert kept(new, old) == 0o640
    with pytest.raises(OSError, match="No data"):
        os.getxattr(new, ACCESS_LIST)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_that_cant_sync_is_no_error(
    new: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "fsync", fails_with(code))
    sync(0)


def test_a_disk_that_cant_be_written_to_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", fails_with(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        sync(0)
