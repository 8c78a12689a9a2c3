"""A package becomes a file or a folder, and what is told of it is what is there."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pixxel_provider.api.errors import PixxelAuthError, PixxelError
from pixxel_provider.download.archive import Limits
from pixxel_provider.download.cancellation import Cancellation
from pixxel_provider.download.collector import PATHS_LIMIT, Collector
from pixxel_provider.download.destination import Place
from pixxel_provider.download.errors import PixxelAddressError, PixxelArchiveError, PixxelDownloadError
from pixxel_provider.download.local_disk import LocalTarget
from pixxel_provider.download.object_store import StoreTarget
from tests.download.archives import everything, made, stored
from tests.download.hosting import SIGNATURE, Host, everything_said, settings_for
from tests.loopback import Reply, reply, then_reset
from tests.support import CANARY, FakeClock, RecordingLog, open_folder, without_rights

PACKAGE = random.Random(5).randbytes(100_000)
MEMBERS = {"a.txt": b"a", "deep/b.txt": b"bb"}
ZIP = made({**MEMBERS, "empty/": b""})
OLD = b"what lay there before"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


BROKEN = then_reset(reply(body=ZIP)[:-20])
UNPACKED = {**MEMBERS, "deep": None, "empty": None}


def promise(content: bytes) -> str:
    return f"sha-256={base64.b64encode(hashlib.sha256(content).digest()).decode()}"


class Collecting:
    """A collector, the host it fetches from, and what it said; after each step it has given nothing away."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.clock = FakeClock()
        self.said: list[str] = []
        self.renewals: list[str | PixxelError] = []

    def collector(self, **options: Any) -> Collector:
        usual: dict[str, Any] = {
            "settings": settings_for(self.host.origin),
            "renew": self.renew,
            "log": RecordingLog(self.said),
            "cancellation": Cancellation(self.clock),
        }
        return Collector(**{**usual, **options})

    def renew(self) -> str:
        found = self.renewals.pop(0)
        if isinstance(found, PixxelError):
            raise found
        return found

    def file(self, path: Path | Place, *replies: Reply, **options: Any) -> dict[str, Any]:
        self.host.replies += replies
        place = LocalTarget(path) if isinstance(path, Path) else path
        return self._shown(self.collector(**options).into_file(self.host.signed, place))

    def folder(self, path: Path | Place, *replies: Reply, **options: Any) -> dict[str, Any]:
        self.host.replies += replies
        place = LocalTarget(path) if isinstance(path, Path) else path
        return self._shown(self.collector(**options).into_folder(self.host.signed, place))

    def _shown(self, found: dict[str, Any]) -> dict[str, Any]:
        assert json.loads(json.dumps(found)) == found
        for shown in (json.dumps(found), *self.said, *self.host.heads):
            assert CANARY not in shown
        for shown in (json.dumps(found), *self.said):
            assert SIGNATURE not in shown
        return found

    def before_retry(self, step: Callable[[], object]) -> None:
        """Take a step while the collector sleeps after an interruption."""
        self.clock.on_sleep.append(lambda _: step())

    def lines(self, words: str) -> list[str]:
        return [line for line in self.said if words in line]


