from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from sslkit.engine.points import strides_over_a_point


class OneConvolution(nn.Module):
    head_hidden_size = 4

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, kernel, stride=stride, padding=kernel // 2)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(x)

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return x.mean((2, 3))


@pytest.mark.parametrize(
    ("kernel", "stride", "side", "found"),
    [(3, 2, 1, True), (5, 2, 1, True), (3, 1, 1, False), (1, 2, 1, False), (3, 2, 2, False), (7, 2, 3, False)],
)
def test_only_strides_over_one_pixel_are_found(kernel: int, stride: int, side: int, found: bool) -> None:
    assert strides_over_a_point(OneConvolution(kernel, stride), side) is found


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 1, 1), (1, 2, 1), (3, 2, 2), (5, 2, 2), (7, 2, 3)], ids=str)
def test_what_is_not_found_has_a_finite_gradient_in_bf16(kernel: int, stride: int, side: int) -> None:
    for _ in range(10):
        ruined = [torch.full((2**18,), float("nan")) for _ in range(4)]
        del ruined  # what was in memory before
        network = OneConvolution(kernel, stride)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = network.forward_features(torch.randn(16, 3, side, side))
        features.float().sum().backward()
        assert network.convolution.weight.grad is not None
        assert network.convolution.weight.grad.isfinite().all()


def test_the_network_is_left_as_it_was() -> None:
    network = timm.create_model("resnet10t", num_classes=0).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    assert strides_over_a_point(network, 16)
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(layer._forward_pre_hooks for layer in network.modules())
