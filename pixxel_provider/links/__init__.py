"""Links: the buttons in the UI of Airflow."""
