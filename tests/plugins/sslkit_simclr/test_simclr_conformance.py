from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_simclr import SimCLR


@parametrize_with_checks(SimCLR)
def test_simclr_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
