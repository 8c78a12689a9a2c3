"""What the installed Airflow can do."""

from __future__ import annotations

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

#: A task can store something for its next try, in ``task_state_store``.
HAS_TASK_STATE_STORE = AIRFLOW_V_3_3_PLUS
#: The scheduler can start a trigger without a worker, and the triggerer then renders its templates.
STARTS_IN_TRIGGERER = AIRFLOW_V_3_3_PLUS
#: ``execution_timeout`` ends a deferral that a worker began; later it only bounds each stay on a worker.
EXECUTION_TIMEOUT_ENDS_DEFERRAL = not AIRFLOW_V_3_0_PLUS
#: Workers reach Airflow's database through an API, and links are XComs.
HAS_TASK_SDK = AIRFLOW_V_3_0_PLUS
#: Assets have watchers: what happens elsewhere starts DAGs.
HAS_ASSET_WATCHERS = AIRFLOW_V_3_0_PLUS
