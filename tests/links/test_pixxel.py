from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

from pixxel_provider.api.errors import PixxelConnectionError
from pixxel_provider.compat import xcom as compat_xcom
from pixxel_provider.hooks.pixxel import PixxelHook
from pixxel_provider.links.pixxel import PixxelJobLink, publish_link
from pixxel_provider.operators.pixxel import PixxelGetJobOperator
from pixxel_provider.sensors.pixxel import PixxelJobSensor


def test_the_link_is_read_where_the_task_published_it(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_link(context, "https://console.example.com/j")
    link = PixxelJobLink()

    class XCom:
        @staticmethod
        def get_value(*, ti_key: Any, key: str) -> Any:
            return ti_key.xcoms.get(key)

    monkeypatch.setattr(compat_xcom, "XCom", XCom)
    assert link.get_link(None, ti_key=context["ti"]) == "https://console.example.com/j"  # type: ignore[arg-type]
    context["ti"].xcoms.clear()
    assert link.get_link(None, ti_key=context["ti"]) == ""  # type: ignore[arg-type]


def test_it_is_published_under_airflow_3s_key_for_this_class(context: Any) -> None:
    from airflow.providers.common.compat.sdk import BaseOperatorLink

    publish_link(context, "x")
    link = PixxelJobLink()
    assert list(context["ti"].xcoms) == [link.xcom_key]
    inherited = getattr(BaseOperatorLink, "xcom_key", None)
    if inherited is not None:
        assert inherited.fget(link) == link.xcom_key


@pytest.mark.parametrize("operator", [PixxelJobSensor, PixxelGetJobOperator])
def test_every_task_has_the_button(operator: Any) -> None:
    task = operator(task_id="t", workflow_id="w", job_id="j")
    assert [link.name for link in task.operator_extra_links] == ["Pixxel job"]


def test_the_link_is_there_while_the_job_runs(
    pixxel: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {
        **pixxel.airflow_connection,
        "extra": {"console_url": "https://c.example.com/{workflow_id}/{job_id}"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps(connection))
    pixxel.create_job("wf-succeeds", "job-1")
    PixxelJobSensor(task_id="wait", workflow_id="wf-succeeds", job_id="job-1").poke(context)
    assert context["ti"].xcoms["_link_PixxelJobLink"] == "https://c.example.com/wf-succeeds/job-1"


needs_airflow_3 = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 reads links as any XCom")


@needs_airflow_3
def test_with_a_custom_backend_the_link_is_stored_as_airflow_stores_its_own(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.execution_time import task_runner

    class Elsewhere(BaseXCom):
        @staticmethod
        def serialize_value(value: Any, **_: Any) -> str:
            return "file:///elsewhere"

    sent: list[Any] = []
    supervisor = SimpleNamespace(send=sent.append)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    monkeypatch.setattr(compat_xcom, "ConfiguredXCom", Elsewhere)
    publish_link(context, "https://console.example.com/j")
    where = {"dag_id": "dag", "task_id": "wait", "run_id": "run", "map_index": -1}
    Elsewhere._set_xcom_in_db("_link_PixxelJobLink", "https://console.example.com/j", **where)
    assert sent[0] == sent[1]
    assert context["ti"].xcoms == {}


class TestOnWorkers:
    """Airflow 3 reads the link when the task has ended, and logs an error if its XCom is missing."""

    @pytest.fixture
    def read(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Return the list of XComs that were read."""
        found: list[str] = []

        def get_value(*, ti_key: Any, key: str) -> str:
            found.append(key)
            return "https://stored/"

        monkeypatch.setattr(compat_xcom, "XCom", SimpleNamespace(get_value=get_value))
        monkeypatch.setattr(compat_xcom, "ConfiguredXCom", compat_xcom.XCom)
        return found

    def link(self, context: Any, resumed: bool = False, **arguments: Any) -> str:
        ti = context["ti"]
        method = "execute_complete" if resumed else None
        ti._ti_context_from_server = SimpleNamespace(next_method=method)
        if not isinstance(ti.task, PixxelJobSensor):
            ti.task = PixxelJobSensor(
                **{
                    "task_id": "wait",
                    "workflow_id": "w",
                    "job_id": "a/b",
                    "start_from_trigger": False,
                    **arguments,
                }
            )
        return PixxelJobLink().get_link(ti.task, ti_key=ti)

    def test_a_task_that_failed_before_it_published_its_link_has_none(
        self, context: Any, read: list[str]
    ) -> None:
        assert (self.link(context), read) == ("", [])

    def test_a_link_of_this_process_is_known(self, context: Any, read: list[str]) -> None:
        self.link(context)
        publish_link(context, "https://mine/")
        assert (self.link(context), read) == ("https://mine/", [])

    def test_a_link_from_before_a_deferral_is_read(self, context: Any, read: list[str]) -> None:
        assert self.link(context, resumed=True) == "https://stored/"
        assert read == ["_link_PixxelJobLink"]

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="before 3.3 no trigger starts without a worker")
    @pytest.mark.parametrize(
        ("conn_id", "link"), [("pixxel_default", "https://aurora.pixxel.space/"), ("nowhere", "")]
    )
    def test_a_link_that_a_trigger_may_not_have_published_is_made_from_the_connection(
        self, context: Any, read: list[str], pixxel: Any, conn_id: str, link: str
    ) -> None:
        arguments = {"start_from_trigger": True, "pixxel_conn_id": conn_id}
        assert (self.link(context, resumed=True, **arguments), read) == (link, [])

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="before 3.3 no trigger starts without a worker")
    def test_an_unreachable_connection_leaves_the_stored_link(
        self, context: Any, read: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(_: Any) -> None:
            raise PixxelConnectionError("away", sent=False)

        monkeypatch.setattr(PixxelHook, "settings", property(away))
        assert self.link(context, resumed=True, start_from_trigger=True) == "https://stored/"
