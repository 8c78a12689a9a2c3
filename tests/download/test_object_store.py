"""An object is whole under its key, or isn't there; what lay there before stays until then."""

from __future__ import annotations

import contextlib
import gc
from itertools import product
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.download import object_store
from pixxel_provider.download.errors import PixxelDownloadError
from pixxel_provider.download.object_store import UNKNOWN, StoredFile, StoreTarget, UnreadableError, in_words
from tests.download.buckets import KEY, OLD, TEXT, AzureBlobFile, Bucket, Immediate, Upload

NEW = b"what is to lie here, in several parts"
BLOCK = 10


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "PART", BLOCK)


KINDS = [Upload, AzureBlobFile, Immediate]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """A store of each kind: whatever is tested through this holds for all of them."""
    return Bucket(request.param)


def begin(fs: Any, key: str = KEY) -> StoredFile:
    file = StoreTarget(fs, key, TEXT).file()
    file.begin(len(NEW))
    return file


def fill(file: StoredFile, content: bytes = NEW) -> None:
    for at in range(0, len(content), 7):
        file.write(content[at : at + 7])


def filled(fs: Any, key: str = KEY, content: bytes = NEW) -> StoredFile:
    file = begin(fs, key)
    fill(file, content)
    return file


# --------------------------------------------------------------------------------------------- every store


def test_what_is_given_up_leaves_what_was_there_and_nothing_else(bucket: Bucket) -> None:
    file = filled(bucket)
    file.discard()
    file.discard()
    del file
    gc.collect()
    assert bucket.objects == {KEY: OLD}
    assert bucket.done("complete") == 0
    assert bucket.done("abort") == (1 if bucket.kind is Upload else 0)


@pytest.mark.parametrize(
    ("bucket", "step", "count"),
    [
        *product(KINDS, ["create"], [1]),
        # The third part is the last one, which is sent at the end.
        *product(KINDS, ["part"], [1, 2, 3]),
        (Upload, "complete", 1),
        (Immediate, "move", 1),
    ],
    indirect=["bucket"],
)
def test_a_write_that_fails_leaves_what_was_there(bucket: Bucket, step: str, count: int) -> None:
    file = begin(bucket)
    at_end = step in ("complete", "move") or count == 3
    bucket.failing[step] = bucket.done(step) + count
    if at_end:
        fill(file)
    words = f"{TEXT} can't be written: RuntimeError: the store doesn't {step}"
    with pytest.raises(PixxelDownloadError, match=words):
        file.commit() if at_end else fill(file)
    file.discard()
    del file
    gc.collect()
    assert bucket.objects == {KEY: OLD}
    assert [each for each, _ in bucket.log].count("complete") == (step == "complete")


def test_a_store_that_cant_clean_up_doesnt_hide_what_led_to_it(bucket: Bucket) -> None:
    file = filled(bucket)
    bucket.failing = {"abort": 1, "remove": 1}
    file.discard()
    assert bucket.objects[KEY] == OLD


@pytest.mark.parametrize("bucket", [Upload, Immediate], indirect=True)
def test_what_is_given_up_while_its_end_is_sent_isnt_completed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = filled(bucket)
    do = bucket.do

    def stopped(what: str, path: str) -> None:
        do(what, path)
        if what == "part":
            # As a signal's handler would.
            file.discard()

    monkeypatch.setattr(bucket, "do", stopped)
    with pytest.raises(PixxelDownloadError, match=f"{TEXT} (was given up|can't be written)"):
        file.commit()
    assert bucket.objects == {KEY: OLD}
    assert bucket.done("complete") == bucket.done("move") == 0


def test_a_new_beginning_of_what_was_given_up_leaves_nothing() -> None:
    bucket = Bucket(Immediate)
    file = begin(bucket)
    file.discard()
    with contextlib.suppress(PixxelDownloadError):
        file.begin(len(NEW))
    assert bucket.objects == {KEY: OLD}


@pytest.mark.parametrize(("end", "keeps"), [("commit", None), ("discard", None), ("commit", 5)])
def test_a_file_that_is_done_with_isnt_kept_in_memory(end: str, keeps: int | None) -> None:
    bucket = Bucket()
    bucket.keeps = keeps
    file = filled(bucket)
    with pytest.raises(PixxelDownloadError) if keeps else contextlib.nullcontext():
        getattr(file, end)()
    gc.collect()
    assert [each() for each in bucket.opened] == [None] * len(bucket.opened)


