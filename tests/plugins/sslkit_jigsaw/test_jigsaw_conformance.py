from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_jigsaw import Jigsaw


@parametrize_with_checks(Jigsaw)
def test_jigsaw_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
