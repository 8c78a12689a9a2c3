"""When the scheduler may start a sensor's trigger itself, and what it is told."""

from __future__ import annotations

import copy
import datetime
import inspect
import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, XComArg
from airflow.providers.common.compat.standard.operators import PythonOperator
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS
from airflow.serialization.serialized_objects import BaseSerialization

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.sensors.pixxel import PixxelJobSensor
from pixxel_provider.sensors.start_trigger_args import needs_worker
from pixxel_provider.triggers import start_from_trigger
from pixxel_provider.triggers.pixxel import PixxelJobTrigger

needs_3_3 = pytest.mark.skipif(
    not AIRFLOW_V_3_3_PLUS, reason="Airflow before 3.3 starts every wait on a worker"
)


def sensor(**arguments: Any) -> PixxelJobSensor:
    required = {"task_id": "wait", "workflow_id": "w", "job_id": "{{ params.job }}"}
    return PixxelJobSensor(**{**required, "start_from_trigger": True, **arguments})


def nothing(*_: Any) -> None: ...


def test_the_class_itself_offers_no_start() -> None:
    # Airflow would start mapped tasks with what the class says, all with the same arguments.
    sensor()
    assert PixxelJobSensor.start_trigger_args is None
    assert PixxelJobSensor.start_from_trigger is False


def test_a_sensor_that_does_not_ask_for_it_starts_on_a_worker() -> None:
    found = sensor(start_from_trigger=False, deferrable=True)
    assert (found.start_from_trigger, found.start_trigger_args) == (False, None)


def test_ending_in_the_triggerer_takes_a_start_there() -> None:
    with pytest.raises(PixxelInputError, match=r"end_from_trigger.*set start_from_trigger too"):
        sensor(start_from_trigger=False, end_from_trigger=True)


@pytest.mark.skipif(AIRFLOW_V_3_3_PLUS, reason="from Airflow 3.3 on the scheduler can start it")
def test_before_3_3_it_defers_from_a_worker_and_says_so_once(
    pixxel: Any, context: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.providers.common.compat.sdk import TaskDeferred

    pixxel.create_job("wf-succeeds", "job-1", seconds=600)
    found = sensor(workflow_id="wf-succeeds", job_id="job-1", end_from_trigger=True)
    assert (found.start_from_trigger, found.start_trigger_args) == (False, None)
    with pytest.raises(TaskDeferred) as deferral:
        found.execute(context)
    assert deferral.value.trigger.task_end is None


@needs_3_3
class TestStart:
    def test_the_scheduler_is_told_all_that_the_trigger_needs(self) -> None:
        found = sensor(
            timeout=1000, poke_interval=7, success_statuses=("fine",), soft_fail=True, not_found_grace=3
        )
        start = found.start_trigger_args
        assert start is not None
        assert start.next_method == "execute_complete"
        assert start.timeout == datetime.timedelta(seconds=1120)
        trigger = PixxelJobTrigger(**json.loads(json.dumps(start.trigger_kwargs)))
        assert trigger.serialize()[0] == start.trigger_cls
        assert trigger.job_id == "{{ params.job }}"
        assert (trigger.plan.timeout, trigger.plan.poke_interval) == (1000, 7)
        assert (trigger.poll.success_statuses, trigger.plan.not_found_grace) == (["fine"], 3)
        assert trigger.deferred_for == 1120
        assert trigger.task_end is None

    def test_the_same_file_parsed_twice_gives_the_same_dag(self) -> None:
        # Otherwise each parse would be a new version of the DAG.
        assert (
            sensor(end_from_trigger=True).start_trigger_args
            == sensor(end_from_trigger=True).start_trigger_args
        )

    def test_templated_arguments_are_attributes_of_the_trigger(self) -> None:
        kwargs = sensor().start_trigger_args.trigger_kwargs  # type: ignore[union-attr]
        trigger = PixxelJobTrigger(**kwargs)
        # A worker starts the waits that have these.
        for name in set(PixxelJobSensor.template_fields) - {"ended_after", "created_by"}:
            assert name in kwargs
            assert hasattr(trigger, name)

    def test_execution_timeout_ends_the_deferral_and_counts_for_its_start(self) -> None:
        start = sensor(execution_timeout=datetime.timedelta(seconds=50)).start_trigger_args
        assert start is not None
        assert start.timeout == datetime.timedelta(seconds=50)
        assert start.trigger_kwargs is not None
        assert start.trigger_kwargs["deferred_for"] == 50

    def test_a_timeout_without_end_has_one_all_the_same(self) -> None:
        start = sensor(timeout=10.0**12).start_trigger_args
        assert start is not None
        assert start.timeout == datetime.timedelta(days=3650)

    def test_an_argument_from_another_task_becomes_a_template(self) -> None:
        with DAG("d", schedule=None):
            other = PythonOperator(task_id="other", python_callable=nothing)
            found = sensor(job_id=XComArg(other, key="job"))
        kwargs = found.start_trigger_args.trigger_kwargs  # type: ignore[union-attr]
        assert kwargs["job_id"] == "{{ task_instance.xcom_pull(task_ids='other', dag_id='d', key='job') }}"
        assert found.upstream_task_ids == {"other"}

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            ({"pool": "narrow"}, "pools"),
            ({"pool_slots": 2}, "pools"),
            ({"max_active_tis_per_dag": 1}, "max_active_tis_per_dag counts"),
            ({"max_active_tis_per_dagrun": 1}, "max_active_tis_per_dagrun counts"),
            ({"job_id": 7}, "job_id is a int"),
            ({"job_id": None}, "job_id is a NoneType"),
        ],
    )
    def test_what_the_scheduler_would_get_wrong_starts_on_a_worker(
        self, arguments: dict[str, Any], why: str
    ) -> None:
        found = sensor(**arguments)
        assert (found.start_from_trigger, found.start_trigger_args) == (False, None)
        assert why in needs_worker(found)
        assert found.deferrable

    def test_a_changed_argument_of_another_task_starts_on_a_worker(self) -> None:
        with DAG("d", schedule=None):
            other = PythonOperator(task_id="other", python_callable=nothing)
            found = sensor(job_id=XComArg(other).map(str))
        assert "MapXComArg" in needs_worker(found)

    def test_an_argument_that_is_no_json_is_left_to_a_worker_to_refuse(self) -> None:
        found = sensor(success_statuses=object())
        assert (found.start_from_trigger, found.start_trigger_args) == (False, None)

    def test_it_survives_the_database_with_the_dag(self) -> None:
        from airflow.serialization.serialized_objects import DagSerialization

        with DAG("d", schedule=None) as dag:
            sensor(end_from_trigger=True)
            PixxelJobSensor.partial(
                task_id="mapped", workflow_id="w", start_from_trigger=True, end_from_trigger=True
            ).expand(job_id=["a", "b"])
        again = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        alone, mapped = again.get_task("wait"), again.get_task("mapped")
        assert alone.start_from_trigger is True
        assert alone.start_trigger_args.trigger_cls == "pixxel_provider.triggers.pixxel.PixxelJobTrigger"
        # Without these the scheduler hands each of them to a worker.
        assert mapped.start_trigger_args is None


