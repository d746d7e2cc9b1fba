from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_moco import MoCo


# The images of the checks are told apart by one colour, which views in other colours or in none hide.
@parametrize_with_checks(MoCo, options={"views": {"grey": 0.0, "recoloured": 0.0}})
def test_moco_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
