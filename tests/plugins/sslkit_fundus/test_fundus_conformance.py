from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_fundus import SyntheticFundus


@parametrize_with_checks(SyntheticFundus, options={"patients": 8, "size": 64})
def test_synthetic_fundus_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
