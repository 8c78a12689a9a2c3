"""Links: what a person can click in the UI of Airflow."""
