"""Every name of Airflow that is private or differs between the supported versions: here, and nowhere else.

``versions``
    what an Airflow can do, asked by name instead of by number.
``tasks``
    a task instance on a worker: its store, its earlier processes, its deferral, policies; how a sensor pokes.
``xcom``
    XComs that go past a custom backend, as links do.
``connections``
    connections, the secrets backends behind them, and the storage they lead to.
``triggerer``
    a task instance, its XComs and the end of its deferral, as the triggerer has them.
``database``, ``api_server``
    Airflow's tables, and the guards of its API server: only the pages import them.
``serialized_dag``
    a task as Airflow stores it.

Nothing is imported here, so that a DAG file that names a sensor pays only for what the sensor uses. Elsewhere
the package imports from ``airflow.providers.common.compat``, ``airflow.triggers.base`` and
``airflow.plugins_manager``, which are public and the same everywhere; ruff refuses the rest.
"""
