"""The cluster of real parts: it replaces what ends, stays without what was killed, and leaves nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_airflow import AirflowTrouble
from local_cluster import Cluster, Services, running

from tests.cluster.conftest import eventually

SLEEPS = {"one": "cheat-sheet", "two": "triggerer"}


@pytest.fixture
def cluster(open_path: Path) -> Iterator[Cluster]:
    """A cluster of two parts, one of which ends at once."""
    found = Cluster(open_path, parts=SLEEPS)
    try:
        found.start()
        yield found
    finally:
        found.stop()
        assert found.processes() == []


def test_a_part_that_ends_is_started_again_and_one_that_was_killed_is_not(cluster: Cluster) -> None:
    eventually(lambda: [name for _, name in cluster.ended] == ["one"] * 2, "two new starts")
    cluster.kill_part("two")
    time.sleep(3)
    assert {name for _, name in cluster.ended} == {"one"}
    assert cluster.processes("airflow triggerer") == []


def test_what_fails_to_start_is_named_and_leaves_nothing(open_path: Path) -> None:
    found = Cluster(open_path, parts={"one": "cheat-sheet"})
    with pytest.raises(AirflowTrouble, match="one ended by itself"), running(found):
        pytest.fail("it can't be ready")
    assert found.processes() == []


def test_a_service_that_is_restarted_keeps_what_it_had(open_path: Path) -> None:
    import psycopg2

    services = Services(open_path)

    def ask(query: str) -> None:
        connection = psycopg2.connect(connect_timeout=5, **services.database)
        connection.autocommit = True
        connection.cursor().execute(query)
        connection.close()

    try:
        services.start()
        ask("create table kept (word text)")
        services.stop_one("postgres")
        with pytest.raises(psycopg2.OperationalError):
            ask("select * from kept")
        services.start_one("postgres")
        ask("select * from kept")
    finally:
        services.stop()
