"""Where the pages can be tested, and an Airflow database for them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.plugins_manager import AirflowPlugin

HAS_PAGES = hasattr(AirflowPlugin, "external_views")
WHY_NOT = "Airflow's UI shows pages of plugins from 3.1 on"

if HAS_PAGES:
    import sqlalchemy as sa
    from airflow import settings
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from airflow.models.dagrun import DagRun
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskreschedule import TaskReschedule
    from sqlalchemy.orm import scoped_session, sessionmaker
    from sqlalchemy.pool import NullPool

    from pixxel_provider.compat.database import TRIES_ARE_ROWS

    if TRIES_ARE_ROWS:
        from airflow.models.renderedtifields import LegacyRenderedTaskInstanceFields
        from airflow.models.taskinstance import LegacyTaskDataOwner
        from airflow.models.xcom import XComModelV1
        from airflow.models.xcom import XComModelV2 as XComModel

        LEGACY = (LegacyRenderedTaskInstanceFields, XComModelV1, LegacyTaskDataOwner)
    else:
        from airflow.models.xcom import XComModel

        LEGACY = ()

DAGS = '''
from datetime import datetime

from airflow.sdk import DAG, BaseOperator

from pixxel_provider.assets import watched_workflow
from pixxel_provider.operators.pixxel import (
    PixxelEstimateCostOperator,
    PixxelGetJobOperator,
    PixxelRunJobOperator,
)
from pixxel_provider.sensors.pixxel import PixxelJobSensor


class Plain(BaseOperator):
    def __init__(self, word="", **more):
        super().__init__(**more)
        self.word = word

    def execute(self, context):
        return self.word


class OwnSensor(PixxelJobSensor):
    """A subclass in a DAG file."""


class OwnDefault(PixxelJobSensor):
    def __init__(self, pixxel_conn_id="ours", **more):
        super().__init__(pixxel_conn_id=pixxel_conn_id, **more)


def alike(**arguments):
    """An operator with the name and the arguments of one of the package's."""

    class PixxelJobSensor(Plain):
        template_fields = ("workflow_id", "job_id", "pixxel_conn_id")

        def __init__(self, workflow_id, job_id, pixxel_conn_id="pixxel_default", **more):
            super().__init__(**more)
            self.workflow_id, self.job_id, self.pixxel_conn_id = workflow_id, job_id, pixxel_conn_id

    return PixxelJobSensor(**arguments)


SHARED = watched_workflow("region", outcomes=["failed"], created_by="somebody")
ASSETS = {"coast": [SHARED], "secret": [SHARED, watched_workflow("secret-region")]}

for dag_id in ("coast", "secret"):
    with DAG(dag_id, schedule=ASSETS[dag_id], start_date=datetime(2026, 1, 1), is_paused_upon_creation=False):
        PixxelJobSensor(task_id="wait", workflow_id="w", job_id="j")
        OwnSensor(task_id="own", workflow_id="w", job_id="j")
        PixxelGetJobOperator(task_id="get", workflow_id="w", job_id="j")
        PixxelJobSensor.partial(task_id="each", workflow_id="w").expand(job_id=["a", "b", "c"])
        PixxelJobSensor(task_id="first", workflow_id="w", ended_after="{{ data_interval_start }}")
        PixxelGetJobOperator(task_id="newest", workflow_id="w")
        after = {"ended_after": "{{ data_interval_start }}"}
        PixxelJobSensor.partial(task_id="each_first", **after).expand(workflow_id=["w", "v"])
        PixxelRunJobOperator(task_id="run", workflow_id="{{ params.w }}", project_id="p")
        PixxelJobSensor(task_id="template", workflow_id="w", job_id="a", pixxel_conn_id="{{ params.c }}")
        each = {"workflow_id": "w", "job_id": "a"}
        PixxelJobSensor.partial(task_id="by_conn", **each).expand(pixxel_conn_id=["pixxel_default"])
        PixxelJobSensor.partial(task_id="by_kwargs").expand_kwargs([each])
        PixxelJobSensor.partial(task_id="each_conn", workflow_id="w").expand(job_id=["a", "b"])
        OwnDefault.partial(task_id="own_each", workflow_id="w").expand(job_id=["a"])
        alike(task_id="alike", workflow_id="w", job_id="j")
        PixxelEstimateCostOperator(task_id="estimate", workflow_id="w")
        Plain(task_id="plain")
        Plain.partial(task_id="plain_each").expand(word=["a", "b"])
