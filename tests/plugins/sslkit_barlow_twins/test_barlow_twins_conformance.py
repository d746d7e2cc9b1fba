from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_barlow_twins import BarlowTwins


@parametrize_with_checks(BarlowTwins)
def test_barlow_twins_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
