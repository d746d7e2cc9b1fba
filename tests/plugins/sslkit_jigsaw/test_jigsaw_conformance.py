from __future__ import annotations

from collections.abc import Callable

from sslkit_jigsaw import Jigsaw

from sslkit.testing import parametrize_with_checks


@parametrize_with_checks(Jigsaw)
def test_jigsaw_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
