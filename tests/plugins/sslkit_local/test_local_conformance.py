from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_local import Local


@parametrize_with_checks(Local)
def test_local_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
