"""TLS means the same through both clients: what is trusted, what isn't, and how that is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider.api import calls
from pixxel_provider.hooks.pixxel import PixxelHook
from tests.loopback import RawServer, reply, server_context
from tests.support import CANARY


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[str]:
    with RawServer(tls=server_context(certificate)) as running:
        running.answer_with(reply(body=b'"pong"'))
        yield running.origin


@pytest.fixture
def connect(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_connection(verify: Any) -> None:
        connection = {"conn_type": "pixxel", "host": server, "password": CANARY, "extra": {"verify": verify}}
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps(connection))

    return set_connection


def test_a_certificate_that_no_authority_signed_is_refused(connect: Any, both: Any) -> None:
    connect(True)
    sync, asynchronous = both(lambda client: client.error(calls.ping()))
    assert sync.fields() == asynchronous.fields()
    assert (sync.reason, sync.sent) == ("tls", False)
    assert "the certificate isn't trusted" in str(sync)
    works, words = PixxelHook().test_connection()
    assert not works
    assert "TLS: the certificate isn't trusted" in words


def test_a_ca_bundle_of_the_connection_is_trusted(connect: Any, client: Any, certificate: Path) -> None:
    connect(str(certificate))
    assert client.send(calls.ping()) == "pong"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(("verify", "from_environment"), [(False, False), (True, True)])
def test_verification_can_be_switched_off_or_use_the_environments_bundle(
    connect: Any, client: Any, certificate: Path, monkeypatch: Any, verify: bool, from_environment: bool
) -> None:
    if from_environment:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    connect(verify)
    assert client.send(calls.ping()) == "pong"


def test_a_folder_of_certificates_is_taken_too(connect: Any, client: Any, certificate: Path) -> None:
    # Without the hashed names that OpenSSL looks for, the folder holds nothing it knows.
    connect(str(certificate.parent))
    assert client.error(calls.ping()).reason == "tls"


def test_a_bundle_that_can_not_be_read_now_is_a_transient_error(
    connect: Any, client: Any, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("half of a cert")
    connect(str(bundle))
    error = client.error(calls.ping())
    assert (type(error).__name__, error.transient) == ("PixxelConnectionError", True)
