"""Runs and downloads whose Airflow connection can't be read, or is mended, in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.operators.fetching import DownloadRunner
from tests.operators.running import RunRunner
from tests.support import CANARY, FakeClock, FakeTaskInstance
from tests.vault import Vault

PACKAGE = b"all that the job has made"


def away_from(step: str, runner: RunRunner, vault: type[Vault]) -> None:
    """Let the vault be away as soon as a run has come so far."""

    def seen(at: str) -> bool:
        vault.away = vault.away or at == step
        return False

    runner.kill = seen


@pytest.fixture(params=["poke", "reschedule", "deferred"])
def runner(
    request: pytest.FixtureRequest, pixxel: Any, vault: type[Vault], monkeypatch: pytest.MonkeyPatch
) -> RunRunner:
    monkeypatch.setattr("pixxel_provider.operators.run.HAS_TASK_STATE_STORE", True)
    return RunRunner(request.param, pixxel, FakeClock(), monkeypatch, FakeTaskInstance(), retries=0)


def test_a_run_whose_vault_goes_away_with_the_creation_is_not_lost(
    runner: RunRunner, pixxel: Any, vault: type[Vault]
) -> None:
    away_from("before create_job", runner, vault)
    back = runner.clock.now + 1000

    def come_back(_: float) -> None:
        if runner.clock.now > back:
            runner.kill = lambda _: False
            vault.away = False

    runner.clock.on_sleep.append(come_back)
    ended = runner.run(pixxel_conn_id="in_vault", timeout=7200, poke_interval=60)
    assert ended.kind == "success", ended.message
    assert pixxel.requests("create_job") == 1
    assert pixxel.bill().jobs == (ended.returned["id"],)


def test_where_nothing_is_remembered_it_is_not_lost_either(
    pixxel: Any, vault: type[Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = RunRunner("poke", pixxel, FakeClock(), monkeypatch, FakeTaskInstance(), retries=2, store=False)
    away_from("before create_job", runner, vault)
    ended = runner.run(pixxel_conn_id="in_vault", timeout=7200, poke_interval=60)
    assert ended.kind == "success", ended.message
    assert pixxel.bill().jobs == (ended.returned["id"],)
    assert runner.workers == 1
    assert len(vault.asked) == 1


def test_a_run_reads_its_connection_once(runner: RunRunner, vault: type[Vault]) -> None:
    runner.run(pixxel_conn_id="in_vault")
    # A look of reschedule mode is a process of its own; so is a triggerer.
    processes = runner.workers + (1 if runner.mode == "deferred" else 0)
    assert len(vault.asked) <= processes


def test_a_run_that_can_not_read_its_connection_at_the_start_creates_nothing(
    runner: RunRunner, pixxel: Any, vault: type[Vault]
) -> None:
    vault.away = True
    ended = runner.run(pixxel_conn_id="in_vault", soft_fail=True)
    assert ended.kind == "PixxelConnectionError"
    assert pixxel.requests() == 0


def test_a_killed_run_names_its_job_without_a_connection(
    runner: RunRunner, vault: type[Vault], pixxel: Any
) -> None:
    operator = runner.operator(pixxel_conn_id="in_vault")
    operator._context = {"ti": runner.ti}
    operator._hook = operator._open_hook()
    operator.job_id = "job-1"
    vault.away = True
    operator.on_kill()
    assert any("job-1" in words and "is billed" in words for words in runner.said)


@pytest.fixture(params=["worker", "deferred"])
def download(
    request: pytest.FixtureRequest, pixxel: Any, vault: type[Vault], monkeypatch: pytest.MonkeyPatch
) -> DownloadRunner:
    pixxel.set_package(content=PACKAGE, seconds=300)
    return DownloadRunner(request.param, pixxel, monkeypatch)


def test_a_download_outlives_a_vault_that_is_away(
    download: DownloadRunner, vault: type[Vault], tmp_path: Path
) -> None:
    began = download.clock.now

    def change(_: float) -> None:
        vault.away = 60 < download.clock.now - began < 900

    download.clock.on_sleep.append(change)
    ended = download.run(destination=str(tmp_path / "package"), pixxel_conn_id="in_vault", timeout=7200)
    assert ended.kind == "success", ended.message
    assert (tmp_path / "package").read_bytes() == PACKAGE


def test_a_worker_that_takes_a_download_over_without_a_connection_defers_again(
    pixxel: Any, vault: type[Vault], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pixxel.set_package(content=PACKAGE, seconds=300)
    download = DownloadRunner("deferred", pixxel, monkeypatch)
    triggerer = download._triggerer

    def then_away(*given: Any) -> Any:
        # The trigger has just said that the package is ready; the worker comes too early, once.
        vault.away = False
        resume = triggerer(*given)
        vault.away = len(download.deferrals) == 1
        return resume

    monkeypatch.setattr(download, "_triggerer", then_away)
    ended = download.run(destination=str(tmp_path / "package"), pixxel_conn_id="in_vault", timeout=7200)
    assert ended.kind == "success", ended.message
    assert len(download.deferrals) == 2
    assert download.lines("the secrets backend Vault raised ConnectionError")


@pytest.mark.parametrize("what", ["host", "proxy"])
def test_a_download_hears_of_a_connection_that_is_mended(
    download: DownloadRunner, pixxel: Any, vault: type[Vault], tmp_path: Path, what: str
) -> None:
    good, began = vault.values["in_vault"], download.clock.now
    nowhere = "http://127.0.0.1:9"
    broken = {"host": nowhere} if what == "host" else {"host": pixxel.url, "extra": {"proxy": nowhere}}
    vault.values["in_vault"] = json.dumps({"conn_type": "pixxel", "password": CANARY, **broken})

    def mend(_: float) -> None:
        if download.clock.now - began > 900:
            vault.values["in_vault"] = good

    download.clock.on_sleep.append(mend)
    ended = download.run(destination=str(tmp_path / "package"), pixxel_conn_id="in_vault", timeout=7200)
    assert ended.kind == "success", ended.message
    assert download.clock.now - began < 900 + 500
    assert len(vault.asked) < 40
