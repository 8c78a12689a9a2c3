"""What the tests of a package's way have in common."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.download.hosting import Host
from tests.loopback import reply, server_context


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as found:
        yield found


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that holds a file, beside another that nothing may come into."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other").write_bytes(b"other")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_bytes(b"theirs")
    return tmp_path / "out"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What host names stand for, one address after another; other names are looked up as usual."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        found = known.get(host)
        if found is None:
            return real(host, port, *rest, **more)
        address = found.pop(0) if len(found) > 1 else found[0]
        return real(address, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


@pytest.fixture
def secure(certificate: Path) -> Iterator[Host]:
    with Host(reply(body=b"whole"), tls=server_context(certificate)) as found:
        yield found
