from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_relative_patch import RelativePatch


@parametrize_with_checks(RelativePatch)
def test_relative_patch_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
