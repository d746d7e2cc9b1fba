from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sslkit.engine.optimisation import learning_rate_factor, make_optimizer


@given(num_updates=st.integers(1, 300), warmup=st.floats(0, 0.99))
def test_the_rate_rises_to_its_peak_and_falls_towards_zero(num_updates: int, warmup: float) -> None:
    factors = [learning_rate_factor(update, num_updates, warmup) for update in range(num_updates)]
    peak = max(factors)
    top = factors.index(peak)

    assert peak == pytest.approx(1.0)
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_the_cosine_is_the_one_of_the_closed_form() -> None:
    factors = [learning_rate_factor(update, 10, 0.0) for update in range(10)]

    assert factors == pytest.approx([0.5 * (1 + math.cos(math.pi * update / 10)) for update in range(10)])


def test_only_weights_with_two_axes_or_more_are_decayed() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))
    network[0].weight.requires_grad_(False)

    decayed, kept = make_optimizer([network], 1e-3, 0.1).param_groups

    assert [p.ndim for p in decayed["params"]] == [2]
    assert decayed["weight_decay"] == 0.1
    assert {p.ndim for p in kept["params"]} == {1}
    assert kept["weight_decay"] == 0.0
    assert len(kept["params"]) == 4


def test_a_module_without_matrices_has_no_empty_group() -> None:
    optimizer = make_optimizer([nn.BatchNorm1d(3)], 1e-3, 0.1)

    assert len(optimizer.param_groups) == 1
    assert isinstance(optimizer, torch.optim.AdamW)