@pytest.fixture
def collecting() -> Iterator[Collecting]:
    with Host() as host:
        yield Collecting(host)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that is there already, with nothing beside it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "package.zip").write_bytes(OLD)
    return tmp_path / "data" / "package.zip"


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that this process takes for what is temporary."""
    found = tmp_path / "spool"
    found.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(found))
    return found


# ----------------------------------------------------------------------------------------------- as a file


@pytest.mark.parametrize("checked", [[], ["sha256"]])
def test_a_package_becomes_a_file_and_its_checksum_is_returned(
    collecting: Collecting, tmp_path: Path, checked: list[str]
) -> None:
    path = tmp_path / "new" / "package.zip"
    assert collecting.file(path, reply(body=PACKAGE, digest=promise(PACKAGE) if checked else "")) == {
        "path": str(path),
        "bytes": len(PACKAGE),
        "sha256": sha256(PACKAGE),
        "checked": checked,
        "transferred": len(PACKAGE),
    }
    assert everything(tmp_path) == {"new": None, "new/package.zip": PACKAGE}
    compared = "; the storage host's sha256 is the same" if checked else ""
    assert collecting.said[-1] == f"info: {path} is whole: sha256 {sha256(PACKAGE)}{compared}"
    assert collecting.host.asked("authorization") == [None]


def test_a_file_that_is_the_package_already_isnt_touched(collecting: Collecting, target: Path) -> None:
    target.write_bytes(PACKAGE)
    before = target.stat()
    found = collecting.file(target, reply(body=PACKAGE, digest=promise(PACKAGE)))
    assert found == {
        "path": str(target),
        "bytes": len(PACKAGE),
        "sha256": sha256(PACKAGE),
        "checked": ["sha256"],
        "transferred": 0,
    }
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert collecting.host.connections == 1
    assert collecting.said == [
        f"info: {target} is already there, with all its 97.7 KiB: nothing is downloaded"
    ]


def test_another_file_is_replaced_in_one_step_after_two_requests(
    collecting: Collecting, target: Path
) -> None:
    answer = reply(body=PACKAGE, digest=promise(PACKAGE))
    assert collecting.file(target, answer, answer)["transferred"] == len(PACKAGE)
    assert everything(target.parent) == {"package.zip": PACKAGE}
    assert collecting.host.asked("range") == [f"bytes=0-{len(OLD) - 1}", None]


def test_a_place_in_a_store_gets_the_package(collecting: Collecting, memory: Any, spool: Path) -> None:
    place = StoreTarget(memory, "/b/package.zip", "memory://b/package.zip")
    found = collecting.file(place, reply(body=PACKAGE))
    assert (found["path"], found["transferred"]) == ("memory://b/package.zip", len(PACKAGE))
    assert stored(memory) == {"/b/package.zip": PACKAGE}
    assert everything(spool) == {}


def test_an_expired_url_is_replaced_by_the_one_that_the_api_gives(
    collecting: Collecting, tmp_path: Path
) -> None:
    collecting.renewals = [f"{collecting.host.origin}/anew?signature={SIGNATURE}"]
    found = collecting.file(tmp_path / "p", reply("403 Forbidden"), reply(body=PACKAGE))
    assert found["sha256"] == sha256(PACKAGE)
    assert [head.split()[1].partition("?")[0] for head in collecting.host.heads] == ["/package", "/anew"]
    assert collecting.renewals == []


FAILURES: dict[str, tuple[list[Reply], dict[str, Any], type[Exception], str]] = {
    "too large": ([reply(body=PACKAGE)], {"max_bytes": 99_999}, PixxelDownloadError, "max_bytes is 97.7 KiB"),
    "empty": ([reply()], {}, PixxelDownloadError, "is empty"),
    "another sum": (
        [reply(body=PACKAGE, digest=promise(OLD))],
        {},
        PixxelDownloadError,
        "its sha256 differs",
    ),
    "never there": ([reply("503 No")] * 200, {"stall_timeout": 20.0}, PixxelDownloadError, "for 20 s"),
    "led elsewhere": (
        [reply("302 Found", location=f"https://10.0.0.1/?signature={SIGNATURE}")],
        {},
        PixxelAddressError,
        "10.0.0.1",
    ),
    "the API refuses": ([reply("403 Forbidden")], {}, PixxelAuthError, "key was withdrawn"),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("unpack", [False, True])
def test_a_failure_leaves_what_was_there_and_nothing_else(
    collecting: Collecting, target: Path, name: str, unpack: bool
) -> None:
    replies, options, kind, words = FAILURES[name]
    collecting.renewals = [PixxelAuthError("the key was withdrawn", status_code=401)]
    collect = collecting.folder if unpack else collecting.file
    path = target.parent if unpack else target.with_name("new.zip")
    with pytest.raises(kind, match=words) as caught:
        collect(path, *replies, **options)
    assert everything(target.parent.parent) == {"data": None, "data/package.zip": OLD}
    assert SIGNATURE not in everything_said(caught.value)


def test_a_folder_isnt_written_over_and_nobody_is_asked(collecting: Collecting, target: Path) -> None:
    with pytest.raises(PixxelDownloadError, match="is a folder, and a file was to be written there"):
        collecting.file(target.parent)
    assert everything(target.parent) == {target.name: OLD}
    assert collecting.host.connections == 0


@pytest.mark.parametrize("unpack", [False, True])
@pytest.mark.parametrize("parent", ["a file", "/proc/self"])
def test_a_place_that_takes_nothing_is_an_error_before_anybody_is_asked(
    collecting: Collecting, target: Path, parent: str, unpack: bool
) -> None:
    if parent != "a file" and not Path(parent).is_dir():
        pytest.skip("this system has no such folder")
    path = target / "below" if parent == "a file" else Path(parent, "below")
    with pytest.raises(PixxelDownloadError, match="below can't be written: "):
        (collecting.folder if unpack else collecting.file)(path)
    assert collecting.host.connections == 0
    assert everything(target.parent) == {target.name: OLD}


# --------------------------------------------------------------------------------------------- as a folder


@pytest.mark.parametrize("before", ["none", "empty", "a link to an empty one"])
def test_a_package_becomes_a_folder_and_all_of_it_is_returned(
    collecting: Collecting, tmp_path: Path, before: str
) -> None:
    path = out = tmp_path / "out"
    if before != "none":
        out.mkdir()
    if before == "a link to an empty one":
        path = tmp_path / "link"
        path.symlink_to(out)
    assert collecting.folder(path, reply(body=ZIP, digest=promise(ZIP))) == {
        "path": str(path),
        "paths": [f"{path}/a.txt", f"{path}/deep/b.txt"],
        "files": 2,
        "written": 2,
        "unpacked_bytes": 3,
        "bytes": len(ZIP),
        "sha256": sha256(ZIP),
        "checked": ["sha256"],
        "transferred": len(ZIP),
    }
    assert everything(out) == UNPACKED
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "out"}
    assert path.is_symlink() == (path != out)
    assert collecting.lines(f"info: {path} holds 2 files, 2 of them written now: 3 bytes; the storage host's")


def test_what_fits_already_is_left_and_counted(collecting: Collecting, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a")
    (tmp_path / "other").write_bytes(OLD)
    before = (tmp_path / "a.txt").stat().st_ino
    found = collecting.folder(tmp_path, reply(body=ZIP))
    assert (found["files"], found["written"], found["transferred"]) == (2, 1, len(ZIP))
    assert everything(tmp_path) == {**UNPACKED, "other": OLD}
    assert (tmp_path / "a.txt").stat().st_ino == before


@pytest.mark.parametrize("unpack", [False, True])
def test_a_folder_without_rights_is_an_error_that_names_it_before_anybody_is_asked(
    collecting: Collecting, unpack: bool
) -> None:
    with open_folder() as folder:
        place = folder / "out" / ("" if unpack else "package.zip")
        (folder / "out").mkdir()
        if not unpack:
            place.write_bytes(b"")
        before = everything(folder)
        (folder / "out").chmod(0o555)
        folder.chmod(0o555)
        words = f"{place} can't be written: Permission"
        with without_rights(), pytest.raises(PixxelDownloadError, match=words):
            (collecting.folder if unpack else collecting.file)(place)
        folder.chmod(0o755)
        assert everything(folder) == before
    assert collecting.host.connections == 0


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("why", ["another user's", "the folder above is closed"])
def test_a_folder_that_cant_be_replaced_is_filled_in_place_and_nothing_goes_beside_it(
    collecting: Collecting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled: bool, why: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o2777)
    if filled:
        (out / "a.txt").write_bytes(OLD)
    access, before, beside = os.access, out.stat(), set[str]()

    def above_is_closed(path: Any, mode: int, **options: Any) -> bool:
        return Path(path) != tmp_path and access(path, mode, **options)

    collecting.before_retry(lambda: beside.update(each.name for each in tmp_path.iterdir()))
    # What the system says of another user's folder; whoever runs this may be root.
    if why == "another user's":
        monkeypatch.setattr(os, "geteuid", lambda: before.st_uid + 1)
    else:
        monkeypatch.setattr(os, "access", above_is_closed)
    collecting.folder(out, BROKEN, reply(body=ZIP))
    # Made inside of it, files have its group.
    assert beside == {"out"}
    assert (out.stat().st_ino, out.stat().st_mode) == (before.st_ino, before.st_mode)
    assert everything(out) == UNPACKED


def test_a_store_gets_the_members_and_the_package_is_spooled_elsewhere(
    collecting: Collecting, memory: Any, spool: Path
) -> None:
    during: list[dict[str, bytes | None]] = []

    collecting.before_retry(lambda: during.append(everything(spool)))
    place = StoreTarget(memory, "/b/out", "memory://b/out")
    found = collecting.folder(place, BROKEN, reply(body=ZIP))
    assert found["paths"] == ["memory://b/out/a.txt", "memory://b/out/deep/b.txt"]
    assert stored(memory) == {f"/b/out/{name}": content for name, content in MEMBERS.items()}
    assert during
    assert ZIP[:-20] in during[0].values()
    assert everything(spool) == {}


@pytest.mark.parametrize("kind", ["disk", "store"])
def test_nobody_else_may_read_what_is_unfinished(
    collecting: Collecting, tmp_path: Path, memory: Any, spool: Path, kind: str
) -> None:
    during: list[int] = []

    def read_modes() -> None:
        during.extend(each.stat().st_mode & 0o777 for each in tmp_path.rglob(".pixxel-*") if each.is_dir())

    collecting.before_retry(read_modes)

    store = StoreTarget(memory, "/b/out", "memory://b/out")
    place = LocalTarget(tmp_path / "out") if kind == "disk" else store
    collecting.folder(place, BROKEN, reply(body=ZIP))
    assert during == [0o700]
    assert kind == "store" or (tmp_path / "out").stat().st_mode == spool.stat().st_mode


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (PACKAGE, {}, "isn't a readable zip"),
        (ZIP[:-1], {}, "isn't a readable zip"),
        (made({"a": b"1", "../b": b"2"}), {}, "leads out of its folder"),
        (ZIP, {"limits": Limits(bytes=2)}, "max_unpacked_bytes"),
        (ZIP, {"limits": Limits(members=2)}, "more than 2 members"),
        (made({"a": bytes(4_000_000)}), {"limits": Limits(ratio=100)}, "max_ratio"),
        (made(MEMBERS, method=0).replace(b"bb", b"bx", 1), {}, "is damaged"),
    ],
    ids=["no zip", "cut off", "a name", "too much", "too many", "a bomb", "damaged"],
)
@pytest.mark.parametrize("kind", ["disk", "store"])
def test_a_package_that_isnt_unpacked_changes_nothing(
    collecting: Collecting,
    tmp_path: Path,
    memory: Any,
    spool: Path,
    kind: str,
    content: bytes,
    options: dict[str, Any],
    words: str,
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "other").write_bytes(OLD)
    memory.pipe_file("/b/other", OLD)
    place = LocalTarget(out) if kind == "disk" else StoreTarget(memory, "/b", "memory://b")
    with pytest.raises(PixxelArchiveError, match=words):
        collecting.folder(place, reply(body=content), **options)
    assert everything(tmp_path) == {"out": None, "out/other": OLD, "spool": None}
    assert stored(memory) == {"/b/other": OLD}


def test_a_file_where_the_folder_belongs_stays(collecting: Collecting, target: Path) -> None:
    with pytest.raises(PixxelArchiveError, match=r"package\.zip is a file, and a folder is needed"):
        collecting.folder(target, reply(body=ZIP))
    assert everything(target.parent) == {target.name: OLD}


@pytest.mark.parametrize("before", ["none", "empty", "a folder with files"])
def test_a_link_that_is_put_in_the_folders_place_while_it_is_fetched_isnt_followed(
    collecting: Collecting, tmp_path: Path, before: str
) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if before != "none":
        out.mkdir()
    if before == "a folder with files":
        (out / "other").write_bytes(OLD)

    def plant() -> None:
        if before != "none":
            out.rename(tmp_path / "moved")
        out.symlink_to(elsewhere)

    collecting.before_retry(plant)
    with pytest.raises(PixxelDownloadError, match="out"):
        collecting.folder(out, BROKEN, reply(body=ZIP))
    assert everything(elsewhere) == {}
    assert out.is_symlink()
    assert {each.name for each in tmp_path.iterdir()} <= {"out", "elsewhere", "moved"}


@pytest.mark.parametrize("levels", [101, 1500])
@pytest.mark.parametrize("before", ["none", "a folder with files"])
def test_folders_that_lie_too_deep_are_refused_and_leave_nothing(
    collecting: Collecting, tmp_path: Path, levels: int, before: str
) -> None:
    if before != "none":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "other").write_bytes(OLD)
    kept = everything(tmp_path)
    with pytest.raises(PixxelArchiveError, match="lies deeper than 100 levels"):
        collecting.folder(tmp_path / "out", reply(body=made({"a/" * levels: b""})))
    assert everything(tmp_path) == kept


# ------------------------------------------------------------------------------------------ paths for XCom


def long_names(step: str) -> dict[str, bytes]:
    """As many members as fill the list of paths to its last byte, where they lie in memory://b."""
    count = PATHS_LIMIT // 256
    assert len(json.dumps(f"memory://b/000{step}")) == 256 - len(", ")
    return {f"{number:03}{step}": b"" for number in range(count)}


