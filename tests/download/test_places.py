"""At every place, of a disk or a store, lies the whole package, or what lay there before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider.download import object_store
from pixxel_provider.download.destination import Place
from pixxel_provider.download.errors import PixxelDownloadError
from pixxel_provider.download.local_disk import CHUNK, LocalTarget
from pixxel_provider.download.object_store import StoreTarget
from tests.download.archives import everything, stored
from tests.download.buckets import KEY, OLD, TEXT, AzureBlobFile, Bucket, Immediate, Upload

NEW = b"what is to lie here, in several parts"


@pytest.fixture(params=["disk", "memory", Upload, AzureBlobFile, Immediate])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> Place:
    """A place of each kind in turn, at which nothing lies."""
    monkeypatch.setattr(object_store, "PART", 10)
    if request.param == "disk":
        return LocalTarget(tmp_path / "package.zip")
    if request.param == "memory":
        return StoreTarget(memory, "/jobs/package.zip", "memory://jobs/package.zip")
    bucket = Bucket(request.param)
    bucket.objects.clear()
    return StoreTarget(bucket, KEY, TEXT)


def put(place: Place, *parts: bytes) -> None:
    file = place.file()
    file.begin(sum(map(len, parts)))
    for part in parts:
        file.write(part)
    file.commit()


def content(place: Place) -> bytes | None:
    return None if place.size() is None else b"".join(place.parts())


def contents(place: Place) -> list[Any]:
    """Return what lies there and beside it."""
    if isinstance(place, LocalTarget):
        return list(everything(place.path.parent).values())
    return list((place.fs.objects if isinstance(place.fs, Bucket) else stored(place.fs)).values())


@pytest.mark.parametrize("before", [None, OLD])
@pytest.mark.parametrize("end", ["commit", "discard"])
def test_a_file_appears_with_its_end_and_not_before(place: Place, before: bytes | None, end: str) -> None:
    if before is not None:
        put(place, before)
    file = place.file()
    file.begin()
    file.write(b"a longer first try that was cut off somewhere")
    file.begin(len(NEW))
    for at in range(0, len(NEW), 7):
        file.write(NEW[at : at + 7])
        assert content(place) == before
    getattr(file, end)()
    # Whatever it became, this changes nothing.
    file.discard()
    left = NEW if end == "commit" else before
    assert content(place) == left
    assert contents(place) == [each for each in [left] if each is not None]


@pytest.mark.parametrize("step", ["begin", "write", "commit"])
def test_what_was_given_up_takes_nothing_more(place: Place, step: str) -> None:
    put(place, OLD)
    file = place.file()
    file.begin(len(NEW))
    file.discard()
    with pytest.raises(PixxelDownloadError, match=r"package\.zip was given up"):
        {"begin": file.begin, "write": lambda: file.write(b"x"), "commit": file.commit}[step]()
    assert contents(place) == [OLD]


def test_a_file_of_nothing_is_a_file(place: Place) -> None:
    put(place, OLD)
    put(place)
    assert contents(place) == [b""]
    assert place.size() == 0


def test_a_place_is_read_from_any_byte_in_parts_that_fit_into_memory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    large = os.urandom(1000) * 2500
    put(place, large)
    parts = list(place.parts())
    assert b"".join(parts) == large
    assert max(map(len, parts)) <= CHUNK
    assert b"".join(place.parts(7)) == large[7:]
    assert list(place.parts(len(large) + 5)) == []


def test_a_member_lies_below_a_place(place: Place) -> None:
    member = place.member("a/b.json")
    assert str(member) == f"{place}/a/b.json"
    put(member, NEW)
    assert contents(member) == [NEW]
