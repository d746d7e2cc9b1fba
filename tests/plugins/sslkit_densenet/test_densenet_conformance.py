from __future__ import annotations

from sslkit.testing import parametrize_with_checks
from sslkit_densenet import DenseNet121


@parametrize_with_checks(DenseNet121)
def test_densenet121_keeps_its_promises(check):
    check()