@pytest.mark.parametrize("step", ["n" * 238, "nnnn" + "é" * 39], ids=["plain", "escaped"])
@pytest.mark.parametrize("more", [{}, {"one": b"", "another": b"1"}])
def test_as_many_paths_are_returned_as_may_go_into_xcom_and_others_are_truncated(
    collecting: Collecting, memory: Any, spool: Path, step: str, more: dict[str, bytes]
) -> None:
    members = {**long_names(step), **more}
    found = collecting.folder(StoreTarget(memory, "/b", "memory://b"), reply(body=made(members)))
    assert found["paths"] == [f"memory://b/{name}" for name in long_names(step)]
    assert found.get("truncated") == (["paths"] if more else None)
    assert (found["files"], found["written"]) == (len(members), len(members))
    assert found["unpacked_bytes"] == (1 if more else 0)
    assert len(stored(memory)) == len(members)


def test_a_folder_that_leads_in_a_circle_is_an_error_that_names_it(
    collecting: Collecting, tmp_path: Path
) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(PixxelDownloadError, match="a/x can't be written"):
        collecting.folder(LocalTarget(tmp_path / "a" / "x"), reply(body=ZIP))


class Closed(type(fsspec.filesystem("memory"))):  # type: ignore[misc]
    """A store that takes nothing."""

    cachable = False

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            raise NotImplementedError("only to be read")
        return super()._open(path, mode, **options)


