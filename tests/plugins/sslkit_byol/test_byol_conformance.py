from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_byol import BYOL


@parametrize_with_checks(BYOL)
def test_byol_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
