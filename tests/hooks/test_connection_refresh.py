"""While requests fail, the connection is read again at intervals, as a person may correct it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider.api import calls
from pixxel_provider.api.errors import (
    PixxelAuthError,
    PixxelConnectionError,
    PixxelError,
    PixxelInputError,
    PixxelRateLimitError,
    PixxelServerError,
)
from pixxel_provider.hooks.connection_refresh import ConnectionRefresh
from pixxel_provider.hooks.pixxel import PixxelAsyncHook, PixxelHook
from tests.hooks.answers import sized
from tests.loopback import Part, Raw, RawServer, reply, server_context
from tests.support import CANARY, FakeClock
from tests.vault import Vault

JOB = calls.get_job("wf-succeeds", "job-finished")
REFUSED = PixxelConnectionError("refused", reason="refused", sent=False)


class Hook:
    """One of the two hooks over a time in which each request takes a second."""

    def __init__(self, kind: str, vault: type[Vault]) -> None:
        self.clock, self.vault = FakeClock(), vault
        self.loop = asyncio.new_event_loop()
        make = PixxelHook if kind == "sync" else PixxelAsyncHook
        self.hook: Any = make("in_vault", clock=self.clock)
        self.kind = kind

    def ask(self, call: Any = JOB, retry_for: float = 0) -> Any:
        self.clock.now += 1
        try:
            if self.kind == "sync":
                return self.hook.send(call, retry_for=retry_for)
            return self.loop.run_until_complete(self.hook.send(call, retry_for=retry_for))
        except PixxelError as error:
            return error

    @property
    def read(self) -> int:
        return len(self.vault.asked)


@pytest.fixture(params=["sync", "async"])
def hook(request: pytest.FixtureRequest, vault: type[Vault]) -> Any:
    found = Hook(request.param, vault)
    yield found
    found.loop.run_until_complete(found.loop.shutdown_asyncgens())
    found.loop.close()


def connection(host: str, key: str = CANARY, **extra: Any) -> str:
    return json.dumps({"conn_type": "pixxel", "host": host, "password": key, "extra": extra})


BROKEN = {
    "host": lambda url: connection("http://127.0.0.1:9"),
    "no such host": lambda url: connection("no-such-host.invalid"),
    "proxy": lambda url: connection(url, proxy="http://127.0.0.1:9"),
    "key": lambda url: connection(url, "yesterdays-key"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_corrected_connection_is_used(hook: Hook, pixxel: Any, vault: type[Vault], what: str) -> None:
    vault.values["in_vault"] = BROKEN[what](pixxel.url)
    for _ in range(5):
        assert isinstance(hook.ask(), PixxelError)
    vault.values["in_vault"] = pixxel.connection_json()
    for _ in range(60):
        found = hook.ask()
        if not isinstance(found, PixxelError):
            break
    assert found.status == "completed"


def test_it_is_not_read_at_each_request(hook: Hook, vault: type[Vault]) -> None:
    vault.values["in_vault"] = connection("http://127.0.0.1:9")
    for _ in range(600):
        assert hook.ask().reason == "refused"
    # At first, after 1, 2, 3, 5, 8, ... seconds, and then once a minute.
    assert hook.read == 20


def test_it_is_read_once_where_nothing_fails(hook: Hook) -> None:
    for _ in range(50):
        assert hook.ask().status == "completed"
    assert hook.read == 1


def test_a_429_is_no_reason_to_read_it_again(hook: Hook, pixxel: Any) -> None:
    pixxel.fail_next("get_job", status=429, times=0)
    for _ in range(50):
        assert isinstance(hook.ask(), PixxelRateLimitError)
    assert hook.read == 1


def test_a_corrected_connection_is_used_within_one_call(hook: Hook, pixxel: Any, vault: type[Vault]) -> None:
    vault.values["in_vault"] = connection("http://127.0.0.1:9")
    slept = []

    def mend(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            vault.values["in_vault"] = pixxel.connection_json()

    hook.clock.on_sleep.append(mend)
    assert hook.ask(retry_for=120).status == "completed"


def test_a_vault_that_is_away_leaves_what_was_read_in_use(
    hook: Hook, pixxel: Any, vault: type[Vault]
) -> None:
    hook.ask()
    pixxel.fail_next("get_job", status=503, times=5)
    vault.away = True
    for _ in range(5):
        assert isinstance(hook.ask(), PixxelServerError)
    assert hook.ask().status == "completed"
    assert hook.read > 1


@pytest.mark.parametrize("why", ["away", "deleted", "undecodable"])
def test_whether_a_key_was_changed_is_not_known_while_the_connection_can_not_be_read(
    hook: Hook, pixxel: Any, vault: type[Vault], why: str
) -> None:
    vault.values["in_vault"] = BROKEN["key"](pixxel.url)
    assert isinstance(hook.ask(), PixxelAuthError)
    good = vault.values["in_vault"]
    hook.clock.now += 600
    if why == "away":
        vault.away = True
    elif why == "deleted":
        del vault.values["in_vault"]
    else:
        vault.values["in_vault"] = '{"conn_type": '
    for _ in range(3):
        answer = hook.ask()
        hook.clock.now += 600
        # A wait takes the second for what may pass, too.
        assert isinstance(answer, PixxelConnectionError if why == "away" else PixxelInputError)
    vault.away = False
    vault.values["in_vault"] = good
    assert isinstance(hook.ask(), PixxelAuthError)
    vault.values["in_vault"] = pixxel.connection_json()
    assert hook.ask().status == "completed"


def test_a_refused_creation_is_sent_again_once_the_connection_can_be_read(
    hook: Hook, pixxel: Any, vault: type[Vault]
) -> None:
    vault.values["in_vault"] = BROKEN["key"](pixxel.url)
    create = calls.create_job("wf-succeeds", "project-agriculture")
    assert isinstance(hook.ask(create), PixxelAuthError)
    hook.clock.now += 600

    def come_back(_: float) -> None:
        vault.away = False
        vault.values["in_vault"] = pixxel.connection_json()

    vault.away = True
    hook.clock.on_sleep.append(come_back)
    created = hook.ask(create, retry_for=60)
    assert pixxel.bill().jobs == (created.id,)


def knows(key: str) -> Raw:
    """Answer with a job to who has this key, and with 401 to others."""

    def answer(head: bytes) -> list[Part]:
        if f"\r\nauthorization: bearer {key}\r\n".encode() in head.lower():
            return [sized()]
        return [reply("401 Unauthorized", b'{"error": {"message": "who are you?"}}')]

    return Raw(answer)


class TestTls:
    """Beside the key, what the session was made with has to count anew."""

    @pytest.fixture
    def served(self, certificate: Path) -> Iterator[RawServer]:
        with RawServer(tls=server_context(certificate)) as server:
            yield server

    @pytest.mark.parametrize(
        ("changes", "reason"), [({"verify": "true"}, "tls"), ({"proxy": "http://127.0.0.1:9"}, "proxy")]
    )
    def test_after_a_new_key_its_certificates_and_its_proxy_count_too(
        self,
        hook: Hook,
        vault: type[Vault],
        served: RawServer,
        certificate: Path,
        changes: dict[str, str],
        reason: str,
    ) -> None:
        trusting = {"verify": str(certificate)}
        served.answer_with(knows("old"))
        vault.values["in_vault"] = connection(served.origin, "old", **trusting)
        assert hook.ask().status == "completed"
        served.answer_with(knows("new"))
        vault.values["in_vault"] = connection(served.origin, "new", **{**trusting, **changes})
        assert hook.ask().reason == reason

    def test_a_file_of_certificates_that_is_written_anew_is_read_anew(
        self, hook: Hook, vault: type[Vault], served: RawServer, certificate: Path, tmp_path: Path
    ) -> None:
        import certifi

        served.answer_with(knows("any"))
        bundle = tmp_path / "bundle.pem"
        shutil.copy(certifi.where(), bundle)
        vault.values["in_vault"] = connection(served.origin, "any", verify=str(bundle))
        for _ in range(3):
            assert hook.ask().reason == "tls"
        shutil.copy(certificate, bundle)
        hook.clock.now += 60
        assert hook.ask().status == "completed"


class TestRule:
    def read_at(self, outcomes: list[PixxelError | None], every: float) -> list[float]:
        refresh, found = ConnectionRefresh(), []
        refresh.was_read(0)
        for number, outcome in enumerate(outcomes):
            now = number * every
            if refresh.due(now):
                found.append(now)
                refresh.was_read(now)
            refresh.ended(now, outcome)
        return found

    def test_gaps_grow_up_to_a_minute(self) -> None:
        assert self.read_at([REFUSED] * 300, 1) == [1, 2, 3, 5, 8, 12, 18, 27, 41, 62, 93, 140, 200, 260]

    def test_one_of_many_that_fails_again_and_again_is_no_reason_to_read_at_each(self) -> None:
        """As where one job of a shared poll is missing."""
        assert len(self.read_at([REFUSED, None] * 300, 0.5)) <= 15

    def test_who_asks_seldom_reads_each_time(self) -> None:
        assert self.read_at([None, REFUSED, REFUSED, REFUSED], 90) == [180, 270]

    def test_the_second_401_in_a_row_is_as_seldom(self) -> None:
        refused = PixxelAuthError("no", status_code=401)
        refresh = ConnectionRefresh()
        refresh.was_read(0)
        assert refresh.due_at_401(1)
        refresh.was_read(1)
        refresh.ended(1, refused)
        assert not refresh.due_at_401(1.5)
        assert refresh.due_at_401(2)
        refresh.ended(1.6, REFUSED)
        assert refresh.due_at_401(1.7)
