from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_dino import Dino


@parametrize_with_checks(Dino)
def test_dino_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
