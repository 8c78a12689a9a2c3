"""What the API of Pixxel is: calls, answers, errors and when to try again.

Nothing in here does I/O, reads a clock or knows Airflow, so every rule can be tested with plain values.
"""
