"""Where Airflow looks for this distribution's example DAGs: in the module that has the distribution's name.

``example_dags`` beside this file is the checkout's folder of that name, by a link; a wheel holds its files.
"""
