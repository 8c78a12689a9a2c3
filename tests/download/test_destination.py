"""What a DAG calls a destination becomes a place, or an error that names the argument."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.download.destination import Place, read_destination
from pixxel_provider.download.errors import PixxelDownloadError
from pixxel_provider.download.local_disk import LocalTarget
from pixxel_provider.download.object_store import StoreTarget

STORES = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "s3a": "apache-airflow-providers-amazon[s3fs]",
    "s3n": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google",
    "gcs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "abfss": "apache-airflow-providers-microsoft-azure",
    "adl": "apache-airflow-providers-microsoft-azure",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that relative paths begin in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[str | None], Any]], None]:
    """Let Airflow know a storage, as the module of a provider does; nothing of it stays."""
    for name in ("airflow.sdk.io.fs", "airflow.sdk.io", "airflow.io"):
        with contextlib.suppress(ImportError, AttributeError):
            registered = import_module(name)._register_filesystems()
            break
    else:
        pytest.fail("this release of Airflow keeps its file systems elsewhere")
    for name in ("airflow.sdk.io.store", "airflow.io.store"):
        with contextlib.suppress(ImportError, AttributeError):
            monkeypatch.setattr(f"{name}._STORE_CACHE", {})
            break

    def offered(scheme: str, make: Callable[[str | None], Any]) -> None:
        monkeypatch.setitem(registered, scheme, make)

    return offered


def refusal(given: Any, conn_id: str | None = None, *, folder: bool = False) -> PixxelInputError:
    with pytest.raises(PixxelInputError) as caught:
        read_destination(given, conn_id, folder=folder)
    return caught.value


def local(given: Any, *, folder: bool = False) -> str:
    place = read_destination(given, folder=folder)
    assert isinstance(place, LocalTarget)
    assert place.path.is_absolute()
    assert str(place) == str(place.path)
    return str(place)


# ----------------------------------------------------------------------------------------- on this machine

BRACKETS = ["s3://[b", "memory://b]", "file://[x"]
NO_PATHS = [(None, "NoneType"), (7, "int"), (b"/p", "bytes"), (["/p"], "list"), ({}, "dict"), (True, "bool")]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/data/package.zip", "/data/package.zip"),
        (Path("/data/package.zip"), "/data/package.zip"),
        (PurePosixPath("/data/package.zip"), "/data/package.zip"),
        ("file:///data/package.zip", "/data/package.zip"),
        ("local:///data/package.zip", "/data/package.zip"),
        ("/data//x/./package.zip", "/data/x/package.zip"),
        ("/data/a b.zip", "/data/a b.zip"),
        ("/data/ü/地図.zip", "/data/ü/地図.zip"),
        ("/data/100%25.zip", "/data/100%25.zip"),
        ("file:///data/100%25.zip", "/data/100%.zip"),
        ("file:///data/a%20b%2Bc.zip", "/data/a b+c.zip"),
        ("file:///data/%E5%9C%B0.zip", "/data/地.zip"),
        ("file:///data/100%.zip", "/data/100%.zip"),
        (Path("/data/a b%.zip").as_uri(), "/data/a b%.zip"),
        ("file:/data/package.zip", "/data/package.zip"),
        ("file://localhost/data/package.zip", "/data/package.zip"),
        ("FILE://LocalHost/data/package.zip", "/data/package.zip"),
        ("file:////data/package.zip", "/data/package.zip"),
        ("//data/package.zip", "/data/package.zip"),
        ("/data/../x/package.zip", "/data/../x/package.zip"),
        ("/data/s3:/b.zip", "/data/s3:/b.zip"),
        ("/data/*[a]?.zip", "/data/*[a]?.zip"),
        ("/data/a?b#c.zip", "/data/a?b#c.zip"),
        ("file:///data/a?b#c.zip", "/data/a?b#c.zip"),
        ("/data/c:d@e.zip", "/data/c:d@e.zip"),
        ("/data/{{ name }}.zip", "/data/{{ name }}.zip"),
        ("/data/$HOME/~.zip", "/data/$HOME/~.zip"),
    ],
)
@pytest.mark.parametrize("folder", [False, True])
def test_a_path_is_taken_as_it_is_written(given: Any, path: str, folder: bool) -> None:
    assert local(given, folder=folder) == path


@pytest.mark.parametrize(
    "given", ["package.zip", "./package.zip", Path("package.zip"), "deep/../package.zip"]
)
def test_a_relative_path_begins_in_the_workers_folder(here: Path, given: Any) -> None:
    assert os.path.normpath(local(given)) == str(here / "package.zip")


@pytest.mark.parametrize(
    "given",
    [
        "~/data/package.zip",
        "file://~/data/package.zip",
        "file:~/data/package.zip",
        Path("~/data/package.zip"),
    ],
)
def test_a_tilde_is_the_home_folder(here: Path, monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    monkeypatch.setenv("HOME", f"{here}/home")
    assert local(given) == f"{here}/home/data/package.zip"


def test_a_tilde_and_a_name_are_that_users_home_folder() -> None:
    assert local("~root/package.zip") == f"{os.path.expanduser('~root')}/package.zip"  # noqa: PTH111
    assert local("./~root.zip") == f"{Path.cwd()}/~root.zip"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("file://otherhost/data/package.zip", "names the machine 'otherhost'"),
        ("file://data/package.zip", "names the machine 'data'"),
        ("file://./package.zip", "names the machine '.'"),
        ("file://localhost:80/package.zip", "names the machine 'localhost:80'"),
        ("file:///~/package.zip", "file://~/ is the home folder"),
        ("file://localhost/~root/package.zip", "file://~/ is the home folder"),
        ("file:package.zip", "has no path from / on after file:"),
        ("file:///a%0Ab", "holds a line break"),
        ("file:///a%00b", "holds a line break"),
        ("file:///data%2F", "which names a folder"),
        ("file:///a%FFb", "escapes (%) that aren't UTF-8"),
        ("file://someone:51esame@localhost/x", "holds a password"),
        ("C:\\data\\package.zip", "as paths of Windows do"),
        ("c:/data/package.zip", "as paths of Windows do"),
        (" /data/package.zip", "begins or ends with a space"),
        ("s3://bucket/package.zip ", "begins or ends with a space"),
        ("s3:/bucket/package.zip", "begins with s3: and not with s3://"),
        ("s3:bucket/package.zip", "begins with s3: and not with s3://"),
        (Path("s3://bucket/package.zip"), "so give the address as text"),
        (Path("memory://bucket/package.zip"), "so give the address as text"),
        ("simplecache::memory://bucket/package.zip", "names several file systems"),
        ("https://bucket.s3.amazonaws.com/package.zip?X-Amz-Signature=51esame", "is a web address"),
        ("s3://package.zip", "has to name a bucket or container after s3://, and a key in it"),
        ("gs:///package.zip", "has to name a bucket or container after gs://"),
        (f"s3://bucket/{'x' * 1025}", "has a key of more than 1024 bytes"),
        (f"gs://bucket/{'ü' * 600}", "has a key of more than 1024 bytes"),
        ("s3://bucket/a/../package.zip", "has a step . or .."),
        ("memory://bucket/./package.zip", "has a step . or .."),
        ("abfs://account.dfs.core.windows.net/package.zip", "has to name a bucket or container"),
        (Path("/data/{{ ds }}/package.zip"), "holds a template, which isn't rendered in a PosixPath"),
        (SimpleNamespace(protocol="memory", path="b/{% if x %}"), "holds a template"),
        ("~no-such-user/x", "begins with ~, "),
        ("~backup.zip", "begins with ~, "),
        ("file://~no-such-user/x", "begins with ~, "),
        ("s3://someone:51esame@bucket/key", "put it into a connection (storage_conn_id)"),
        ("reference://b/package.zip", "and that storage can't be opened (TypeError"),
        *((f"{each}/p", "isn't a path or a URL: its brackets are wrong") for each in BRACKETS),
        *((each, f"must be a path or a URL, not {kind}") for each, kind in NO_PATHS),
    ],
)
def test_what_leads_elsewhere_is_refused_in_words(here: Path, given: Any, words: str) -> None:
    found = refusal(given)
    assert found.field == "destination"
    assert words in found.problem
    assert "51esame" not in str(found)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["run:1.zip", "x/c:/d.zip", "a::b.zip"])
def test_a_name_with_a_colon_is_a_path_all_the_same(here: Path, name: str) -> None:
    assert local(name) == f"{here}/{name}"


def test_a_place_stays_where_it_was_when_the_worker_goes_elsewhere(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = read_destination("package.zip")
    monkeypatch.chdir("/")
    file = place.file()
    file.write(b"x")
    file.commit()
    assert (here / "package.zip").read_bytes() == b"x"


def test_reading_makes_nothing_and_checks_nothing(here: Path) -> None:
    read_destination(here / "new" / "package.zip")
    read_destination(f"{here}/new/", folder=True)
    assert list(here.iterdir()) == []


def test_a_connection_is_no_hindrance_to_a_path(here: Path) -> None:
    place = read_destination(here / "package.zip", "no-such-connection")
    assert str(place) == str(here / "package.zip")


@pytest.mark.parametrize("below", ["package.zip/below", "package.zip/below/it"])
def test_a_place_below_a_file_is_found_out_when_it_is_written(here: Path, below: str) -> None:
    (here / "package.zip").write_bytes(b"")
    place = read_destination(here / below)
    assert place.size() is None
    with pytest.raises(PixxelDownloadError, match=f"{below} can't be written: "):
        place.file()


# ------------------------------------------------------------------------------------------ file or folder


@pytest.mark.parametrize(
    "given",
    [
        "/data/",
        "data/",
        "/",
        "file:///data/",
        "memory://b/",
        "s3://b/k/",
        "s3://",
        "/data/.",
        "/data/..",
        "..",
    ],
)
def test_a_folders_name_is_refused_for_a_file_before_its_storage_is_opened(given: str) -> None:
    found = refusal(given)
    assert found.field == "destination"
    assert str(found) == (
        f"destination is {given!r}, which names a folder: give the file's name too, or set unpack"
    )


@pytest.mark.parametrize(
    ("given", "path"), [("/data/", "/data"), ("/data", "/data"), ("file:///data/", "/data"), ("/", "/")]
)
def test_a_folder_may_end_in_a_slash_or_not(given: str, path: str) -> None:
    assert local(given, folder=True) == path


@pytest.mark.parametrize("given", ["memory://b/out", "memory://b/out/"])
def test_members_of_a_stored_folder_have_one_slash_before_them(memory: Any, given: str) -> None:
    place = read_destination(given, folder=True).member("deep/a.txt")
    assert isinstance(place, StoreTarget)
    assert (str(place), place.path) == ("memory://b/out/deep/a.txt", "/b/out/deep/a.txt")


# ---------------------------------------------------------------------------------------- what it can't be


@pytest.mark.parametrize(
    "given", ["", " ", "\t", "a\nb", "a\x00b", "\x1b[31m", "/data/a\r\nb", "s3://b/\x00", " \n ", "/\udcff"]
)
@pytest.mark.parametrize("folder", [False, True])
def test_nothing_and_control_characters_are_refused(given: str, folder: bool) -> None:
    found = refusal(given, folder=folder)
    assert found.field == "destination"
    assert "is empty, or holds a line break or an invalid character" in found.problem
    assert "\n" not in str(found)


# -------------------------------------------------------------------------------------------- in a storage


def test_a_storage_that_airflow_has_no_provider_for_is_taken_from_fsspec(memory: Any) -> None:
    place = read_destination("memory://bucket/deep/package.zip")
    assert isinstance(place, StoreTarget)
    assert (place.fs, place.path, str(place)) == (
        memory,
        "/bucket/deep/package.zip",
        "memory://bucket/deep/package.zip",
    )


@pytest.mark.parametrize(
    "name", ["a b.zip", "ü.zip", "a?b#c.zip", "100%25.zip", "a@b.zip", "a:b.zip", "k?", "k#", "*.zip", "[a]"]
)
def test_a_key_is_taken_as_it_is_written(memory: Any, name: str) -> None:
    place = read_destination(f"memory://b/{name}")
    file = place.file()
    file.begin()
    file.write(b"x")
    file.commit()
    assert list(memory.store) == [f"/b/{name}"]
    assert str(place) == f"memory://b/{name}"


@pytest.mark.parametrize("conn_id", [None, "minio"])
def test_a_scheme_that_nobody_knows_is_refused_by_its_name(conn_id: str | None) -> None:
    found = refusal("nosuchscheme://bucket/p", conn_id)
    assert found.field == "destination"
    assert found.problem.startswith(
        "begins with nosuchscheme://, and no installed provider offers that storage ("
    )


@pytest.mark.parametrize("scheme", STORES)
def test_a_known_storage_without_its_provider_says_what_to_install(
    offer: Callable[..., None], scheme: str
) -> None:
    def broken(conn_id: str | None) -> Any:
        raise ImportError("No module named 'its library'")

    offer(scheme, broken)
    found = refusal(f"{scheme}://bucket/p", "a-connection")
    assert found.field == "destination"
    assert (
        f"begins with {scheme}://, and no installed provider offers that storage; install " in found.problem
    )
    assert f"install {STORES[scheme]} (No module named 'its library')" in found.problem


def test_a_storage_is_opened_with_the_connection_that_is_given(
    offer: Callable[..., None], memory: Any
) -> None:
    asked: list[str | None] = []
    offer("vault", lambda conn_id: asked.append(conn_id) or memory)
    places: list[Place] = [
        read_destination("vault://bucket/p", "given"),
        read_destination("vault://before@bucket/p"),
        read_destination("vault://before@bucket/p", "both"),
        read_destination("vault://bucket/p"),
        read_destination(SimpleNamespace(protocol="vault", path="bucket/p", conn_id="of-the-path")),
        read_destination(SimpleNamespace(protocol="vault", path="/bucket/p", conn_id="x"), "instead"),
    ]
    assert asked == ["given", "before", "both", None, "of-the-path", "instead"]
    assert {str(place) for place in places} == {"vault://bucket/p"}


class Account(fsspec.get_filesystem_class("memory")):  # type: ignore[misc]
    """As much of Azure's file system as counts here."""

    cachable = False
    account_name = "acc"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        assert "//" not in path
        return path


