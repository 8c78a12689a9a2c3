"""A package is unpacked whole, or the place is as it was."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pixxel_provider.download.archive import Archive, Limits, Member
from pixxel_provider.download.cancellation import Cancellation
from pixxel_provider.download.errors import PixxelArchiveError, PixxelDownloadError
from pixxel_provider.download.object_store import StoredFile, StoreTarget
from pixxel_provider.download.unpack import Unpacked, unpack_into_store
from tests.download.archives import everything, made, stored, unpack
from tests.support import fails_with

MEMBERS = {"a.txt": b"a", "deep/b.txt": b"bb"}


def damaged() -> bytes:
    """A zip whose last member isn't what its checksum says."""
    content = made(MEMBERS, method=0)
    return content.replace(b"bb", b"bx", 1)


def into_store(
    tmp_path: Path,
    fs: Any,
    content: bytes,
    kind: type[Archive] = Archive,
    cancellation: Cancellation | None = None,
) -> Unpacked:
    (tmp_path / "package").write_bytes(content)
    with kind(tmp_path / "package", Limits()) as archive:
        place = StoreTarget(fs, "/bucket/out", f"{fs.protocol}://bucket/out")
        return unpack_into_store(archive, place, cancellation or Cancellation())


@pytest.mark.parametrize("before", ["none", "empty"])
def test_a_new_folder_holds_the_package_and_nothing_else(tmp_path: Path, before: str) -> None:
    if before == "empty":
        (tmp_path / "out").mkdir()
    found = unpack(tmp_path, made({**MEMBERS, "empty/": b""}))
    names = [each.name for each in found.members]
    assert (names, found.bytes, found.written) == (["a.txt", "deep/b.txt"], 3, 2)
    assert everything(tmp_path / "out") == {**MEMBERS, "deep": None, "empty": None}


# Root can give a folder any group, and others those that they are in.
GROUP = 12345 if os.geteuid() == 0 else [os.getegid(), *os.getgroups()][-1]


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o2770, 0o1777])
def test_an_empty_folder_keeps_its_rights_and_its_members_inherit_its_group(
    tmp_path: Path, mode: int
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    # A container may keep even root from it.
    with contextlib.suppress(PermissionError):
        os.chown(out, -1, GROUP)
    out.chmod(mode)
    before = out.stat()
    unpack(tmp_path, made(MEMBERS))
    after = out.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert everything(out) == {**MEMBERS, "deep": None}
    if mode & stat.S_ISGID:
        assert {path.stat().st_gid for path in out.rglob("*")} == {before.st_gid}


@pytest.mark.parametrize("step", ["owner", "rights", "special bits"])
def test_an_empty_folder_of_which_no_other_can_have_the_rights_is_filled_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o2770)
    before = out.stat()
    if step == "owner":
        monkeypatch.setattr(os, "chown", fails_with(errno.EPERM))
    elif step == "rights":
        monkeypatch.setattr(shutil, "copystat", fails_with(errno.EPERM))
    else:
        monkeypatch.setattr(shutil, "copystat", lambda _, folder: folder.chmod(0o770))
    assert unpack(tmp_path, made({**MEMBERS, "empty/": b""})).written == 2
    after = out.stat()
    assert (after.st_ino, after.st_mode, after.st_gid) == (before.st_ino, before.st_mode, before.st_gid)
    assert everything(out) == {**MEMBERS, "deep": None, "empty": None}


def test_an_empty_folder_that_is_filled_as_it_is_is_empty_again_where_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_move_fails: list[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o2770)
    # Nothing else can have these rights.
    monkeypatch.setattr(shutil, "copystat", fails_with(errno.EPERM))
    with pytest.raises(PixxelDownloadError, match="No partial file is left"):
        unpack(tmp_path, made({**MEMBERS, "empty/": b""}))
    assert last_move_fails
    assert everything(tmp_path / "out") == {}


def test_other_files_stay_and_the_same_ones_arent_touched(tmp_path: Path, out: Path) -> None:
    (out / "a.txt").write_bytes(b"a")
    before = (out / "a.txt").stat().st_ino
    assert unpack(tmp_path, made(MEMBERS)).written == 1
    assert everything(out) == {**MEMBERS, "deep": None, "other": b"other"}
    assert (out / "a.txt").stat().st_ino == before


@pytest.mark.parametrize("before", [{}, {"out": None, "out/a.txt": b"x"}])
def test_a_damaged_member_leaves_everything_as_it_was(tmp_path: Path, before: dict[str, bytes]) -> None:
    if before:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a.txt").write_bytes(b"x")
    with pytest.raises(PixxelArchiveError, match=r"deep/b\.txt"):
        unpack(tmp_path, damaged())
    assert {name: each for name, each in everything(tmp_path).items() if name.startswith("out")} == before


