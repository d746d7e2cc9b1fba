from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_colorization import Colorization


@parametrize_with_checks(Colorization)
def test_colorization_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
