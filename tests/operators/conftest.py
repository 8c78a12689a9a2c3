"""The fixtures of tests that run a job."""

from __future__ import annotations

from tests.operators.running import make, runs

__all__ = ["make", "runs"]