@pytest.mark.parametrize("scheme", ["abfs", "abfss", "az", "wasb", "wasbs"])
@pytest.mark.parametrize(
    "suffix", ["dfs.core.windows.net", "blob.core.windows.net", "dfs.fabric.microsoft.com"]
)
def test_the_long_form_of_azure_names_container_and_account(
    offer: Callable[..., None], scheme: str, suffix: str
) -> None:
    asked: list[str | None] = []
    for name in ("abfs", "abfss"):
        offer(name, lambda conn_id: asked.append(conn_id) or Account())
    long = f"{scheme}://results@acc.{suffix}/jobs/package.zip"
    places = [
        read_destination(long, "given"),
        read_destination(long),
        read_destination(long.replace("://", "://before@")),
    ]
    assert asked == ["given", None, "before"]
    for place in places:
        assert isinstance(place, StoreTarget)
        assert (place.path, str(place)) == ("results/jobs/package.zip", long)
    short = read_destination(f"{scheme}://before@results/jobs/package.zip")
    assert isinstance(short, StoreTarget)
    assert (short.path, str(short)) == ("results/jobs/package.zip", f"{scheme}://results/jobs/package.zip")


def test_an_account_that_isnt_the_connections_is_refused(offer: Callable[..., None]) -> None:
    offer("abfs", lambda conn_id: Account())
    found = refusal("abfs://results@other.dfs.core.windows.net/package.zip", "given")
    assert found.problem == "names the account 'other', and the connection leads to 'acc'"


