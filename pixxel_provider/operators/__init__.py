"""Operators: do something with a Pixxel job."""
