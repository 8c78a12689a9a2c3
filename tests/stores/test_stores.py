"""What the fakes of tests/download stand for: the same promises, with the real libraries of object stores."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import random

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.download.destination import read_destination
from pixxel_provider.download.errors import PixxelDownloadError
from pixxel_provider.download.object_store import PART, StoredFile
from tests.download.archives import made
from tests.operators.fetching import DownloadRunner
from tests.stores.conftest import CONNECTION, Store
from tests.stores.emulators import ACCOUNT, BUCKET

KEY = "jobs/package.zip"
OLD = b"what lay there before"
NEW = random.Random(11).randbytes(2 * PART + 12_345)
STEP = 1024 * 1024


def begun(store: Store, content: bytes = NEW) -> StoredFile:
    """Write to an object without completing it."""
    return fill(store.place(KEY).file(), content)


def fill(file: StoredFile, content: bytes = NEW) -> StoredFile:
    file.begin(len(content))
    for at in range(0, len(content), STEP):
        file.write(content[at : at + STEP])
    return file


# ------------------------------------------------------------------------------------- the object itself


@pytest.mark.parametrize("length", [1, PART - 1, PART, PART + 1, 2 * PART + 12_345])
def test_an_object_of_any_length_comes_out_as_it_went_in(store: Store, length: int) -> None:
    begun(store, NEW[:length]).commit()
    assert store.objects() == {KEY: NEW[:length]}
    place = store.place(KEY)
    assert place.size() == length
    assert b"".join(place.parts()) == NEW[:length]
    assert b"".join(place.parts(length // 2)) == NEW[length // 2 : length]


def test_nothing_is_seen_of_an_object_before_its_end(store: Store) -> None:
    file = begun(store)
    assert store.objects() == {}
    file.commit()
    assert store.objects() == {KEY: NEW}


def test_what_lay_there_stays_until_the_new_object_is_whole(store: Store) -> None:
    store.put(KEY, OLD)
    file = begun(store)
    assert store.objects() == {KEY: OLD}
    file.commit()
    assert store.objects() == {KEY: NEW}


@pytest.mark.parametrize("length", [1000, len(NEW)])
def test_what_is_given_up_leaves_what_was_there_and_nothing_else(store: Store, length: int) -> None:
    store.put(KEY, OLD)
    begun(store, NEW[:length]).discard()
    assert store.objects() == {KEY: OLD}
    assert store.unfinished_uploads() == []


def test_what_is_only_forgotten_is_never_completed(store: Store) -> None:
    file = begun(store)
    del file
    gc.collect()
    assert store.objects() == {}


def test_a_new_beginning_forgets_what_came(store: Store) -> None:
    file = begun(store, NEW[::-1])
    file.begin(1000)
    file.write(NEW[:1000])
    file.commit()
    assert store.objects() == {KEY: NEW[:1000]}
    assert store.unfinished_uploads() == []


def test_a_bucket_that_isnt_there_is_an_error_and_isnt_made(store: Store) -> None:
    place = store.place(KEY, bucket="no-such-bucket")
    file = place.file()
    with pytest.raises(PixxelDownloadError, match=r"//no-such-bucket/jobs/package\.zip can't be written"):
        fill(file).commit()
    file.discard()
    assert place.size() is None
    assert store.buckets() == {"results"}


NAMES = ["*.zip", "run[1]/a?.zip", "a b+c&d=e.zip", "ü/地図.zip", "100%25.zip", "a@b:c.zip", "{a,b}.zip"]
# Of some of these one or the other library drops a part.
DOUBTFUL = ["k?", "a#1", "a?versionId=1", "a?versionid=1", "a//b.zip", "a?b#c.zip"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_taken_as_it_is_written(store: Store, name: str) -> None:
    store.put("a1.zip", OLD)
    for content in (NEW[:1000], NEW[1000:2000]):
        fill(store.place(name).file(), content).commit()
    assert store.objects() == {"a1.zip": OLD, name: NEW[1000:2000]}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_name_that_a_library_reads_otherwise_is_refused_and_nothing_is_written(
    store: Store, name: str
) -> None:
    written = set()
    with contextlib.suppress(PixxelInputError, PixxelDownloadError):
        fill(store.place(name).file(), OLD).commit()
        written = {name}
    store.fs.invalidate_cache()
    assert {each.removeprefix("results/") for each in store.fs.find("results")} == written


def test_the_long_form_of_an_address_leads_to_the_same_object(store: Store) -> None:
    if store.emulator.scheme != "abfs":
        pytest.skip("only Azure has one")
    for scheme in ("abfs", "abfss", "wasb", "wasbs", "az"):
        host = f"{BUCKET}@{ACCOUNT}.dfs.core.windows.net"
        place = read_destination(f"{scheme}://{host}/jobs/{scheme}.zip", CONNECTION)
        fill(place.file(), OLD).commit()
        assert store.objects()[f"jobs/{scheme}.zip"] == OLD
        assert str(place) == f"{scheme}://{host}/jobs/{scheme}.zip"
    with pytest.raises(PixxelInputError, match="the connection leads to"):
        read_destination(f"abfs://{BUCKET}@another.dfs.core.windows.net/package.zip", CONNECTION)


# ------------------------------------------------------------------------------------------- the operator


def test_a_package_is_brought_to_the_store_and_not_a_second_time(
    runner: DownloadRunner, store: Store
) -> None:
    runner.pixxel.set_package(content=NEW, seconds=0, checksum="Repr-Digest")
    for transferred in (len(NEW), 0):
        ended = runner.run(destination=store.url(KEY), storage_conn_id=CONNECTION)
        assert ended.kind == "success", ended.message
        assert ended.returned == {
            "path": store.url(KEY),
            "bytes": len(NEW),
            "sha256": hashlib.sha256(NEW).hexdigest(),
            "checked": ["sha256"],
            "transferred": transferred,
        }
        assert store.objects() == {KEY: NEW}


def test_airflows_own_way_to_name_a_place_will_do(runner: DownloadRunner, store: Store) -> None:
    runner.pixxel.set_package(content=b"a package", seconds=0)
    for destination in (
        ObjectStoragePath(store.url(KEY), conn_id=CONNECTION),
        store.url("jobs/other.zip").replace("://", f"://{CONNECTION}@"),
    ):
        ended = runner.run(destination=destination)
        assert ended.kind == "success", ended.message
    assert store.objects() == {KEY: b"a package", "jobs/other.zip": b"a package"}


def test_a_transfer_that_breaks_goes_on_where_it_was(runner: DownloadRunner, store: Store) -> None:
    runner.pixxel.set_package(content=NEW, seconds=0)
    runner.pixxel.fail_next("download_file", truncate=PART + 1000)
    ended = runner.run(destination=store.url(KEY), storage_conn_id=CONNECTION)
    assert ended.kind == "success", ended.message
    assert store.objects() == {KEY: NEW}
    files = [seen.status for seen in runner.pixxel.counters.seen if seen.route == "download_file"]
    assert files == [200, 206]


def test_a_package_that_isnt_what_was_promised_leaves_what_was_there(
    runner: DownloadRunner, store: Store
) -> None:
    store.put(KEY, OLD)
    runner.pixxel.set_package(content=NEW, seconds=0, checksum="Repr-Digest", wrong_checksum=True)
    ended = runner.run(destination=store.url(KEY), storage_conn_id=CONNECTION)
    assert ended.kind == "PixxelDownloadError", ended.message
    assert store.objects() == {KEY: OLD}
    assert store.unfinished_uploads() == []


def test_a_zip_is_unpacked_below_a_prefix(runner: DownloadRunner, store: Store) -> None:
    members = {"a.txt": b"a", "deeper/b.bin": NEW, "deeper/c.txt": b"c" * 100}
    runner.pixxel.set_package(content=made(members), seconds=0)
    store.put("out/a.txt", b"a")
    store.put("out/neighbour.txt", OLD)
    ended = runner.run(destination=store.url("out/"), storage_conn_id=CONNECTION, unpack=True)
    assert ended.kind == "success", ended.message
    assert (ended.returned["files"], ended.returned["written"]) == (3, 2)
    unpacked = {f"out/{name}": content for name, content in members.items()}
    assert store.objects() == {**unpacked, "out/neighbour.txt": OLD}
