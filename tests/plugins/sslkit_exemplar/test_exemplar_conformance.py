from __future__ import annotations

from collections.abc import Callable

from sslkit.testing import parametrize_with_checks
from sslkit_exemplar import Exemplar


@parametrize_with_checks(Exemplar)
def test_exemplar_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
