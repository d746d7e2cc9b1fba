from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_cpc import ContrastivePredictiveCoding


@parametrize_with_checks(ContrastivePredictiveCoding)
def test_cpc_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
