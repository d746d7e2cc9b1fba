from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_inpainting import Inpainting


@parametrize_with_checks(Inpainting)
def test_inpainting_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
