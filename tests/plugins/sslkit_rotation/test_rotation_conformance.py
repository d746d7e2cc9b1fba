from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_rotation import Rotation


@parametrize_with_checks(Rotation)
def test_rotation_keeps_its_promises(check: Callable[[], None]) -> None:
    check()


@parametrize_with_checks(Rotation, options={"turns": "one"})
def test_rotation_by_one_turn_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