@pytest.mark.parametrize("unpack", [False, True])
def test_a_store_that_takes_nothing_is_found_out_before_anybody_is_asked(
    collecting: Collecting, spool: Path, unpack: bool
) -> None:
    place = StoreTarget(Closed(), "/b/out", "closed://b/out")
    with pytest.raises(PixxelDownloadError, match=r"closed://b/out.* can't be written: NotImplementedError"):
        (collecting.folder if unpack else collecting.file)(place)
    assert collecting.host.connections == 0
    assert everything(spool) == {}


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("code", [errno.EXDEV, errno.EBUSY, errno.EPERM, errno.ENOTSUP])
def test_a_folder_that_is_a_mount_is_filled_in_place_though_nothing_shows_it(
    collecting: Collecting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled: bool, code: int
) -> None:
    out, rename = tmp_path / "mount", os.rename

    def inside(path: Any) -> bool:
        return out in (Path(path), *Path(path).parents)

    out.mkdir()
    if filled:
        (out / "a.txt").write_bytes(OLD)

    def across_mounts(before: Any, after: Any, **options: Any) -> None:
        if not options and inside(before) != inside(after):
            raise OSError(code, os.strerror(code))
        rename(before, after, **options)

    # A bind mount has the numbers of the file system that it comes from.
    monkeypatch.setattr(os, "rename", across_mounts)
    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, across_mounts)
    collecting.folder(out, reply(body=ZIP))
    assert everything(out) == UNPACKED
    assert {each.name for each in tmp_path.iterdir()} == {"mount"}