'''


def require_pages() -> None:
    """Skip the module below Airflow 3.1."""
    if not HAS_PAGES:
        pytest.skip(WHY_NOT, allow_module_level=True)


def _key(dag_id: str, run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    return {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}


def _owner(session: Any, key: dict[str, Any], run: bool = False) -> dict[str, Any]:
    """Return the columns by which XComs (``run=True``) and rendered arguments name their task instance."""
    if TRIES_ARE_ROWS:
        return {"task_instance_id": session.scalar(sa.select(TaskInstance.id).filter_by(**key))}
    if not run:
        return key
    dag_run = {name: key[name] for name in ("dag_id", "run_id")}
    return {**key, "dag_run_id": session.scalar(sa.select(DagRun.id).filter_by(**dag_run))}


class Records:
    """Airflow's own tables with two DAGs, ``coast`` and ``secret``; the tests make runs of them."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.engine = sa.create_engine(url or f"sqlite:///{folder / 'airflow.db'}", poolclass=NullPool)
        self.sessions = sessionmaker(bind=self.engine, autoflush=False, expire_on_commit=False)
        self._settings = {
            "engine": self.engine,
            "Session": scoped_session(self.sessions),
            "NonScopedSession": self.sessions,
        }
        with self.in_force():
            self._fill(folder)

    @contextmanager
    def in_force(self) -> Iterator[Records]:
        """Let Airflow use this database, whatever it used before."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._settings.items():
                patch.setattr(settings, name, value)
            yield self

    def _fill(self, folder: Path) -> None:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.utils.db import synchronize_log_template

        try:
            from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
        except ImportError:  # 3.1
            from airflow.models.dagbag import DagBag, sync_bag_to_db

        import_all_models()
        Base.metadata.create_all(self.engine)
        synchronize_log_template()
        file = folder / "pages_dags.py"
        file.write_text(DAGS, encoding="utf-8")
        bag = DagBag(file)
        assert not bag.import_errors
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "dags-folder", None)

    def clear(self) -> None:
        """Delete all runs."""
        with self.sessions.begin() as session:
            own = (RenderedTaskInstanceFields, XComModel, TaskReschedule, TaskInstance, DagRun)
            for table in (*LEGACY, *own):
                session.execute(sa.delete(table.__table__))

    def run(self, dag_id: str = "coast", run_id: str = "manual__2026-11-24T04:00:00+00:00") -> str:
        """Make a run with its task instances, as the scheduler does."""
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        with self.sessions.begin() as session:
            stored = SerializedDagModel.get(dag_id, session=session)
            assert stored is not None
            stored.dag.create_dagrun(
                run_id=run_id,
                run_after=datetime(2026, 11, 24, tzinfo=timezone.utc),
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                session=session,
            )
        return run_id

    def change(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, **columns: Any) -> None:
        """Put values into a task instance."""
        statement = sa.update(TaskInstance).filter_by(**_key(dag_id, run_id, task_id, map_index))
        with self.sessions.begin() as session:
            assert session.execute(statement.values(**columns)).rowcount == 1

    def begin(self, dag_id: str, run_id: str, task_id: str, **columns: Any) -> None:
        """Begin a try, as a worker does: it deletes the XComs that the task instance has."""
        self.forget(dag_id, run_id, task_id)
        self.change(dag_id, run_id, task_id, state="running", **columns)

    def forget(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> None:
        """Delete the XComs of a task instance."""
        with self.sessions.begin() as session:
            owner = _owner(session, _key(dag_id, run_id, task_id, map_index))
            session.execute(sa.delete(XComModel.__table__).filter_by(**owner))

    def reschedule(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Note that a sensor was rescheduled."""
        moment = datetime(2026, 11, 24, tzinfo=timezone.utc)
        with self.sessions.begin() as session:
            number = session.scalar(sa.select(TaskInstance.id).filter_by(**_key(dag_id, run_id, task_id, -1)))
            session.add(TaskReschedule(number, moment, moment, moment))

    def push(
        self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, *, at: Any = None, **values: Any
    ) -> None:
        """Store XComs, as Airflow's API for tasks does."""
        with self.sessions.begin() as session:
            owner = _owner(session, _key(dag_id, run_id, task_id, map_index), run=True)
            for name, value in values.items():
                row = XComModel(key=name, value=value, **owner)
                if at is not None:
                    row.timestamp = at
                session.add(row)

    def render(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, **fields: Any) -> None:
        """Store the rendered arguments of a task instance, as Airflow does when a worker begins with it."""
        table = RenderedTaskInstanceFields.__table__
        with self.sessions.begin() as session:
            owner = _owner(session, _key(dag_id, run_id, task_id, map_index))
            session.execute(sa.delete(table).filter_by(**owner))
            session.execute(sa.insert(table), [{**owner, "rendered_fields": fields}])

    def work(
        self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, *, at: Any = None, **xcoms: Any
    ) -> None:
        """Store what a task of Pixxel's leaves as soon as it knows its job."""
        own = ("pixxel_conn_id", "workflow_id", "job_id")
        self.render(dag_id, run_id, task_id, map_index, **{name: xcoms[name] for name in own})
        self.push(dag_id, run_id, task_id, map_index, at=at, **xcoms)

    def keep_from_before(self, dag_id: str, run_id: str, task_id: str, **xcoms: Any) -> None:
        """Store the same as Airflow 3.4 keeps it that was an earlier one when the task began."""
        key = _key(dag_id, run_id, task_id, -1)
        moment = datetime(2026, 11, 24, tzinfo=timezone.utc)
        with self.sessions.begin() as session:
            owner = _owner(session, key)
            row = {**key, "timestamp": moment}
            row["dag_run_id"] = session.scalar(sa.select(DagRun.id).filter_by(dag_id=dag_id, run_id=run_id))
            rendered, xcom, owners = (table.__table__ for table in LEGACY)
            session.execute(sa.insert(owners), [{**key, **owner}])
            session.execute(sa.insert(rendered), [{**key, "rendered_fields": xcoms}])
            values = [{**row, "key": name, "value": value} for name, value in xcoms.items()]
            session.execute(sa.insert(xcom), values)

    def many(
        self, dag_id: str, run_id: str, task_id: str, count: int, first: datetime, **columns: Any
    ) -> None:
        """Make copies of a task instance with a job each, mapped from 100 on, each a second younger."""
        table = TaskInstance.__table__
        named = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
        with self.sessions.begin() as session:
            run_number = session.scalar(sa.select(DagRun.id).filter_by(dag_id=dag_id, run_id=run_id))
            run = {} if TRIES_ARE_ROWS else {"dag_run_id": run_number}
            pattern = dict(session.execute(sa.select(table).filter_by(**named)).mappings().first())
            id_of = type(pattern["id"])
            tasks, values, rendered = [], [], []
            for at in range(count):
                moment = first + timedelta(seconds=at)
                new = uuid.uuid4()
                number = new if id_of is uuid.UUID else str(new)
                index = {"region_index" if TRIES_ARE_ROWS else "map_index": 100 + at}
                tasks.append({**pattern, **index, "id": number, "start_date": moment, **columns})
                key = _key(dag_id, run_id, task_id, 100 + at)
                owner = {"task_instance_id": number} if TRIES_ARE_ROWS else key
                job = {
                    "pixxel_conn_id": "pixxel_default",
                    "workflow_id": "wf-succeeds",
                    "job_id": f"job-{at}",
                }
                rendered.append({**owner, "rendered_fields": job})
                row = {**owner, **run, "timestamp": moment}
                values += [{**row, "key": name, "value": value} for name, value in job.items()]
            session.execute(sa.insert(table), tasks)
            session.execute(sa.insert(RenderedTaskInstanceFields.__table__), rendered)
            session.execute(sa.insert(XComModel.__table__), values)
