"""Members come into a folder past whatever lies there: no link is followed, and only files are replaced."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider.clock import CLOCK
from pixxel_provider.download import open_folders
from pixxel_provider.download.cancellation import Cancellation
from pixxel_provider.download.errors import PixxelArchiveError, PixxelDownloadError
from pixxel_provider.download.open_folders import Folders, alone
from pixxel_provider.download.unpack import Unpacked
from tests.download.archives import everything, made, unpack
from tests.support import FakeClock

MEMBERS = {"a.txt": b"a", "deep/b.txt": b"bb"}


def holds_nothing_new(out: Path) -> None:
    assert everything(out.parent / "elsewhere") == {"a.txt": b"theirs"}
    assert {name: content for name, content in everything(out).items() if content is not None}.items() <= {
        ("other", b"other"),
        ("deep/old", b"old"),
    }


# ---------------------------------------------------------------------------------------------- planted links


@pytest.mark.parametrize("was_there", [False, True])
def test_a_link_that_is_planted_while_it_unpacks_isnt_followed(
    tmp_path: Path, out: Path, was_there: bool
) -> None:
    if was_there:
        (out / "deep").mkdir()

    def planted() -> None:
        with contextlib.suppress(FileNotFoundError):
            (out / "deep").rmdir()
        (out / "deep").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(PixxelArchiveError, match=r"out/deep is in the way: the package has a folder"):
        unpack(tmp_path, made(MEMBERS), planted)
    assert (out / "deep").is_symlink()
    (out / "deep").unlink()
    holds_nothing_new(out)


def test_a_link_that_is_planted_between_two_moves_isnt_followed(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def planted(name: Any, target: Any, **descriptors: int) -> None:
        rename(name, target, **descriptors)
        monkeypatch.setattr(os, "rename", rename)
        rename(out / "deep", out / "moved")
        (out / "deep").symlink_to(tmp_path / "elsewhere")

    monkeypatch.setattr(os, "rename", planted)
    members = {"deep/first.txt": b"1", "other.txt": b"2", "deep/a.txt": b"3"}
    with pytest.raises(PixxelDownloadError, match="in the way"):
        unpack(tmp_path, made(members))
    assert everything(tmp_path / "elsewhere") == {"a.txt": b"theirs"}


def test_a_link_that_is_planted_where_the_new_folder_goes_isnt_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(PixxelDownloadError, match="out"):
        unpack(tmp_path, made(MEMBERS), lambda: (tmp_path / "out").symlink_to(tmp_path / "elsewhere"))
    assert everything(tmp_path / "elsewhere") == {}


def test_a_link_that_is_planted_among_what_is_unfinished_isnt_followed(tmp_path: Path, out: Path) -> None:
    members = {"a/first": b"1", "deep/first": b"2", "a/second": b"3"}

    def planted() -> None:
        (tmp_path / "work" / "files" / "a").rename(tmp_path / "moved")
        (tmp_path / "work" / "files" / "a").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(PixxelArchiveError):
        unpack(tmp_path, made({**members, "a/last": b""}), planted)
    holds_nothing_new(out)


@pytest.mark.parametrize("kind", ["link to a.txt", "link to nothing", "pipe"])
@pytest.mark.parametrize("before", [True, False])
def test_what_is_no_file_isnt_replaced_by_one(tmp_path: Path, out: Path, kind: str, before: bool) -> None:
    def put() -> None:
        if kind == "pipe":
            os.mkfifo(out / "a.txt")
        else:
            (out / "a.txt").symlink_to(tmp_path / "elsewhere" / kind.removeprefix("link to "))

    if before:
        put()
    with pytest.raises(PixxelArchiveError, match=r"a\.txt is a (link|pipe), which isn't replaced"):
        unpack(tmp_path, made(MEMBERS), (lambda: None) if before else put)
    assert (out / "a.txt").is_fifo() if kind == "pipe" else (out / "a.txt").is_symlink()
    (out / "a.txt").unlink()
    holds_nothing_new(out)


# ------------------------------------------------------------------------------- what a file system can't do


@pytest.fixture
def blind_to_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system, where a folder is held open, find a name whatever its capitals are."""
    for name in ("open", "stat", "mkdir", "unlink", "rmdir"):
        real = getattr(os, name)

        def one(path: Any, *rest: Any, _real: Any = real, **options: Any) -> Any:
            return _real(path.lower() if options.get("dir_fd") is not None else path, *rest, **options)

        monkeypatch.setattr(os, name, one)
    rename = os.rename

    def both(source: Any, target: Any, **descriptors: int) -> None:
        if descriptors:
            source, target = source.lower(), target.lower()
        rename(source, target, **descriptors)

    monkeypatch.setattr(os, "rename", both)


