"""A file on a disk is whole under its name, or isn't there; what lay there before stays until then."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider.download import local_disk
from pixxel_provider.download.errors import PixxelDownloadError
from pixxel_provider.download.local_disk import (
    LocalFile,
    LocalFolder,
    LocalTarget,
    hidden_name,
    sync_folder,
)
from tests.support import fails_with, run_python

OLD, NEW = b"what lay here before", b"what is to lie here"


def entries(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that is there already, alone in its folder."""
    path = tmp_path / "package.zip"
    path.write_bytes(OLD)
    return path


def filled(path: Path) -> LocalFile:
    file = LocalFile(path)
    file.write(NEW)
    return file


# ------------------------------------------------------------------------------------------------ whole


def test_what_is_unfinished_has_a_hidden_name_in_the_same_folder(target: Path) -> None:
    file = LocalFile(target)
    (cancellation,) = [name for name in entries(target.parent) if name != target.name]
    assert cancellation.startswith(".pixxel-")
    assert file.part == target.parent / cancellation
    file.discard()


def test_two_at_once_dont_meet_and_the_last_to_end_stays(target: Path) -> None:
    first, second = LocalFile(target), LocalFile(target)
    assert first.part != second.part
    first.write(b"first")
    second.write(b"second")
    second.commit()
    assert target.read_bytes() == b"second"
    first.commit()
    assert target.read_bytes() == b"first"
    assert entries(target.parent) == [target.name]


def test_hidden_names_are_never_the_same() -> None:
    assert len({hidden_name() for _ in range(1000)}) == 1000


def test_missing_folders_are_made(tmp_path: Path) -> None:
    filled(tmp_path / "a" / "b" / "package.zip").commit()
    assert (tmp_path / "a" / "b" / "package.zip").read_bytes() == NEW


