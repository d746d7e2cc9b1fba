from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_simsiam import SimSiam


@parametrize_with_checks(SimSiam)
def test_simsiam_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
