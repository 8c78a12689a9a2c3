"""Checkpoints that a release stored lead to the job that was paid for: none is created beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pixxel_provider.job_creation.checkpoint import KEY
from tests.upgrades.recorded import RELEASES, Stored, Upgraded, decoded, end_state, make_jobs

CHECKPOINTS = [
    pytest.param(Stored(release, row), id=f"{release.version}-{state}")
    for release in RELEASES
    for state, row in release.rows("checkpoints").items()
]


def value(row: Stored) -> dict[str, Any]:
    """Return the record as Airflow hands it over."""
    found = decoded(row.row["value"])
    return json.loads(found) if isinstance(found, str) else found


def upgraded(row: Stored, pixxel: Any, monkeypatch: pytest.MonkeyPatch) -> Upgraded:
    """Return the next try of the task instance, with its checkpoint, shortly after that was stored."""
    record = value(row)
    player = Upgraded(row, pixxel, monkeypatch, began=record["began_at"] + 1, xcoms="xcoms_deferred")
    make_jobs(row.release, pixxel, **row.key)
    player.clock.sleep(30)
    player.ti.xcoms = {}
    player.ti.try_number, player.ti.max_tries, player.ti.task.retries = 2, 1, 1
    player.store.values[row.row["key"]] = json.dumps(record)
    return player


@pytest.mark.parametrize("row", CHECKPOINTS)
def test_the_next_try_takes_the_job_of_the_checkpoint(
    row: Stored, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert row.row["key"] == KEY
    state = value(row)["state"]
    player = upgraded(row, pixxel, monkeypatch)
    if state == "unconfirmed":
        # There is none; the answer to the request was lost, and so a person is asked once more.
        ended = player.run()
        assert (ended.kind, end_state(ended)) == ("PixxelUnconfirmedJobError", "failed")
    else:
        ended = player.run()
        assert end_state(ended) == "success", ended
        assert ended.xcoms["job_id"] == ended.returned["id"] == row.xcoms()["job_id"]
    assert pixxel.requests("create_job") == 0


@pytest.mark.parametrize("row", [each for each in CHECKPOINTS if each.id.endswith("-done")])
def test_a_clearing_after_the_end_creates_one_job(
    row: Stored, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = upgraded(row, pixxel, monkeypatch)
    player.ti.max_tries, player.ti.try_number = value(row)["attempt"] + 1, value(row)["attempt"] + 1
    ended = player.run()
    assert end_state(ended) == "success", ended
    assert ended.xcoms["job_id"] != row.xcoms()["job_id"]
    assert pixxel.requests("create_job") == 1
