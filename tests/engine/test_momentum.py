from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sslkit import follow, momentum_copy, rising_momentum


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))


@given(momentum=st.floats(0, 1), num_updates=st.integers(1, 6))
def test_a_copy_that_follows_a_module_at_rest_comes_nearer_by_the_momentum(momentum: float, num_updates: int) -> None:
    copied, module = momentum_copy(network()).double(), network().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.5)
    first = [parameter.clone() for parameter in copied.parameters()]
    for _ in range(num_updates):
        follow(copied, module, momentum)
    left = momentum**num_updates
    for start, now, goal in zip(first, copied.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(now, left * start + (1 - left) * goal.detach(), rtol=1e-9, atol=1e-12)


def test_a_copy_follows_a_module_that_moves() -> None:
    module = nn.Linear(1, 1, bias=False).double()
    copied, wanted = momentum_copy(module), module.weight.item()
    for update in range(10):
        with torch.no_grad():
            module.weight.fill_(math.sin(update))
        follow(copied, module, 0.9)
        wanted = 0.9 * wanted + 0.1 * math.sin(update)
    assert copied.weight.item() == pytest.approx(wanted, rel=1e-12)


def test_a_copy_is_another_network_that_no_gradient_and_no_statistics_reach() -> None:
    module = network()
    copied = momentum_copy(module)
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert all(parameter.requires_grad for parameter in module.parameters())
    before = copied[1].running_mean.clone()
    module(torch.randn(8, 3)).sum().backward()
    follow(copied, module, 0.5)
    assert all(parameter.grad is None for parameter in copied.parameters())
    assert torch.equal(copied[1].running_mean, before)
    assert not torch.equal(module[1].running_mean, before)


@given(first=st.floats(0, 1), progress=st.floats(0, 1))
def test_the_momentum_rises_to_one_and_never_leaves_its_bounds(first: float, progress: float) -> None:
    assert rising_momentum(first, 0.0) == pytest.approx(first)
    assert rising_momentum(first, 1.0) == 1.0
    momentum = rising_momentum(first, progress)
    assert momentum == pytest.approx(1 - (1 - first) * math.cos(math.pi * progress / 2) ** 2)
    assert first - 1e-12 <= momentum <= 1
