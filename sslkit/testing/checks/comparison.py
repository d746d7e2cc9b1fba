"""How checks compare tensors, and name what differs."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch

from sslkit.testing.outcome import CheckFailed

ModuleT = TypeVar("ModuleT", bound=torch.nn.Module)


def same(first: torch.Tensor, second: torch.Tensor | None) -> bool:
    """Return whether two tensors are of one dtype and shape, and equal bit for bit."""
    return second is not None and first.dtype == second.dtype and torch.equal(first, second)


def differing(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> str | None:
    """Return the name of a tensor that differs, or is missing on one side; None where there is none."""
    return next(
        (name for name in {**first, **second} if name not in first or not same(first[name], second.get(name))), None
    )


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the largest difference of two tensors of one shape, as a share of the second one's largest value.

    Example:
        >>> distance(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        0.5
    """
    first, second = first.detach().double(), second.detach().double()
    return float((first - second).abs().max() / second.abs().max().clamp(min=1e-12))


def few(names: Sequence[str]) -> str:
    """Return the first three of some names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def copy_of(module: ModuleT, how: str = "deepcopy") -> ModuleT:
    """Return a copy of a module.

    Raises:
        CheckFailed: if it cannot be copied so.
    """
    try:
        copied: ModuleT = copy.deepcopy(module) if how == "deepcopy" else pickle.loads(pickle.dumps(module))
    except Exception as error:
        raise CheckFailed(f"{how} of it fails: {type(error).__name__}: {error}") from error
    return copied