def test_what_hasnt_begun_takes_nothing(bucket: Bucket) -> None:
    with pytest.raises(PixxelDownloadError):
        StoreTarget(bucket, KEY, TEXT).file().write(b"x")
    assert bucket.log == []


@pytest.mark.parametrize("bucket", [Upload, Immediate], indirect=True)
def test_a_store_that_lost_a_byte_is_an_error(bucket: Bucket) -> None:
    bucket.keeps = len(NEW) - 1
    file = filled(bucket)
    words = f"{TEXT} .*has {len(NEW) - 1} bytes after {len(NEW)} were written"
    with pytest.raises(PixxelDownloadError, match=words):
        file.commit()
    file.discard()
    # Under a hidden key it is found before it is moved.
    assert bucket.objects == {KEY: OLD if bucket.kind is Immediate else NEW[:-1]}
    assert bucket.done("move") == 0


# --------------------------------------------------------------------------------- stores that hold back


@pytest.mark.parametrize("bucket", [Upload, AzureBlobFile], indirect=True)
def test_an_upload_that_is_held_back_needs_no_other_key_and_sends_each_part_as_soon_as_it_is_full(
    bucket: Bucket,
) -> None:
    file = begin(bucket)
    sent = []
    for at in range(0, len(NEW), 7):
        file.write(NEW[at : at + 7])
        sent.append(bucket.done("part"))
    assert sent == [0, 1, 1, 2, 2, 2]
    file.commit()
    assert {path for _, path in bucket.log} == {KEY}
    assert [what for what, _ in bucket.log] == ["create", "part", "part", "part", "complete"]


def test_a_new_beginning_aborts_the_upload_before() -> None:
    bucket = Bucket()
    file = filled(bucket)
    file.begin(len(NEW))
    assert [what for what, _ in bucket.log][-1] == "abort"
    fill(file)
    file.commit()
    assert (bucket.done("create"), bucket.done("abort"), bucket.done("complete")) == (2, 1, 1)


def test_what_cant_be_taken_back_doesnt_keep_another_beginning_from_coming_whole(bucket: Bucket) -> None:
    file = filled(bucket, content=OLD * 3)
    bucket.failing = {"abort": 1, "remove": 1}
    file.begin(len(NEW))
    fill(file)
    file.commit()
    assert bucket.objects[KEY] == NEW