def alert(_: Any) -> None: ...


@needs_3_3
class TestClusterPolicy:
    """What is set on a sensor after it was made, by a cluster policy or in the DAG's file."""

    def stored(self, policy: Any, **arguments: Any) -> Any:
        """Return the sensor as the scheduler reads it from the database."""
        from airflow.serialization.serialized_objects import DagSerialization

        with DAG("d", schedule=None) as dag:
            found = sensor(end_from_trigger=True, **arguments)
        policy(found)
        again = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        return again.get_task("wait")

    def told(self, **changes: Any) -> Any:
        """Return what the scheduler starts the trigger with after these changes."""

        def policy(task: Any) -> None:
            for name, value in changes.items():
                setattr(task, name, value)

        start = self.stored(policy).start_trigger_args
        arguments = BaseSerialization.deserialize(start.trigger_kwargs)
        return start, PixxelJobTrigger(**arguments)

    @pytest.mark.parametrize("value", [3600, 3600.0, datetime.timedelta(hours=1)])
    def test_the_timeout_holds_for_the_wait_and_for_the_deferral(self, value: Any) -> None:
        start, trigger = self.told(timeout=value)
        assert start.timeout == datetime.timedelta(seconds=3720)
        assert (trigger.plan.timeout, trigger.deferred_for) == (3600, 3720)

    def test_the_execution_timeout_holds_for_the_deferral_and_its_start(self) -> None:
        start, trigger = self.told(execution_timeout=datetime.timedelta(minutes=5))
        assert (start.timeout, trigger.deferred_for) == (datetime.timedelta(minutes=5), 300)

    def test_what_concerns_the_looks_holds(self) -> None:
        hour = datetime.timedelta(hours=1)
        _, trigger = self.told(
            poke_interval=datetime.timedelta(minutes=2),
            exponential_backoff=True,
            max_wait=60,
            silent_fail=True,
        )
        plan = trigger.plan
        assert (plan.poke_interval, plan.exponential_backoff, plan.max_wait, plan.silent_fail) == (
            120,
            True,
            60,
            True,
        )
        assert self.told(max_wait=hour)[1].plan.max_wait == 3600

    @pytest.mark.parametrize("name", ["workflow_id", "job_id", "pixxel_conn_id"])
    def test_ids_and_the_connection_hold(self, name: str) -> None:
        assert getattr(self.told(**{name: "another"})[1], name) == "another"

    @pytest.mark.parametrize("name", ["soft_fail", "never_fail", "do_xcom_push"])
    def test_how_the_task_ends_holds(self, name: str) -> None:
        for value in (True, False):
            assert self.told(**{name: value})[1].task_end[name] is value

    @pytest.mark.parametrize(
        ("changes", "states"),
        [
            ({"retries": 3}, ["failed"]),
            ({"retry_policy": object()}, ["failed", "retry"]),
            ({"on_failure_callback": [alert]}, ["failed", "retry"]),
            ({"on_success_callback": [alert]}, ["success"]),
            ({"on_retry_callback": alert}, ["retry"]),
            ({"on_skipped_callback": alert}, ["skipped"]),
            ({"on_execute_callback": alert}, ["failed", "retry", "skipped", "success"]),
            ({"outlets": [Asset("jobs")]}, ["success"]),
            ({"returns_dag_result": True}, ["success"]),
        ],
        ids=lambda given: ",".join(given),
    )
    def test_what_only_a_worker_does_takes_a_worker(self, changes: dict[str, Any], states: list[str]) -> None:
        assert self.told(**changes)[1].task_end["worker_for"] == states

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("pool", "pixxel"),
            ("pool_slots", 2),
            ("max_active_tis_per_dag", 1),
            ("max_active_tis_per_dagrun", 1),
            ("deferrable", False),
            ("start_from_trigger", False),
            ("start_trigger_args", None),
            ("execute", alert),
            ("pre_execute", alert),
            ("timeout", "soon"),
            ("execution_timeout", 60),
            ("job_id", 7),
        ],
    )
    def test_what_the_scheduler_would_get_wrong_starts_on_a_worker(self, name: str, value: Any) -> None:
        found = self.stored(lambda task: setattr(task, name, value))
        assert (found.start_from_trigger, found.start_trigger_args) == (False, None)

    def test_a_sensor_that_was_made_without_can_be_started_in_the_triggerer(self) -> None:
        found = sensor(start_from_trigger=False, deferrable=True)
        found.start_from_trigger = True
        assert found.start_trigger_args is not None

    def test_end_from_trigger_can_be_withdrawn(self) -> None:
        assert self.told(end_from_trigger=False)[1].task_end is None

    def test_what_may_change_each_task_instance_starts_on_a_worker(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from airflow.policies import hookimpl
        from airflow.settings import get_policy_plugin_manager

        manager = get_policy_plugin_manager()
        plugin = SimpleNamespace(task_instance_mutation_hook=hookimpl(lambda task_instance: None))
        manager.register(plugin)
        try:
            assert sensor().start_trigger_args is None
        finally:
            manager.unregister(plugin)
        assert sensor().start_trigger_args is not None

    def test_where_triggerers_have_queues_a_worker_tells_which(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__TRIGGERER__QUEUES_ENABLED", "True")
        assert "queue" in needs_worker(sensor())

    def test_a_copy_is_changed_by_itself(self) -> None:
        found = sensor()
        for other in (copy.copy(found), copy.deepcopy(found)):
            other.timeout = 60
            assert other.start_trigger_args.trigger_kwargs["timeout"] == 60  # type: ignore[union-attr,index]
        assert found.start_trigger_args.trigger_kwargs["timeout"] == 604800  # type: ignore[union-attr,index]


@needs_3_3
class TestEnd:
    def end(self, **arguments: Any) -> dict[str, Any]:
        start = sensor(end_from_trigger=True, **arguments).start_trigger_args
        return start.trigger_kwargs["task_end"]  # type: ignore[union-attr, index, no-any-return]

    def test_the_trigger_is_told_what_it_has_to_know(self) -> None:
        expected = set(inspect.signature(start_from_trigger.last_event).parameters)
        given = {"result", "context", "log"}
        assert set(self.end()) == expected - given

    @pytest.mark.parametrize(
        ("arguments", "states"),
        [
            ({}, []),
            ({"retries": 2}, ["failed"]),
            ({"on_success_callback": nothing}, ["success"]),
            ({"outlets": [Asset("jobs")]}, ["success"]),
            ({"on_skipped_callback": nothing}, ["skipped"]),
            ({"on_failure_callback": nothing}, ["failed", "retry"]),
            ({"on_retry_callback": nothing}, ["retry"]),
            ({"on_execute_callback": nothing}, ["failed", "retry", "skipped", "success"]),
            ({"post_execute": nothing}, ["failed", "retry", "skipped", "success"]),
            ({"email": "a@b.c"}, ["failed", "retry"]),
            ({"email": "a@b.c", "email_on_failure": False}, ["retry"]),
            ({"email": "a@b.c", "email_on_failure": False, "email_on_retry": False}, []),
        ],
        ids=lambda given: ",".join(given) or "nothing",
    )
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_what_only_a_worker_does_takes_a_worker(
        self, arguments: dict[str, Any], states: list[str]
    ) -> None:
        assert self.end(**arguments)["worker_for"] == states

    def test_the_flags_travel_with_it(self) -> None:
        found = self.end(soft_fail=True, do_xcom_push=False)
        assert (found["soft_fail"], found["never_fail"], found["do_xcom_push"]) == (True, False, False)
