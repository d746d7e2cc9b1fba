"""How hypothesis goes about the examples of a check: few of them, and the same every time."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

FEW = settings(max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
