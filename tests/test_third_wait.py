"""A third kind of thing to wait for is a judge, a call and a sensor; it behaves like the others."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, BaseSensorOperator, TaskDeferred

from pixxel_provider.api.calls import Call, check_id
from pixxel_provider.api.errors import PixxelError, PixxelInputError, PixxelResponseError
from pixxel_provider.api.models import read_list
from pixxel_provider.api.polling import Poll, PollResult
from pixxel_provider.api.status import Verdict
from pixxel_provider.outcome import PixxelJobFailedError
from pixxel_provider.waiting.sensor import PixxelWaitingSensor
from tests.hooks.answers import sized
from tests.loopback import RawServer
from tests.support import CANARY, FakeClock, FakeTaskInstance, RecordingLog

# ------------------------------------------------------------------------------------------ the definition


@dataclass(frozen=True)
class Delivery:
    status: str


def get_delivery(delivery_id: str) -> Call[Delivery]:
    """One delivery of a catalog, as the list filtered for it has it."""

    def read(answer: Any) -> Delivery:
        found = read_list(answer, "deliveries", lambda entry: Delivery(str(entry.get("status"))))
        if len(found) != 1:
            raise PixxelResponseError(f"expected one delivery, got {len(found)}")
        return found[0]

    params = {"delivery_id": check_id("delivery_id", delivery_id)}
    return Call("get_delivery", "GET", "/v0/catalogs/deliveries", read, params)


@dataclass(frozen=True)
class DeliveryPoll(Poll[Delivery]):
    delivery_id: str

    @property
    def name(self) -> str:
        return f"Pixxel delivery {self.delivery_id}"

    def call(self) -> Call[Delivery]:
        return get_delivery(self.delivery_id)

    def result(self, delivery: Delivery) -> PollResult | None:
        verdict = self.rules.verdict(delivery.status, ended=False)
        if verdict is Verdict.WAITING:
            return None
        return PollResult(verdict.value, f"{self.name} has ended: {delivery.status}", vars(delivery))


class DeliverySensor(PixxelWaitingSensor):
    template_fields = ("delivery_id", "pixxel_conn_id")

    def __init__(self, *, delivery_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.delivery_id = delivery_id

    def make_poll(self) -> DeliveryPoll:
        return DeliveryPoll(self.delivery_id)


# ----------------------------------------------------------------------------------------------- the tests


def delivery(status: str) -> bytes:
    return sized(json.dumps({"deliveries": [{"id": "d-1", "status": status}]}).encode())


@dataclass
class Waits:
    """Plays Airflow for a sensor of deliveries, with a server on the loopback."""

    server: RawServer
    clock: FakeClock
    deferrable: bool
    said: list[str]
    triggers: list[Any]

    def run(self, **arguments: Any) -> Any:
        usual = {"task_id": "wait", "delivery_id": "d-1", "deferrable": self.deferrable, "timeout": 600}
        task, context = DeliverySensor(**{**usual, **arguments}), {"ti": FakeTaskInstance()}
        try:
            return task.execute(context)  # type: ignore[arg-type]
        except TaskDeferred as deferral:
            event = asyncio.run(self.first_event(*deferral.trigger.serialize()))
            method, known = deferral.method_name, {"event": event}
            return task.resume_execution(method, known, context)  # type: ignore[arg-type]

    async def first_event(self, path: str, stored: dict[str, Any]) -> Any:
        module, _, name = path.rpartition(".")
        trigger = getattr(import_module(module), name)(**json.loads(json.dumps(stored)))
        trigger.clock = self.clock
        self.triggers.append(trigger)
        return json.loads(json.dumps((await anext(trigger.run())).payload, allow_nan=False))


@pytest.fixture(params=["poke", "deferred"])
def waits(
    request: pytest.FixtureRequest, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Waits]:
    fake_time = SimpleNamespace(sleep=clock.sleep, monotonic=clock, time=clock)
    monkeypatch.setattr(sys.modules[BaseSensorOperator.__module__], "time", fake_time)
    clock.put_in(monkeypatch)
    said: list[str] = []
    monkeypatch.setattr(DeliverySensor, "log", RecordingLog(said))
    monkeypatch.setattr("pixxel_provider.triggers.base.PixxelWaitTrigger.log", RecordingLog(said))
    with RawServer() as server:
        connection = {"conn_type": "pixxel", "host": server.origin, "password": CANARY}
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps(connection))
        yield Waits(server, clock, request.param == "deferred", said, [])


BUSY = sized(b"{}", status=b"HTTP/1.1 503 Busy")


def test_it_waits_through_errors_until_it_has_ended(waits: Waits) -> None:
    waits.server.answer_with(delivery("CREATED"), BUSY, delivery("IN_PROGRESS"), delivery("SUCCESS"))
    assert waits.run() == {"status": "SUCCESS"}
    assert len(waits.triggers) == (1 if waits.deferrable else 0)
    assert len(waits.server.requests) == 4
    assert all(
        line.startswith(b"GET /v0/catalogs/deliveries?delivery_id=d-1 ") for line in waits.server.requests
    )
    assert "info: Pixxel delivery d-1 can be read again" in waits.said
    assert waits.said[-2:] == [
        "info: Pixxel delivery d-1 is IN_PROGRESS",
        "info: Pixxel delivery d-1 has ended: SUCCESS",
    ]


def test_a_failure_fails_the_task_or_skips_it(waits: Waits) -> None:
    for kind, arguments in ((PixxelJobFailedError, {}), (AirflowSkipException, {"soft_fail": True})):
        waits.server.answer_with(delivery("CREATED"), delivery("FAILED"))
        with pytest.raises(kind, match="Pixxel delivery d-1 has ended: FAILED"):
            waits.run(**arguments)


def test_the_deadline_ends_it(waits: Waits) -> None:
    waits.server.answer_with(delivery("IN_PROGRESS"))
    began = waits.clock.now
    words = "delivery d-1 had not ended when the timeout of 600 s was over; it was IN_PROGRESS"
    with pytest.raises(Exception, match=words) as caught:
        waits.run()
    assert type(caught.value).__name__ == "AirflowSensorTimeout"
    assert 600 < waits.clock.now - began < 602


def test_a_404_that_lasts_and_a_refusal_end_it(waits: Waits) -> None:
    for status, code in ((b"HTTP/1.1 404 No", 404), (b"HTTP/1.1 403 No", 403)):
        waits.server.answer_with(sized(b"{}", status=status))
        with pytest.raises(PixxelError, match=str(code)):
            waits.run()
        assert len(waits.server.requests) == 1 or code == 404


def test_an_id_that_cannot_be_one_is_named_before_anything_is_asked(waits: Waits) -> None:
    with pytest.raises(PixxelInputError, match="delivery_id"):
        waits.run(delivery_id="")
    assert waits.server.requests == []
