from __future__ import annotations

import json
from typing import Any

import pytest

from pixxel_provider.links import pixxel as links
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

    monkeypatch.setattr(links, "XCom", XCom)
    assert link.get_link(None, ti_key=context["ti"]) == "https://console.example.com/j"  # type: ignore[arg-type]
    context["ti"].xcoms.clear()
    assert link.get_link(None, ti_key=context["ti"]) == ""  # type: ignore[arg-type]


def test_it_is_published_where_airflow_3_looks_for_a_link_of_this_class(context: Any) -> None:
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
