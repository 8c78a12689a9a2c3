"""A storage host that says byte for byte what a test tells it to, and settings that lead to it."""

from __future__ import annotations

import logging
import ssl
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.clock import CLOCK
from pixxel_provider.connection import Settings
from pixxel_provider.download.checksums import PART
from pixxel_provider.download.signed_url import SignedUrl
from pixxel_provider.download.storage_client import Answer, StorageClient
from tests.loopback import Raw, RawServer, Reply, raw, reply
from tests.support import CANARY

#: Part of every signed URL of these tests; whoever finds it in what people can see has found a leak.
SIGNATURE = "51gnatur3-0f-a-s1gned-ur1"


def settings_for(base_url: str, **changes: Any) -> Settings:
    """Return the settings of a connection to an API."""
    usual: dict[str, Any] = {
        "conn_id": "pixxel_default",
        "base_url": base_url,
        "authorization": f"Bearer {CANARY}",
        "secrets": (CANARY,),
        "connect_timeout": 5.0,
        "read_timeout": 5.0,
        "verify": True,
        "proxy": None,
        "console_url": "https://aurora.pixxel.space/",
    }
    return Settings(**{**usual, **changes})


class Host(RawServer):
    """Gives its replies one by one, and none when they are used up."""

    def __init__(self, *replies: Reply, tls: ssl.SSLContext | None = None) -> None:
        self.replies = list(replies)
        super().__init__(tls=tls)
        self.url = f"{self.origin}/package?signature={SIGNATURE}"

    def __enter__(self) -> Host:
        return self

    @property
    def signed(self) -> SignedUrl:
        return SignedUrl(self.url)

    @property
    def heads(self) -> list[str]:
        return [head.decode("latin-1") for head in self.requests]

    def asked(self, header: str) -> list[str | None]:
        """Return a header's value in each request."""
        found = []
        for head in self.heads:
            pairs = (line.partition(":") for line in head.splitlines()[1:])
            values = {name.lower(): value.strip() for name, _, value in pairs}
            found.append(values.get(header.lower()))
        return found

    def _next(self) -> Raw:
        return raw(self.replies.pop(0) if self.replies else b"")


def part_from(start: int, content: bytes, **headers: str) -> bytes:
    """Return the answer with a package's bytes from one on."""
    span = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return reply("206 Partial Content", content[start:], content_range=span, **headers)


def until_nobody_is_served(pixxel: Any) -> None:
    """Wait until the simulator has noticed that a client has gone."""
    for _ in range(300):
        if not pixxel.counters.snapshot()["in_flight"]:
            return
        requests.get(f"{pixxel.url}/ping", timeout=5)
    raise AssertionError("somebody still holds a connection on which a package is sent")


def log_everything(caplog: pytest.LogCaptureFixture) -> None:
    """Have every library log all that it can."""
    for name in (None, "urllib3", "urllib3.connectionpool", "requests", "tenacity", "pixxel_provider"):
        caplog.set_level(logging.DEBUG, name)


def everything_said(error: BaseException) -> str:
    """Return all that a log could show of an exception: it, what it was made from, and its attributes."""
    found = ["".join(traceback.format_exception(error))]
    found += [f"{each} {each!r} {each.args!r} {vars(each)!r}" for each in family(error)]
    return "\n".join(found)


def locals_of(error: BaseException) -> str:
    """Return what a traceback shows that has the local variables of every frame of the package and below."""
    frames = [frame for each in family(error) for frame, _ in traceback.walk_tb(each.__traceback__)]
    below = [frame for frame in frames if "/tests/" not in frame.f_code.co_filename]
    assert below, "no frame but those of the tests"
    return "\n".join(repr(dict(frame.f_locals)) for frame in below)


def family(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, and all that hang on it, shown or not."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        left += [each.__cause__, each.__context__]


def storage_for(api: str, stall_timeout: float = 5.0, clock: Any = CLOCK, **changes: Any) -> StorageClient:
    return StorageClient(settings_for(api, **changes), stall_timeout, clock)


def parts_of(answer: Answer) -> Iterator[bytes]:
    """Yield the body as a transfer reads it, into the same memory again and again."""
    buffer = memoryview(bytearray(PART))
    while count := answer.readinto(buffer):
        yield bytes(buffer[:count])


def fetch(storage: StorageClient, url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    with storage.get(SignedUrl(url), headers or {}) as answer:
        return answer.status, b"".join(parts_of(answer))


def failure(storage: StorageClient, url: str) -> PixxelError:
    """Return the error that a URL leads to, once it is certain that it gives nothing away."""
    with pytest.raises(PixxelError) as caught:
        fetch(storage, url)
    said = everything_said(caught.value)
    assert SIGNATURE not in said
    assert "signature=" not in said
    assert CANARY not in said
    return caught.value
