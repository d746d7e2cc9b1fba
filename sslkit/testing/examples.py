"""How hypothesis goes about the examples of a check: few of them, and the same every time."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

FEW = settings(
    max_examples=15,
    deadline=None,
    database=None,
    derandomize=True,
    # Not the phase that explains: it traces every line, which takes ten times as long.
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