def test_a_file_has_the_rights_that_new_files_have(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        file = LocalFile(tmp_path / "package.zip")
    finally:
        os.umask(before)
    file.commit()
    assert stat.S_IMODE((tmp_path / "package.zip").stat().st_mode) == 0o640


def test_asking_the_system_to_begin_writing_changes_no_byte(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    real = os.posix_fadvise

    def advise(handle: int, start: int, length: int, advice: int) -> None:
        told.append((start, length))
        real(handle, start, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", advise)
    monkeypatch.setattr(local_disk, "_WRITE_BACK", 1000)
    file = LocalFile(target)
    for number in range(25):
        file.write(bytes([number]) * 100)
    file.commit()
    assert target.read_bytes() == b"".join(bytes([number]) * 100 for number in range(25))
    assert told == [(0, 1000), (1000, 1000)]


def test_the_file_and_then_its_folder_are_written_to_the_disk(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real = os.fsync

    def sync(handle: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        order.append(f"{kind} while {target.name} is {'new' if target.read_bytes() == NEW else 'old'}")
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    filled(target).commit()
    assert order == ["file while package.zip is old", "folder while package.zip is new"]


# -------------------------------------------------------------------------------------------- or nothing


# Not the function of os that replaces: Path of Python 3.10 keeps that from before.
@pytest.mark.parametrize(
    ("place", "name", "code"),
    [(os, "fsync", errno.EIO), (Path, "replace", errno.EROFS)],
    ids=["a disk that fails at the end", "a name that can't be taken"],
)
def test_an_end_that_fails_leaves_what_was_there(
    target: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, code: int
) -> None:
    file = filled(target)
    with monkeypatch.context() as patch:
        patch.setattr(place, name, fails_with(code))
        with pytest.raises(PixxelDownloadError, match=rf"package\.zip can't be written: {os.strerror(code)}"):
            file.commit()
    assert target.read_bytes() == OLD
    file.discard()
    assert entries(target.parent) == [target.name]
    assert target.read_bytes() == OLD


@pytest.mark.parametrize(("kind", "make"), [("a folder", Path.mkdir), ("a pipe", os.mkfifo)])
def test_what_took_the_name_meanwhile_stays(tmp_path: Path, kind: str, make: Callable[[Path], Any]) -> None:
    path = tmp_path / "package.zip"
    file = filled(path)
    make(path)
    before = path.stat()
    with pytest.raises(PixxelDownloadError, match=f"is {kind}"):
        file.commit()
    file.discard()
    assert os.path.samestat(path.stat(), before)
    assert entries(tmp_path) == ["package.zip"]


def test_a_folder_that_cant_be_synced_takes_nothing_away(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    file = filled(target)

    def sync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "folders can't")
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    file.commit()
    assert target.read_bytes() == NEW
    sync_folder(target.parent / "missing")


def test_a_disk_that_is_full_leaves_what_was_there(target: Path) -> None:
    program = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from pixxel_provider.download.errors import PixxelDownloadError
        from pixxel_provider.download.local_disk import LocalFile

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        file = LocalFile(Path(sys.argv[1]))
        file.begin(5000)
        try:
            for _ in range(5):
                file.write(bytes(1000 - 1))
            file.commit()
        except PixxelDownloadError as error:
            print(error)
        finally:
            file.discard()
        """
    )
    assert (
        run_python(program, str(target), timeout=60)
        == f"{target} can't be written: File too large. No partial file is left.\n"
    )
    assert target.read_bytes() == OLD
    assert entries(target.parent) == [target.name]


def test_a_write_that_takes_only_a_part_is_gone_on_with(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(FileIO):
        def write(self, part: Any, /) -> int:
            return super().write(part[:3])

    monkeypatch.setattr(local_disk, "FileIO", Slow)
    filled(target).commit()
    assert target.read_bytes() == NEW


BELOW = "package.zip/below/package.zip"


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        *((make, BELOW, rf"{BELOW} can't be written: Not a directory") for make in (LocalFile, LocalFolder)),
        (LocalFile, "x" * 300, "can't be written: File name too long"),
        (LocalFile, f"{'x' * 300}/package.zip", "can't be written: File name too long"),
        (LocalFile, "", "is a folder, and a file was to be written there"),
        (LocalFile, "volume/package.zip", "volume is a file, or a link that leads nowhere"),
    ],
)
def test_where_no_file_can_lie_is_named_and_nothing_is_left(
    target: Path, make: Callable[[Path], Any], name: str, words: str
) -> None:
    (target.parent / "volume").symlink_to("missing")

    def write() -> None:
        file = make(target.parent / name)
        try:
            file.commit()
        finally:
            file.discard()

    with pytest.raises(PixxelDownloadError, match=words):
        write()
    assert entries(target.parent) == [target.name, "volume"]


# ------------------------------------------------------------------------- what is replaced, and what isn't


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_file_stays_as_private_as_it_was_and_is_never_less_so(target: Path, mode: int) -> None:
    target.chmod(mode)
    file = LocalFile(target)
    assert stat.S_IMODE(file.part.stat().st_mode) == 0o600
    file.write(NEW)
    file.commit()
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (NEW, mode)


@pytest.mark.parametrize("before", [OLD, None])
def test_a_link_stays_and_what_it_leads_to_is_replaced_in_its_own_folder(
    tmp_path: Path, before: bytes | None
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/package.zip")
    if before is not None:
        (tmp_path / "link").write_bytes(before)
    file = LocalFile(tmp_path / "link")
    assert file.part.parent == (tmp_path / "real").resolve()
    file.write(NEW)
    file.commit()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "package.zip").read_bytes() == NEW
    assert entries(tmp_path) == ["link", "real"]
    assert entries(tmp_path / "real") == ["package.zip"]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM, errno.ENOTSUP])
def test_a_file_system_that_doesnt_rename_is_found_out_at_once(
    target: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fails_with(code))
        with pytest.raises(PixxelDownloadError, match=f"can't be written: {os.strerror(code)}"):
            LocalFile(target)
    assert entries(target.parent) == [target.name]


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_system_that_renames_to_new_names_alone_takes_new_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    path, rename = tmp_path / "package.zip", Path.rename
    if replaced:
        path.write_bytes(OLD)

    def to_new_names(before: Path, after: Path) -> Any:
        if after.exists():
            raise FileExistsError(errno.EEXIST, "File exists")
        return rename(before, after)

    monkeypatch.setattr(Path, "rename", to_new_names)
    if replaced:
        with pytest.raises(PixxelDownloadError, match=r"package\.zip can't be written: File exists"):
            LocalFile(path)
        assert path.read_bytes() == OLD
    else:
        file = filled(path)
        file.commit()
    assert entries(tmp_path) == ["package.zip"]


def test_mounts_as_the_system_makes_them(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        from pathlib import Path
        from pixxel_provider.download.errors import PixxelDownloadError
        from pixxel_provider.download.local_disk import LocalFile, LocalFolder

        for name in ("bound", "plain"):
            folder = LocalFolder(Path(name).absolute())
            print(name, folder.path.parent.name == name)
            folder.discard()
        file = LocalFile(Path("bound/package.zip"))
        file.write(b"new")
        file.commit()
        try:
            LocalFile(Path("file"))
        except PixxelDownloadError as error:
            print(error)
        """
    )
    mounted = "mount --bind real bound && mount --bind other file"
    for name in ("real", "bound", "plain"):
        (tmp_path / name).mkdir()
    for name in ("other", "file"):
        (tmp_path / name).write_text(name)

    def inside(*command: str) -> subprocess.CompletedProcess[str]:
        # Mounts that only this command sees.
        script = ["unshare", "--mount", "--map-root-user", "sh", "-c", f'{mounted} && exec "$@"', "sh"]
        path = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        run: Any = {"capture_output": True, "text": True, "timeout": 60, "cwd": tmp_path, "env": path}
        return subprocess.run([*script, *command], check=False, **run)

    if not shutil.which("unshare") or inside(sys.executable, "-c", "").returncode:
        pytest.skip("this machine lets nobody mount a folder")
    done = inside(sys.executable, "-c", program)
    assert done.stdout.splitlines() == [
        "bound True",
        "plain False",
        "file is a mount point, which can't be replaced: mount the folder that it lies in.",
    ], done.stderr
    assert (tmp_path / "real" / "package.zip").read_text() == "new"
    assert (tmp_path / "other").read_text() == "other"
    assert entries(tmp_path) == ["bound", "file", "other", "plain", "real"]


# ------------------------------------------------------------------------------------------ what lies there


def test_a_place_has_the_size_of_what_lies_there(target: Path) -> None:
    assert LocalTarget(target).size() == len(OLD)
    for missing in (target.parent, target.parent / "missing", target / "below"):
        assert LocalTarget(missing).size() is None


def test_what_cant_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(PixxelDownloadError, match="missing can't be read: No such file"):
        list(LocalTarget(tmp_path / "missing").parts())


def test_a_folder_in_the_making_is_hidden_and_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "made" / "results")
    (folder.path / "deep").mkdir()
    (folder.path / "deep" / "file").write_bytes(NEW)
    assert entries(tmp_path / "made") == [folder.path.name]
    assert folder.path.name.startswith(".pixxel-")
    folder.discard()
    folder.discard()
    assert entries(tmp_path / "made") == []


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EBUSY, errno.EPERM, errno.ENOSYS])
def test_a_folder_in_the_making_lies_where_files_can_be_moved_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    out, real = tmp_path / "out", Path.rename
    out.mkdir()

    def rename(path: Path, to: Path) -> Any:
        # As into a mount point, of which the numbers of devices say nothing.
        if (out in path.parents) != (out in to.parents):
            raise OSError(code, os.strerror(code))
        return real(path, to)

    monkeypatch.setattr(Path, "rename", rename)
    folder = LocalFolder(out)
    assert folder.path.parent == out
    assert entries(tmp_path) == ["out"]
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.discard()
    assert entries(out) == []


def test_trying_to_move_a_file_leaves_none(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    assert entries(folder.path) == entries(tmp_path) == []
    assert folder.path.parent == tmp_path.parent
    folder.discard()