ALIKE = {"data.txt": b"1", "Data.txt": b"2", "Deep/e": b"3", "deep/f": b"4"}


@pytest.mark.parametrize("before", ["none", "a folder with files"])
def test_names_that_differ_in_capitals_are_two_files_where_they_can_be(tmp_path: Path, before: str) -> None:
    if before != "none":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "other").write_bytes(b"")
    for written in (4, 0):
        assert unpack(tmp_path, made(ALIKE), work=f"work{written}").written == written
    found = {name: content for name, content in everything(tmp_path / "out").items() if content}
    assert found == ALIKE


@pytest.mark.usefixtures("blind_to_capitals")
@pytest.mark.parametrize("before", ["none", "a folder with files"])
def test_names_that_differ_in_capitals_are_refused_where_they_are_one_file(
    tmp_path: Path, before: str
) -> None:
    if before != "none":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "other").write_bytes(b"other")
    kept = everything(tmp_path)
    with pytest.raises(PixxelArchiveError, match=r"'Data\.txt' and another member .* would be the same file"):
        unpack(tmp_path, made(ALIKE))
    assert {name: content for name, content in everything(tmp_path).items() if "work" not in name} == kept


@pytest.mark.usefixtures("blind_to_capitals")
def test_a_member_that_lies_there_already_isnt_written_over_by_one_of_another_name(
    tmp_path: Path, out: Path
) -> None:
    (out / "data.txt").write_bytes(b"1")
    with pytest.raises(PixxelArchiveError, match=r"'Data\.txt' and another member"):
        unpack(tmp_path, made(ALIKE))
    assert everything(out) == {"data.txt": b"1", "other": b"other"}


def test_names_are_distinguished_where_they_go_and_not_where_they_are_unpacked_first(
    tmp_path: Path, out: Path, request: pytest.FixtureRequest
) -> None:
    # Some file systems can be told so for single folders.
    with pytest.raises(PixxelArchiveError, match=r"'Data\.txt' and another member"):
        unpack(
            tmp_path,
            made({**ALIKE, "last": b""}),
            lambda: request.getfixturevalue("links_without_capitals"),
        )
    assert (out / "other").read_bytes() == b"other"
    assert not (out / "data.txt").exists()


