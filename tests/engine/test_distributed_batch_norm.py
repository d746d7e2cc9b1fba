from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from several_processes import in_processes, normalise
from timm.layers import BatchNormAct2d
from torch import nn

from sslkit.engine.distributed import synchronise_batch_norm
from sslkit.engine.distributed.batch_norm import batch_norm_together

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "images": (nn.BatchNorm2d(5), (8, 5, 4, 3)),
    "vectors": (nn.BatchNorm1d(5, momentum=0.3, eps=1e-3), (8, 5)),
    "without scale": (nn.BatchNorm1d(5, affine=False), (8, 5)),
    "without statistics": (nn.BatchNorm2d(5, track_running_stats=False), (8, 5, 4, 3)),
    "cumulative": (nn.BatchNorm2d(5, momentum=None), (8, 5, 4, 3)),
    "timm's": (BatchNormAct2d(5), (8, 5, 4, 3)),
}


def alone(layer: nn.Module, x: torch.Tensor, weights: torch.Tensor) -> dict[str, Any]:
    layer, x = copy.deepcopy(layer).train(), x.clone(memory_format=torch.preserve_format).requires_grad_()
    out = layer(x)
    (weights * out.double() ** 2).sum().backward()
    gradients = [parameter.grad for parameter in layer.parameters()]
    return {"out": out.detach(), "gradient": x.grad, "gradients": gradients, "state": layer.state_dict(), "x": x}


def run(kind: str, folder: Path, dtype: torch.dtype, layout: torch.memory_format) -> tuple[dict[str, Any], list[Any]]:
    """Return what torch makes of a whole batch, and what two processes make of its halves."""
    layer, shape = LAYERS[kind]
    layer = layer.to(torch.float32 if dtype == torch.bfloat16 else dtype)
    torch.manual_seed(0)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    x = (3 + 2 * torch.randn(shape, dtype=torch.float64)).to(dtype)
    if x.ndim == 4:
        x = x.contiguous(memory_format=layout)
    weights = torch.rand(shape, dtype=torch.float64)
    parts = [part.contiguous(memory_format=layout) if x.ndim == 4 else part for part in x.chunk(2)]
    return alone(layer, x, weights), in_processes(normalise, 2, folder, layer, parts, weights.chunk(2))


def assert_alike(whole: dict[str, Any], halves: list[Any], **tolerance: float) -> None:
    for key in ("out", "gradient"):
        assert torch.allclose(torch.cat([half[key] for half in halves]), whole[key], **tolerance), key
    for ours, theirs in zip(zip(*(half["gradients"] for half in halves), strict=True), whole["gradients"], strict=True):
        assert torch.allclose(sum(ours), theirs, **tolerance)
    for half in halves:
        assert half["state"].keys() == whole["state"].keys()
        assert all(torch.allclose(half["state"][name], value, **tolerance) for name, value in whole["state"].items())


@pytest.mark.parametrize("kind", LAYERS)
def test_two_halves_are_normalised_as_the_whole_is(kind: str, tmp_path: Path) -> None:
    whole, halves = run(kind, tmp_path, torch.float64, torch.contiguous_format)
    assert_alike(whole, halves, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_so_are_images_whose_channels_come_last(dtype: torch.dtype, tmp_path: Path) -> None:
    whole, halves = run("images", tmp_path, dtype, torch.channels_last)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    assert_alike(whole, halves, rtol=tolerance, atol=tolerance)
    assert all(half["out"].is_contiguous(memory_format=torch.channels_last) for half in halves)
    assert all(half["gradient"].is_contiguous(memory_format=torch.channels_last) for half in halves)


@pytest.mark.parametrize("kind", ["images", "without scale"])
def test_bf16_is_normalised_in_single_precision(kind: str, tmp_path: Path) -> None:
    whole, halves = run(kind, tmp_path, torch.bfloat16, torch.channels_last)
    assert halves[0]["out"].dtype == torch.bfloat16
    assert_alike(whole, halves, rtol=0.02, atol=0.03)  # bf16 has eight bits, and is rounded to twice


def test_running_statistics_far_from_zero_keep_their_digits(tmp_path: Path) -> None:
    layer = nn.BatchNorm1d(1, affine=False, momentum=1.0)
    x = 1000 + torch.arange(8.0).view(8, 1) / 16
    halves = in_processes(normalise, 2, tmp_path, layer, x.chunk(2), torch.ones(8, 1).chunk(2))
    assert halves[0]["state"]["running_mean"].item() == pytest.approx(x.mean().item(), rel=1e-7)
    assert halves[0]["state"]["running_var"].item() == pytest.approx(x.var().item(), rel=1e-3)


def test_the_layers_of_a_network_stay_what_they_are() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), BatchNormAct2d(4))
    before, state = [type(layer) for layer in network], dict(network.state_dict())
    synchronise_batch_norm(network)
    synchronise_batch_norm(network)
    assert all(isinstance(layer, cls) for layer, cls in zip(network, before, strict=True))
    assert type(network[1]).__name__ == "SynchronisedBatchNorm2d"
    assert all(
        value is network.state_dict()[name] or torch.equal(value, network.state_dict()[name])
        for name, value in state.items()
    )
    copied = copy.deepcopy(network)
    assert copied[1] is not network[1]


def test_one_process_has_torchs_own() -> None:
    layer, x = nn.BatchNorm1d(3), torch.randn(4, 3)
    plain = copy.deepcopy(layer)
    synchronise_batch_norm(layer)
    assert torch.equal(layer(x), plain(x))
    assert torch.equal(layer.running_var, plain.running_var)  # type: ignore[arg-type]


def test_in_evaluation_the_running_statistics_are_used() -> None:
    x, mean, variance = torch.randn(4, 3), torch.rand(3), torch.rand(3)
    expected = (x - mean) / (variance + 1e-5).sqrt()
    assert torch.allclose(batch_norm_together(x, mean, variance), expected, atol=1e-6)
