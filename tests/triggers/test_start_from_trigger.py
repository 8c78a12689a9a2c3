"""What a trigger does where no worker has begun, and where none shall end, the task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from pixxel_provider.api.errors import PixxelAuthError, PixxelConnectionError
from pixxel_provider.api.polling import PollResult
from pixxel_provider.compat import triggerer
from pixxel_provider.hooks.pixxel import PixxelAsyncHook
from pixxel_provider.outcome import result_of, started_at, why_no_result
from pixxel_provider.triggers import start_from_trigger
from pixxel_provider.triggers.pixxel import PixxelJobTrigger
from pixxel_provider.triggers.start_from_trigger import NeedsWorker, last_event, publish, render, with_xcoms
from tests.sensors.waiting import FakeXCom
from tests.support import FakeTaskInstance, RecordingLog

pytestmark = pytest.mark.skipif(
    not AIRFLOW_V_3_3_PLUS, reason="Airflow before 3.3 starts every wait on a worker"
)

JOB_XCOMS = {"job_id": "j", "workflow_id": "w", "pixxel_conn_id": "pixxel_eu"}
METADATA = {"id": "j", "workflow_id": "w", "status": "completed", "cost": 3}
SUCCEEDED = PollResult("succeeded", "it has ended", METADATA)
FAILED = PollResult("failed", "it failed", {**METADATA, "status": "failed"})
TIMED_OUT = PollResult("timed_out", "too late")
REFUSED = PollResult.from_error(PixxelAuthError("refused", status_code=403))


@pytest.fixture
def ti(monkeypatch: pytest.MonkeyPatch) -> FakeTaskInstance:
    found = FakeTaskInstance()
    monkeypatch.setattr(triggerer, "XCom", FakeXCom(found))
    return found


class TestRender:
    def rendered(self, template: str, ti: Any = None, within: float = 5.0, **context: Any) -> str:
        trigger = PixxelJobTrigger("w", template)
        context = {"ti": ti or FakeTaskInstance(), **context}
        asyncio.run(render(trigger, with_xcoms(context), within=within))  # type: ignore[arg-type]
        assert trigger.workflow_id == "w"
        return trigger.job_id

    def test_text_without_a_template_stays_as_it_is(self) -> None:
        assert self.rendered("job-1") == "job-1"

    def test_templates_see_the_context(self) -> None:
        assert self.rendered("{{ params.job }}-{{ run_id }}", params={"job": "a"}, run_id="b") == "a-b"

    def test_a_pull_asks_for_one_value_because_for_all_no_answer_ever_comes(self) -> None:
        asked: list[dict[str, Any]] = []
        ti = FakeTaskInstance()
        ti.xcom_pull = lambda **how: asked.append(how) or "job-7"  # type: ignore[attr-defined]
        assert self.rendered("{{ ti.xcom_pull(task_ids='a') }}", ti) == "job-7"
        assert self.rendered("{{ task_instance.xcom_pull(task_ids='a', map_indexes=2) }}", ti) == "job-7"
        assert asked == [{"task_ids": "a", "map_indexes": None}, {"task_ids": "a", "map_indexes": 2}]

    @pytest.mark.parametrize(
        ("template", "why"),
        [
            ("{{ our_macro() }}", "'our_macro' is undefined"),
            ("{{ params.nothing }}", "no attribute 'nothing'"),
            ("{{ none }}", "gives None"),
            ("{{ 'x' | our_filter }}", "our_filter"),
            ("{{ 1 / 0 }}", "ZeroDivisionError"),
            ("{{", "TemplateSyntaxError"),
        ],
    )
    def test_what_would_come_out_otherwise_is_left_to_a_worker(self, template: str, why: str) -> None:
        with pytest.raises(NeedsWorker, match="could not be rendered") as found:
            self.rendered(template, params={})
        assert why in str(found.value)

    def test_a_dag_that_renders_native_objects_is_left_to_a_worker(self) -> None:
        native = SimpleNamespace(render_template_as_native_obj=True)
        assert self.rendered("7", dag=native) == "7"
        with pytest.raises(NeedsWorker, match="native"):
            self.rendered("{{ 7 }}", dag=native)

    def test_a_look_up_that_never_answers_is_cut_short(self) -> None:
        import greenback

        ti = FakeTaskInstance()
        ti.xcom_pull = lambda **_: greenback.await_(asyncio.sleep(3600))  # type: ignore[attr-defined]
        with pytest.raises(NeedsWorker, match="not rendered within"):
            self.rendered("{{ ti.xcom_pull(task_ids='a') }}", ti, within=0.05)


class TestPublish:
    def test_job_and_link_are_known_while_the_wait_lasts(self, ti: FakeTaskInstance) -> None:
        publish(with_xcoms({"ti": ti}), "w", "j", "pixxel_eu", "https://console/")  # type: ignore[typeddict-item]
        assert ti.xcoms == {**JOB_XCOMS, "_link_PixxelJobLink": "https://console/"}

    @pytest.mark.parametrize(("try_number", "left"), [(1, {"cost": 3, "return_value": {}}), (2, {})])
    def test_what_an_earlier_try_had_found_is_gone(
        self, ti: FakeTaskInstance, try_number: int, left: dict[str, Any]
    ) -> None:
        ti.xcoms.update({"cost": 3, "return_value": {}})
        ti.try_number = try_number
        publish(with_xcoms({"ti": ti}), "w", "j", "pixxel_eu", None)  # type: ignore[typeddict-item]
        assert ti.xcoms == {**JOB_XCOMS, **left}

    def test_where_xcoms_can_not_be_written_a_worker_takes_over(
        self, ti: FakeTaskInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(triggerer.XCom, "set", refuse)
        with pytest.raises(NeedsWorker, match="XComs can't be written here: RuntimeError: no portal"):
            publish(with_xcoms({"ti": ti}), "w", "j", "pixxel_eu", None)  # type: ignore[typeddict-item]


def refuse(**_: Any) -> None:
    raise RuntimeError("no portal")


class TestLastEvent:
    def end(self, ti: Any, result: PollResult, said: list[str] | None = None, **how: Any) -> str:
        how = {"soft_fail": False, "never_fail": False, "do_xcom_push": True, "worker_for": [], **how}
        said = [] if said is None else said
        log = RecordingLog(said, levels=False)
        event = last_event(result, with_xcoms({"ti": ti}), log=log, **how)  # type: ignore[typeddict-item]
        assert event.xcoms is None  # type: ignore[attr-defined]
        return str(event.task_instance_state)  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("result", "how", "state", "words"),
        [
            (SUCCEEDED, {}, "success", "it has ended"),
            (FAILED, {}, "failed", "it failed"),
            (TIMED_OUT, {}, "failed", "too late"),
            (REFUSED, {}, "failed", REFUSED.message),
            (FAILED, {"soft_fail": True}, "skipped", "Skipped, because soft_fail is set: it failed"),
            (TIMED_OUT, {"soft_fail": True}, "skipped", "Skipped, because soft_fail is set: too late"),
            (REFUSED, {"soft_fail": True}, "failed", REFUSED.message),
            (
                REFUSED,
                {"never_fail": True},
                "skipped",
                f"Skipped, because never_fail is set: {REFUSED.message}",
            ),
        ],
    )
    def test_the_task_ends_as_on_a_worker_and_the_log_says_why(
        self, ti: FakeTaskInstance, result: PollResult, how: dict[str, Any], state: str, words: str
    ) -> None:
        said: list[str] = []
        assert self.end(ti, result, said, **how) == state
        assert said == [words]

    def test_the_xcoms_have_their_types(self, ti: FakeTaskInstance) -> None:
        self.end(ti, SUCCEEDED)
        assert ti.xcoms == {"status": "completed", "cost": 3, "return_value": METADATA}

    def test_without_do_xcom_push_nothing_is_returned(self, ti: FakeTaskInstance) -> None:
        self.end(ti, SUCCEEDED, do_xcom_push=False)
        assert "return_value" not in ti.xcoms
        assert ti.xcoms["cost"] == 3

    @pytest.mark.parametrize(
        ("result", "how", "state"),
        [
            (SUCCEEDED, {}, "success"),
            (FAILED, {}, "failed"),
            (TIMED_OUT, {}, "failed"),
            (REFUSED, {}, "retry"),
            (FAILED, {"soft_fail": True}, "skipped"),
        ],
    )
    def test_what_is_due_on_a_worker_goes_to_a_worker(
        self, ti: FakeTaskInstance, result: PollResult, how: dict[str, Any], state: str
    ) -> None:
        others = sorted({"success", "failed", "skipped", "retry"} - {state})
        assert self.end(ti, result, worker_for=others, **how)
        ti.xcoms.clear()
        with pytest.raises(NeedsWorker):
            self.end(ti, result, worker_for=[state], **how)
        assert ti.xcoms == {}

    def test_a_task_that_others_are_mapped_over_returns_on_a_worker(self, ti: FakeTaskInstance) -> None:
        ti.task = SimpleNamespace(iter_mapped_dependants=lambda: iter(["somebody"]))
        with pytest.raises(NeedsWorker, match="mapped over"):
            self.end(ti, SUCCEEDED)
        assert self.end(ti, FAILED) == "failed"

    def test_where_xcoms_can_not_be_written_a_worker_takes_over(
        self, ti: FakeTaskInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(triggerer.XCom, "set", refuse)
        said: list[str] = []
        with pytest.raises(NeedsWorker, match="XComs"):
            self.end(ti, SUCCEEDED, said)
        assert said == []


END = {"soft_fail": False, "never_fail": False, "do_xcom_push": True, "worker_for": []}


def started(job_id: str = "job-finished", **arguments: Any) -> PixxelJobTrigger:
    return PixxelJobTrigger("wf-succeeds", job_id, deferred_for=1120.0, timeout=1000, **arguments)


class TestTrigger:
    """The trigger as the scheduler starts it."""

    @pytest.fixture
    def payload(self, ti: FakeTaskInstance, clock: Any, pixxel: Any) -> Callable[..., dict[str, Any]]:
        """Run a trigger; return the payload of its one event."""
        clock.on_sleep.append(pixxel.advance)

        def run(trigger: PixxelJobTrigger, *, ago: float | None = None, zone: Any = timezone.utc) -> Any:
            trigger.clock = clock
            if ago is not None:
                # The task was deferred so long ago, as another triggerer could tell.
                end = datetime.fromtimestamp(clock.now - ago + 1120, timezone.utc).replace(tzinfo=zone)
                trigger.timeout_after = end  # type: ignore[attr-defined]
            params = {"job": "job-finished", "connection": "default"}
            trigger.render_template_fields({"ti": ti, "params": params})  # type: ignore[typeddict-item]

            async def collect() -> list[Any]:
                return [event async for event in trigger.run()]

            (event,) = asyncio.run(collect())
            return event.payload

        return run

    @pytest.fixture
    def result(self, payload: Callable[..., dict[str, Any]]) -> Callable[..., PollResult]:
        """Run a trigger; return the result in its one event."""

        def run(trigger: PixxelJobTrigger, **how: Any) -> PollResult:
            found = result_of(payload(trigger, **how))
            assert found is not None
            return found

        return run

    def test_it_renders_its_ids_and_publishes_them(self, result: Any, ti: FakeTaskInstance) -> None:
        trigger = started("{{ params.job }}", pixxel_conn_id="pixxel_{{ params.connection }}")
        assert result(trigger).kind == "succeeded"
        assert (ti.xcoms["job_id"], ti.xcoms["pixxel_conn_id"]) == ("job-finished", "pixxel_default")
        assert ti.xcoms["_link_PixxelJobLink"].startswith("https://")

    def test_a_template_for_a_worker_leaves_the_wait_to_one(
        self, pixxel: Any, payload: Any, ti: FakeTaskInstance
    ) -> None:
        event = payload(started("{{ our_macro() }}", task_end=END))
        assert result_of(event) is None
        assert "our_macro" in why_no_result(event)
        assert (pixxel.requests(), ti.xcoms) == (0, {})

    def test_without_a_context_a_worker_begins(
        self, pixxel: Any, payload: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(PixxelJobTrigger, "render_template_fields", lambda *_: None)
        assert "context" in why_no_result(payload(started()))

    @pytest.mark.parametrize(
        ("arguments", "field"),
        [({"job_id": "{{ '' }}"}, "job_id"), ({"pixxel_conn_id": "nowhere"}, "pixxel_conn_id")],
    )
    def test_a_bad_argument_is_named_and_nothing_is_sent(
        self, pixxel: Any, result: Any, arguments: dict[str, Any], field: str
    ) -> None:
        message = result(started(**arguments)).message
        assert field in message
        assert "broke" not in message
        assert pixxel.requests() == 0

    def test_a_connection_that_can_not_be_read_now_costs_no_more_than_the_link(
        self, result: Any, ti: FakeTaskInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        works, calls = PixxelAsyncHook.get_settings, []

        async def flaky(hook: PixxelAsyncHook) -> Any:
            calls.append(hook)
            if len(calls) <= 2:
                raise PixxelConnectionError("busy", sent=False)
            return await works(hook)

        monkeypatch.setattr(PixxelAsyncHook, "get_settings", flaky)
        assert result(started()).kind == "succeeded"
        assert "_link_PixxelJobLink" not in ti.xcoms

    def test_a_worker_that_takes_over_is_told_when_the_wait_began(
        self, payload: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(triggerer.XCom, "set", refuse)
        event = payload(started(), ago=900)
        assert "XComs" in why_no_result(event)
        assert started_at(event) == pytest.approx(clock.now - 900, abs=40)

    @pytest.mark.parametrize("zone", [timezone.utc, None])
    def test_the_deadline_counts_from_the_deferral_whoever_runs_it(
        self, pixxel: Any, result: Any, clock: Any, zone: Any
    ) -> None:
        pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
        assert result(started("job-1"), ago=900, zone=zone).kind == "timed_out"
        assert 100 <= sum(clock.slept) <= 102

    def test_the_first_poll_is_soon_and_after_a_restart_somewhere_in_an_interval(
        self, result: Any, clock: Any
    ) -> None:
        firsts: dict[int, list[float]] = {1: [], 900: []}
        for ago, delays in firsts.items():
            for _ in range(20):
                clock.slept.clear()
                result(started(), ago=ago)
                delays.append(clock.slept[0])
        assert max(firsts[1]) <= 0.5
        # All twenty within the first 3 of 24 to 30 seconds: once in 10**18.
        assert 3 < max(firsts[900]) <= 30

    def test_a_bug_at_the_end_loses_no_result(self, result: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(start_from_trigger, "last_event", broken)
        assert result(started(task_end=END)).kind == "succeeded"