@pytest.fixture
def last_move_fails(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the disk refuse the last member; what was moved before is in the list."""
    moved: list[str] = []
    rename = os.rename

    def failing(name: Any, target: Any, **folders: int) -> None:
        if name == "b.txt":
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        rename(name, target, **folders)
        moved.append(name)

    monkeypatch.setattr(os, "rename", failing)
    return moved


def test_a_move_that_fails_takes_back_what_is_new(
    tmp_path: Path, out: Path, last_move_fails: list[str]
) -> None:
    words = r"out can't be written: Disk quota exceeded\. No partial file is left\.$"
    with pytest.raises(PixxelDownloadError, match=words):
        unpack(tmp_path, made({"new/a.txt": b"a", "empty/": b"", **MEMBERS}))
    assert last_move_fails == ["a.txt", "a.txt"]
    assert everything(out) == {"other": b"other"}


def test_a_move_that_fails_keeps_folders_that_were_there_and_says_what_was_replaced(
    tmp_path: Path, last_move_fails: list[str]
) -> None:
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "a.txt").write_bytes(b"x")
    words = (
        r"out can't be written: Disk quota exceeded\. Members that were replaced before, and stay so: 1\.$"
    )
    with pytest.raises(PixxelDownloadError, match=words):
        unpack(tmp_path, made({"c.txt": b"c", **MEMBERS}))
    assert last_move_fails == ["c.txt", "a.txt"]
    assert everything(out) == {"a.txt": b"a", "deep": None}


def test_what_another_task_put_in_a_members_place_isnt_taken_back(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def overtaken(name: Any, target: Any, **folders: int) -> None:
        if name == "b.txt":
            (tmp_path / "theirs").write_bytes(b"theirs")
            rename(tmp_path / "theirs", out / "a.txt")
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        rename(name, target, **folders)

    monkeypatch.setattr(os, "rename", overtaken)
    with pytest.raises(PixxelDownloadError, match="Disk quota"):
        unpack(tmp_path, made(MEMBERS))
    assert everything(out) == {"a.txt": b"theirs", "other": b"other"}


def test_a_task_that_is_ended_in_the_middle_takes_back_what_is_new(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def ended(name: Any, target: Any, **folders: int) -> None:
        rename(name, target, **folders)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", ended)
    with pytest.raises(KeyboardInterrupt):
        unpack(tmp_path, made(MEMBERS))
    assert everything(out) == {"other": b"other"}


def test_the_error_counts_what_cant_be_removed_again(
    tmp_path: Path, out: Path, last_move_fails: list[str], monkeypatch: Any
) -> None:
    unlink = os.unlink

    def kept(name: Any, **folder: int) -> None:
        if name == "a.txt":
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(name, **folder)

    monkeypatch.setattr(os, "unlink", kept)
    words = r"Disk quota exceeded\. New ones that couldn't be removed again: 1\.$"
    with pytest.raises(PixxelDownloadError, match=words):
        unpack(tmp_path, made({"c.txt": b"c", **MEMBERS}))
    assert everything(out) == {"a.txt": b"a", "other": b"other"}


@pytest.mark.parametrize("way", ["link", "file", "folder"])
def test_what_is_in_the_way_is_an_error_and_nothing_is_written(tmp_path: Path, way: str) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    if way == "link":
        (out / "deep").symlink_to(elsewhere)
    elif way == "file":
        (out / "deep").write_bytes(b"")
    else:
        (out / "a.txt" / "deep").mkdir(parents=True)
    before = everything(out)
    words = (
        r"out/a\.txt is a folder, and the package has a file of that name"
        if way == "folder"
        else "in the way"
    )
    with pytest.raises(PixxelArchiveError, match=words):
        unpack(tmp_path, made(MEMBERS))
    assert everything(out) == before
    assert everything(elsewhere) == everything(tmp_path / "work") == {}


def test_a_store_gets_every_member_and_only_those_that_differ(tmp_path: Path, memory: Any) -> None:
    for written in (2, 0):
        assert into_store(tmp_path, memory, made(MEMBERS)).written == written
        assert stored(memory) == {f"/bucket/out/{name}": content for name, content in MEMBERS.items()}


def test_a_store_that_fails_in_the_middle_keeps_no_new_object(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/bucket/out/other", b"other")
    commits: list[Any] = []
    commit = StoredFile.commit

    def failing(file: StoredFile) -> None:
        commits.append(file)
        if len(commits) == 2:
            raise PixxelDownloadError("the store is full")
        commit(file)

    monkeypatch.setattr(StoredFile, "commit", failing)
    with pytest.raises(PixxelDownloadError, match="the store is full"):
        into_store(tmp_path, memory, made(MEMBERS))
    assert len(commits) == 2
    assert stored(memory) == {"/bucket/out/other": b"other"}


@pytest.mark.parametrize("end", ["", "."])
def test_a_store_that_fails_in_the_middle_says_what_was_replaced(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    memory.pipe("/bucket/out/a.txt", b"x")
    commit = StoredFile.commit

    def failing(file: StoredFile) -> None:
        if "b.txt" in str(file.place):
            raise PixxelDownloadError(f"the store is full{end}")
        commit(file)

    monkeypatch.setattr(StoredFile, "commit", failing)
    words = r"the store is full\. Members that were replaced before, and stay so: 1\.$"
    with pytest.raises(PixxelDownloadError, match=words):
        into_store(tmp_path, memory, made({"c.txt": b"c", **MEMBERS}))
    assert stored(memory) == {"/bucket/out/a.txt": b"a"}


def test_a_damaged_member_writes_nothing_to_a_store(tmp_path: Path, memory: Any) -> None:
    with pytest.raises(PixxelArchiveError):
        into_store(tmp_path, memory, damaged())
    assert stored(memory) == {}


@pytest.mark.parametrize("before", ["none", "empty"])
@pytest.mark.parametrize("code", ["EXDEV", "EBUSY", "EPERM", "ENOTEMPTY", "ENOSYS", "ENOTSUP"])
def test_where_folders_cant_be_renamed_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, code: str
) -> None:
    if before == "empty":
        (tmp_path / "out").mkdir(0o700)
    rename = Path.rename

    def only_files(path: Path, to: Path) -> Path:
        if path.is_dir():
            fails_with(getattr(errno, code))()
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", only_files)
    found = unpack(tmp_path, made({**MEMBERS, "empty/": b""}))
    names = [each.name for each in found.members]
    assert (names, found.bytes, found.written) == (["a.txt", "deep/b.txt"], 3, 2)
    assert everything(tmp_path / "out") == {**MEMBERS, "deep": None, "empty": None}
    if before == "empty":
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_member_that_is_replaced_stays_as_private(tmp_path: Path, mode: int) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_bytes(b"old")
    (tmp_path / "out" / "a.txt").chmod(mode)
    unpack(tmp_path, made(MEMBERS))
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"a"
    assert stat.S_IMODE((tmp_path / "out" / "a.txt").stat().st_mode) == mode


@pytest.mark.parametrize("seen", [True, False])
def test_a_store_that_nobody_may_read_gets_every_member_and_loses_none_that_was_there(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    memory.pipe_file("/bucket/out/a.txt", b"x")
    opened, info = memory.open, memory.info

    def write_only(path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "rb":
            raise PermissionError("Forbidden")
        return opened(path, mode, **options)

    def unseen(path: str, **options: Any) -> Any:
        if not seen:
            raise PermissionError("Forbidden")
        return info(path, **options)

    monkeypatch.setattr(memory, "open", write_only)
    monkeypatch.setattr(memory, "info", unseen)
    assert into_store(tmp_path, memory, made(MEMBERS)).written == 2
    unpacked = {f"/bucket/out/{name}": content for name, content in MEMBERS.items()}
    assert stored(memory) == unpacked
    # One that may have been there isn't new, and isn't removed.
    with monkeypatch.context() as patch:
        patch.setattr(StoredFile, "commit", lambda file: (_ for _ in ()).throw(PixxelDownloadError("full")))
        with pytest.raises(PixxelDownloadError):
            into_store(tmp_path, memory, made({"a.txt": b"c", "new.txt": b"d"}))
    assert stored(memory) == unpacked


class BlindStore(MemoryFileSystem):
    """A store that finds an object whatever the capitals of its key are."""

    store: ClassVar[dict[str, Any]] = {}
    protocol = "blind"

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(super()._strip_protocol(path)).lower()


ALIKE = {"data.txt": b"1", "Data.txt": b"2", "other": b"3"}


def test_names_that_differ_in_capitals_are_two_objects_in_a_store(tmp_path: Path, memory: Any) -> None:
    for written in (3, 0):
        assert into_store(tmp_path, memory, made(ALIKE)).written == written
    assert stored(memory) == {f"/bucket/out/{name}": content for name, content in ALIKE.items()}


def test_names_that_differ_in_capitals_are_refused_where_a_store_takes_them_for_one(tmp_path: Path) -> None:
    blind = BlindStore()
    words = r"'data\.txt' and another member .* would be the same file"
    with pytest.raises(PixxelDownloadError, match=words):
        into_store(tmp_path, blind, made(ALIKE))
    assert stored(blind) == {}


def test_a_store_gets_no_request_once_the_download_was_given_up(tmp_path: Path, memory: Any) -> None:
    cancellation = Cancellation()

    class GivenUp(Archive):
        def parts(self, member: Member) -> Iterator[bytes]:
            yield from super().parts(member)
            if member is self.members[-1] and "/bucket/out/a.txt" in memory.store:
                cancellation.give_up()

    with pytest.raises(PixxelDownloadError, match="was given up"):
        into_store(tmp_path, memory, made(MEMBERS), GivenUp, cancellation)
    assert stored(memory) == {}