def test_a_name_that_the_library_reads_otherwise_is_refused(offer: Callable[..., None], memory: Any) -> None:
    class Cut(type(memory)):  # type: ignore[misc]
        cachable = False

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path.partition("://")[2].partition("#")[0]

    offer("vault", lambda conn_id: Cut())
    assert str(read_destination("vault://b/a.zip")) == "vault://b/a.zip"
    assert "is read as 'b/a' by the storage's library" in refusal("vault://b/a#1.zip").problem


def test_a_storage_of_fsspec_gets_the_host_from_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    place = read_destination("webhdfs://namenode:1/data/package.zip")
    assert isinstance(place, StoreTarget)
    assert place.path == "/data/package.zip"
    assert "namenode:1" in place.fs.url


def test_an_undefined_connection_is_named_by_the_argument_it_came_in(offer: Callable[..., None]) -> None:
    def missing(conn_id: str | None) -> Any:
        raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined, and more that nobody needs")

    offer("vault", missing)
    for found in (refusal("vault://bucket/p", "no-such"), refusal("vault://no-such@bucket/p")):
        assert found.field == "storage_conn_id"
        assert found.problem == "is 'no-such', and no such connection is defined"
        assert found.__cause__ is None


def test_with_a_connection_no_other_storage_of_that_name_is_taken(memory: Any) -> None:
    # fsspec knows one, which would go without the connection's key.
    assert refusal("memory://bucket/p", "a-connection").field == "destination"


@pytest.mark.parametrize("protocol", ["file", "local", ""])
def test_an_object_storage_path_of_a_disk_is_a_path(protocol: str) -> None:
    assert local(SimpleNamespace(protocol=protocol, path="/data/p", conn_id=None)) == "/data/p"
