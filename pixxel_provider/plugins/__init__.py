"""Pages inside Airflow's UI: the job of a task, and all waits."""
