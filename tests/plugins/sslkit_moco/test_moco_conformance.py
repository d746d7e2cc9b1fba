from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_moco import MoCo


@parametrize_with_checks(MoCo)
def test_moco_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