# ------------------------------------------------------------------------------------------------ given up


@pytest.mark.parametrize("unpack", [False, True])
def test_giving_up_removes_at_once_what_is_unfinished_and_ends_the_rest(
    collecting: Collecting, target: Path, unpack: bool
) -> None:
    content = ZIP if unpack else PACKAGE
    seen: list[int] = []

    def give_up() -> None:
        seen.append(len(everything(target.parent.parent)))
        collector.cancellation.give_up()
        seen.append(len(everything(target.parent.parent)))

    collector = collecting.collector()
    collecting.before_retry(give_up)
    collecting.host.replies += [then_reset(reply(body=content)[:-20]), reply(body=content)]
    url, place = collecting.host.signed, LocalTarget(target.with_name("new"))
    with pytest.raises(PixxelDownloadError, match="was given up"):
        collector.into_folder(url, place) if unpack else collector.into_file(url, place)
    assert seen[0] > seen[1] == 2
    assert collecting.host.connections == 1
    assert everything(target.parent.parent) == {"data": None, "data/package.zip": OLD}


@pytest.mark.parametrize("unpack", [False, True])
def test_what_was_given_up_before_it_began_writes_and_asks_nothing(
    collecting: Collecting, tmp_path: Path, unpack: bool
) -> None:
    collector = collecting.collector()
    collector.cancellation.give_up()
    collect = collector.into_folder if unpack else collector.into_file
    with pytest.raises(PixxelDownloadError, match="The download was given up, as its task was stopped"):
        collect(collecting.host.signed, LocalTarget(tmp_path / "new" / "place"))
    assert everything(tmp_path) == {}
    assert collecting.host.connections == 0


def test_giving_up_afterwards_takes_nothing_away(collecting: Collecting, tmp_path: Path) -> None:
    collector = collecting.collector()
    collecting.host.replies += [reply(body=PACKAGE), reply(body=ZIP)]
    collector.into_file(collecting.host.signed, LocalTarget(tmp_path / "package.zip"))
    collector.into_folder(collecting.host.signed, LocalTarget(tmp_path / "out"))
    collector.cancellation.give_up()
    assert (tmp_path / "package.zip").read_bytes() == PACKAGE
    assert everything(tmp_path / "out") == UNPACKED
