"""Whatever bytes a server or a gateway sends, both clients make the same of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tests.hooks.answers import ALIKE, CALL, JOB, TABLE, TRANSIENT
from tests.hooks.rawserver import CLIENTS, Asking, Outcome, RawServer, connection_to
from tests.support import CANARY

#: Seconds for each time-out of the connection, of which an exchange has four.
STEP = 0.5
#: Seconds that an exchange may take longer than it should, on a machine that is busy.
MARGIN = 2.5

ROWS = [
    pytest.param(answer, expected, id=f"{group}: {name}")
    for group, rows in TABLE.items()
    for name, answer, expected in rows
]


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as running:
        yield running


@pytest.fixture(scope="module")
def evil(server: RawServer) -> Iterator[list[RawServer]]:
    """Servers that must hear nothing: on another port, and on the same one of another address."""
    with RawServer() as beside, RawServer("127.0.0.2", server.port) as other:
        yield [beside, other]
        assert not beside.requests
        assert not other.requests
        assert not beside.connections
        assert not other.connections


@pytest.fixture(autouse=True)
def _connect(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection_to(server, STEP))


@pytest.fixture
def ask(server: RawServer) -> Iterator[Callable[..., dict[str, list[Outcome]]]]:
    """Give both clients the same answers; each has to come to an end in time."""

    def both(*answers: Any, sent: Iterable[Any] = (CALL,)) -> dict[str, list[Outcome]]:
        found = {}
        for name, client in CLIENTS.items():
            server.answer_with(*answers)
            asking = Asking(lambda client=client: client(list(sent)))  # type: ignore[misc]
            found[name] = asking.result(len(list(sent)) * (4 * STEP + MARGIN))
            for outcome in found[name]:
                assert not outcome.kind.startswith("foreign"), f"{name}: {outcome}"
                assert CANARY not in repr(outcome), f"the {name}'s client shows the key"
        return found

    yield both
    server.hang_up()


def assert_alike(found: dict[str, list[Outcome]]) -> list[Outcome]:
    worker, triggerer = found["worker"], found["triggerer"]
    assert worker == triggerer
    assert [outcome.gist for outcome in worker] == [outcome.gist for outcome in triggerer]
    return worker


def assert_expected(outcome: Outcome, expected: str) -> None:
    if expected == "job":
        assert outcome.answer == JOB, outcome
    elif expected == TRANSIENT:
        assert outcome.transient, outcome
    elif expected != ALIKE:
        assert outcome.kind == expected, outcome


@pytest.mark.parametrize(("answer", "expected"), ROWS)
def test_both_clients_make_the_same_of_an_answer(ask: Any, answer: Any, expected: str) -> None:
    (outcome,) = assert_alike(ask(answer))
    assert_expected(outcome, expected)
