from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import PixxelError
from pixxel_provider.hooks.pixxel import PixxelAsyncHook, PixxelHook


@dataclass
class Client:
    """One of the two hooks, asked the same way; ``pauses`` holds what it slept between tries."""

    kind: str
    pauses: list[float]

    def send(self, call: Call[Any], patience: float = 0, conn_id: str = "pixxel_default") -> Any:
        return self.send_all([call], patience, conn_id)[0]

    def send_all(
        self, calls: list[Call[Any]], patience: float = 0, conn_id: str = "pixxel_default"
    ) -> list[Any]:
        if self.kind == "sync":
            hook = PixxelHook(conn_id)
            hook._pause = self.pauses.append
            try:
                return [hook.send(call, patience=patience) for call in calls]
            finally:
                hook.close()

        async def ask() -> list[Any]:
            hook = PixxelAsyncHook(conn_id)
            hook._pause = self._pause
            return [await hook.send(call, patience=patience) for call in calls]

        return asyncio.run(ask())

    def error(self, call: Call[Any], **options: Any) -> PixxelError:
        with pytest.raises(PixxelError) as caught:
            self.send(call, **options)
        return caught.value

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Client:
    """Both hooks in turn: whatever is tested through this holds for each."""
    return Client(request.param, [])


@pytest.fixture
def both() -> Callable[[Callable[[Client], Any]], tuple[Any, Any]]:
    """Do the same through both hooks and return both results."""
    return lambda do: (do(Client("sync", [])), do(Client("async", [])))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody but its own file vouches for, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pixxel test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(built.public_bytes(serialization.Encoding.PEM) + pem)
    return file
