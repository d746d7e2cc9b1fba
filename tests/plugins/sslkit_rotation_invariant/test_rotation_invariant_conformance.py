from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_rotation_invariant import RotationInvariant


@parametrize_with_checks(RotationInvariant)
def test_rotation_invariant_keeps_its_promises(check: Callable[[], None]) -> None:
    check()


@parametrize_with_checks(RotationInvariant, options={"positive_unlabelled": True})
def test_rotation_invariant_with_weights_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
