from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_vicreg import VICReg


@parametrize_with_checks(VICReg)
def test_vicreg_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