@pytest.mark.parametrize("bucket", [Upload, AzureBlobFile], indirect=True)
def test_what_another_writer_put_there_meanwhile_is_reported_and_stays(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = b"whole, and of another length"
    file, other = filled(bucket), filled(bucket, content=others)
    later, info = [other.commit], bucket.info

    def just_before(path: str, **options: Any) -> dict[str, Any]:
        if later:
            later.pop()()
        return info(path, **options)

    monkeypatch.setattr(bucket, "info", just_before)
    words = f"^{TEXT} has {len(others)} bytes after {len(NEW)} .* perhaps another writer's. It isn't touched"
    with pytest.raises(PixxelDownloadError, match=words):
        file.commit()
    file.discard()
    assert bucket.objects == {KEY: others}
    assert bucket.done("remove") == 0


def test_parts_grow_with_the_object_so_that_no_store_has_too_many() -> None:
    for length, block in ((None, BLOCK), (0, BLOCK), (BLOCK * 9_000, BLOCK), (180_000, 2 * BLOCK)):
        bucket = Bucket()
        file = StoreTarget(bucket, KEY, TEXT).file()
        file.begin(length)
        assert {each().blocksize for each in bucket.opened if each()} == {block}
        file.discard()


# ------------------------------------------------------------------------------------------- other stores


def test_elsewhere_an_object_gets_a_hidden_key_beside_its_own_and_is_moved() -> None:
    bucket = Bucket(Immediate)
    file = filled(bucket)
    (hidden,) = bucket.objects.keys() - {KEY}
    assert hidden.startswith("bucket/jobs/.pixxel-")
    file.commit()
    assert [path for what, path in bucket.log if what == "move"] == [hidden]


def test_a_file_system_with_folders_gets_those_that_are_missing(tmp_path: Any) -> None:
    path = tmp_path / "a" / "b" / "package.zip"
    file = begin(LocalFileSystem(), str(path))
    fill(file)
    assert not path.exists()
    file.commit()
    assert path.read_bytes() == NEW
    assert [each.name for each in path.parent.iterdir()] == ["package.zip"]


def test_a_file_system_that_doesnt_know_the_word_is_written_to_under_a_hidden_key(
    memory: MemoryFileSystem,
) -> None:
    class Plain:
        """As much of a file system as is needed, with an open() of its own."""

        def open(self, path: str, mode: str, block_size: int) -> Any:
            return memory.open(path, mode)

        def __getattr__(self, name: str) -> Any:
            return getattr(memory, name)

    memory.pipe_file("/jobs/package.zip", OLD)
    file = filled(Plain(), "/jobs/package.zip")
    assert memory.cat_file("/jobs/package.zip") == OLD
    file.commit()
    assert memory.cat_file("/jobs/package.zip") == NEW
    assert memory.find("/") == ["/jobs/package.zip"]


@pytest.mark.parametrize("taken", [0, 3])
def test_a_file_that_takes_less_than_it_was_given_is_an_error(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    file = begin(memory, "/jobs/package.zip")
    monkeypatch.setattr(MemoryFile, "write", lambda self, part: taken)
    with pytest.raises(PixxelDownloadError, match=f"only {taken} of 7 bytes were written"):
        fill(file)
    file.discard()
    assert memory.find("/") == []


def test_a_file_that_doesnt_say_how_much_it_took_took_it_all() -> None:
    class Silent(Upload):
        def write(self, part: bytes) -> None:
            super().write(part)

    bucket = Bucket(Silent)
    filled(bucket).commit()
    assert bucket.objects == {KEY: NEW}


# ------------------------------------------------------------------ names, and what may not be looked at

NAMES = ["*.zip", "a?.zip", "run[1]/package.zip", "[!x]/**/p.zip", "{a,b}.zip", "a b.zip"]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_a_pattern(memory: MemoryFileSystem, name: str) -> None:
    memory.pipe_file("/jobs/a1.zip", OLD)
    memory.pipe_file("/jobs/run1/package.zip", OLD)
    before = set(memory.find("/"))
    for _ in range(2):
        filled(memory, f"/jobs/{name}").commit()
        assert set(memory.find("/")) == before | {f"/jobs/{name}"}
        assert memory.cat_file(f"/jobs/{name}") == NEW
    filled(memory, f"/jobs/{name}").discard()
    assert set(memory.find("/")) == before | {f"/jobs/{name}"}
    assert memory.cat_file("/jobs/a1.zip") == memory.cat_file("/jobs/run1/package.zip") == OLD


def test_what_ends_elsewhere_is_no_success(bucket: Bucket) -> None:
    file = filled(bucket, "bucket/new.zip")
    info, move = bucket.info, bucket.mv

    def elsewhere(path: str, **options: Any) -> dict[str, Any]:
        if bucket.objects.get(path) == NEW:
            bucket.objects["bucket/elsewhere"] = bucket.objects.pop(path)
        return info(path, **options)

    if bucket.kind is Immediate:
        bucket.mv = lambda a, b, **_: move(a, "bucket/elsewhere")  # type: ignore[method-assign]
    else:
        bucket.info = elsewhere  # type: ignore[method-assign]
    with pytest.raises(PixxelDownloadError, match=f"has nothing after {len(NEW)} were written there"):
        file.commit()


def test_a_name_of_which_the_library_drops_a_part_is_refused() -> None:
    class Versioned(Bucket):
        def split_path(self, path: str) -> tuple[str, str, None]:
            bucket, _, key = path.partition("/")
            return bucket, key.partition("?versionId=")[0], None

    bucket = Versioned()
    StoreTarget(bucket, KEY, TEXT).check()
    for place in (StoreTarget(bucket, f"{KEY}?versionId=1", TEXT), StoreTarget(bucket, "bucket", TEXT)):
        with pytest.raises(PixxelDownloadError, match="library interprets that as an object named"):
            place.file()
    assert bucket.log == []


class Forbidden(Exception):
    """What Azure's library raises."""

    status_code = 403


REFUSALS = [PermissionError("Forbidden"), OSError("Forbidden: bucket/x"), Forbidden("no right to read")]


def raising(error: Exception) -> Any:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error

    return refuse


def closed(bucket: Bucket, refusal: Exception) -> None:
    """Let nobody see or read an object."""
    bucket.info = bucket.cat_file = raising(refusal)  # type: ignore[method-assign]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: type(refusal).__name__)
@pytest.mark.parametrize("when", ["always", "after the upload"])
@pytest.mark.parametrize(("end", "left"), [("commit", NEW), ("discard", OLD)])
def test_a_store_that_may_be_written_and_not_read_is_written_to(
    bucket: Bucket, refusal: Exception, when: str, end: str, left: bytes
) -> None:
    if when == "always":
        closed(bucket, refusal)
    file = filled(bucket)
    closed(bucket, refusal)
    getattr(file, end)()
    assert bucket.objects == {KEY: left}


def test_an_upload_that_cant_be_checked_for_another_reason_is_called_written(bucket: Bucket) -> None:
    file = filled(bucket)
    info = bucket.info

    def breaks(path: str, **options: Any) -> Any:
        if bucket.objects.get(KEY) == NEW:
            raise OSError("connection lost")
        return info(path, **options)

    bucket.info = breaks  # type: ignore[method-assign]
    with pytest.raises(PixxelDownloadError, match="can't be checked after it was written: OSError: conn"):
        file.commit()
    file.discard()
    assert bucket.objects == {KEY: NEW}


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: type(refusal).__name__)
def test_a_place_that_may_not_be_read_is_unreadable(refusal: Exception) -> None:
    bucket = Bucket()
    closed(bucket, refusal)
    place = StoreTarget(bucket, KEY, TEXT)
    assert place.size() == UNKNOWN
    with pytest.raises(UnreadableError, match=f"{TEXT} can't be read"):
        list(place.parts())


def test_a_folder_is_no_place_for_an_object_where_there_are_folders(memory: MemoryFileSystem) -> None:
    memory.pipe_file("/jobs/package.zip/inside", OLD)
    file = StoreTarget(memory, "/jobs/package.zip", TEXT).file()
    with pytest.raises(PixxelDownloadError, match="a folder is there"):
        file.begin()
    file.discard()
    assert memory.find("/") == ["/jobs/package.zip/inside"]


def test_a_place_is_tried_out_without_a_trace_and_removed_for_good(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    StoreTarget(bucket, KEY, TEXT).try_out()
    assert bucket.objects == {KEY: OLD}
    assert bucket.done("complete") == 0
    # As one that only reads.
    monkeypatch.setattr(bucket, "_open", raising(NotImplementedError()))
    with pytest.raises(PixxelDownloadError, match=f"{TEXT} can't be written: NotImplementedError"):
        StoreTarget(bucket, KEY, TEXT).try_out()
    StoreTarget(bucket, KEY, TEXT).remove()
    assert bucket.objects == {}


# --------------------------------------------------------------------------------------- what lies there


def test_a_place_has_the_size_of_what_lies_there() -> None:
    bucket = Bucket()
    assert StoreTarget(bucket, KEY, TEXT).size() == len(OLD)
    assert StoreTarget(bucket, "bucket/jobs", TEXT).size() is None
    assert StoreTarget(bucket, "bucket/other", TEXT).size() is None


def test_a_place_isnt_judged_by_what_was_listed_before() -> None:
    class Listed(Bucket):
        known: dict[str, Any] | None = None

        def info(self, path: str, **_: Any) -> dict[str, Any]:
            self.known = self.known or super().info(path)
            return self.known

        def invalidate_cache(self, path: Any = None) -> None:
            self.known = None

    bucket = Listed()
    place = StoreTarget(bucket, KEY, TEXT)
    assert place.size() == len(OLD)
    bucket.objects[KEY] = NEW
    assert place.size() == len(NEW)


def test_what_a_store_raises_names_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket()
    place = StoreTarget(bucket, "bucket/other", "fake://bucket/other")
    with pytest.raises(PixxelDownloadError, match="fake://bucket/other can't be read: FileNotFoundError"):
        list(place.parts())
    with pytest.raises(PixxelDownloadError, match="fake://bucket/other can't be removed: KeyError"):
        place.remove()
    monkeypatch.setattr(bucket, "info", lambda path: 1 / 0)
    with pytest.raises(PixxelDownloadError, match="can't be read: ZeroDivisionError: division by zero"):
        place.size()


def test_an_error_of_ours_is_left_as_it_is_and_one_without_words_has_its_name() -> None:
    with pytest.raises(PixxelInputError), in_words("fake://x"):
        raise PixxelInputError("destination", "is wrong")
    without_words = r"^fake://x can't be written: PermissionError$"
    with pytest.raises(PixxelDownloadError, match=without_words), in_words("fake://x"):
        raise PermissionError


def test_a_member_lies_under_its_place_however_that_ends() -> None:
    for end in ("", "/"):
        member = StoreTarget(Bucket(), f"bucket/jobs{end}", f"fake://bucket/jobs{end}").member("a/b.json")
        assert (member.path, str(member)) == ("bucket/jobs/a/b.json", "fake://bucket/jobs/a/b.json")
