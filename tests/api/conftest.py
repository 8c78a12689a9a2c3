"""The same examples in every run: a failure here is one that everybody sees."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("pixxel", max_examples=150, deadline=None, derandomize=True, database=None)
settings.load_profile("pixxel")
