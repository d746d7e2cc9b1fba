from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_saliency import Saliency


@parametrize_with_checks(Saliency)
def test_saliency_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
