"""Real storage providers of Airflow, and the servers that stand for what they talk to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pixxel_provider.download.destination import read_destination
from pixxel_provider.download.object_store import StoreTarget
from tests.operators.fetching import DownloadRunner
from tests.stores.emulators import BUCKET, EMULATORS, Emulator, connection_json, running

CONNECTION = "results_store"


class Store:
    """A bucket in one of them, empty at the start of each test."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.fs: Any = self.place("any").fs

    def url(self, key: str, bucket: str = BUCKET) -> str:
        return self.emulator.url(key, bucket)

    def place(self, key: str, bucket: str = BUCKET) -> StoreTarget:
        found = read_destination(self.url(key, bucket), CONNECTION)
        assert isinstance(found, StoreTarget)
        return found

    def objects(self) -> dict[str, bytes]:
        """Return all that anybody sees in the bucket."""
        self.fs.invalidate_cache()
        return {name.removeprefix(f"{BUCKET}/"): self.fs.cat_file(name) for name in self.fs.find(BUCKET)}

    def buckets(self) -> set[str]:
        self.fs.invalidate_cache()
        return {name.strip("/") for name in self.fs.ls("")}

    def put(self, key: str, content: bytes) -> None:
        self.fs.pipe_file(f"{BUCKET}/{key}", content)

    def empty(self) -> None:
        self.fs.invalidate_cache()
        if BUCKET not in self.buckets():
            self.fs.mkdir(BUCKET)
        for name in self.fs.find(BUCKET):
            self.fs.rm_file(name)
        for upload in self.unfinished_uploads():
            named = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            self.fs.call_s3("abort_multipart_upload", Bucket=BUCKET, **named)

    def unfinished_uploads(self) -> list[Any]:
        """Return what S3 would go on billing for; the others forget by themselves what nobody completes."""
        if self.emulator.scheme != "s3":
            return []
        return list(self.fs.call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads", ()))


@pytest.fixture(scope="session", params=EMULATORS)
def emulator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(request.param, tmp_path_factory.mktemp("emulator")) as found:
        yield found


@pytest.fixture
def store(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", connection_json(emulator))
    found = Store(emulator)
    found.empty()
    return found


@pytest.fixture
def runner(pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> DownloadRunner:
    return DownloadRunner("worker", pixxel, monkeypatch)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    # Each request of the libraries is a page of its own in the log of a failed test.
    for name in ("azure", "botocore", "aiobotocore", "s3fs", "gcsfs", "moto"):
        logging.getLogger(name).setLevel(logging.ERROR)
