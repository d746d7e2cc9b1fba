from __future__ import annotations

from sslkit.testing import parametrize_with_checks
from sslkit_timm import Timm


@parametrize_with_checks(Timm, options={"model": "test_resnet"})
def test_a_convolutional_network_keeps_its_promises(check):
    check()


@parametrize_with_checks(Timm, options={"model": "test_vit", "options": {"img_size": 64}})
def test_a_vision_transformer_keeps_its_promises(check):
    check()
