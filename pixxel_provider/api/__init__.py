"""Pixxel's API as data: calls, answers, errors and the retry policy.

Nothing in here does I/O, reads a clock or knows Airflow, so every rule can be tested with plain values.
"""
