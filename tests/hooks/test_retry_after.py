"""Retry-After from servers whose clocks aren't ours: both clients hand on the same pause."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from pixxel_provider.api import calls
from tests.hooks.clients import connection_to
from tests.hooks.conftest import Client
from tests.loopback import Raw, RawServer, reply


@pytest.fixture
def headers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The headers with which a server turns a request away."""
    given: dict[str, str] = {}
    with RawServer() as server:
        server.answer_with(Raw(lambda _: [reply("429 Too Many Requests", **given)]))
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection_to(server))
        yield given


@pytest.mark.parametrize("ahead", [-86_400, 86_400])
@pytest.mark.parametrize("form", ["date", "seconds", "milliseconds"])
def test_a_moment_is_read_by_the_clock_of_the_server_that_names_it(
    client: Client, headers: dict[str, str], ahead: int, form: str
) -> None:
    theirs = int(time.time()) + ahead
    moment = {
        "date": formatdate(theirs + 40, usegmt=True),
        "seconds": str(theirs + 40),
        "milliseconds": str((theirs + 40) * 1000),
    }
    headers.update(date=formatdate(theirs, usegmt=True), retry_after=moment[form])
    assert client.error(calls.get_job("w", "j")).retry_after == 40


def test_a_moment_is_read_by_our_clock_where_the_server_tells_no_date(
    client: Client, headers: dict[str, str]
) -> None:
    headers["retry_after"] = str(int(time.time()) + 40)
    assert 30 <= (client.error(calls.get_job("w", "j")).retry_after or 0) <= 40
