"""What the pages find in Airflow's database, which is a real one."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.plugins.pages import Records, require_pages

require_pages()

from pixxel_provider.compat.database import TRIES_ARE_ROWS  # noqa: E402
from pixxel_provider.plugins import queries  # noqa: E402
from pixxel_provider.plugins.job_batch import JobKey  # noqa: E402
from pixxel_provider.plugins.stored_tasks import StoredTasks  # noqa: E402

NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
SINCE = NOW - timedelta(hours=24)
JOB = {"pixxel_conn_id": "pixxel_default", "workflow_id": "wf-1", "job_id": "7f3"}


@pytest.fixture
def run_id(records: Records) -> str:
    return records.run()


def find(run_id: str, task_id: str, map_index: int = -1) -> queries.Instance:
    instance = queries.find("coast", run_id, task_id, map_index)
    assert instance is not None
    key = (instance.dag_id, instance.run_id, instance.task_id, instance.map_index)
    assert key == ("coast", run_id, task_id, map_index)
    return instance


def ago(**much: float) -> datetime:
    return NOW - timedelta(**much)


def wait(
    records: Records, run_id: str, task_id: str, index: int = -1, dag_id: str = "coast", **more: Any
) -> None:
    """Have a task instance with these columns and a job."""
    records.change(dag_id, run_id, task_id, index, **more)
    records.work(dag_id, run_id, task_id, index, **JOB, at=more.get("start_date"))


def recent() -> tuple[list[str], int]:
    """Return the rows of the list, by name, and their total."""
    rows, total = queries.recent({"coast"}, SINCE)
    return names(rows), total


def names(rows: list[Any]) -> list[str]:
    return [f"{row.dag_id}.{row.task_id}[{row.map_index}]" for row in rows]


# ------------------------------------------------------------------------------------------ one task instance


@pytest.mark.parametrize(("task_id", "operator"), [("wait", "PixxelJobSensor"), ("own", "OwnSensor")])
def test_a_wait_that_has_begun_has_its_job(
    records: Records, run_id: str, task_id: str, operator: str
) -> None:
    start = ago(minutes=5)
    records.change("coast", run_id, task_id, state="deferred", try_number=2, start_date=start)
    records.work("coast", run_id, task_id, **JOB, estimated_cost=120, status="running", other="x")

    instance = find(run_id, task_id)

    assert instance.task is not None
    assert instance.job == JobKey("pixxel_default", "wf-1", "7f3")
    assert (instance.state, instance.try_number, instance.start, instance.end) == ("deferred", 2, start, None)
    assert instance.operator == operator
    assert (instance.number("estimated_cost"), instance.text("status")) == (120, "running")
    assert "other" not in instance.xcoms


def test_a_try_is_distinguished_from_the_next_one_by_its_pauses(records: Records, run_id: str) -> None:
    from airflow.models.taskinstance import TaskInstance

    for task_id in ("wait", "own", "get"):
        records.change("coast", run_id, task_id, state="queued")
        records.work("coast", run_id, task_id, **JOB)
    records.change("coast", run_id, "wait", next_method="execute_complete")
    records.reschedule("coast", run_id, "own")

    between = {task_id: find(run_id, task_id).is_between_tries for task_id in ("wait", "own", "get")}
    assert between == {"wait": False, "own": False, "get": True}
    with records.sessions.begin() as session:
        # As Airflow does after a try, and when a user clears the task.
        own = session.query(TaskInstance).filter_by(run_id=run_id, task_id="own").one()
        own.prepare_db_for_next_try(session)
    assert find(run_id, "own").is_between_tries


@pytest.mark.parametrize("state", [None, "up_for_retry", "scheduled", "queued"])
def test_until_the_next_try_begins_a_task_has_the_last_ones_job(
    records: Records, run_id: str, state: str | None
) -> None:
    from airflow.models.taskinstance import TaskInstance

    for task_id, try_number in (("wait", 1), ("own", 2)):
        wait(
            records,
            run_id,
            task_id,
            state="failed",
            try_number=try_number,
            start_date=ago(minutes=try_number),
        )
        with records.sessions.begin() as session:
            task = session.query(TaskInstance).filter_by(run_id=run_id, task_id=task_id).one()
            task.prepare_db_for_next_try(session)
        records.change("coast", run_id, task_id, state=state)

    assert find(run_id, "wait").job == find(run_id, "own").job == JobKey("pixxel_default", "wf-1", "7f3")
    assert recent() == ((["coast.wait[-1]", "coast.own[-1]"], 2) if state else ([], 0))


def test_a_try_that_has_begun_has_nothing_of_earlier_ones(records: Records, run_id: str) -> None:
    from airflow.models.taskinstance import TaskInstance

    wait(records, run_id, "wait", state="failed", try_number=1)
    with records.sessions.begin() as session:
        task = session.query(TaskInstance).filter_by(run_id=run_id, task_id="wait").one()
        task.prepare_db_for_next_try(session)
    records.begin("coast", run_id, "wait", start_date=ago(minutes=1))

    assert find(run_id, "wait").job is None
    assert recent() == ([], 0)
    records.work("coast", run_id, "wait", **{**JOB, "job_id": "8a0"})
    assert find(run_id, "wait").job == JobKey("pixxel_default", "wf-1", "8a0")
    assert recent() == (["coast.wait[-1]"], 1)


@pytest.mark.skipif(not TRIES_ARE_ROWS, reason="Airflow stores both in other tables from 3.4 on")
def test_what_an_earlier_airflow_has_stored_is_found(records: Records, run_id: str) -> None:
    records.change("coast", run_id, "wait", state="deferred", start_date=ago(minutes=1))
    records.keep_from_before("coast", run_id, "wait", **JOB)

    assert find(run_id, "wait").job == JobKey("pixxel_default", "wf-1", "7f3")
    assert recent() == (["coast.wait[-1]"], 1)
    records.work("coast", run_id, "wait", **{**JOB, "job_id": "8a0"})
    assert find(run_id, "wait").job == JobKey("pixxel_default", "wf-1", "8a0")
    assert recent() == (["coast.wait[-1]"], 1)


@pytest.mark.skipif(not TRIES_ARE_ROWS, reason="there are loops from Airflow 3.4 on")
def test_of_the_passes_of_a_loop_the_newest_is_shown(records: Records, run_id: str) -> None:
    import sqlalchemy as sa
    from airflow.models.taskinstance import TaskInstance

    table: Any = TaskInstance.__table__
    wait(records, run_id, "wait", state="success", start_date=ago(minutes=2))
    with records.sessions.begin() as session:
        first = session.execute(sa.select(table).filter_by(run_id=run_id, task_id="wait")).mappings().one()
        for minutes in (1, 3):
            number = {"id": uuid.uuid4(), "region_id": uuid.uuid4(), "start_date": ago(minutes=minutes)}
            session.execute(sa.insert(table), [{**first, **number}])

    assert find(run_id, "wait").start == ago(minutes=1)


@pytest.mark.parametrize("task_id", ["wait", "own", "get"])
def test_a_task_of_pixxels_is_known_before_it_ran(run_id: str, task_id: str) -> None:
    instance = find(run_id, task_id)

    assert instance.task is not None
    assert (instance.job, instance.state) == (None, None)


def test_each_mapped_instance_has_a_job_of_its_own(records: Records, run_id: str) -> None:
    for index in (0, 2):
        records.work("coast", run_id, "each", index, **{**JOB, "job_id": f"job-{index}"})

    instances = [find(run_id, "each", index) for index in range(3)]

    assert [each.job and each.job.job_id for each in instances] == ["job-0", None, "job-2"]
    assert all(each.task is not None for each in instances)


def test_the_job_of_another_run_or_dag_stays_theirs(records: Records, run_id: str) -> None:
    later = records.run(run_id="manual__2026-11-24T05:00:00+00:00")
    records.run("secret", run_id)
    records.work("coast", later, "wait", **JOB)
    records.work("secret", run_id, "wait", **JOB)

    assert find(run_id, "wait").job is None
    assert find(later, "wait").job is not None


@pytest.mark.parametrize(
    ("dag_id", "run", "task_id", "index"),
    [
        ("nothing", "", "wait", -1),
        ("coast", "nothing", "wait", -1),
        ("coast", "", "nothing", -1),
        ("coast", "", "wait", 0),
        ("coast", "", "each", -1),
        ("coast", "", "each", 3),
        ("~", "", "wait", -1),
        ("%", "%", "%", -1),
    ],
)
def test_a_task_instance_that_does_not_exist_is_none(
    run_id: str, dag_id: str, run: str, task_id: str, index: int
) -> None:
    assert queries.find(dag_id, run or run_id, task_id, index) is None


@pytest.mark.parametrize("word", ["123", "1e5", "null", "true", '"quoted"', "[1]", "0012", "NaN"])
def test_ids_that_look_like_other_json_stay_text(records: Records, run_id: str, word: str) -> None:
    records.work("coast", run_id, "wait", **dict.fromkeys(JOB, word))

    assert find(run_id, "wait").job == JobKey(word, word, word)


@pytest.mark.parametrize("value", [123, None, ["7f3"], {"id": "7f3"}, "", True])
def test_an_id_that_is_no_text_is_none(records: Records, run_id: str, value: Any) -> None:
    records.work("coast", run_id, "wait", **{**JOB, "job_id": value})

    instance = find(run_id, "wait")

    assert (instance.job, instance.text("job_id")) == (None, "")
    assert instance.task is not None


def test_half_a_character_breaks_no_page(records: Records, run_id: str) -> None:
    records.work("coast", run_id, "wait", **{**JOB, "job_id": "7f3\ud83d"}, status="o\udc00dd")

    instance = find(run_id, "wait")

    assert instance.job == JobKey("pixxel_default", "wf-1", "7f3?")
    assert instance.text("status").encode() == b"o?dd"


@pytest.mark.parametrize("value", ["120", None, True, [1], {"cost": 1}])
def test_a_cost_that_is_no_number_is_none(records: Records, run_id: str, value: Any) -> None:
    records.work("coast", run_id, "wait", **JOB, cost=value)

    assert find(run_id, "wait").number("cost") is None


def test_nothing_is_known_of_a_task_whose_dag_is_gone(records: Records, run_id: str) -> None:
    from airflow.models.serialized_dag import SerializedDagModel

    records.work("coast", run_id, "wait", **JOB)
    table = SerializedDagModel.__table__
    with records.sessions.begin() as session:
        kept = [dict(row) for row in session.execute(table.select()).mappings()]
        session.execute(table.delete())
    try:
        instance = find(run_id, "wait")
    finally:
        with records.sessions.begin() as session:
            session.execute(table.insert(), kept)

    assert (instance.task, instance.job) == (None, None)


# --------------------------------------------------------------------------- what decides which job is shown


#: Tasks of other packages, whatever they and their arguments are called.
@pytest.mark.parametrize(
    ("task_id", "index"), [("plain", -1), ("plain_each", 1), ("alike", -1), ("estimate", -1)]
)
@pytest.mark.parametrize("own", [JOB, {}])
def test_no_xcom_makes_a_task_one_of_pixxels(
    records: Records, run_id: str, task_id: str, index: int, own: dict[str, str]
) -> None:
    records.change("coast", run_id, task_id, index, state="running", start_date=ago(minutes=1))
    records.render("coast", run_id, task_id, index, **own)
    records.push("coast", run_id, task_id, index, **(own or {"job_id": "7f3", "workflow_id": "wf-1"}))

    instance = find(run_id, task_id, index)

    assert (instance.task, instance.job, instance.text("job_id")) == (None, None, "")
    assert recent() == ([], 0)


@pytest.mark.parametrize("name", JOB)
def test_xcoms_that_differ_from_the_tasks_own_arguments_are_ignored(
    records: Records, run_id: str, name: str
) -> None:
    records.change("coast", run_id, "wait", state="deferred", start_date=ago(minutes=1))
    records.render("coast", run_id, "wait", **JOB)
    records.push("coast", run_id, "wait", **{**JOB, name: "of another team"})

    instance = find(run_id, "wait")

    assert instance.task is not None
    assert (instance.job, instance.is_contradicted) == (None, True)
    assert recent() == ([], 0)


def test_the_run_has_its_job_from_xcom_and_all_else_from_its_arguments(records: Records, run_id: str) -> None:
    own = {"pixxel_conn_id": "ours", "workflow_id": "wf-1"}
    records.render("coast", run_id, "run", **own, project_id="p")
    records.push("coast", run_id, "run", **own, job_id="7f3")

    assert find(run_id, "run").job == JobKey("ours", "wf-1", "7f3")
    records.render("coast", run_id, "run", **{**own, "pixxel_conn_id": "other"})
    assert find(run_id, "run").is_contradicted


@pytest.mark.parametrize(("task_id", "index"), [("first", -1), ("newest", -1), ("each_first", 1)])
def test_a_task_that_finds_its_job_has_it_from_xcom(
    records: Records, run_id: str, task_id: str, index: int
) -> None:
    known = {"workflow_id": "w", "pixxel_conn_id": "pixxel_default"}
    records.render("coast", run_id, task_id, index, **known, job_id="")
    records.push("coast", run_id, task_id, index, **known)
    assert find(run_id, task_id, index).job is None
    records.push("coast", run_id, task_id, index, job_id="7f3")
    assert find(run_id, task_id, index).job == JobKey("pixxel_default", "w", "7f3")
    records.render("coast", run_id, task_id, index, **known | {"workflow_id": "other"}, job_id="")
    assert find(run_id, task_id, index).is_contradicted


def test_without_rendered_arguments_the_serialized_ones_count(records: Records, run_id: str) -> None:
    # As where the wait began in the triggerer, or many runs ago.
    literal = {"pixxel_conn_id": "pixxel_default", "workflow_id": "w", "job_id": "j"}
    for task_id in ("wait", "own"):
        records.push("coast", run_id, task_id, **literal)
        assert find(run_id, task_id).job == JobKey("pixxel_default", "w", "j")
    records.push("coast", run_id, "get", **{**literal, "pixxel_conn_id": "other"})

    assert find(run_id, "get").is_contradicted


@pytest.mark.parametrize(
    ("task_id", "index"), [("template", -1), ("each", 1), ("by_conn", 0), ("by_kwargs", 0), ("own_each", 0)]
)
def test_an_argument_that_is_unknown_without_rendering_confirms_nothing(
    records: Records, run_id: str, task_id: str, index: int
) -> None:
    pushed = {"pixxel_conn_id": "pixxel_default", "workflow_id": "w", "job_id": "a"}
    records.change("coast", run_id, task_id, index, state="deferred", start_date=ago(minutes=1))
    records.push("coast", run_id, task_id, index, **pushed)

    instance = find(run_id, task_id, index)
    rows, total = queries.recent({"coast"}, SINCE)

    assert (instance.job, instance.is_unconfirmed, instance.is_contradicted) == (None, True, False)
    assert ([row.job for row in rows], total) == ([None], 1)
    records.render("coast", run_id, task_id, index, **pushed)
    assert find(run_id, task_id, index).job == JobKey("pixxel_default", "w", "a")


def test_a_mapped_task_without_a_connection_has_the_packages_default(records: Records, run_id: str) -> None:
    pushed = {"workflow_id": "w", "job_id": "a"}
    for index, conn_id in enumerate(("pixxel_default", "other")):
        records.push("coast", run_id, "each_conn", index, pixxel_conn_id=conn_id, **pushed)
        # Its other arguments are rendered; a secret in them is masked.
        records.render("coast", run_id, "each_conn", index, **pushed, pixxel_conn_id="pixxel_***")

    assert find(run_id, "each_conn", 0).job == JobKey("pixxel_default", "w", "a")
    assert find(run_id, "each_conn", 1).is_contradicted


def test_a_task_is_judged_by_the_version_of_its_dag_that_it_ran_with(records: Records, run_id: str) -> None:
    from airflow.models.serialized_dag import SerializedDagModel

    records.work("coast", run_id, "plain", **JOB)
    records.work("coast", run_id, "wait", **JOB)
    with records.sessions.begin() as session:
        secret = session.query(SerializedDagModel).filter_by(dag_id="secret").one().dag_version_id
    records.change("coast", run_id, "wait", dag_version_id=None)

    # Of a time before DAGs had versions.
    assert find(run_id, "wait").job is not None
    # What is stored of another DAG doesn't count.
    records.change("coast", run_id, "wait", dag_version_id=secret)
    assert find(run_id, "plain").job is None


def test_foreign_tasks_take_no_room_in_the_list(records: Records, run_id: str) -> None:
    records.many("coast", run_id, "plain", 600, ago(minutes=30), state="running", end_date=None)
    wait(records, run_id, "wait", state="deferred", start_date=ago(hours=3))

    assert recent() == (["coast.wait[-1]"], 1)


def test_a_stored_dag_is_read_once(records: Records, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models.serialized_dag import SerializedDagModel

    read: list[str] = []
    data = SerializedDagModel.data
    monkeypatch.setattr(
        SerializedDagModel, "data", property(lambda self: (read.append(self.dag_id), data.fget(self))[1])
    )
    monkeypatch.setattr(queries, "_stored", StoredTasks())
    wait(records, run_id, "wait", state="deferred", start_date=ago(hours=3))
    for _ in range(2):
        find(run_id, "wait")
        find(run_id, "plain")
        recent()

    assert read == ["coast"]


# ------------------------------------------------------------------------------------------------- the list


def test_the_live_come_first_and_the_newest_of_each_first(records: Records, run_id: str) -> None:
    wait(records, run_id, "wait", state="deferred", start_date=ago(minutes=30))
    wait(records, run_id, "own", state="running", start_date=ago(minutes=10))
    wait(records, run_id, "each", 0, state="success", start_date=ago(hours=5), end_date=ago(hours=3))
    wait(records, run_id, "each", 1, state="failed", start_date=ago(hours=9), end_date=ago(hours=2))
    wait(records, run_id, "each", 2, state="up_for_reschedule", start_date=ago(hours=7))

    rows, total = queries.recent({"coast"}, SINCE)

    order = "own[-1] wait[-1] each[2] each[1] each[0]".split()
    assert (names(rows), total) == ([f"coast.{name}" for name in order], 5)
    assert [row.is_live for row in rows] == [True, True, True, False, False]
    assert all(row.job == JobKey("pixxel_default", "wf-1", "7f3") for row in rows)


@pytest.mark.parametrize("state", queries.LIVE)
def test_every_live_state_counts_however_old(records: Records, run_id: str, state: str) -> None:
    wait(records, run_id, "wait", state=state, start_date=ago(days=30))

    assert recent() == (["coast.wait[-1]"], 1)


@pytest.mark.parametrize(
    ("columns", "listed"),
    [
        ({"state": "success", "start_date": ago(hours=30), "end_date": ago(hours=24, seconds=1)}, False),
        ({"state": "success", "start_date": ago(hours=30), "end_date": ago(hours=24)}, True),
        ({"state": "success", "start_date": ago(days=7, hours=12), "end_date": ago(hours=1)}, True),
        ({"state": None, "start_date": ago(hours=1)}, False),
    ],
    ids=["ended before", "ended since", "a wait of a week", "never began"],
)
def test_a_wait_that_has_ended_is_listed_for_a_day(
    records: Records, run_id: str, columns: dict[str, Any], listed: bool
) -> None:
    wait(records, run_id, "wait", **columns)

    assert recent()[1] == listed


def test_a_task_that_has_pushed_no_connection_is_not_listed(records: Records, run_id: str) -> None:
    records.change("coast", run_id, "wait", state="queued")

    assert recent() == ([], 0)


@pytest.mark.parametrize("padding", [0, 4_999, 5_001, 40_000])
def test_dags_that_are_not_readable_are_left_out(records: Records, run_id: str, padding: int) -> None:
    records.run("secret", run_id)
    wait(records, run_id, "wait", state="running", start_date=ago(minutes=1))
    wait(records, run_id, "wait", dag_id="secret", state="running", start_date=ago(minutes=1))
    over = {"state": "failed", "start_date": ago(hours=2), "end_date": ago(hours=1)}
    wait(records, run_id, "own", dag_id="secret", **over)
    readable = {"coast", *(f"dag-{number}" for number in range(padding))}

    rows, total = queries.recent(readable, SINCE)

    assert names(rows) == ["coast.wait[-1]"]
    assert total == 1


def test_who_may_read_nothing_sees_nothing(records: Records, run_id: str) -> None:
    wait(records, run_id, "wait", state="running", start_date=ago(minutes=1))

    assert queries.recent(set(), SINCE) == ([], 0)


def test_the_newest_500_of_more_are_shown_and_all_are_counted(records: Records, run_id: str) -> None:
    records.many("coast", run_id, "wait", 480, ago(hours=3), state="deferred", end_date=None)
    wait(records, run_id, "wait", state="success", start_date=ago(hours=20), end_date=ago(minutes=1))
    records.many("coast", run_id, "own", 140, ago(hours=5), state="failed", end_date=ago(hours=4))

    rows, total = queries.recent({"coast"}, SINCE)

    assert total == 621
    assert len(rows) == 500
    assert [row.map_index for row in rows[:480]] == list(range(579, 99, -1))
    assert names(rows[480:481]) == ["coast.wait[-1]"]
    assert {row.task_id for row in rows[481:]} == {"own"}
    assert [row.job.job_id for row in rows[:2]] == ["job-479", "job-478"]
    assert all(row.job is not None for row in rows)