@pytest.fixture
def links_without_capitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a move into the destination, and a look at it, find a name whatever its capitals are."""
    rename, stat = os.rename, os.stat
    inside = (tmp_path / "out").stat()

    def is_inside(descriptor: Any) -> bool:
        return descriptor is not None and os.path.samestat(os.fstat(descriptor), inside)

    def moved(source: Any, target: Any, **descriptors: int) -> None:
        rename(source, target.lower() if is_inside(descriptors.get("dst_dir_fd")) else target, **descriptors)

    def looked_at(path: Any, **options: Any) -> os.stat_result:
        return stat(path.lower() if is_inside(options.get("dir_fd")) else path, **options)

    monkeypatch.setattr(os, "rename", moved)
    monkeypatch.setattr(os, "stat", looked_at)


def test_a_path_that_would_be_too_long_below_the_folder_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    room = 4096 - len(str(tmp_path / "out")) - 2
    steps = ["n" * 200] * 30
    name = "/".join(steps)[: room - 1] + "x"
    assert unpack(tmp_path, made({name: b"x"})).written == 1
    assert (tmp_path / "out" / name).exists()
    with pytest.raises(PixxelArchiveError, match=r"would have a path below .*out that no system allows"):
        unpack(tmp_path, made({name + "x": b"x"}), work="more")


# ------------------------------------------------------------------------------------------------ two at once


def both(tmp_path: Path, *contents: bytes, happens: Callable[[], object]) -> list[object]:
    """Unpack packages at once, and return how each ended: its result, or its error."""
    found: list[object] = [None] * len(contents)

    def one(number: int) -> None:
        try:
            found[number] = unpack(tmp_path, contents[number], happens, f"work{number}")
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.mark.parametrize("before", ["none", "a folder with files"])
@pytest.mark.parametrize("same", [True, False])
def test_two_unpacks_into_one_folder_dont_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, same: bool
) -> None:
    if before != "none":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "other").write_bytes(b"other")
    packages = [
        {f"d{n % 3}/{n}": number * 10 for n in range(40)} for number in (b"1", b"1" if same else b"2")
    ]
    both_are_ready = threading.Barrier(2)

    def slowly(real: Callable[..., None]) -> Callable[..., None]:
        def one(*arguments: Any, **options: Any) -> None:
            time.sleep(0.002)
            real(*arguments, **options)

        return one

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, slowly(getattr(os, name)))
    ended = both(tmp_path, *map(made, packages), happens=lambda: both_are_ready.wait(10))
    assert all(isinstance(each, Unpacked) for each in ended), ended
    found = {name: content for name, content in everything(tmp_path / "out").items() if content}
    found.pop("other", None)
    assert found in packages


def test_a_member_that_another_task_replaces_meanwhile_isnt_kept(tmp_path: Path, out: Path) -> None:
    (out / "a.txt").write_bytes(b"a")
    with pytest.raises(PixxelDownloadError, match=r"a\.txt was changed meanwhile, by another task perhaps"):
        unpack(tmp_path, made(MEMBERS), lambda: (out / "a.txt").write_bytes(b"x"))
    assert everything(out) == {"a.txt": b"x", "other": b"other"}


def test_what_another_task_was_quicker_with_isnt_written_again(tmp_path: Path, out: Path) -> None:
    assert unpack(tmp_path, made(MEMBERS), lambda: (out / "a.txt").write_bytes(b"a")).written == 1
    assert everything(out) == {**MEMBERS, "deep": None, "other": b"other"}


def test_a_folder_that_another_task_has_for_long_is_an_error_that_says_so(
    tmp_path: Path, clock: FakeClock
) -> None:
    with (
        alone(tmp_path, clock),
        pytest.raises(PixxelDownloadError, match="another task has been writing into it for 300 s"),
        alone(tmp_path, clock),
    ):
        raise AssertionError("nobody else may be in here")
    assert sum(clock.slept) == pytest.approx(300, abs=0.2)


def test_who_waits_for_another_task_can_be_stopped(tmp_path: Path, clock: FakeClock) -> None:
    cancellation = Cancellation(clock)
    clock.on_sleep.append(lambda _: cancellation.give_up())
    with (
        alone(tmp_path, clock),
        pytest.raises(PixxelDownloadError, match="stopped"),
        alone(tmp_path, cancellation.clock),
    ):
        raise AssertionError("nobody else may be in here")
    assert len(clock.slept) == 1


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_a_file_system_without_locks_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def none(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(open_folders.fcntl, "flock", none)
    with alone(tmp_path, CLOCK):
        (tmp_path / "file").touch()


# ----------------------------------------------------------------------------------------------- descriptors


def test_descriptors_are_closed_whatever_happens(tmp_path: Path) -> None:
    def opened() -> int:
        return sum(1 for _ in Path("/dev/fd").iterdir())

    before = opened()
    (tmp_path / "file").touch()
    with Folders(tmp_path) as found:
        found.open(["a", "b", "c"], make=True)
        found.open(["a", "x"], make=True)
        with pytest.raises(FileNotFoundError):
            found.open(["a", "none", "c"])
        with pytest.raises(PixxelArchiveError, match="file is in the way"):
            found.open(["file", "c"], make=True)
        found.open([])
    assert opened() == before
    assert everything(tmp_path) == {"file": b"", "a": None, "a/b": None, "a/b/c": None, "a/x": None}


def test_each_folder_that_is_made_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    told: list[list[str]] = []
    with Folders(tmp_path) as found:
        for steps in (["a", "b"], ["a", "b", "c"], ["a", "b"], ["d"]):
            found.open(steps, make=True, made=told.append)
    assert told == [["a", "b"], ["a", "b", "c"], ["d"]]
