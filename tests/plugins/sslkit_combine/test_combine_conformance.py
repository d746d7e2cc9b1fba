from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_combine import Combine

PARTS = [{"name": "rotation", "turns": "one"}, {"name": "colorization", "weight": 0.5, "target_stride": 8}]


@parametrize_with_checks(Combine, options={"parts": PARTS})
def test_combine_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
